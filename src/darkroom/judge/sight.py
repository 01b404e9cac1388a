"""What the judge sees in pictures: things with their places and colours, the facts of the whole, a word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from darkroom.judge.truth import COLOUR_NAMES, WHOLE, one_area
from darkroom.nn.detector import SIDES, Detector, Seen
from darkroom.wording.vocabulary import core

FAINT = 0.05  # score below which nothing is noted
ONE = 0.5  # intersection over union from which things of two looks are one
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Thing:
    """Something seen, and all that it may be."""

    words: dict[str, float]  # concept -> how sure it is that something is there and that it is this, in [0, 1]
    colours: dict[str, float]  # "own" or a colour word -> probability
    box: Box  # x0, y0, x1, y1, fractions of the side
    covered: float  # probability that something stands before it

    @property
    def sure(self) -> float:
        """How sure it is of the likeliest of its words."""
        return max(self.words.values(), default=FAINT)


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
    """What is in pictures (sRGB in [0, 1], of any size and shape).

    Things are looked for three times: as they are (the longer side made 128 pixels), from nearer and from farther
    away. All else is seen as it is.
    """
    dtype = next(detector.parameters()).dtype
    looks = [detector(sized(pixels, side).to(dtype, memory_format=torch.channels_last)) for side in SIDES]
    plain = looks[0]
    whole = {name: logits.float().softmax(1) for name, logits in detector.facts(plain.whole).items()}
    read = plain.letters.float().argmax(-1)
    found = []
    for i, things in enumerate(zip(*(_things(seen) for seen in looks), strict=True)):
        facts = {name: dict(zip(WHOLE[name], p[i].tolist(), strict=True)) for name, p in whole.items()}
        found.append(Sight(_united(things), facts, _word(read[i].tolist()), plain.vector[i].float()))
    return found


def _things(seen: Seen) -> list[list[Thing]]:
    """The things of each picture, the surest first."""
    heat = seen.heat.float().sigmoid()
    peaks = heat * (F.max_pool2d(heat[:, None], 3, 1, 1)[:, 0] == heat)
    picture, row, column = (peaks >= FAINT).nonzero().T
    scores = peaks[picture, row, column, None] * seen.concept[picture, :, row, column].float().softmax(1)
    colours = seen.colour[picture, :, row, column].float().softmax(1).tolist()
    x, y = (column + 0.5) / heat.shape[2], (row + 0.5) / heat.shape[1]
    left, up, right, down = seen.box[picture, :, row, column].float().T
    boxes = torch.stack([x - left, y - up, x + right, y + down], 1).tolist()
    covered = seen.covered[picture, row, column].float().sigmoid().tolist()
    found: list[list[Thing]] = [[] for _ in heat]
    for k, i in enumerate(picture.tolist()):
        words = {core()[w].word: scores[k, w].item() for w in (scores[k] >= FAINT).nonzero()[:, 0].tolist()}
        paint = dict(zip(COLOUR_NAMES, colours[k], strict=True))
        found[i].append(Thing(words, paint, tuple(boxes[k]), covered[k]))
    return [sorted(things, key=lambda thing: -thing.sure) for things in found]


def _united(looks: Sequence[Sequence[Thing]]) -> tuple[Thing, ...]:
    """The things of several looks at one picture, those that are one thing as one."""
    groups: list[list[Thing]] = []
    for things in looks:
        free = list(range(len(groups)))  # a look sees a thing once
        for thing in things:
            same = [g for g in free if thing.words.keys() & groups[g][0].words.keys()]
            best = max(same, key=lambda g: one_area(groups[g][0].box, thing.box), default=None)
            if best is not None and one_area(groups[best][0].box, thing.box) >= ONE:
                groups[best].append(thing)
                free.remove(best)
            else:
                groups.append([thing])
    return tuple(_one_of(group) for group in groups)


def _one_of(group: Sequence[Thing]) -> Thing:
    """What several looks say of one thing: the box of the first, the words of all, the rest by how sure each is."""
    if len(group) == 1:
        return group[0]
    words = {word: max(other.words.get(word, 0.0) for other in group) for thing in group for word in thing.words}
    total = sum(thing.sure for thing in group)
    colours = {name: sum(t.sure * t.colours[name] for t in group) / total for name in group[0].colours}
    return Thing(words, colours, group[0].box, sum(t.sure * t.covered for t in group) / total)


def _word(letters: list[int]) -> str:
    """The word of a CTC path: repeats joined, blanks dropped."""
    pairs = zip([0, *letters], letters, strict=False)
    return "".join(chr(64 + now) for before, now in pairs if now not in (0, before))


def sized(pixels: Float[Tensor, "b 3 h w"], side: int) -> Float[Tensor, "b 3 side side"]:
    """Pictures made ``side`` pixels at their longer side, on white where they are not square."""
    high, wide = pixels.shape[-2:]
    if high == wide == side:
        return pixels
    scale = side / max(high, wide)
    size = (max(1, round(high * scale)), max(1, round(wide * scale)))
    small = F.interpolate(pixels, size, mode="bicubic", antialias=True).clamp(0, 1)
    down, across = side - size[0], side - size[1]
    return F.pad(small, (across // 2, across - across // 2, down // 2, down - down // 2), value=1.0)
