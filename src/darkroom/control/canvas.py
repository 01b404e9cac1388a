"""The picture one begins from, as large as the finished one, and where in it is drawn.

Outside the mask nothing changes: the soft edge lies within it, and what is kept is put back pixel by pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from darkroom.contracts.errors import BadInput
from darkroom.contracts.recipe import Recipe
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
        return _resized(self.pixels, width, height)

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
    """The canvas that a recipe begins from; None: noise alone. Raises BadInput where its pictures are not at hand."""
    if recipe.init_image is None:
        return None
    pixels = _on_white(inputs.pixels(recipe.init_image))
    drawn = None
    if recipe.mask is not None:
        drawn = np.asarray(Image.fromarray(_on_white(inputs.pixels(recipe.mask), 0)).convert("L"))
        if not drawn.any():
            raise BadInput(f"the mask {recipe.mask.name}", "is black everywhere", "paint white what is to be drawn")
    if recipe.outpaint is not None:
        kept = np.zeros(pixels.shape[:2], np.uint8) if drawn is None else drawn
        around = _around(recipe.outpaint)
        pixels = continued(np.pad(pixels, (*around, (0, 0))), np.pad(np.ones_like(kept), around).astype(bool))
        drawn = np.pad(kept, around, constant_values=255)
    pixels = _covering(pixels, recipe.width, recipe.height)
    if drawn is not None:
        drawn = softened(_covering(drawn, recipe.width, recipe.height), recipe.mask_blur)
    return Canvas(pixels, drawn)


def softened(mask: np.ndarray, pixels: int) -> np.ndarray:
    """A mask, (height, width) uint8, that rises from its edge inward over about so many pixels; no larger than it was.

    Twice what a blur leaves of it above one half: at a straight edge it begins there with 0.
    """
    if not pixels:
        return mask
    blurred = np.asarray(Image.fromarray(mask).filter(ImageFilter.GaussianBlur(pixels / 2)))
    inward = np.clip(2 * blurred.astype(np.int32) - 255, 0, 255).astype(np.uint8)
    return np.minimum(inward, mask)


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


def _around(margins: Margins) -> tuple[tuple[int, int], tuple[int, int]]:
    return (margins.top, margins.bottom), (margins.left, margins.right)


def _on_white(pixels: np.ndarray, ground: int = 255) -> np.ndarray:
    """Without transparency: what shines through is ``ground``."""
    if pixels.shape[2] == 3:
        return pixels
    share = pixels[..., 3:].astype(np.uint32)
    flat: np.ndarray = (pixels[..., :3] * share + ground * (255 - share) + 127) // 255
    return flat.astype(np.uint8)


def _covering(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Scaled until it covers a size, and cut to it in the middle."""
    high, wide = pixels.shape[:2]
    scale = max(width / wide, height / high)
    pixels = _resized(pixels, max(width, round(wide * scale)), max(height, round(high * scale)))
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def _resized(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    if pixels.shape[:2] == (height, width):
        return pixels
    resample = Image.Resampling.LANCZOS if pixels.ndim == 3 else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(pixels).resize((width, height), resample))
