"""Colour spaces, on arrays of float64 whose last axis holds the three values of a colour.

    sRGB, as pictures hold it  <->  linear sRGB  <->  XYZ (D65, white has Y = 1)  <->  Oklab

sRGB is IEC 61966-2-1: its matrix is worked out from the primaries and D65's x and y (SMPTE RP 177-1993, section 3).
Oklab is Ottosson's (2020, "A perceptual color space for image processing"), with his published matrices.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Array = np.ndarray

D65 = (0.3127, 0.3290)  # x and y
_PRIMARIES = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))  # of red, green and blue: IEC 61966-2-1, table 1
STRIP = 1 << 14  # pixels worked on at once: what float64 makes of them stays in the processor's cache
HALVINGS = 10  # of the share of its colour that a colour too strong may keep: to a thousandth


def xyz_of(x: float, y: float) -> Array:
    """The XYZ of a chromaticity, with Y = 1."""
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _rgb_to_xyz() -> Array:
    primaries = np.stack([xyz_of(*primary) for primary in _PRIMARIES], 1)
    return primaries * np.linalg.solve(primaries, xyz_of(*D65))


RGB_TO_XYZ = _rgb_to_xyz()
XYZ_TO_RGB = np.linalg.inv(RGB_TO_XYZ)
_XYZ_TO_LMS = np.array(
    [
        [0.8189330101, 0.3618667424, -0.1288597137],
        [0.0329845436, 0.9293118715, 0.0361456387],
        [0.0482003018, 0.2643662691, 0.6338517070],
    ]
)
_LMS_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_RGB_TO_LMS, _LMS_TO_RGB = _XYZ_TO_LMS @ RGB_TO_XYZ, np.linalg.inv(_XYZ_TO_LMS @ RGB_TO_XYZ)
_LMS_TO_XYZ, _LAB_TO_LMS = np.linalg.inv(_XYZ_TO_LMS), np.linalg.inv(_LMS_TO_LAB)
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
"""XYZ to the sharpened cone responses of Lam's adaptation (1985), as in CIECAM97s."""


def times(matrix: Array, colours: Array) -> Array:
    """A matrix times each colour, summed in one order whatever the number of colours: no BLAS."""
    one, two, three = (colours[..., i] for i in range(3))
    found = np.empty(colours.shape)
    for i, row in enumerate(matrix):
        found[..., i] = row[0] * one + row[1] * two + row[2] * three
    return found


def to_linear(encoded: Array) -> Array:
    """sRGB as pictures hold it, to amounts of light: IEC 61966-2-1, section 5.2. Below 0 it is odd."""
    size = np.abs(encoded)
    return np.copysign(np.where(size <= 0.04045, size / 12.92, ((size + 0.055) / 1.055) ** 2.4), encoded)


def to_encoded(linear: Array) -> Array:
    """Amounts of light to sRGB as pictures hold it; the inverse of :func:`to_linear`."""
    size = np.abs(linear)
    return np.copysign(np.where(size <= 0.0031308, size * 12.92, 1.055 * size ** (1 / 2.4) - 0.055), linear)


def linear_to_xyz(linear: Array) -> Array:
    """Linear sRGB to XYZ."""
    return times(RGB_TO_XYZ, linear)


def xyz_to_linear(xyz: Array) -> Array:
    """XYZ to linear sRGB."""
    return times(XYZ_TO_RGB, xyz)


def xyz_to_oklab(xyz: Array) -> Array:
    """XYZ to Oklab: lightness from 0 to 1, green to red, blue to yellow."""
    return times(_LMS_TO_LAB, np.cbrt(times(_XYZ_TO_LMS, xyz)))


def oklab_to_xyz(oklab: Array) -> Array:
    """Oklab to XYZ."""
    return times(_LMS_TO_XYZ, _cubed(times(_LAB_TO_LMS, oklab)))


def to_oklab(encoded: Array) -> Array:
    """sRGB as pictures hold it, to Oklab."""
    return times(_LMS_TO_LAB, np.cbrt(times(_RGB_TO_LMS, to_linear(encoded))))


def from_oklab(oklab: Array) -> Array:
    """Oklab to sRGB as pictures hold it, in [0, 1]: what a screen cannot show keeps lightness and hue and gives up as
    much of its colour as it must."""
    lightness = np.clip(oklab[..., :1], 0.0, 1.0)
    oklab = np.concatenate([lightness, oklab[..., 1:]], -1)
    linear = _oklab_to_linear(oklab)
    beyond = _beyond(linear)
    if beyond.any():
        strong = oklab[beyond]
        low, high = np.zeros(len(strong)), np.ones(len(strong))
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            outside = _beyond(_oklab_to_linear(_paler(strong, middle)))
            low, high = np.where(outside, low, middle), np.where(outside, middle, high)
        linear[beyond] = _oklab_to_linear(_paler(strong, low))
    return to_encoded(np.clip(linear, 0.0, 1.0))


def _oklab_to_linear(oklab: Array) -> Array:
    return times(_LMS_TO_RGB, _cubed(times(_LAB_TO_LMS, oklab)))


def _cubed(values: Array) -> Array:
    found: Array = values * values * values  # which ** 3 takes sixteen times as long for
    return found


def _beyond(linear: Array) -> Array:
    """Which colours a screen cannot show, by more than sums are inexact."""
    found: Array = np.any((linear < -1e-4) | (linear > 1 + 1e-4), axis=-1)
    return found


def _paler(oklab: Array, share: Array) -> Array:
    return oklab * np.stack([np.ones_like(share), share, share], -1)


def planckian(kelvin: float) -> tuple[float, float]:
    """x and y of a black body, from 1667 to 25000 K: the cubics of Kim et al. (US patent 7024034, 2006), equation 1."""
    inverse = 1000.0 / kelvin
    if kelvin <= 4000:
        x = -0.2661239 * inverse**3 - 0.2343589 * inverse**2 + 0.8776956 * inverse + 0.179910
    else:
        x = -3.0258469 * inverse**3 + 2.1070379 * inverse**2 + 0.2226347 * inverse + 0.240390
    if kelvin <= 2222:
        y = -1.1063814 * x**3 - 1.34811020 * x**2 + 2.18555832 * x - 0.20219683
    elif kelvin <= 4000:
        y = -0.9549476 * x**3 - 1.37418593 * x**2 + 2.09137015 * x - 0.16748867
    else:
        y = 3.0817580 * x**3 - 5.87338670 * x**2 + 3.75112997 * x - 0.37001483
    return x, y


def adaptation(light: Array, wanted: Array, most: float = np.inf) -> Array:
    """(3, 3): XYZ under a light of that XYZ, to XYZ under the wanted one, von Kries' way in Bradford's cones.

    No cone gains or loses more than ``most`` times.
    """
    gains = (BRADFORD @ wanted) / np.maximum(BRADFORD @ light, 1e-9)
    found: Array = np.linalg.inv(BRADFORD) @ (np.clip(gains, 1 / most, most)[:, None] * BRADFORD)
    return found


def in_strips(change: Callable[[Array], Array], pixels: Array) -> Array:
    """A change of colours, float64 to float64, done to a picture of (height, width, values) float32 some rows at a
    time; what it gives is cut to [0, 1]."""
    rows = max(1, STRIP // pixels.shape[1])
    tops = range(0, len(pixels), rows)
    found = (change(pixels[top : top + rows].astype(np.float64)) for top in tops)
    return np.concatenate([np.clip(part, 0.0, 1.0).astype(np.float32) for part in found])
