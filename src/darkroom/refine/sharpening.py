"""Edges steeper: an unsharp mask on lightness, with bounds on its halos."""

from __future__ import annotations

import math

import numpy as np

from darkroom.refine.colour import Array, from_oklab, in_strips, to_oklab

HALO = 0.02  # of lightness, that an edge may go beyond what lies around it: about what an eye tells from none


def sharpened(pixels: Array, amount: float, radius: float) -> Array:
    """(height, width, 3) float32 sRGB in [0, 1] with its detail added again, so many times.

    Detail is lightness (Oklab's) less its Gaussian mean of ``radius`` pixels (standard deviation). Hue and colour stay.
    """
    if amount == 0:
        return pixels
    light = in_strips(_lightness, pixels)[..., 0]
    reach = math.ceil(2 * radius)
    least, most = _extreme(light, reach, np.minimum), _extreme(light, reach, np.maximum)
    steep = np.clip(light + np.float32(amount) * (light - blurred(light, radius)), least - HALO, most + HALO)
    return in_strips(_lit, np.concatenate([pixels, steep[..., None]], -1))


def _lightness(colours: Array) -> Array:
    return to_oklab(colours)[..., :1]


def _lit(colours: Array) -> Array:
    """sRGB with another lightness, which stands after it."""
    oklab = to_oklab(colours[..., :3])
    oklab[..., 0] = colours[..., 3]
    return from_oklab(oklab)


def blurred(plane: Array, radius: float) -> Array:
    """(height, width) float32 under a Gaussian of that standard deviation, cut at three of them; edges repeated."""
    reach = math.ceil(3 * radius)
    weights = np.exp(-((np.arange(-reach, reach + 1) / radius) ** 2) / 2)
    weights /= weights.sum()
    for _ in range(2):
        padded = np.pad(plane, ((reach, reach), (0, 0)), "edge")
        rows = (np.float32(weight) * padded[i : i + len(plane)] for i, weight in enumerate(weights))
        plane = sum(rows, np.zeros_like(plane)).T
    return plane


def _extreme(plane: Array, reach: int, of: np.ufunc) -> Array:
    """The least or the most within so many pixels of each, a square."""
    for _ in range(2):
        padded = np.pad(plane, ((reach, reach), (0, 0)), "edge")
        found = plane
        for i in range(2 * reach + 1):
            found = of(found, padded[i : i + len(plane)])
        plane = found.T
    return plane
