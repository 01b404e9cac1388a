"""A leg of preference tuning: branches beside a model's denoiser, learned from what a judge says of its pictures."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from darkroom.cards import read_card
from darkroom.control.lora import MAX_RANK, write_lora
from darkroom.nn.autoencoder import FACTOR
from darkroom.synthesis.diffusion import shift_for
from darkroom.training.handover import HANDOVER, leg_of, sources_of, weights_of
from darkroom.training.legs.begin import LONG
from darkroom.training.legs.beside.staying import Staying, about, staying
from darkroom.training.legs.lessons import SHORT
from darkroom.training.legs.place import Place
from darkroom.training.limits import RUNS, within
from darkroom.training.loop import TrainConfig, Trainer
from darkroom.training.objectives.lora import branches_of
from darkroom.training.objectives.preference.asking import Sentences
from darkroom.training.objectives.preference.dpo import PairTuning
from darkroom.training.objectives.preference.pairs import PAIRS, PairMaker
from darkroom.training.objectives.preference.policy import ROUNDS, PolicyTuning
from darkroom.training.objectives.preference.rewards import opened_reward
from darkroom.training.objectives.preference.steps import Artist, Steps, Tuned, velocity
from darkroom.training.objectives.preference.tuning import PREFERENCE, Method, TuningConfig
from darkroom.training.objectives.text import WORDS
from darkroom.wording.tokenizer import Tokenizer

VIEWS = 10  # of each pair, where nobody says how long a run is
TURNS = 40  # rounds of the policy gradient
USUAL: dict[Method, dict[str, Any]] = {
    "dpo": {"beta": 2000.0, "sentences": 1000, "each": 4, "eta": 0.0},
    "policy": {"beta": 0.01, "sentences": 8, "each": 8, "eta": 0.7},
}
"""What is not asked for; the units of beta are those of each method."""


@dataclass(frozen=True)
class Wishes:
    """What a run is asked for; None: as the method is used to (USUAL)."""

    method: Method = "dpo"
    rank: int = 16
    beta: float | None = None
    drift: float = 0.1
    sentences: int | None = None
    each: int | None = None
    steps: int = 8

    def settings(self, **more: Any) -> TuningConfig:
        """With everything decided. Raises BadInput for numbers out of bounds."""
        asked = {name: getattr(self, name) for name in ("beta", "sentences", "each")}
        told = USUAL[self.method] | {name: value for name, value in asked.items() if value is not None}
        within("rank", self.rank, 1, MAX_RANK)
        within("beta", told["beta"], 0, 1e9)
        within("drift", self.drift, 1e-6, 1e3)
        within("sentences", told["sentences"], 1, 10**6)
        within("each", told["each"], 2, 64)
        within("steps", self.steps, 2, 100)
        return TuningConfig(method=self.method, rank=self.rank, drift=self.drift, steps=self.steps, **told, **more)


def preference_leg(
    place: Place,
    config: TrainConfig,
    model: Path,
    *,
    wishes: Wishes,
    reward: Path,
    same_judge: bool = False,
    sentences: Sentences,
    samples: int | None = None,
    compiled: bool = True,
    force: bool = False,
    report: Callable[[int, int], None] = lambda done, of: None,
) -> Trainer:
    """A trainer of branches beside a model folder. Pairs are drawn first, where the method learns from pairs.

    ``reward`` is the folder of the judge whose verdicts are learnt from; ``same_judge`` says that it may be the one in
    the package. ``samples`` None is the method's usual length. ``report`` is told how many lots of pairs are drawn.
    """
    within("run", sentences.run, 0, RUNS - 1)
    wishes.settings()
    dtype = getattr(torch, config.dtype)
    judge = opened_reward(reward, dtype, same_judge=same_judge)
    beside, card = staying(model), read_card(model)
    settings = wishes.settings(
        network=beside.module.denoiser.config,
        text=beside.module.text.config,
        length=SHORT if sentences.config.place_share == 0 else LONG,
        reward=judge.sha256,
        guidance=card.defaults.guidance,
    )
    artist = _artist(beside, model, settings, place, dtype)
    start = copy.deepcopy(beside.module.denoiser).to(place.device, dtype).eval()
    torch.manual_seed(config.seed)
    module = Tuned(beside.module.denoiser, settings.rank).to(place.device)
    shared = (module, start, settings, artist, sentences)
    told: dict[str, Any] = {"beside": beside.origin, "defaults": card.defaults}
    objective: PairTuning | PolicyTuning
    if settings.method == "dpo":
        made_by = {"beside": beside.origin, "reward": judge.sha256, "steps": settings.steps}
        made_by |= {"guidance": settings.guidance, "dtype": config.dtype}
        maker = PairMaker(
            artist,
            lambda x, t, said: velocity(start, x, t, said),
            judge,
            sentences,
            place.out / PAIRS,
            settings.each,
            config.seed,
            made_by,
        )
        pairs = maker(settings.sentences, report)
        objective = PairTuning(*shared, pairs=pairs, compiled=compiled, **told)
        usual = VIEWS * len(pairs.texts)
    else:
        objective = PolicyTuning(*shared, judge=judge, seed=config.seed, folder=place.out / ROUNDS, **told)
        objective.check_batch(config.batch // config.accumulate)
        usual = TURNS * objective.length
    config = replace(config, samples=usual if samples is None else samples)
    sources = sources_of(place.out, model)
    return Trainer(objective, config, place.out, force=force, origin=beside.origin, sources=sources, group=place.group)


def _artist(beside: Staying, model: Path, settings: TuningConfig, place: Place, dtype: torch.dtype) -> Artist:
    """What draws as the model does, but for its sampler: the text encoder is a copy, in the run's dtype at once."""
    wide, high = read_card(model).defaults.drawn
    side = beside.codec.config.channels, high // FACTOR, wide // FACTOR
    return Artist(
        Tokenizer.from_json((model / WORDS).read_text(encoding="utf-8")),
        settings.length,
        copy.deepcopy(beside.module.text).to(place.device, dtype).eval().requires_grad_(False),
        beside.codec.to(place.device, dtype).eval().requires_grad_(False),
        Steps(settings.steps, shift_for(side), settings.eta),
        settings.guidance,
        side,
    )


def written_preference(out: Path, model: Path, name: str) -> Path:
    """The run's hand-over as a LoRA file, ``out/NAME.safetensors``, which says whose verdicts it learnt from."""
    leg = leg_of(out / HANDOVER)
    told = about(out, model, f"prefers what the judge {leg['config']['reward'][:12]} finds right; ")
    weights = weights_of(out / HANDOVER, PREFERENCE)
    return write_lora(branches_of(weights), out / f"{name}.safetensors", title=name, about=told)
