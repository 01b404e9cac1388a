"""What the judge sees in pictures: things with their places and colours, the facts of the whole, a word."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from darkroom.judge.truth import COLOUR_NAMES, WHOLE
from darkroom.nn.detector import CELLS, SIDE, Detector
from darkroom.wording.vocabulary import core

FAINT = 0.05  # score below which nothing is noted
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Thing:
    """Something seen, and all that it may be."""

    words: dict[str, float]  # concept -> how sure it is that something is there and that it is this, in [0, 1]
    colours: dict[str, float]  # "own" or a colour word -> probability
    box: Box  # x0, y0, x1, y1, fractions of the side
    covered: float  # probability that something stands before it


@dataclass(frozen=True, slots=True)
class Sight:
    """All that is seen in one picture."""

    things: tuple[Thing, ...]  # some of them one thing seen twice
    whole: dict[str, dict[str, float]]  # fact of the whole picture -> value -> probability
    word: str  # "" where none is read
    vector: Tensor = field(default_factory=lambda: torch.zeros(0), compare=False, repr=False)  # (shared,), for ranking

    def most(self, fact: str) -> str:
        """The likeliest value of a fact of the whole picture."""
        values = self.whole[fact]
        return max(values, key=values.__getitem__)


@torch.no_grad()
def look(detector: Detector, pixels: Float[Tensor, "b 3 h w"]) -> list[Sight]:
    """What is in pictures (sRGB in [0, 1], of any size and shape; the longer side is made 128 pixels)."""
    if pixels.shape[-2:] != (SIDE, SIDE):
        pixels = _fitted(pixels)
    dtype = next(detector.parameters()).dtype
    seen = detector(pixels.to(dtype, memory_format=torch.channels_last))
    heat = seen.heat.float().sigmoid()
    peaks = heat * (F.max_pool2d(heat[:, None], 3, 1, 1)[:, 0] == heat)
    concepts = seen.concept.float().softmax(1)
    whole = {name: logits.float().softmax(1) for name, logits in detector.facts(seen.whole).items()}
    read = seen.letters.float().argmax(-1)
    found = []
    for i in range(len(pixels)):
        things = [
            _thing(concepts[i], seen.colour[i], seen.box[i], seen.covered[i], peaks[i, row, column].item(), row, column)
            for row, column in (peaks[i] >= FAINT).nonzero().tolist()
        ]
        facts = {name: dict(zip(WHOLE[name], p[i].tolist(), strict=True)) for name, p in whole.items()}
        found.append(Sight(tuple(things), facts, _word(read[i].tolist()), seen.vector[i].float()))
    return found


def _thing(concept: Tensor, colour: Tensor, box: Tensor, covered: Tensor, heat: float, row: int, column: int) -> Thing:
    scores = heat * concept[:, row, column]
    words = {core()[best].word: scores[best].item() for best in (scores >= FAINT).nonzero()[:, 0].tolist()}
    colours = colour[:, row, column].float().softmax(0).tolist()
    left, up, right, down = box[:, row, column].float().tolist()
    x, y = (column + 0.5) / CELLS, (row + 0.5) / CELLS
    return Thing(
        words,
        dict(zip(COLOUR_NAMES, colours, strict=True)),
        (x - left, y - up, x + right, y + down),
        covered[row, column].float().sigmoid().item(),
    )


def _word(letters: list[int]) -> str:
    """The word of a CTC path: repeats joined, blanks dropped."""
    pairs = zip([0, *letters], letters, strict=False)
    return "".join(chr(64 + now) for before, now in pairs if now not in (0, before))


def _fitted(pixels: Tensor) -> Tensor:
    """Pictures made 128 pixels at their longer side, on white where they are not square."""
    high, wide = pixels.shape[-2:]
    scale = SIDE / max(high, wide)
    size = (max(1, round(high * scale)), max(1, round(wide * scale)))
    small = F.interpolate(pixels, size, mode="bilinear", antialias=True).clamp(0, 1)
    down, across = SIDE - size[0], SIDE - size[1]
    return F.pad(small, (across // 2, across - across // 2, down // 2, down - down // 2), value=1.0)
