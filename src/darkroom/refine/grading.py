"""Light and colour of a whole picture: exposure, white balance, curve, contrast, saturation.

Pictures are (height, width, 3) float32, sRGB in [0, 1]; what changes nothing gives the very array back.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from darkroom.refine.colour import (
    D65,
    RGB_TO_XYZ,
    STRIP,
    XYZ_TO_RGB,
    Array,
    adaptation,
    from_oklab,
    in_strips,
    planckian,
    times,
    to_encoded,
    to_linear,
    to_oklab,
    xyz_of,
)

NEUTRAL_KELVIN = 6504  # of D65, sRGB's white
NORMS = {"auto": 6, "grey-world": 1}
"""The power of the mean that a light is measured by. 1: the world is grey on average (Buchsbaum 1980); 6: its brighter
parts count more (Finlayson and Trezzi 2004, "Shades of gray and colour constancy", who found 6 the best)."""
CLIPPED = 250 / 255  # what is as bright has lost its colour, and says nothing of the light
MOST = 4.0  # times that a measured light may change a cone: a picture of one colour is no evidence of its light


def exposed(pixels: Array, ev: float) -> Array:
    """So many doublings of the light; what becomes brighter than white is white."""
    if ev == 0:
        return pixels
    return in_strips(lambda colours: to_encoded(np.minimum(to_linear(colours) * 2.0**ev, 1.0)), pixels)


def balanced(pixels: Array, light: str | int) -> Array:
    """White under a light, in kelvin or measured by a name of ``NORMS``, becomes white.

    Kelvin are those of black bodies, and relative to the one of 6504 K, which changes nothing. Bradford's adaptation.
    """
    white = xyz_of(*D65)
    if isinstance(light, int):
        if light == NEUTRAL_KELVIN:
            return pixels
        matrix = adaptation(xyz_of(*planckian(light)), xyz_of(*planckian(NEUTRAL_KELVIN)))
    else:
        measured = light_of(pixels, NORMS[light])
        if measured is None or np.ptp(measured) == 0:
            return pixels
        xyz = RGB_TO_XYZ @ measured
        matrix = adaptation(xyz / xyz[1], white, MOST)
    whole = XYZ_TO_RGB @ matrix @ RGB_TO_XYZ
    return in_strips(lambda colours: to_encoded(np.clip(times(whole, to_linear(colours)), 0.0, 1.0)), pixels)


def light_of(pixels: Array, norm: int) -> Array | None:
    """The light of a picture, in linear sRGB: a mean of that power over what is not clipped. None: nothing tells."""
    total, count = np.zeros(3), 0
    rows = max(1, STRIP // pixels.shape[1])
    for top in range(0, len(pixels), rows):
        colours = pixels[top : top + rows].astype(np.float64)
        colours = to_linear(colours[(colours < CLIPPED).all(-1)])
        total += (colours**norm).sum(0)
        count += len(colours)
    if not total.any():
        return None
    found: Array = (total / count) ** (1 / norm)
    return found


def curved(pixels: Array, points: Sequence[tuple[float, float]]) -> Array:
    """Each of red, green and blue through one curve; beyond its first and last point it is level."""
    if points[0][0] == 0 and points[-1][0] == 1 and all(x == y for x, y in points):
        return pixels
    xs, ys = np.array(points, np.float64).T
    slopes = monotone_slopes(xs, ys)
    return in_strips(lambda colours: hermite(xs, ys, slopes, colours), pixels)


def monotone_slopes(xs: Array, ys: Array) -> Array:
    """The slopes at the points of a cubic that rises where they rise, falls where they fall and never goes beyond them
    (Fritsch and Carlson 1980, "Monotone piecewise cubic interpolation", section 4)."""
    secants = np.diff(ys) / np.diff(xs)
    slopes = np.concatenate([secants[:1], (secants[:-1] + secants[1:]) / 2, secants[-1:]])
    slopes[1:-1][secants[:-1] * secants[1:] <= 0] = 0.0  # a turn
    for i, most in enumerate(3 * np.abs(secants)):
        if (length := np.hypot(slopes[i], slopes[i + 1])) > most:  # outside that circle it may overshoot
            slopes[i : i + 2] *= most / length
    return slopes


def hermite(xs: Array, ys: Array, slopes: Array, values: Array) -> Array:
    """The cubic of these points and slopes at values."""
    values = np.clip(values, xs[0], xs[-1])
    i = np.clip(np.searchsorted(xs, values, side="right") - 1, 0, len(xs) - 2)
    width = (xs[1:] - xs[:-1])[i]
    t = (values - xs[i]) / width
    rise: Array = (
        (1 + 2 * t) * (1 - t) ** 2 * ys[i]
        + t * (1 - t) ** 2 * width * slopes[i]
        + t**2 * (3 - 2 * t) * ys[i + 1]
        + t**2 * (t - 1) * width * slopes[i + 1]
    )
    return rise


def contrasted(pixels: Array, factor: float) -> Array:
    """Lightness (Oklab's) along an S through black, middle grey and white, so many times as steep in its middle: its
    log-odds times the factor. Hue and colour stay as far as they can be shown."""
    if factor == 1:
        return pixels
    white = to_oklab(np.ones(3))[0]  # 1, but for the last digits of the matrices

    def change(colours: Array) -> Array:
        oklab = to_oklab(colours)
        light = np.clip(oklab[..., 0] / white, 0.0, 1.0)
        bright, dark = light**factor, (1 - light) ** factor
        oklab[..., 0] = white * bright / (bright + dark)
        return from_oklab(oklab)

    return in_strips(change, pixels)


def saturated(pixels: Array, factor: float) -> Array:
    """Colours (Oklab's) so many times as far from grey, at the same lightness and hue."""
    if factor == 1:
        return pixels
    return in_strips(lambda colours: from_oklab(to_oklab(colours) * [1.0, factor, factor]), pixels)
