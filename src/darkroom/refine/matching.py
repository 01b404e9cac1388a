"""The colours of one picture given to another."""

from __future__ import annotations

import numpy as np

from darkroom.refine.colour import STRIP, Array, from_oklab, in_strips, times, to_oklab

FAINTEST = (1 / 255) ** 2  # variance added on both sides: a flat picture has none to divide by


def matched(pixels: Array, reference: Array, amount: float) -> Array:
    """(height, width, 3) float32 sRGB in [0, 1] with the mean and the covariance, in Oklab, of a reference picture
    (height, width, 3 or 4) uint8: what is transparent there does not count.

    Of all linear maps that do so the one that moves colours least (Monge and Kantorovich): Pitié and Kokaram 2007, "The
    linear Monge-Kantorovitch linear colour mapping for example-based colour transfer", equation 7.
    """
    if amount == 0:
        return pixels
    weights = reference[..., 3].astype(np.float64) / 255 if reference.shape[2] == 4 else None
    mean, covariance = spread(pixels)
    wanted, wanted_covariance = spread(reference[..., :3].astype(np.float32) / 255, weights)
    matrix = transport(covariance, wanted_covariance)

    def change(colours: Array) -> Array:
        return colours + amount * (from_oklab(times(matrix, to_oklab(colours) - mean) + wanted) - colours)

    return in_strips(change, pixels)


def spread(pixels: Array, weights: Array | None = None) -> tuple[Array, Array]:
    """Mean (3,) and covariance (3, 3), in Oklab, of the colours of a picture, (height, width, 3) sRGB in [0, 1].

    ``weights`` are how much each pixel counts; None: all the same. Where none counts all do.
    """
    if weights is None or not weights.any():
        weights = np.ones(pixels.shape[:2])
    total, sums, products = 0.0, np.zeros(3), np.zeros((3, 3))
    rows = max(1, STRIP // pixels.shape[1])
    for top in range(0, len(pixels), rows):
        oklab = to_oklab(pixels[top : top + rows].astype(np.float64)).reshape(-1, 3)
        weight = weights[top : top + rows].reshape(-1, 1)
        weighted = oklab * weight
        total += float(weight.sum())
        sums += weighted.sum(0)
        products += np.stack([(weighted * oklab[:, i : i + 1]).sum(0) for i in range(3)])
    mean = sums / total
    return mean, products / total - mean[:, None] * mean


def transport(covariance: Array, wanted: Array) -> Array:
    """The symmetric (3, 3) matrix T with T covariance T = wanted, of both a little widened."""
    covariance, wanted = covariance + FAINTEST * np.eye(3), wanted + FAINTEST * np.eye(3)
    root, inverse = _power(covariance, 0.5), _power(covariance, -0.5)
    return inverse @ _power(root @ wanted @ root, 0.5) @ inverse


def _power(matrix: Array, exponent: float) -> Array:
    """A power of a symmetric positive matrix."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    found: Array = vectors * np.maximum(values, FAINTEST**2) ** exponent @ vectors.T
    return found
