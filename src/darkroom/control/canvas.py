"""The picture one begins from, as large as the finished one, and where in it is drawn.

Outside the mask nothing changes: the soft edge lies within it, and what is kept is put back pixel by pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from darkroom.contracts.errors import BadInput
from darkroom.contracts.recipe import PictureFile, Recipe
from darkroom.contracts.request import Margins
from darkroom.picture.inputs import Inputs


@dataclass(frozen=True)
class Canvas:
    """``pixels`` are (height, width, 3) uint8 sRGB; ``drawn`` (height, width) uint8 is how much of each is drawn anew,
    of 255; None: all of all."""

    pixels: np.ndarray
    drawn: np.ndarray | None

    def scaled(self, width: int, height: int) -> np.ndarray:
        """The pixels at another size."""
        return _resized(self.pixels, (width, height))

    def touched(self, width: int, height: int) -> np.ndarray | None:
        """(height, width) bool, of a size that divides this one: which cells hold any pixel that is drawn."""
        if self.drawn is None:
            return None
        rows, columns = self.drawn.shape[0] // height, self.drawn.shape[1] // width
        cells: np.ndarray = self.drawn.reshape(height, rows, width, columns).max((1, 3)) > 0
        return cells

    def kept(self, drawing: np.ndarray) -> np.ndarray:
        """A drawing with what is kept put back into it, (height, width, 3) uint8."""
        if self.drawn is None:
            return drawing
        share = self.drawn[..., None].astype(np.uint32)
        mixed = (drawing * share + self.pixels * (255 - share) + 127) // 255
        return mixed.astype(np.uint8)


def canvas_of(recipe: Recipe, inputs: Inputs) -> Canvas | None:
    """The canvas that a recipe begins from; None: noise alone. Raises BadInput where its pictures are not at hand, and
    where nothing of it is drawn."""
    if recipe.init_image is None:
        return None
    size = recipe.width, recipe.height
    return _made(recipe.init_image, recipe.mask, recipe.outpaint, recipe.mask_blur or 0, size, inputs)


@lru_cache(maxsize=2)  # many seeds share one
def _made(
    start: PictureFile,
    where: PictureFile | None,
    margins: Margins | None,
    blur: int,
    size: tuple[int, int],
    inputs: Inputs,
) -> Canvas:
    pixels, mask = flat(inputs.pixels(start), ground=255), None
    if where is not None:
        mask = np.asarray(Image.fromarray(flat(inputs.pixels(where), ground=0)).convert("L"))
        if not mask.any():
            raise BadInput(f"the mask {where.name}", "is black everywhere", "paint white what is to be drawn")
    if margins is not None:
        pixels, mask = _widened(pixels, mask, margins, size)
    pixels = covering(pixels, *size)
    if mask is None:
        return Canvas(pixels, None)
    drawn = softened(covering(mask, *size), blur)
    if not drawn.any():
        rule = "lie outside of {}x{}, to which the picture is cut".format(*size)
        raise BadInput("the parts to be drawn", rule, "leave the size out, or give one of their shape")
    return Canvas(pixels, drawn)


def softened(mask: np.ndarray, pixels: int) -> np.ndarray:
    """A mask, (height, width) uint8, that rises from its edges inward over so many pixels; nothing of it is lost.

    The mean of what is left of it after 0, 1, 2 ... erosions, by crosses and squares in turn: its own pixels at the
    edge keep a share, those ``pixels`` within are as they were, and those outside stay black.
    """
    total, eroded = mask.astype(np.uint32), mask
    for n in range(1, pixels):
        eroded = _eroded(eroded, square=bool(n % 2))
        total += eroded
    mean: np.ndarray = (total + max(pixels, 1) // 2) // max(pixels, 1)
    return np.maximum(mean, mask > 0).astype(np.uint8)


def _eroded(mask: np.ndarray, *, square: bool) -> np.ndarray:
    """The least of each pixel and its neighbours; the picture's own edge is none."""
    rows = np.pad(mask, ((1, 1), (0, 0)), "edge")
    down = np.minimum(np.minimum(rows[:-2], rows[2:]), mask)
    columns = np.pad(down if square else mask, ((0, 0), (1, 1)), "edge")
    across = np.minimum(columns[:, :-2], columns[:, 2:])
    found: np.ndarray = np.minimum(across, down)
    return found


