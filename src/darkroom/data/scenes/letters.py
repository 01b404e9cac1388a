"""Words drawn in fonts, letter for letter as the caption quotes them."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

WORDS = tuple(files("darkroom.data.scenes").joinpath("words.txt").read_text(encoding="utf-8").split())
_DRAWN_AT = 96  # pixels of the font a mask is made from


def fonts(folder: Path | None) -> tuple[Path | None, ...]:
    """Pillow's own font (None), and those of a folder in the order of their names."""
    found = () if folder is None or not folder.is_dir() else sorted(folder.glob("*.[to]tf"))
    return (None, *found)


@lru_cache(maxsize=2048)
def _mask(text: str, font: Path | None) -> np.ndarray:
    """How much of each pixel a word covers, (height, width) uint8, cut to its ink."""
    face = ImageFont.load_default(_DRAWN_AT) if font is None else ImageFont.truetype(font, _DRAWN_AT)
    left, top, right, bottom = face.getbbox(text)
    picture = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
    ImageDraw.Draw(picture).text((2 - left, 2 - top), text, fill=255, font=face)
    drawn = np.asarray(picture)
    ys, xs = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    return drawn[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]


def aspect(text: str, font: Path | None) -> float:
    """Width of a word's ink over its height."""
    height, width = _mask(text, font).shape
    return width / height


def word_size(text: str, widest: float, tallest: float) -> tuple[float, float]:
    """The width and height a word is given, whatever the font: as wide as may be, but not taller than may be."""
    height = min(tallest, widest / (0.72 * len(text)))
    return 0.72 * len(text) * height, height


def lettered(text: str, font: Path | None, height: int, width: int) -> Float[Tensor, "height width"]:
    """A word's coverage, scaled to so many pixels."""
    mask = torch.from_numpy(_mask(text, font).astype(np.float32) / 255)[None, None]
    return torch.nn.functional.interpolate(mask, (height, width), mode="bilinear", antialias=True)[0, 0]
