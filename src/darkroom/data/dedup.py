"""Which pictures of a folder are the same, or nearly the same after scaling and recompression.

Exact: equal sha256. Near: a 63-bit hash of the signs of low cosine frequencies proposes pairs, a 16x16 thumbnail
confirms them. The hash alone is blind to colour and to small things: it would call a red and a blue circle, or a
lawn with and without flowers, the same picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8, UInt64

GRID = 32  # cells a side the frequencies are computed from; the thumbnail has half as many
FREQUENCIES = 8  # lowest frequencies a side that are hashed, as in pHash
MARGIN = 0.1  # of the coefficients' deviation: symmetric drawings have many that are zero but for coding noise
HASH_DISTANCE = 3  # bits that may differ
BLOCKS = 6  # of 10 or 11 bits: where 3 bits differ, at least 3 blocks agree
LUMA_DISTANCE = 14.0  # levels, the largest over the thumbnail; recompressed drawings: 11.7 at the 99.9th percentile
COLOUR_DISTANCE = 32.0  # levels, the largest over the thumbnail's channels; JPEG halves the resolution of colour
BRIGHTNESS_DISTANCE = 4.0  # levels, of the whole picture
REACH = 64  # neighbours compared where many hashes agree: at most 20 tables x REACH x pictures comparisons
CHUNK = 4096  # pairs confirmed at once

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
GREY = 127.5  # drawings on nothing are hashed on grey, so that neither black nor white ones vanish

_COSINES = np.cos(np.pi * (2 * np.arange(GRID) + 1) * np.arange(FREQUENCIES)[:, None] / (2 * GRID))  # DCT-II
_ONES = np.array([byte.bit_count() for byte in range(256)], np.uint8)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is kept of a picture to recognise it again: about 1 kB."""

    bits: int
    thumb: UInt8[np.ndarray, "16 16 4"]  # premultiplied RGBA


