"""Control maps: pictures that say where edges, depths or limbs are, read by ControlNets (arXiv:2302.05543).

A map is cut and scaled to the picture, as a picture to start from is. It acts in some of the steps, and rides on x
there (``nn.public.features``); how strongly it acts is an input of each call, as with any adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor

import numpy as np
import torch
from torch import Tensor

from darkroom.contracts.errors import BadInput, shown
from darkroom.contracts.recipe import ControlUse, PictureFile
from darkroom.control.adapters import carried
from darkroom.control.canvas import covering, flat
from darkroom.nn.public.features import ridden, use_named
from darkroom.picture.inputs import Inputs
from darkroom.protocols import Around, Denoise, Latent, LatentCodec, Level, Synthesizer, Task
from darkroom.synthesis.steered import SteeredSynthesizer

ROUNDING = 1e-9  # of a share of the steps


@dataclass(frozen=True, slots=True)
class _Acting:
    """One use of a ControlNet: its name in calls, the cells of its map, its scale, and the times between which it
    acts."""

    name: str
    cells: Latent
    scale: float
    since: float
    until: float


def map_pixels(file: PictureFile, size: tuple[int, int], inputs: Inputs) -> np.ndarray:
    """A map at a size, width and height: (height, width, 3) uint8. Raises BadInput for one that is black all over."""
    return _made(file, size, inputs)


@lru_cache(maxsize=8)  # many seeds share them
def _made(file: PictureFile, size: tuple[int, int], inputs: Inputs) -> np.ndarray:
    pixels = covering(flat(inputs.pixels(file), ground=0), *size)
    if not pixels.any():
        cut = "" if file.size == size else " once it is cut and scaled to {}x{}".format(*size)
        fix = "give one with lines, depths or limbs in it, or leave the control out"
        raise BadInput(f"the control map {shown(file.name)}", f"is black all over{cut}, and says nothing", fix)
    return pixels


def controlling(
    uses: Sequence[ControlUse], inputs: Inputs, size: tuple[int, int], synthesizer: Synthesizer, codec: LatentCodec
) -> Task[Around | None]:
    """What maps add to the estimates of a pass of this size, width and height in pixels; None: nothing does."""
    acting = [(at, use) for at, use in enumerate(uses) if use.scale]
    if not acting:
        return None
    maps = []
    for _, use in acting:
        pixels = torch.tensor(map_pixels(use.map, size, inputs)).permute(2, 0, 1).float() / 255
        maps.append((yield from synthesizer.seen(pixels, codec)))

    def around(denoise: Denoise, levels: Sequence[Level]) -> Denoise:
        told = []
        for (at, use), cells in zip(acting, maps, strict=True):
            since, until = (levels[step].t for step in acting_steps(use, len(levels) - 1))
            told.append(_Acting(use_named(use.sha256, at), cells, use.scale, since, until))
        return _controlled(denoise, told)

    return around


def acting_steps(use: ControlUse, steps: int) -> tuple[int, int]:
    """The first of so many steps that a control acts in, and the first after those; the same: it acts in none."""
    first, after = ceil(use.start * steps - ROUNDING), floor(use.end * steps + ROUNDING)
    return first, max(first, after)


def _controlled(denoise: Denoise, controls: Sequence[_Acting]) -> Denoise:
    """The estimate with maps on x while they act, from ``since`` down to ``until``, where another step begins."""

    def denoise_(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
        now = [one for one in controls if one.until < level.t <= one.since]
        if not now:
            return (yield from denoise(x, level, toward))
        scales = {one.name: one.scale for one in now}
        asked = denoise(ridden(x, [one.cells for one in now]), level, toward)
        return (yield from carried(asked, {SteeredSynthesizer.NETWORK: scales}))

    return denoise_
