"""What of a picture is kept, and how large it becomes."""

from __future__ import annotations

import numpy as np
from PIL import Image

from darkroom.contracts.errors import BadInput
from darkroom.contracts.refinement import Crop, Resize, Upscale
from darkroom.refine.colour import Array

MAX_PIXELS = 64_000_000  # of a resized picture: what is read again
MAX_UPSCALED = 4096  # pixels a side, of what the upscaler makes: beyond, it fills the memory


def box_of(step: Crop, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, width and height of what is kept of a picture. Raises BadInput where that lies outside."""
    if step.left is not None and step.top is not None:
        wide, high = int(step.width), int(step.height)
        if step.left + wide > width or step.top + high > height:
            fix = f"take less: all of it is {width}x{height}+0+0"
            raise BadInput(f"crop={step.value()}", f"goes beyond the picture, {width}x{height} there", fix)
        return step.left, step.top, wide, high
    shape = step.width / step.height
    wide = min(width, max(1, round(height * shape)))
    high = min(height, max(1, round(width / shape)))
    return (width - wide) // 2, (height - high) // 2, wide, high


def size_of(step: Resize, width: int, height: int) -> tuple[int, int]:
    """Width and height that a picture of that size is resized to. Raises BadInput where they are too many pixels."""
    wide, high = step.width, step.height
    if high is None:
        scale = step.width / max(width, height)
        wide, high = (max(1, round(side * scale)) for side in (width, height))
    if wide * high > MAX_PIXELS:
        raise BadInput(f"resize={step.value()}", f"would make more than {MAX_PIXELS:,} pixels", "make it smaller")
    return wide, high


def upscaled_size(step: Upscale, width: int, height: int) -> tuple[int, int]:
    """Width and height after the upscaler. Raises BadInput where that is more than it is given."""
    wide, high = width * step.factor, height * step.factor
    if max(wide, high) > MAX_UPSCALED:
        rule = f"would make {wide}x{high} of {width}x{height}, and its largest side is {MAX_UPSCALED}"
        raise BadInput(f"upscale={step.factor}", rule, "resize it to less before")
    return wide, high


def cropped(pixels: Array, step: Crop) -> Array:
    """The part of a picture (height, width, 3)."""
    left, top, wide, high = box_of(step, pixels.shape[1], pixels.shape[0])
    return pixels[top : top + high, left : left + wide]


def resized(pixels: Array, step: Resize) -> Array:
    """(height, width, 3) float32 in [0, 1] at another size, by Lanczos' kernel of three lobes."""
    size = size_of(step, pixels.shape[1], pixels.shape[0])
    if size == pixels.shape[1::-1]:
        return pixels
    planes = (Image.fromarray(np.ascontiguousarray(pixels[..., i])) for i in range(3))
    found = np.stack([np.asarray(plane.resize(size, Image.Resampling.LANCZOS)) for plane in planes], -1)
    return np.clip(found, 0.0, 1.0)