def _widened(
    pixels: np.ndarray, mask: np.ndarray | None, margins: Margins, finished: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """A picture with its margins, which carry its colours on, and a mask of what is to be drawn; brought down first
    where the finished picture is smaller, for it takes a while."""
    height, width = pixels.shape[:2]
    whole = (width + margins.left + margins.right, height + margins.top + margins.bottom)
    scale = min(1.0, max(done / side for done, side in zip(finished, whole, strict=True)))
    sides = (margins.top, margins.bottom), (margins.left, margins.right)
    around = [[round(n * scale) for n in pair] for pair in sides]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    pixels = _resized(pixels, size)
    kept = np.zeros(pixels.shape[:2], np.uint8) if mask is None else _resized(mask, size)
    known = np.pad(np.ones(kept.shape, bool), around)
    return continued(np.pad(pixels, (*around, (0, 0))), known), np.pad(kept, around, constant_values=255)


def continued(pixels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(height, width, 3) uint8 whose unknown pixels are a smooth continuation of the ``known`` (height, width) bool.

    Pull-push (Gortler et al. 1996, "The Lumigraph", section 3.4.2): averages of what is known, ever coarser until
    something is, and back.
    """
    weight = known[..., None].astype(np.float32)
    filled = _pulled(pixels * weight, weight)
    return np.where(known[..., None], pixels, np.clip(np.rint(filled), 0, 255)).astype(np.uint8)


def _pulled(value: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Colours everywhere, of colours times weights and their weights, from 0 (unknown) to 1."""
    own = value / np.maximum(weight, 1e-6)
    height, width = weight.shape[:2]
    if height == width == 1:
        return own
    even = ((0, height % 2), (0, width % 2), (0, 0))
    value4, weight4 = _fours(np.pad(value, even)), _fours(np.pad(weight, even))
    share = np.minimum(1 / np.maximum(weight4, 1e-6), 1)
    coarse = _pulled(value4 * share, weight4 * share)
    size = (coarse.shape[1] * 2, coarse.shape[0] * 2)
    planes = (Image.fromarray(np.ascontiguousarray(plane)) for plane in coarse.transpose(2, 0, 1))
    finer = np.stack([np.asarray(plane.resize(size, Image.Resampling.BILINEAR)) for plane in planes], -1)
    mixed: np.ndarray = own * weight + finer[:height, :width] * (1 - weight)
    return mixed


def _fours(plane: np.ndarray) -> np.ndarray:
    """Sums of each four neighbours."""
    total: np.ndarray = plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]
    return total


def flat(pixels: np.ndarray, *, ground: int) -> np.ndarray:
    """Without transparency: what shines through is ``ground``."""
    if pixels.shape[2] == 3:
        return pixels
    share = pixels[..., 3:].astype(np.uint32)
    flat: np.ndarray = (pixels[..., :3] * share + ground * (255 - share) + 127) // 255
    return flat.astype(np.uint8)


def covering(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Cut in the middle to the shape of a size, and scaled to it."""
    high, wide = pixels.shape[:2]
    scale = max(width / wide, height / high)
    across, down = width / scale, height / scale
    left, top = (wide - across) / 2, (high - down) / 2
    return _resized(pixels, (width, height), (left, top, left + across, top + down))


def _resized(
    pixels: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """The part of a picture in a box (None: all of it) at a size, width and height."""
    if pixels.shape[1::-1] == size:
        return pixels
    resample = Image.Resampling.LANCZOS if pixels.ndim == 3 else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(pixels).resize(size, resample, box))
