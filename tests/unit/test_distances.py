"""Distances between sets of pictures, against Gaussians whose distances are known."""

from __future__ import annotations

import math

import pytest
import torch

from darkroom.evaluation.likeness.distances import (
    distances,
    frechet,
    kernel_distance,
    latent_features,
    plain_features,
    precision_recall,
    seen_features,
)
from darkroom.judge.truth import WHOLE
from darkroom.latent.codec import AutoencoderCodec
from darkroom.nn.detector import Detector, nano
from tests.tiny import tiny_model


def cloud(count: int, width: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) * scale + shift


def test_the_frechet_distance_of_two_gaussians() -> None:
    a, b = cloud(40_000, 3, 1), cloud(40_000, 3, 2, shift=0.5, scale=2.0)
    assert frechet(a, b) == pytest.approx(3 * 0.25 + 3 * (2 - 1) ** 2, abs=0.08)  # |dm|^2 + sum (s - t)^2
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-9)


def test_turning_both_sets_changes_no_distance() -> None:
    a, b = cloud(500, 4, 3), cloud(500, 4, 4, shift=0.4) * torch.tensor([1.0, 2, 0.5, 1])
    turn, _ = torch.linalg.qr(cloud(4, 4, 5))
    assert frechet(a @ turn, b @ turn) == pytest.approx(frechet(a, b), rel=1e-5)
    assert kernel_distance(a @ turn, b @ turn) == pytest.approx(kernel_distance(a, b), rel=1e-4)


def test_the_kernel_distance_is_unbiased_and_grows_with_the_shift() -> None:
    same = [kernel_distance(cloud(200, 6, 10 + i), cloud(200, 6, 90 + i)) for i in range(40)]
    mean = sum(same) / len(same)
    spread = math.sqrt(sum((v - mean) ** 2 for v in same) / len(same))
    assert abs(mean) < 3 * spread / math.sqrt(len(same))
    near, far = (kernel_distance(cloud(400, 6, 1), cloud(400, 6, 2, shift=s)) for s in (0.3, 1.0))
    assert 0 < near < far


def test_precision_falls_with_wild_pictures_and_recall_with_alike_ones() -> None:
    real = cloud(400, 2, 1)
    precise, wide = precision_recall(real, cloud(400, 2, 2))
    assert precise > 0.85 and wide > 0.85
    assert precision_recall(real, cloud(400, 2, 3, shift=9.0)) == (0.0, 0.0)
    alike = precision_recall(real, cloud(400, 2, 4, scale=0.05))
    assert alike[0] > 0.95 and alike[1] < 0.2


def test_diversity_is_one_for_the_real_thing_and_less_for_copies() -> None:
    real = cloud(300, 5, 1)
    assert distances(real, cloud(300, 5, 2)).diversity == pytest.approx(1, abs=0.05)
    assert distances(real, cloud(300, 5, 3, scale=0.3)).diversity == pytest.approx(0.3, abs=0.05)


def test_the_unit_of_a_feature_does_not_matter() -> None:
    real, made = cloud(300, 5, 1), cloud(300, 5, 2, shift=0.2)
    unit = torch.tensor([1.0, 10, 100, 0.1, 5])
    a, b = distances(real, made), distances(real * unit, made * unit)
    assert a.fd_own == pytest.approx(b.fd_own, rel=1e-3) and a.kid == pytest.approx(b.kid, rel=1e-3)


def test_three_spaces_tell_noise_from_pictures() -> None:
    generator = torch.manual_seed(0)  # of the detector's weights, too
    smooth = torch.nn.functional.interpolate(torch.rand(24, 3, 4, 4, generator=generator), (128, 128), mode="bicubic")
    noise = torch.rand(24, 3, 128, 128, generator=generator) * 0.3  # darker: that an untrained encoder tells, too
    detector = Detector(nano({name: len(values) for name, values in WHOLE.items()})).eval()
    codec = tiny_model().codec
    assert isinstance(codec, AutoencoderCodec)
    for features in (
        lambda p: seen_features(detector, p),
        lambda p: latent_features(codec, p),
        plain_features,
    ):
        a, b, c = features(smooth[:12].clamp(0, 1)), features(smooth[12:].clamp(0, 1)), features(noise[:12])
        assert torch.cdist(a.mean(0)[None], c.mean(0)[None]) > torch.cdist(a.mean(0)[None], b.mean(0)[None])
