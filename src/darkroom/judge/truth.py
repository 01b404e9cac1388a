"""What a detector should say of a composed scene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from darkroom.data.scenes.anchors import EYEWEAR
from darkroom.data.scenes.compose import Composer
from darkroom.data.scenes.layout import GREY
from darkroom.data.scenes.spec import CAMERAS, GROUNDS, LIGHTS, MEDIA, MOTIONS, PLACES, QUALITIES, Scene, SpecObject
from darkroom.data.stock.pack import STYLES
from darkroom.nn.detector import CELLS
from darkroom.wording.vocabulary import COLOURS, GRADIENT, core

OWN = "own"  # the colours a drawing has by itself, where no one word says them
COLOUR_NAMES = (OWN, *COLOURS)
WHOLE: dict[str, tuple[str, ...]] = {
    "style": (*STYLES, *MEDIA, "photo"),
    "ground": (*GROUNDS, *PLACES, GRADIENT),
    "light": ("plain", *LIGHTS),
    "camera": ("plain", *CAMERAS),
    "motion": ("plain", *MOTIONS),
    "quality": ("clean", *QUALITIES),
}
"""Facts of the whole picture and their values."""
IGNORED = -100  # a fact this picture does not show


class Truth(NamedTuple):
    """Targets of a batch; what holds at a middle is given for each thing that has one."""

    heat: Float[Tensor, "b cells cells"]  # 1 at middles, falling off around them
    known: Float[Tensor, "b cells cells"]  # 0 where nothing is asked: in photos, and in things of other sizes
    at: Int[Tensor, "things 3"]  # picture, row and column of each middle
    concept: Int[Tensor, " things"]
    colour: Int[Tensor, " things"]  # of COLOUR_NAMES; IGNORED where light or medium hides it
    box: Float[Tensor, "things 4"]  # left, up, right, down from the cell's middle, in sides
    covered: Float[Tensor, " things"]  # 1, 0 or IGNORED
    around: Int[Tensor, "cells 3"]  # picture, row and column of the middles and the cells next to them
    whose: Int[Tensor, " cells"]  # which thing's they are
    letters: list[str]  # the word of each picture; "" where there is none
    whole: dict[str, Int[Tensor, " b"]]

    def to(self, device: torch.device) -> Truth:
        """The same on another device."""
        moved: dict[str, Any] = {n: v.to(device) for n, v in self._asdict().items() if isinstance(v, Tensor)}
        return self._replace(**moved, whole={name: value.to(device) for name, value in self.whole.items()})


def joined(truths: Sequence[Truth]) -> Truth:
    """The targets of batches one after the other."""
    pictures, things = 0, 0
    shifted = []
    for truth in truths:
        move = torch.tensor([pictures, 0, 0], device=truth.at.device)
        shifted.append(truth._replace(at=truth.at + move, around=truth.around + move, whose=truth.whose + things))
        pictures, things = pictures + len(truth.heat), things + len(truth.at)
    first = shifted[0]
    tensors = [name for name, value in first._asdict().items() if isinstance(value, Tensor)]
    return first._replace(
        **{name: torch.cat([getattr(truth, name) for truth in shifted]) for name in tensors},
        letters=[word for truth in shifted for word in truth.letters],
        whole={name: torch.cat([truth.whole[name] for truth in shifted]) for name in first.whole},
    )


def truth_of(
    scenes: Sequence[Scene],
    composer: Composer,
    gone: Sequence[frozenset[int]],
    cells: int = CELLS,
    sizes: tuple[float, float] = (0.0, math.inf),
) -> Truth:
    """Targets of scenes, on maps of ``cells`` a side.

    ``gone`` names each scene's objects (by position) that were spoilt. Of things whose larger side is none of ``sizes``
    (of the picture's) nothing is asked: another look is at them.
    """
    device = composer.table.pixels.device
    heat = torch.zeros(len(scenes), cells, cells)
    known = torch.tensor([float(scene.photo is None) for scene in scenes])[:, None, None].repeat(1, cells, cells)
    rows: dict[tuple[int, int, int], tuple[int, int, tuple[float, ...], float]] = {}
    for number, (scene, lost) in enumerate(zip(scenes, gone, strict=True)):
        boxes = [composer.visible_box(scene, thing) for thing in scene.objects]
        for i, (thing, box) in enumerate(zip(scene.objects, boxes, strict=True)):
            if i in lost:
                continue
            if not sizes[0] <= max(box[2] - box[0], box[3] - box[1]) <= sizes[1]:
                _within(known[number], box)[:] = 0
                continue
            x, y = middle(scene, thing, box)
            column, row = (min(cells - 1, max(0, int(v * cells))) for v in (x, y))
            spread = max(0.9, 0.11 * thing.size * cells)  # a middle on the border of two cells is both's, nearly
            heat[number] = torch.maximum(heat[number], _bump(row, column, spread, cells))
            cx, cy = (column + 0.5) / cells, (row + 0.5) / cells
            reach = (cx - box[0], cy - box[1], box[2] - cx, box[3] - cy)
            over = max((overlap(boxes[i], b) for j, b in enumerate(boxes) if j > i and j not in lost), default=0.0)
            hidden = IGNORED if 0.05 < over < 0.13 else over > 0.1  # in between, boxes meet and drawings may not
            colour = _colour(scene, thing, composer)
            rows[number, row, column] = (thing.concept, colour, reach, float(hidden))
    at = list(rows)
    values = list(rows.values())
    near = {place: i for i, place in enumerate(at)}
    for i, (number, row, column) in enumerate(at):
        for r in range(max(0, row - 1), min(cells, row + 2)):
            for c in range(max(0, column - 1), min(cells, column + 2)):
                near.setdefault((number, r, c), i)
    for number, r, c in near:
        known[number, r, c] = float(scenes[number].photo is None)
    whole = {name: torch.tensor([_fact(scene, name) for scene in scenes], device=device) for name in WHOLE}
    return Truth(
        heat.to(device),
        known.to(device),
        torch.tensor(at, dtype=torch.long, device=device).view(-1, 3),
        torch.tensor([v[0] for v in values], dtype=torch.long, device=device),
        torch.tensor([v[1] for v in values], dtype=torch.long, device=device),
        torch.tensor([v[2] for v in values], device=device).view(-1, 4).clamp_min(0.005),
        torch.tensor([v[3] for v in values], device=device),
        torch.tensor(sorted(near), dtype=torch.long, device=device).view(-1, 3),
        torch.tensor([near[place] for place in sorted(near)], dtype=torch.long, device=device),
        [scene.lettering.text if scene.lettering is not None else "" for scene in scenes],
        whole,
    )


def middle(scene: Scene, thing: SpecObject, box: tuple[float, float, float, float]) -> tuple[float, float]:
    """Where a thing is looked for: its middle, but the chin of who wears glasses, whose middle is where they are."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    if scene.relation == "wearing" and thing is scene.objects[0] and _is_eyewear(scene.objects[1]):
        y += 0.27 * (box[3] - box[1])
    return min(0.999, max(0.0, x)), min(0.999, max(0.0, y))


def _colour(scene: Scene, thing: SpecObject, composer: Composer) -> int:
    """Which colour word an object looks like: the one it is painted in, or that of the drawing itself."""
    if scene.style in GREY or scene.light not in (None, "day"):
        return IGNORED
    return COLOUR_NAMES.index(thing.colour or composer.sprite(scene, thing).colour or OWN)


def overlap(box: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Share of a box that another covers."""
    wide = max(0.0, min(box[2], other[2]) - max(box[0], other[0]))
    high = max(0.0, min(box[3], other[3]) - max(box[1], other[1]))
    return wide * high / max(1e-9, (box[2] - box[0]) * (box[3] - box[1]))


def one_area(box: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Intersection over union of two boxes."""
    a, b = overlap(box, other), overlap(other, box)
    return a * b / (a + b - a * b) if a and b else 0.0


def _is_eyewear(thing: SpecObject) -> bool:
    return core()[thing.concept].word in EYEWEAR


def _within(cells: Tensor, box: tuple[float, float, float, float]) -> Tensor:
    """The cells of a picture's map that a box touches."""
    count = len(cells)
    x0, y0, x1, y1 = (
        min(count, max(0, v))
        for v in (*(math.floor(b * count) for b in box[:2]), *(math.ceil(b * count) for b in box[2:]))
    )
    return cells[y0:y1, x0:x1]


def _bump(row: int, column: int, spread: float, cells: int) -> Float[Tensor, "cells cells"]:
    y, x = torch.arange(cells)[:, None] - row, torch.arange(cells)[None, :] - column
    return torch.exp(-(x.square() + y.square()).float() / (2 * spread * spread))


def _fact(scene: Scene, name: str) -> int:
    """A fact of the whole picture as a number; IGNORED where it cannot be seen."""
    values = WHOLE[name]
    if name == "style":
        drawn = scene.objects or scene.figure or scene.room or scene.photo or scene.style in MEDIA
        return values.index(scene.style) if drawn else IGNORED
    if scene.photo is not None:
        return IGNORED
    if name == "ground":
        if scene.light is not None and not scene.ground.place:
            return IGNORED
        if scene.style == "pencil sketch" and not scene.ground.place:
            return IGNORED
        return values.index(GRADIENT if scene.ground.name_to is not None else scene.ground.name)
    value = getattr(scene, name)
    return 0 if value is None else values.index(value)


assert math.isclose(_bump(0, 0, 1.0, 2)[0, 0].item(), 1.0)
