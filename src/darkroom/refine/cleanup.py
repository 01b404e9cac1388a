"""Noise taken away and edges left: thresholds on the cosine transform of overlapping blocks.

Every second block of 8 x 8 is transformed, what is small beside the noise is set to zero, and the blocks are put back
on top of each other (Coifman and Donoho 1995; Yu and Sapiro 2011, "DCT image denoising", IPOL), those counting more
that needed fewer coefficients: they cross no edge (Guleryuz 2007, "Weighted averaging for denoising with overcomplete
dictionaries"). The colours are turned first into one sum and two differences, where noise is as strong as it was.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from darkroom.refine.colour import Array

SIDE, SPACING = (
    8,
    2,
)  # of the blocks, and from one to the next; one pixel apart gains 0.1 dB and takes four times as long
THRESHOLD = 2.7  # times the noise: what Gaussian noise passes once in 140 coefficients
FAINTEST = 0.6 / 255  # noise below it is the rounding to 8 bits (0.29 / 255) and what is left to no eye
FLATTEST = 0.2  # quantile over blocks: drawings are flat in more than a fifth of their blocks
BLOCK = 8  # pixels a side, of the blocks that noise is measured in
LEAST = BLOCK * BLOCK // 2  # pixels of a block that must tell something
MEDIAN = 0.6745  # of the size of a normal variable
LOW = 0.82  # that quantile of a block's median, over the median: measured on noise alone
STRIP = 1 << 14  # blocks worked on at once


def cleaned(pixels: Array, strength: float | None) -> Array:
    """(height, width, 3) float32 sRGB in [0, 1] without its noise of standard deviation ``strength``; None: measured,
    and where that finds less than rounding makes, the array itself comes back, as it does for 0."""
    strength = found if strength is None and (found := noise_of(pixels)) >= FAINTEST else strength or 0.0
    if strength == 0:
        return pixels
    height, width = pixels.shape[:2]
    around = SIDE - SPACING  # so that a corner lies in as many blocks as the middle
    edges = [(around, around + (side % SPACING)) for side in (height, width)]
    padded = np.pad(_mixed(pixels, _COLOURS), (*edges, (0, 0)), "symmetric")
    total, weight = np.zeros_like(padded), np.zeros_like(padded)
    down, across = ((side - SIDE) // SPACING + 1 for side in padded.shape[:2])
    rows = max(1, STRIP // across)
    for first in range(0, down, rows):
        count = min(rows, down - first)
        part = slice(first * SPACING, (first + count - 1) * SPACING + SIDE)
        _add_strip(padded[part], total[part], weight[part], THRESHOLD * strength)
    middle = total[around : around + height, around : around + width]
    middle /= weight[around : around + height, around : around + width]
    return _unclipped(_mixed(middle, _COLOURS.T), strength)


def _add_strip(padded: Array, total: Array, weight: Array, threshold: float) -> None:
    """Adds the cleaned blocks of some rows, each times its weight, and the weights."""
    windows = sliding_window_view(padded, (SIDE, SIDE), (0, 1))[::SPACING, ::SPACING]
    down, across = windows.shape[:2]
    blocks = np.ascontiguousarray(windows.transpose(3, 4, 0, 1, 2)).reshape(SIDE, SIDE, -1)
    blocks = _both_ways(blocks, _COSINES)
    kept = np.abs(blocks) >= threshold
    kept[0, 0] = True  # the mean
    blocks *= kept
    share = (1.0 / kept.sum((0, 1), dtype=np.float32)).astype(np.float32)
    blocks = _both_ways(blocks, _COSINES.T) * share
    shape = (SIDE, SIDE, down, across, 3)
    blocks, share = blocks.reshape(shape), share.reshape(shape[2:])
    for y, x in product(range(SIDE), repeat=2):
        place = slice(y, y + SPACING * down, SPACING), slice(x, x + SPACING * across, SPACING)
        total[place] += blocks[y, x]
        weight[place] += share


def _both_ways(blocks: Array, matrix: Array) -> Array:
    """A transform of the first two axes; einsum sums in one order, which BLAS does not promise."""
    rows = np.einsum("uy,yxn->uxn", matrix, blocks)
    found: Array = np.einsum("vx,uxn->uvn", matrix, rows)
    return found


def _cosines(side: int) -> Array:
    """The orthonormal cosine transform (DCT-II), (side, side) float32, a row for each frequency."""
    waves = np.cos(np.pi * np.outer(np.arange(side), np.arange(side) + 0.5) / side) * math.sqrt(2 / side)
    waves[0] /= math.sqrt(2)
    found: Array = waves.astype(np.float32)
    return found


_COSINES, _COLOURS = _cosines(SIDE), _cosines(3)


def _unclipped(means: Array, strength: float) -> Array:
    """What has these means after noise was added and the sum cut to [0, 1]: white under noise is no light grey (Foi
    2009, "Clipped noisy images", equation 6, inverted by a table)."""
    true = np.linspace(0.0, 1.0, 513)
    low, high = -true / strength, (1 - true) / strength  # where it is cut, in deviations
    below, above = (0.5 * np.vectorize(math.erfc)(side / math.sqrt(2)) for side in (-low, high))
    peaks = (np.exp(-(low**2) / 2) - np.exp(-(high**2) / 2)) / math.sqrt(2 * math.pi)
    seen = true * (1 - below - above) + strength * peaks + above
    found: Array = np.interp(means, seen, true).astype(np.float32)
    return found


def _mixed(pixels: Array, matrix: Array) -> Array:
    red, green, blue = (pixels[..., i] for i in range(3))
    return np.stack([row[0] * red + row[1] * green + row[2] * blue for row in matrix], -1)


def noise_of(pixels: Array) -> float:
    """The standard deviation of white Gaussian noise in a picture, (height, width, 3) float32 in [0, 1].

    Immerkær's difference of two Laplacians (1996, "Fast noise variance estimation"), which ramps do not reach; of its
    sizes the median in each block (Donoho and Johnstone 1994, section 5: the median over .6745), and of those the
    lowest fifth, so that what is drawn finely does not count as noise. Windows that touch black or white are left out,
    where noise is cut off, but for those all black or all white: they say that there is none.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < BLOCK + 2:
        return 0.0
    medians = np.concatenate([_medians(pixels[..., i]) for i in range(3)])
    if not len(medians):
        return 0.0
    return float(np.quantile(medians, FLATTEST)) / (MEDIAN * LOW)


def _medians(plane: Array) -> Array:
    """The median size of the difference in each block of a plane that tells enough."""
    size = np.abs(_summed(_summed(plane, (1, -2, 1)).T, (1, -2, 1)).T) / 6
    clipped = ((plane <= 0) | (plane >= 1)).astype(np.float32)
    ends = _summed(_summed(clipped, (1, 1, 1)).T, (1, 1, 1)).T
    size[(ends > 0) & ((ends < 9) | (size > 0))] = np.inf
    down, across = (side // BLOCK for side in size.shape)
    blocks = size[: down * BLOCK, : across * BLOCK].reshape(down, BLOCK, across, BLOCK).transpose(0, 2, 1, 3)
    ordered = np.sort(blocks.reshape(down * across, -1), 1)
    count = np.isfinite(ordered).sum(1)
    telling = count >= LEAST
    found: Array = ordered[telling, (count[telling] - 1) // 2]
    return found


def _summed(plane: Array, weights: tuple[int, int, int]) -> Array:
    """Weighted sums of three neighbours in a column; two rows fewer."""
    found: Array = weights[0] * plane[:-2] + weights[1] * plane[1:-1] + weights[2] * plane[2:]
    return found
