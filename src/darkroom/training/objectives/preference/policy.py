"""A policy gradient for drawing in few steps: the model draws, a judge says how well, and what went better than the
other pictures of the same sentence is made likelier.

A picture's steps are Gaussians (``steps.py``), so the likelihood ratio of a step under the weights now and those it was
drawn with is known. Clipped as in PPO (arXiv:1707.06347 eq. 7), it is weighed by the picture's reward against the mean
and deviation of its group (GRPO, arXiv:2402.03300 section 4.1.1; for flows arXiv:2505.05470 eq. 4-5; the likelihood of
denoising steps is DDPO's, arXiv:2305.13301 eq. 5):

    L = - min(r A, clip(r, 1 - c, 1 + c) A) + beta KL,    log r = (|x' - mu_old|^2 - |x' - mu|^2) / (2 fresh^2)

with KL = |mu - mu_0|^2 / (2 fresh^2) to the start model's step, exactly. The velocity in mu is the guided one, which is
what draws. The last step draws no noise and has no likelihood.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from darkroom.contracts.errors import BadInput
from darkroom.contracts.files import publish
from darkroom.data.imported import shuffled
from darkroom.judge.judge import Judge
from darkroom.training.loop import step_seed
from darkroom.training.objectives.latents import summed
from darkroom.training.objectives.preference.asking import Asked
from darkroom.training.objectives.preference.pairs import DRAWN
from darkroom.training.objectives.preference.rewards import reward, verdicts
from darkroom.training.objectives.preference.steps import guided
from darkroom.training.objectives.preference.tuning import Tuning

CLIP = 0.2  # c
KEPT = 8  # rounds on disk: a checkpoint that is gone on from is no older
ROUNDS = "rounds"  # folder in the run's


@dataclass(frozen=True)
class Round:
    """Pictures drawn with the weights of one moment: ``states`` (steps, N, C, H, W) are x at the beginning of each step
    and after the last that draws noise, ``missed`` (steps - 1, N) is |x' - mu_old|^2."""

    texts: list[str]
    rewards: Float[Tensor, " n"]
    states: Tensor
    missed: Tensor


class PolicyTuning(Tuning):
    """See the module's first lines. A sample is one step of one picture of a round."""

    def __init__(self, *rest: Any, judge: Judge, seed: int, folder: Path, **more: Any) -> None:
        """Rounds are drawn from ``seed``, judged by ``judge`` and kept in ``folder``."""
        super().__init__(*rest, **more)
        self.judge, self.seed, self.folder = judge, seed, folder
        self._round: tuple[int, Round] | None = None

    @property
    def pictures(self) -> int:
        """Those of a round."""
        return self.settings.sentences * self.settings.each

    @property
    def length(self) -> int:
        """Samples of a round."""
        return self.pictures * (self.settings.steps - 1)

    def check_batch(self, count: int) -> None:
        """Raises BadInput for micro-batches that would lie across the end of a round."""
        if self.length % count:
            rule = f"does not divide a round: {self.length:,} steps of {self.pictures} pictures, without their last"
            raise BadInput(f"a micro-batch of {count}", rule, f"give --batch {math.gcd(self.length, 64)}")

    def loss(self, first: int, count: int, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        number, place = divmod(first, self.length)
        drawn = self._drawn(number, anew=place == 0)
        order = shuffled(self.length, f"steps/{self.seed}/{number}")[place : place + count]
        steps, rows = (torch.tensor(part) for part in zip(*(divmod(one, self.pictures) for one in order), strict=True))
        device, artist = self.artist.device, self.artist
        x, after = (drawn.states[steps + more, rows].to(device) for more in (0, 1))
        missed, t = drawn.missed[steps, rows].to(device), artist.steps.times[steps].to(device)
        said, nothing = artist.said([drawn.texts[row] for row in rows]), artist.said([""])
        guidance = self.settings.guidance
        now = guided(self.ask, x, t, said, nothing, guidance)
        with torch.no_grad():
            before = guided(self.before, x, t, said, nothing, guidance)
        mean, mean0 = (artist.steps.mean(steps, x, v) for v in (now, before))
        spread = 2 * artist.steps.fresh[steps].to(device).square()
        log_ratio = (missed - (after - mean).square().sum((1, 2, 3))) / spread
        advantage = advantages(drawn.rewards.view(-1, self.settings.each)).flatten()[rows].to(device)
        divergence = (mean - mean0).square().sum((1, 2, 3)) / spread
        metrics = {
            "reward": summed(drawn.rewards),
            "divergence": summed(divergence),
            "clipped": summed(((log_ratio.exp() - 1).abs() > CLIP).float()),
            "drift": self.drifted(now.detach(), before),
        }
        return (surrogate(log_ratio, advantage) + self.settings.beta * divergence).mean(), metrics

    def _drawn(self, number: int, *, anew: bool) -> Round:
        """A round; in the middle of one that was begun before, that of its file, for the weights it was drawn with are
        no more."""
        if self._round is not None and self._round[0] == number:
            return self._round[1]
        found = None if anew else self._read(number)
        if found is None:
            if not anew:
                warnings.warn(f"round {number} of {self.folder} is gone; it is drawn anew", stacklevel=2)
            found = self._made(number)
            self._keep(number, found)
        self._round = number, found
        return found

    def _made(self, number: int) -> Round:
        asked = self._asked(number)
        texts = [one.text for one in asked]
        draw = torch.Generator().manual_seed(step_seed(self.seed, number, DRAWN))
        states, means = self.artist.walked(self.ask, self.artist.said(texts), draw)
        facts = verdicts(self.judge, self.artist.pixels(states[-1]), asked)
        missed = (states[1:-1] - means[:-1]).square().sum((2, 3, 4))
        return Round(texts, torch.tensor([reward(some) for some in facts]), states[:-1].cpu(), missed.cpu())

    def _asked(self, number: int) -> list[Asked]:
        """The sentences of a round, each as often as it is drawn. Where of some scenes nothing is asked, those before
        them come again."""
        wanted = self.settings.sentences
        found = self.sentences(number * 2 * wanted, 2 * wanted)
        if not found:
            rule = "ask for nothing that can be checked"
            raise BadInput(
                f"the {2 * wanted} scenes of round {number}", rule, "describe other scenes: --kinds, --scenes"
            )
        return [found[i % len(found)] for i in range(wanted) for _ in range(self.settings.each)]

    def _path(self, number: int) -> Path:
        return self.folder / f"round-{number:06d}.safetensors"

    def _keep(self, number: int, drawn: Round) -> None:
        tensors = {"rewards": drawn.rewards, "states": drawn.states.contiguous(), "missed": drawn.missed.contiguous()}
        publish(save(tensors, {"texts": json.dumps(drawn.texts)}), self._path(number))
        self._path(number - KEPT).unlink(missing_ok=True)

    def _read(self, number: int) -> Round | None:
        try:
            with safe_open(self._path(number), "pt") as file:
                parts = (file.get_tensor(name) for name in ("rewards", "states", "missed"))
                return Round(json.loads(file.metadata()["texts"]), *parts)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            return None


def advantages(rewards: Float[Tensor, "groups each"]) -> Float[Tensor, "groups each"]:
    """Rewards against the mean and deviation of their group; 0 where all of a group are alike."""
    mean, deviation = rewards.mean(1, keepdim=True), rewards.std(1, correction=0, keepdim=True)
    return (rewards - mean) / torch.where(deviation > 1e-6, deviation, 1.0)


def surrogate(log_ratio: Float[Tensor, " b"], advantage: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """The clipped objective, as a loss."""
    ratio = log_ratio.exp()
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage)
