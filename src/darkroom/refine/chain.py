"""A chain of steps on a finished picture, in the order written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from darkroom.contracts.errors import BadInput
from darkroom.contracts.refinement import (
    Clean,
    Contrast,
    Crop,
    Curve,
    Exposure,
    Lut,
    Match,
    PictureFile,
    Resize,
    Saturation,
    Sharpen,
    Step,
    TableFile,
    Upscale,
    WhiteBalance,
)
from darkroom.picture.inputs import Inputs
from darkroom.refine.cleanup import cleaned
from darkroom.refine.colour import Array
from darkroom.refine.framing import box_of, cropped, resized, size_of, upscaled_size
from darkroom.refine.grading import balanced, contrasted, curved, exposed, saturated
from darkroom.refine.lut import Table, graded, parse_cube
from darkroom.refine.matching import matched
from darkroom.refine.sharpening import sharpened

if TYPE_CHECKING:  # torch is there where something is upscaled
    from darkroom.protocols import Refiner, Task


def refined(
    pixels: Array,
    steps: Iterable[Step],
    inputs: Inputs,
    upscaler: Refiner | None = None,
    on_step: Callable[[int], None] = lambda _: None,
) -> Task[Array]:
    """(height, width, 3) uint8 sRGB after the steps, which work on float32; without steps, the very array.

    ``inputs`` hold the files that steps tell of. ``upscaler`` None: nobody enlarges. ``on_step`` is told of
    each, by its place from 0, before it is done. Raises BadInput where :func:`check` does.
    """
    steps = list(steps)
    if not steps:
        return pixels
    colours = pixels.astype(np.float32) / np.float32(255)
    for number, step in enumerate(steps):
        on_step(number)
        if isinstance(step, Upscale):
            colours = yield from _upscaled(colours, step, upscaler)
        else:
            colours = _done(step, colours, inputs)
    return eight_bits(colours)


def eight_bits(colours: Array) -> Array:
    """[0, 1] as uint8."""
    return (colours * np.float32(255)).round().astype(np.uint8)


def _done(step: Step, colours: Array, inputs: Inputs) -> Array:
    """A step that takes no network."""
    match step:
        case Clean():
            return cleaned(colours, step.strength)
        case Exposure():
            return exposed(colours, step.ev)
        case WhiteBalance():
            return balanced(colours, step.light)
        case Curve():
            return curved(colours, step.points)
        case Contrast():
            return contrasted(colours, step.factor)
        case Saturation():
            return saturated(colours, step.factor)
        case Lut():
            return graded(colours, table_of(step, inputs), step.amount)
        case Match(file=PictureFile() as file):
            return matched(colours, inputs.pixels(file), step.amount)
        case Sharpen():
            return sharpened(colours, step.amount, step.radius)
        case Crop():
            return cropped(colours, step)
        case Resize():
            return resized(colours, step)
    return eight_bits(colours).astype(np.float32) / np.float32(255)  # round


def table_of(step: Lut, inputs: Inputs) -> Table:
    """The table that a step tells of."""
    assert isinstance(step.file, TableFile)
    return _parsed(inputs.table(step.file), step.file.name)


_parsed = lru_cache(maxsize=2)(parse_cube)  # many pictures share a table


def _upscaled(colours: Array, step: Upscale, upscaler: Refiner | None) -> Task[Array]:
    """The picture after the model's upscaler, one doubling after the other."""
    import torch

    from darkroom.refine.upscale import doublings

    upscaled_size(step, colours.shape[1], colours.shape[0])
    pixels = torch.from_numpy(np.ascontiguousarray(colours.transpose(2, 0, 1)))
    for doubling in doublings(step.factor, upscaler):
        pixels = yield from doubling.refine(pixels)
    return np.ascontiguousarray(pixels.clamp(0, 1).cpu().numpy().transpose(1, 2, 0))


def size_after(steps: Iterable[Step], size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of a picture after the steps. Raises BadInput where they cannot be done to one of that size."""
    for step in steps:
        match step:
            case Crop():
                size = box_of(step, *size)[2:]
            case Resize():
                size = size_of(step, *size)
            case Upscale():
                size = upscaled_size(step, *size)
    return size


def check(steps: Iterable[Step], size: tuple[int, int], inputs: Inputs, upscaler: Refiner | None) -> tuple[int, int]:
    """Width and height of a picture after the steps. Raises DarkroomError, before anything is drawn, for what cannot be
    done to a picture of that size, and for files that are not at hand or not what they should be."""
    steps = list(steps)
    for step in steps:
        match step:
            case Upscale() if upscaler is None:
                fix = "leave it out, or take a model packed with one (`darkroom models pack --upscaler`)"
                raise BadInput(f"upscale={step.factor}", "is not possible: the model has no upscaler", fix)
            case Lut():
                table_of(step, inputs)
            case Match(file=PictureFile() as file):
                inputs.pixels(file)
    return size_after(steps, size)
