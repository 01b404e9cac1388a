"""Noise: how well it is measured, how much of it goes, and what stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from darkroom.data.stock.pack import Pack
from darkroom.refine.cleanup import cleaned, noise_of
from tests.tiny_pack import drawing, row, write_pack

SIDE = 192
GROUNDS = ["white", "grey", "gradient", "dark"]


def drawn(ground: str, side: int = SIDE) -> np.ndarray:
    """Flat shapes with smooth edges, a shaded ball and lettering on a ground, float in [0, 1], not yet rounded."""
    y, x = np.mgrid[:side, :side] / side
    level = {"white": 1.0 + 0 * x, "grey": 0.6 + 0 * x, "gradient": 0.25 + 0.5 * (x + y) / 2, "dark": 0.08 + 0 * x}
    picture = np.stack([level[ground]] * 3, -1) * ([1.0, 1.0, 1.0] if ground == "white" else [0.9, 1.0, 0.8])
    ink = 0.9 if ground == "dark" else 0.1

    def shape(distance: np.ndarray, colour: np.ndarray | list[float]) -> None:
        share = np.clip(0.5 - distance * side, 0, 1)[..., None]
        picture[:] = picture * (1 - share) + np.asarray(colour) * share

    shape(np.hypot(x - 0.3, y - 0.35) - 0.2, [0.85, 0.2, 0.15])
    shape(np.maximum(abs(x - 0.75), abs(y - 0.3)) - 0.14, [0.2, 0.4, 0.8])
    lit = 0.3 + 0.5 * np.clip(1 - np.hypot(x - 0.65, y - 0.62) / 0.3, 0, 1)
    shape(np.hypot(x - 0.7, y - 0.7) - 0.18, lit[..., None] * [0.6, 1.0, 0.5])
    letters = Image.new("L", (side, side))
    pen = ImageDraw.Draw(letters)
    for line in range(3):
        pen.text((6, int(side * (0.66 + 0.09 * line))), "a red fox sat", fill=255)
    share = np.asarray(letters)[..., None] / 255
    return picture * (1 - share) + ink * share


def rounded(picture: np.ndarray) -> np.ndarray:
    """As eight bits hold it."""
    return (np.clip(picture, 0, 1) * 255).round().astype(np.float32) / 255


def noisy(picture: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    return rounded(picture + np.random.default_rng(seed).normal(0, sigma, picture.shape))


def psnr(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(-10 * np.log10(((found.astype(np.float64) - wanted) ** 2).mean()))