def fingerprint(pixels: UInt8[np.ndarray, "height width channels"]) -> Fingerprint:
    """The fingerprint of an RGB or RGBA picture."""
    cells = _averaged(_averaged(_premultiplied(pixels)).swapaxes(0, 1)).swapaxes(0, 1)  # (GRID, GRID, C)
    if cells.shape[2] == 3:
        cells = np.concatenate([cells, np.full((GRID, GRID, 1), 255.0)], axis=2)
    waves = (_COSINES @ _luma(cells) @ _COSINES.T).ravel()[1:]  # without the mean: brightness is no shape
    signs = np.packbits(waves > MARGIN * waves.std())
    thumb = cells.reshape(GRID // 2, 2, GRID // 2, 2, 4).mean((1, 3))
    return Fingerprint(int.from_bytes(signs.tobytes(), "big"), thumb.round().astype(np.uint8))


def exact_duplicates(digests: Sequence[str]) -> dict[int, int]:
    """Index of each repeated digest -> index of its first appearance."""
    first: dict[str, int] = {}
    for index, digest in enumerate(digests):
        first.setdefault(digest, index)
    return {index: first[digest] for index, digest in enumerate(digests) if first[digest] != index}


def near_duplicates(prints: Sequence[Fingerprint]) -> dict[int, int]:
    """Index of each near duplicate -> index of an earlier picture that is kept and nearly the same.

    A chain of small changes is not collapsed: a picture is only ever dropped for one that it resembles itself.
    """
    if len(prints) < 2:
        return {}
    thumbs = np.stack([known.thumb for known in prints])
    hashes = np.array([known.bits for known in prints], np.uint64)
    pairs = _proposed(hashes, _luma(thumbs.mean((1, 2))))
    twin: dict[int, int] = {}
    for start in range(0, len(pairs), CHUNK):
        later, earlier = pairs[start : start + CHUNK].T
        same = _alike(thumbs[later], thumbs[earlier])
        for j, i in zip(later[same].tolist(), earlier[same].tolist(), strict=True):
            if i not in twin:  # pairs are ordered by the later picture, so what became of the earlier one is known
                twin.setdefault(j, i)
    return twin


def _proposed(hashes: UInt64[np.ndarray, " n"], brightness: Float[np.ndarray, " n"]) -> Int64[np.ndarray, "pairs 2"]:
    """Pairs (later, earlier) whose hashes differ by HASH_DISTANCE bits at most, in order.

    Such hashes agree on three of six blocks (Manku, Jain and Das Sarma 2007, "Detecting near-duplicates for web
    crawling"), so it is enough to compare within the buckets of each choice of three.
    """
    known = np.empty(0, np.int64)  # later * n + earlier
    for mask in _masks():
        key = hashes & mask
        order = np.lexsort((brightness, key))
        found = [known]
        for left, right in _neighbours(key[order], brightness[order]):
            i, j = order[left], order[right]
            close = _distance(hashes[i], hashes[j]) <= HASH_DISTANCE
            i, j = i[close], j[close]
            found.append(np.maximum(i, j) * len(hashes) + np.minimum(i, j))
        known = np.sort(np.concatenate(found))  # np.unique hashes, and takes minutes on numbers as regular as these
        known = known[np.diff(known, prepend=-1) > 0]
    return np.stack(np.divmod(known, len(hashes)), axis=1)


def _masks() -> Iterator[np.uint64]:
    """The bits of every choice of three blocks."""
    edges = [64 * block // BLOCKS for block in range(BLOCKS + 1)]
    blocks = [(1 << high) - (1 << low) for low, high in pairwise(edges)]
    for chosen in combinations(blocks, BLOCKS - HASH_DISTANCE):
        yield np.uint64(sum(chosen))


def _neighbours(
    key: UInt64[np.ndarray, " n"], brightness: Float[np.ndarray, " n"]
) -> Iterator[tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]]:
    """Positions in one bucket and near in brightness, in arrays sorted by both, at growing distance up to REACH."""
    left = np.arange(len(key))
    for step in range(1, REACH + 1):
        left = left[left + step < len(key)]
        right = left + step
        near = (key[left] == key[right]) & (brightness[right] - brightness[left] <= BRIGHTNESS_DISTANCE)
        left = left[near]  # sorted: who has no neighbour at this distance has none beyond
        if not len(left):
            return
        yield left, left + step


def _distance(a: UInt64[np.ndarray, " n"], b: UInt64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """The number of differing bits (numpy 1 has no bitwise_count)."""
    return _ONES[(a ^ b).view(np.uint8).reshape(-1, 8)].sum(1, dtype=np.int64)


def _alike(a: UInt8[np.ndarray, "n 16 16 4"], b: UInt8[np.ndarray, "n 16 16 4"]) -> Bool[np.ndarray, " n"]:
    """Whether thumbnails differ nowhere by more than scaling and recompression make them differ."""
    colour = np.abs(a.astype(np.int16) - b).max((1, 2, 3)) <= COLOUR_DISTANCE
    return colour & (np.abs(_luma(a) - _luma(b)).max((1, 2)) <= LUMA_DISTANCE)


def _luma(rgba: np.ndarray) -> np.ndarray:
    """Brightness of premultiplied RGBA (..., 4) on grey."""
    return rgba[..., :3] @ LUMA + (255 - rgba[..., 3]) * (GREY / 255)


def _premultiplied(pixels: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w c"]:
    """Without the colour of what cannot be seen; RGB as it is."""
    if pixels.shape[2] == 3:
        return pixels
    colour = pixels[..., :3].astype(np.uint16) * pixels[..., 3:]
    return np.concatenate([(colour // 255).astype(np.uint8), pixels[..., 3:]], axis=2)


def _averaged(values: np.ndarray) -> Float[np.ndarray, "32 width channels"]:
    """Means over GRID equal cells along the first axis, cells that end between two pixels included.

    Whole-pixel cells would move with the picture's size: 1.37 times larger copies were then missed.
    """
    edges = np.arange(GRID + 1) * len(values) / GRID
    whole = edges.astype(int)
    sums = [values[low:high].sum(0, dtype=np.float64) for low, high in pairwise(whole)]
    totals = np.concatenate([np.zeros_like(sums[0])[None], np.cumsum(sums, axis=0)])
    totals += (edges - whole)[:, None, None] * values[np.minimum(whole, len(values) - 1)]
    return np.diff(totals, axis=0) * (GRID / len(values))
