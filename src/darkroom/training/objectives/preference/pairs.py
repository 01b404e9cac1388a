"""Pairs of pictures of one sentence, of which a judge finds one better: made in lots, kept on disk, gone on with.

A lot is a function of its number alone, and a file: latents of all its pictures, the sentences, and every verdict.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from darkroom.contracts.errors import BadFile, BadInput, reason
from darkroom.contracts.files import publish
from darkroom.judge.judge import Judge
from darkroom.judge.verdict import Fact
from darkroom.nn.config import differences
from darkroom.training.loop import step_seed
from darkroom.training.objectives.preference.asking import Sentences
from darkroom.training.objectives.preference.rewards import reward, verdicts
from darkroom.training.objectives.preference.steps import Artist, Ask

LOT = 16  # sentences
TOLD = "told"  # the one entry of a file's metadata: several come in any order
DRAWN = 1 << 20  # of seeds: no training step has a part of this number
PAIRS, SETTINGS = "pairs", "pairs.json"  # folder in the run's, and file in it


@dataclass(frozen=True)
class Pairs:
    """Pictures that a judge finds better and worse, as latents, with their sentences and shares of facts right."""

    texts: list[str]
    better: Float[Tensor, "pairs c h w"]
    worse: Float[Tensor, "pairs c h w"]
    shares: list[tuple[float, float]]
    asked: int  # sentences drawn; those whose pictures are all alike to the judge make no pair
    mean: float  # share of facts right over all pictures drawn

    def line(self) -> str:
        """For a terminal."""
        better, worse = (sum(part) / len(self.shares) for part in zip(*self.shares, strict=True))
        return (
            f"{len(self.texts)} pairs of {self.asked} sentences; facts right: {self.mean:.3f} of all pictures, "
            f"{better:.3f} of the better ones of pairs, {worse:.3f} of the worse"
        )


@dataclass(frozen=True)
class PairMaker:
    """Draws ``each`` pictures of a sentence with a denoiser and keeps what ``judge`` says of them in ``folder``.

    ``told`` is what else decides them: the model, the judge, the steps.
    """

    artist: Artist
    ask: Ask
    judge: Judge
    sentences: Sentences
    folder: Path
    each: int
    seed: int
    told: Mapping[str, Any]

    def __call__(self, sentences: int, report: Callable[[int, int], None] = lambda done, of: None) -> Pairs:
        """The pairs of at least so many scenes' sentences. Lots that are there are not drawn again.

        Raises BadInput where the folder holds pairs made otherwise, or where there is no pair.
        """
        self._check_settings()
        lots = range(-(-sentences // LOT))
        missing = [lot for lot in lots if self._read(lot) is None]
        report(len(lots) - len(missing), len(lots))
        for done, lot in enumerate(missing, 1):
            publish(self._made(lot), self._path(lot))
            report(len(lots) - len(missing) + done, len(lots))
        read = [self._read(lot) for lot in lots]
        pairs = paired([lot for lot in read if lot is not None])
        if not pairs.texts:
            rule = f"have made no pair: the judge finds all {self.each} pictures of each alike"
            raise BadInput(f"{pairs.asked} sentences", rule, "give more --sentences, or more pictures of --each")
        return pairs

    def _path(self, lot: int) -> Path:
        return self.folder / f"lot-{lot:06d}.safetensors"

    def _check_settings(self) -> None:
        ours = json.loads(
            json.dumps({**self.told, "each": self.each, "seed": self.seed, "sentences": self.sentences.settings()})
        )
        path = self.folder / SETTINGS
        if not path.exists():
            publish(json.dumps(ours, indent=1, sort_keys=True).encode(), path)
            return
        try:
            theirs = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadFile(f"{path}", f"cannot be read ({reason(error)})", "give another --out") from error
        if found := differences(theirs, ours):
            rule = f"holds pairs that were made otherwise ({'; '.join(found)})"
            raise BadInput(f"{self.folder}", rule, "give another --out, or delete it")

    def _made(self, number: int) -> bytes:
        """A lot as a file's bytes."""
        asked = [one for one in self.sentences(number * LOT, LOT) for _ in range(self.each)]
        draw = torch.Generator().manual_seed(step_seed(self.seed, number, DRAWN))
        latents = torch.zeros(0, *self.artist.shape)
        facts: list[tuple[Fact, ...]] = []
        if asked:
            states, _ = self.artist.walked(self.ask, self.artist.said([one.text for one in asked]), draw)
            latents = states[-1].cpu()
            facts = verdicts(self.judge, self.artist.pixels(latents), asked)
        texts = [one.text for one in asked[:: self.each]]
        told = [[asdict(fact) for fact in some] for some in facts]
        metadata = {TOLD: json.dumps({"texts": texts, "facts": told})}
        shaped = latents.unflatten(0, (len(texts), self.each)) if texts else latents
        return save({"latents": shaped.half().contiguous()}, metadata)

    def _read(self, number: int) -> Lot | None:
        """A lot that was made; None: it was not, or its file is damaged and is made anew."""
        try:
            with safe_open(self._path(number), "pt") as file:
                told = json.loads(file.metadata()[TOLD])
                facts = [tuple(Fact(**fact) for fact in some) for some in told["facts"]]
                return Lot(told["texts"], file.get_tensor("latents").float(), facts)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True)
class Lot:
    """Sentences, ``each`` latents of every one (sentences, each, C, H, W), and what the judge says of each picture."""

    texts: list[str]
    latents: Tensor
    facts: list[tuple[Fact, ...]]  # sentence by sentence


def paired(lots: Sequence[Lot]) -> Pairs:
    """The best and the worst picture of each sentence, by the share of facts right; none where they have the same."""
    texts, better, worse, shares, all_shares = [], [], [], [], []
    for lot in lots:
        each = lot.latents.shape[1] if lot.texts else 1
        for i, text in enumerate(lot.texts):
            found = [reward(facts) for facts in lot.facts[i * each : (i + 1) * each]]
            all_shares += found
            best, worst = found.index(max(found)), found.index(min(found))
            if found[best] > found[worst]:
                texts.append(text)
                better.append(lot.latents[i, best])
                worse.append(lot.latents[i, worst])
                shares.append((found[best], found[worst]))
    mean = sum(all_shares) / max(1, len(all_shares))
    latents = [torch.stack(some) if some else torch.zeros(0) for some in (better, worse)]
    return Pairs(texts, latents[0], latents[1], shares, sum(len(lot.texts) for lot in lots), mean)
