"""How far a set of pictures lies from real ones, in feature spaces of our own.

None of these is the FID of a paper: that is a distance in the features of one public network, and ours are others. The
Frechet distance in a space of our own is called FD-own throughout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from darkroom.judge.judge import AT_ONCE
from darkroom.latent.codec import AutoencoderCodec
from darkroom.nn.detector import SIDE, Detector

Features = Float[Tensor, "pictures width"]


@dataclass(frozen=True, slots=True)
class Distances:
    """One feature space's answer."""

    fd_own: float  # Frechet distance of Gaussians (Dowson and Landau, 1982)
    kid: float  # unbiased squared MMD with the cubic kernel (arXiv:1801.01401, eq. 4)
    precision: float  # share of pictures that lie among the real ones (arXiv:1904.06991, eq. 2)
    recall: float  # share of real ones that lie among the pictures
    diversity: float  # mean distance between two pictures over that between two real ones


@dataclass(frozen=True, slots=True)
class Compared:
    """Pictures against real scenes, and beside it what other real scenes come to: nothing can be nearer."""

    made: Distances
    real: Distances


def frechet(a: Features, b: Features) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), in fp64."""
    a, b = a.double(), b.double()
    mean = (a.mean(0) - b.mean(0)).square().sum()
    ca, cb = torch.cov(a.T), torch.cov(b.T)
    # The eigenvalues of C_a C_b are those of C_a^(1/2) C_b C_a^(1/2), which is symmetric.
    values, vectors = torch.linalg.eigh(ca)
    root = vectors @ torch.diag(values.clamp_min(0).sqrt()) @ vectors.T
    shared = torch.linalg.eigvalsh(root @ cb @ root).clamp_min(0).sqrt().sum()
    return float(mean + ca.trace() + cb.trace() - 2 * shared)


def kernel_distance(a: Features, b: Features) -> float:
    """Unbiased squared maximum mean discrepancy with k(x, y) = (x y / width + 1)^3."""
    a, b = a.double(), b.double()

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    aa, bb, ab = kernel(a, a), kernel(b, b), kernel(a, b)
    m, n = len(a), len(b)
    within = (aa.sum() - aa.trace()) / (m * (m - 1)) + (bb.sum() - bb.trace()) / (n * (n - 1))
    return float(within - 2 * ab.mean())


def precision_recall(real: Features, made: Features, neighbours: int = 3) -> tuple[float, float]:
    """Shares of either set within reach of the other: a reach is the distance to a member's k-th neighbour."""

    def covered(centres: Features, points: Features) -> float:
        reach = apart(centres, centres).kthvalue(neighbours + 1, dim=1).values  # the first is itself
        return float((apart(points, centres) <= reach).any(1).float().mean())

    return covered(real, made), covered(made, real)


def spread_of(real: Features) -> Float[Tensor, " width"]:
    """Standard deviation in each direction; 1 where all are the same."""
    spread = real.std(0)
    return torch.where(spread > 1e-6, spread, 1.0)


def apart(a: Features, b: Features) -> Float[Tensor, "m n"]:
    """How far each is from each, to the last digit: equal ones are at 0 however far from the origin they lie."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def distances(real: Features, made: Features) -> Distances:
    """All of them; features are scaled so that the real ones have unit variance in each direction."""
    scale = spread_of(real)
    real, made = real / scale, made / scale
    precision, recall = precision_recall(real, made)
    spread = float(torch.pdist(made.float()).mean() / torch.pdist(real.float()).mean())
    return Distances(frechet(real, made), kernel_distance(real, made), precision, recall, spread)


# --- three feature spaces ----------------------------------------------------------------------------------------

JUDGED = "what the judge sees"  # the space in which neighbours are looked for


def pixels_of(rgb: UInt8[np.ndarray, "h w 3"], side: int) -> Float[Tensor, "3 h w"]:
    """A picture in [0, 1], made as small as the real ones are (``side`` pixels) where an upscaler enlarged it."""
    pixels = torch.from_numpy(rgb.copy()).permute(2, 0, 1).float() / 255
    share = side / max(pixels.shape[-2:])
    if share >= 1:
        return pixels
    small = [round(length * share) for length in pixels.shape[-2:]]
    return F.interpolate(pixels[None], small, mode="bilinear", antialias=True)[0]


def feature_spaces(detector: Detector, codec: AutoencoderCodec) -> dict[str, Callable[[Tensor], Features]]:
    """What makes features of pictures (sRGB in [0, 1]) in each space, by its name."""
    return {
        JUDGED: lambda pixels: seen_features(detector, pixels),
        "latents": lambda pixels: latent_features(codec, pixels),
        "colours and edges, no network": plain_features,
    }


@torch.no_grad()
def seen_features(detector: Detector, pixels: Float[Tensor, "pictures 3 h w"]) -> Features:
    """What the judge's detector makes of a whole picture, before it says anything."""
    dtype = next(detector.parameters()).dtype
    found = []
    for part in pixels.split(AT_ONCE):
        small = F.interpolate(part, (SIDE, SIDE), mode="bilinear", antialias=True) if part.shape[-1] != SIDE else part
        found.append(detector.gist(small.to(dtype, memory_format=torch.channels_last)).float())
    return torch.cat(found)


@torch.no_grad()
def latent_features(codec: AutoencoderCodec, pixels: Float[Tensor, "pictures 3 h w"]) -> Features:
    """The autoencoder's latents, pooled to 4 x 4 cells."""
    network = codec.network
    dtype = next(network.parameters()).dtype
    latents = [network.encode(part.to(dtype)).float() for part in pixels.split(AT_ONCE)]
    return F.adaptive_avg_pool2d(torch.cat(latents), 4).flatten(1)


def plain_features(pixels: Float[Tensor, "pictures 3 h w"]) -> Features:
    """No network: colours on an 8 x 8 grid, and how much lightness changes in each cell."""
    colours = F.adaptive_avg_pool2d(pixels, 8).flatten(1)
    luma = pixels.mean(1, keepdim=True)
    change = (luma[..., 1:, :-1] - luma[..., :-1, :-1]).abs() + (luma[..., :-1, 1:] - luma[..., :-1, :-1]).abs()
    return torch.cat([colours, F.adaptive_avg_pool2d(change, 8).flatten(1)], 1)
