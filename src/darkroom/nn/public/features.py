"""What ControlNets (arXiv:2302.05543) add to the features of a UNet, and the pictures they read, which ride on x.

A ControlNet is a copy of a UNet's first half that also sees a picture, its map. After every block it says what is to be
added to the features that the UNet hands over to its second half. A map has pixels where x has cells: the pixels of a
cell become channels of x. So whatever moves x (a region asked in the middle, a seam that wanders) moves the map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


class Features(NamedTuple):
    """What is added to the features of each block of the first half, and of the middle."""

    down: Sequence[Tensor]
    mid: Tensor


def summed(added: Sequence[Features]) -> Features:
    """What several add, in their order."""
    first, *others = added
    for other in others:
        down = [one + more for one, more in zip(first.down, other.down, strict=True)]
        first = Features(down, first.mid + other.mid)
    return first


def use_named(sha256: str, place: int) -> str:
    """The name in a call of one use of a ControlNet, which may read several maps; ``place`` counts them."""
    return f"{sha256}/{place}"


def use_of(name: str) -> str:
    """The hash of the ControlNet that a call's name means."""
    return name.partition("/")[0]


def ridden(x: Float[Tensor, "c h w"], maps: Sequence[Float[Tensor, "3 pixels_high pixels_wide"]]) -> Tensor:
    """x with maps as further channels: (c + 3 f^2 for each map, h, w), f pixels a side of a cell."""
    factor = maps[0].shape[2] // x.shape[2]
    return torch.cat([x, *(F.pixel_unshuffle(one, factor).to(x) for one in maps)])


def unridden(x: Float[Tensor, "b more h w"], channels: int, count: int) -> tuple[Tensor, Sequence[Tensor]]:
    """x and the maps that ride on it, (b, 3, pixels, pixels) each: the inverse of :func:`ridden`."""
    cells = x[:, channels:].chunk(count, 1)
    factor = math.isqrt(cells[0].shape[1] // 3)
    return x[:, :channels].contiguous(), [F.pixel_shuffle(one, factor) for one in cells]
