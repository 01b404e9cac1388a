"""What ControlNets (arXiv:2302.05543) add to the features of a denoiser, and the pictures they read, which ride on x.

A ControlNet is a copy of a denoiser's first part that also sees a picture, its map. After every block it says what is
to be added to the features there. A map has channels where x has cells: a cell's pixels, or the map's own latent. So
whatever moves x (a region asked in the middle, a seam that wanders) moves the map.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


class Features(NamedTuple):
    """What is added after each block: of a UNet's first half and its middle, of a transformer's two kinds."""

    first: Sequence[Tensor]
    then: Sequence[Tensor]


def summed(added: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """What several add after as many blocks, in their order."""
    return [reduce(torch.add, after) for after in zip(*added, strict=True)]


def use_named(sha256: str, place: int) -> str:
    """The name in a call of one use of a ControlNet, which may read several maps; ``place`` counts them."""
    return f"{sha256}/{place}"


def use_of(name: str) -> str:
    """The hash of the ControlNet that a call's name means."""
    return name.partition("/")[0]


def cells_of(pixels: Float[Tensor, "3 pixels_high pixels_wide"], factor: int) -> Float[Tensor, "c h w"]:
    """Pixels as channels of the cells they lie in, ``factor`` a side."""
    return F.pixel_unshuffle(pixels, factor)


def pixels_of(cells: Float[Tensor, "b c h w"], factor: int) -> Float[Tensor, "b 3 pixels_high pixels_wide"]:
    """The inverse of :func:`cells_of`, of a batch."""
    return F.pixel_shuffle(cells, factor)


def ridden(x: Float[Tensor, "c h w"], maps: Sequence[Float[Tensor, "more h w"]]) -> Float[Tensor, "all h w"]:
    """x with the cells of maps as further channels."""
    return torch.cat([x, *(one.to(x) for one in maps)])


def unridden(
    x: Float[Tensor, "b all h w"], channels: int, count: int
) -> tuple[Float[Tensor, "b c h w"], Sequence[Float[Tensor, "b more h w"]]]:
    """x, which has so many channels, and the cells of the maps that ride on it: the inverse of :func:`ridden`."""
    return x[:, :channels].contiguous(), x[:, channels:].chunk(count, 1)
