"""What a network makes of a picture whose edges meet: it is shown a piece of the other side beyond each."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from darkroom.protocols import Task

ACROSS, DOWN = {"across", "both"}, {"down", "both"}
BEYOND = 1 / 4  # of a side: a convolution's answers at the edge are then those of the middle


def meeting(tile: str | None) -> tuple[bool, bool]:
    """Whether left and right edge meet, and top and bottom; None: neither."""
    return tile in ACROSS, tile in DOWN


def carried_on(
    work: Callable[[Tensor], Task[Tensor]], x: Tensor, meets: tuple[bool, bool], unit: int = 1
) -> Task[Tensor]:
    """``work`` on (channels, height, width), of which some edges meet; it may change the size by a factor.

    ``unit`` is what the sides it takes are multiples of.
    """
    if not any(meets):
        return (yield from work(x))
    sides = x.shape[1:]
    beyond = [
        int(side * BEYOND) // unit * unit if meet else 0 for side, meet in zip(sides, reversed(meets), strict=True)
    ]
    for axis, n in enumerate(beyond, 1):
        x = torch.cat([x.narrow(axis, sides[axis - 1] - n, n), x, x.narrow(axis, 0, n)], axis)
    made = yield from work(x)
    for axis, (side, n) in enumerate(zip(sides, beyond, strict=True), 1):
        whole = made.shape[axis]
        made = made.narrow(axis, whole * n // (side + 2 * n), whole * side // (side + 2 * n))
    return made.contiguous()
