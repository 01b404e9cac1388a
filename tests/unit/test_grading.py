"""Light and colour of whole pictures, each against what it says it does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.refine.colour import planckian, to_encoded, to_linear, to_oklab, xyz_of, xyz_to_linear
from darkroom.refine.grading import (
    balanced,
    contrasted,
    curved,
    exposed,
    hermite,
    light_of,
    monotone_slopes,
    saturated,
)
from darkroom.refine.matching import matched, spread
from darkroom.refine.sharpening import HALO, blurred, sharpened


def picture(height: int = 40, width: int = 60, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width, 3), np.float32)


def grey(value: float) -> np.ndarray:
    return np.full((4, 4, 3), value, np.float32)


def test_a_stop_is_twice_the_light() -> None:
    pixels = picture() * 0.6
    for ev in (-2.0, -0.5, 0.5):
        assert to_linear(exposed(pixels, ev)) == pytest.approx(to_linear(pixels) * 2**ev, abs=1e-6)
    assert exposed(grey(0.9), 3.0).max() == 1


@pytest.mark.parametrize("kelvin", [2200, 2856, 4000, 5000, 9000, 20_000])
def test_a_card_under_a_light_becomes_grey(kelvin: int) -> None:
    light, neutral = (xyz_to_linear(xyz_of(*planckian(k))) for k in (kelvin, 6504))
    card = np.tile(to_encoded(light / light.max() * 0.5), (4, 4, 1)).astype(np.float32)
    found = to_linear(balanced(card, kelvin))[0, 0]
    assert light.min() > 0 and found / found[1] == pytest.approx(neutral / neutral[1], abs=1e-4)


def test_warm_lights_are_cooled() -> None:
    assert balanced(grey(0.5), 3000)[0, 0, 2] > 0.55 > 0.45 > balanced(grey(0.5), 3000)[0, 0, 0]
    assert balanced(grey(0.5), 12_000)[0, 0, 2] < 0.48 < 0.52 < balanced(grey(0.5), 12_000)[0, 0, 0]


@pytest.mark.parametrize("way", ["auto", "grey-world"])
def test_a_cast_is_taken_out(way: str) -> None:
    rng = np.random.default_rng(0)
    scene = (rng.random((60, 60, 1)) * 0.7 + 0.03 * rng.random((60, 60, 3))).astype(np.float32)  # nearly grey
    cast = np.clip(scene * np.array([1.15, 1.0, 0.75], np.float32), 0, 1)
    before, after = (to_oklab(p.astype(np.float64))[..., 1:].mean((0, 1)) for p in (cast, balanced(cast, way)))
    assert np.hypot(*before) > 0.03 and np.hypot(*after) < 0.01
    for nothing_to_tell in (grey(0.0), grey(1.0), grey(0.5)):
        assert np.abs(balanced(nothing_to_tell, way) - nothing_to_tell).max() < 1e-4
    red = np.zeros((4, 4, 3), np.float32) + np.array([0.8, 0, 0], np.float32)
    assert np.isfinite(balanced(red, way)).all()


def test_what_is_clipped_says_nothing_of_the_light() -> None:
    pixels = np.concatenate([grey(0.5) * np.array([1, 0.8, 0.6], np.float32), grey(1.0)])
    light = light_of(pixels, 1)
    assert light is not None and light == pytest.approx(to_linear(np.array([0.5, 0.4, 0.3])), abs=1e-6)
    assert light_of(grey(1.0), 6) is None


@given(st.lists(st.tuples(st.integers(0, 100), st.floats(0, 1)), min_size=2, max_size=12, unique_by=lambda p: p[0]))
def test_a_curve_never_leaves_its_points(points: list[tuple[int, float]]) -> None:
    points = sorted(points)
    xs, ys = np.array([x / 100 for x, _ in points]), np.array([y for _, y in points])
    slopes = monotone_slopes(xs, ys)
    assert hermite(xs, ys, slopes, xs) == pytest.approx(ys, abs=1e-12)
    for i in range(len(xs) - 1):
        inside = hermite(xs, ys, slopes, np.linspace(xs[i], xs[i + 1], 50))
        assert (np.diff(inside) * np.sign(ys[i + 1] - ys[i]) >= -1e-12).all()
        assert inside.min() >= min(ys[i : i + 2]) - 1e-12 and inside.max() <= max(ys[i : i + 2]) + 1e-12


def test_a_curve_has_no_corners_and_is_level_outside() -> None:
    xs, ys = np.array([0.2, 0.5, 0.8]), np.array([0.1, 0.4, 0.9])
    slopes, h = monotone_slopes(xs, ys), 1e-6
    left, middle, right = (hermite(xs, ys, slopes, np.array([0.5 + d]))[0] for d in (-h, 0, h))
    assert (middle - left) / h == pytest.approx((right - middle) / h, abs=1e-4)
    found = curved(np.array([[[0.0, 0.1, 0.95]]], np.float32), tuple(zip(xs, ys, strict=True)))
    assert found[0, 0] == pytest.approx([0.1, 0.1, 0.9], abs=1e-6)
    line = curved(picture(), ((0.0, 1.0), (1.0, 0.0)))  # a negative
    assert line == pytest.approx(1 - picture(), abs=1e-6)


def test_contrast_turns_about_the_middle() -> None:
    ramp = np.linspace(0, 1, 101, dtype=np.float32)[None, :, None].repeat(3, -1)
    light = [to_oklab(p.astype(np.float64))[0, :, 0] for p in (ramp, contrasted(ramp, 1.5), contrasted(ramp, 0.5))]
    assert (light[1][light[0] < 0.49] <= light[0][light[0] < 0.49] + 1e-6).all()
    assert (light[2][light[0] > 0.51] <= light[0][light[0] > 0.51] + 1e-6).all()
    near = np.abs(light[0] - 0.5) < 0.05
    assert np.polyfit(light[0][near], light[1][near], 1)[0] == pytest.approx(1.5, rel=0.02)
    for found in light[1:]:
        assert found[0] == pytest.approx(0, abs=1e-3) and found[-1] == pytest.approx(1, abs=1e-3)
        assert (np.diff(found) > 0).all()


def test_saturation_keeps_lightness_and_hue() -> None:
    pixels = picture() * 0.3 + 0.35  # so that half as much again can be shown
    before, after = (to_oklab(p.astype(np.float64)) for p in (pixels, saturated(pixels, 1.5)))
    assert after == pytest.approx(before * [1, 1.5, 1.5], abs=1e-4)
    pale = saturated(picture(), 0.0)
    assert np.ptp(pale, -1).max() < 1e-3


def test_a_picture_takes_the_colours_of_another() -> None:
    pixels, reference = picture() * 0.2 + 0.4, picture(30, 50, 1) * np.array([0.3, 0.2, 0.1], np.float32) + 0.3
    brought = (reference * 255).round().astype(np.uint8)
    mean, covariance = spread(matched(pixels, brought, 1.0))
    wanted, wanted_covariance = spread(brought.astype(np.float32) / 255)
    assert mean == pytest.approx(wanted, abs=1e-4) and covariance == pytest.approx(wanted_covariance, abs=1e-4)
    half = matched(pixels, brought, 0.5)
    assert half == pytest.approx((pixels + matched(pixels, brought, 1.0)) / 2, abs=1e-6)
    own = (pixels * 255).round().astype(np.uint8)
    assert np.abs(matched(own.astype(np.float32) / 255, own, 1.0) - own / 255).max() < 1e-6


def test_what_is_transparent_in_a_reference_does_not_count() -> None:
    pixels, shown = picture(), (picture(20, 20, 2) * 99).astype(np.uint8)
    hidden = np.concatenate([shown, np.full_like(shown, 255)])
    alpha = np.repeat([255, 0], 20)[:, None, None] * np.ones((1, 20, 1))
    both = np.concatenate([hidden, alpha.astype(np.uint8)], -1)
    assert matched(pixels, both, 1.0) == pytest.approx(matched(pixels, shown, 1.0), abs=1e-6)


def test_flat_pictures_match_without_noise() -> None:
    flat = matched(grey(0.3), np.full((5, 5, 3), (200, 30, 60), np.uint8), 1.0)
    assert flat * 255 == pytest.approx(np.broadcast_to([200, 30, 60], flat.shape), abs=0.5)
    assert np.isfinite(matched(picture(), np.zeros((1, 1, 4), np.uint8), 1.0)).all()


def test_an_edge_is_steeper_and_its_halo_bounded() -> None:
    x = np.linspace(-1, 1, 80)
    ramp = (0.5 + 0.3 * np.tanh(x * 12)).astype(np.float32)[None, :, None].repeat(9, 0).repeat(3, -1)
    soft, sharp = (to_oklab(p.astype(np.float64))[4, :, 0] for p in (ramp, sharpened(ramp, 4.0, 2.0)))
    assert np.diff(sharp).max() > 1.5 * np.diff(soft).max()
    assert sharp.max() <= soft.max() + HALO + 1e-4 and sharp.min() >= soft.min() - HALO - 1e-4
    assert np.abs(sharpened(grey(0.4), 4.0, 3.0) - 0.4).max() < 1e-5


def test_a_blur_keeps_the_mean_of_what_is_flat_and_spreads_a_point() -> None:
    point = np.zeros((41, 41), np.float32)
    point[20, 20] = 1
    found = blurred(point, 2.0)
    y = np.arange(41) - 20
    assert found.sum() == pytest.approx(1, abs=1e-5) and np.array_equal(found, found.T)
    assert (found.sum(1) * y**2).sum() == pytest.approx(4, rel=0.03)
