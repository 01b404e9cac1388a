"""Several sentences in one picture, and a picture whose edges meet: wrappers ``denoise -> denoise``.

Estimates of x0 are mixed cell by cell. For weights that add up to one that is the estimate of the product of the
sentences' densities, each to the power of its weight, where they are Gaussian around it (arXiv:2206.01714, section 3,
composes scores so); x stays one picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from darkroom.protocols import Box, Denoise, Level, Task
from darkroom.synthesis.guidance import together

# Of a region, what the prompt for the whole picture has to say there: little while things find their places, then as
# much as the region's own. Looked for on pairs of things whose sides the prompt alone gets wrong.
EARLY, LATE, SETTLED = 0.1, 0.5, 0.5  # shares before and after the time in the last
WANDER = 3 / 16  # of a side: how far a seam is moved at most. Twice that, and things melt; a third, and the seam stays
STRIDES = (0.6180339887, 0.7548776662)  # of the unit interval: steps that never meet (golden ratio, plastic number)


def turned(one: Denoise, other: Denoise, share: float) -> Denoise:
    """The estimate ``share`` of the way from one to another; both are asked at once, at the ends one alone."""
    if share in (0.0, 1.0):
        return other if share else one

    def denoise(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
        first, second = yield from together(one(x, level, toward), other(x, level, toward))
        return first + share * (second - first)

    return denoise


def regional(whole: Denoise, regions: Sequence[tuple[Box, Denoise]]) -> Denoise:
    """Estimates of their own for parts of the picture.

    A network trained on pictures with their thing in the middle draws it there. So each region is asked about x moved
    (around the edges) until the region's centre is the picture's, and its answer is moved back. It counts most in the
    region's middle and not at its edges, so that grounds pass into each other. Where regions overlap they share.

    Args:
        whole: the estimate for all of the picture.
        regions: boxes (left, top, right, bottom) as shares of the sides, and the estimate for each.
    """

    def denoise(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
        height, width = x.shape[1:]
        moves = [_centring(box, height, width) for box, _ in regions]
        moved = (one(x.roll(by, (1, 2)), level, toward) for by, (_, one) in zip(moves, regions, strict=True))
        base, *own = yield from together(whole(x, level, toward), *moved)
        share = 1.0 - (EARLY if level.t > SETTLED else LATE)
        weights = [share * _bump(box, height, width) for box, _ in regions]
        total = torch.stack(weights).sum(0).clamp(min=1.0)
        x0 = base
        for by, weight, found in zip(moves, weights, own, strict=True):
            x0 = x0 + (weight / total).to(x0) * (found.roll((-by[0], -by[1]), (1, 2)) - base)
        return x0

    return denoise


def _centring(box: Box, height: int, width: int) -> tuple[int, int]:
    """How many cells down and across the centre of a box is moved to be the picture's."""
    left, top, right, bottom = box
    return round((1 - top - bottom) / 2 * height), round((1 - left - right) / 2 * width)


def _bump(box: Box, height: int, width: int) -> Float[Tensor, "height width"]:
    """1 in the middle of a box, falling to 0 at its edges as a sine."""
    left, top, right, bottom = box
    across, down = _arch(left, right, width), _arch(top, bottom, height)
    return down[:, None] * across


def _arch(first: float, last: float, cells: int) -> Float[Tensor, " cells"]:
    """sin(pi s) at the middles of cells, s their place from first (0) to last (1); 0 outside."""
    place = ((torch.arange(cells) + 0.5) / cells - first) / (last - first)
    return torch.sin(math.pi * place.clamp(0, 1)).clamp(min=0)  # sin(pi) is a little less than 0


def seamless(denoise: Denoise, across: bool, down: bool) -> Denoise:
    """The estimate of a picture whose edges meet: before each evaluation x is moved around them, by another few cells.

    The network sees the seam in another place every time, no longer at the edge, and closes it. Offsets follow two
    low-discrepancy sequences, so that the same picture has the same ones. Made anew for each picture: it counts.
    """
    seen = 0

    def denoise_(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
        nonlocal seen
        seen += 1
        by = [
            round(side * WANDER * (2 * (seen * stride % 1.0) - 1)) if meets else 0
            for side, stride, meets in zip(x.shape[1:], STRIDES, (down, across), strict=True)
        ]
        x0 = yield from denoise(x.roll(by, (1, 2)), level, toward)
        return x0.roll([-n for n in by], (1, 2))

    return denoise_
