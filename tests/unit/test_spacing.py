"""Spacings: from noise to clean in so many steps, each where its paper puts it."""

from __future__ import annotations

import math
from itertools import pairwise, product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from darkroom.protocols import NoiseSchedule
from darkroom.synthesis.noise import CosineVP, LinearBetaVP, RectifiedFlow
from darkroom.synthesis.spacing import (
    CLEANEST,
    SPACINGS,
    begun,
    beta,
    exponential,
    karras,
    leading,
    linspace,
    spaced,
    steps_of,
)

SCHEDULES: list[NoiseSchedule] = [RectifiedFlow(), CosineVP(), LinearBetaVP(), LinearBetaVP(1e-4, 0.02, 1000, False)]


@given(st.integers(1, 60), st.floats(0.01, 100))
def test_spacing_goes_from_noise_to_clean_in_steps(steps: int, shift: float) -> None:
    for schedule, spacing in product(SCHEDULES, SPACINGS.values()):
        levels = spaced(schedule, steps, shift, spacing)
        assert len(levels) == steps + 1
        assert levels[-1] == schedule.level(0.0)
        assert levels[0] == schedule.level(1.0) or spacing is leading  # whose first step public pipelines have lower
        assert all(after.t < now.t for now, after in pairwise(levels))


@given(st.integers(1, 60), st.floats(0.01, 100))
def test_shift_is_the_papers_and_multiplies_the_noise_to_signal_ratio(steps: int, shift: float) -> None:
    even, shifted = spaced(RectifiedFlow(), steps), spaced(RectifiedFlow(), steps, shift)
    for i, (plain, moved) in enumerate(zip(even, shifted, strict=True)):
        t = 1 - i / steps
        assert plain.t == pytest.approx(t, abs=1e-15)
        assert moved.t == pytest.approx(shift * t / (1 + (shift - 1) * t), abs=1e-12)
        if 0 < i < steps:
            assert moved.sigma / moved.alpha == pytest.approx(shift * plain.sigma / plain.alpha, rel=1e-9)


@pytest.mark.parametrize(("steps", "shift"), [(0, 1.0), (-3, 1.0), (4, 0.0), (4, -1.0), (4, math.nan), (4, math.inf)])
def test_impossible_spacings_are_refused(steps: int, shift: float) -> None:
    with pytest.raises(ValueError, match="try"):
        spaced(RectifiedFlow(), steps, shift)


@pytest.mark.parametrize("steps", [1, 3, 25, 50, 999, 1000])
def test_leading_and_linspace_are_at_entries_of_the_table(steps: int) -> None:
    table, stride = LinearBetaVP(), 1000 // steps  # Stable Diffusion's, whose entries are counted from 0
    entries = [round(table.timestep(t), 6) for t in leading(table, steps)]
    offset = 1 if steps < 1000 else 0  # a table has no entry 1000
    assert entries == [n * stride + offset for n in range(steps - 1, -1, -1)]
    entries = [table.timestep(t) for t in linspace(table, steps)]
    assert entries == pytest.approx([999 * (1 - i / max(steps - 1, 1)) for i in range(steps)], abs=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 12])
def test_karras_and_exponential_are_their_formulas(steps: int) -> None:
    # in sigma / alpha where variance is preserved, in t on a rectified flow
    for schedule in SCHEDULES:
        scale = (lambda level: level.sigma / level.alpha) if isinstance(schedule, LinearBetaVP) else None
        scale = scale or (lambda level: level.sigma / (level.alpha + level.sigma))
        first, last = (scale(schedule.level(t)) for t in (1.0, CLEANEST))
        for spacing, goal in (
            (karras, [(first ** (1 / 7) + u * (last ** (1 / 7) - first ** (1 / 7))) ** 7 for u in shares(steps)]),
            (exponential, [math.exp(math.log(first) + u * (math.log(last) - math.log(first))) for u in shares(steps)]),
        ):
            levels = spaced(schedule, steps, 1.0, spacing)
            assert [scale(level) for level in levels[:-1]] == pytest.approx(goal, rel=1e-9)


def shares(steps: int) -> list[float]:
    return torch.linspace(0, 1, steps, dtype=torch.float64).tolist()


def test_stable_diffusions_sigmas_are_the_known_ones() -> None:
    # k-diffusion's get_sigmas_karras(10, 0.0292, 14.6146), the numbers every program with that model shows
    levels = spaced(LinearBetaVP(), 10, 1.0, karras)
    sigmas = [level.sigma / level.alpha for level in levels]
    assert sigmas[0] == pytest.approx(14.6146, abs=1e-3) and sigmas[-2] == pytest.approx(0.0292, abs=1e-4)


def test_beta_times_are_quantiles() -> None:
    times = [level.t for level in spaced(RectifiedFlow(), 16, 1.0, beta)]
    assert all(a + b == pytest.approx(1.0, abs=1e-12) for a, b in zip(times, reversed(times), strict=True))
    # against the density x**-0.4 (1 - x)**-0.4, in u = x**0.6 where it is smooth at 0: a rule of midpoints
    n = 200_000
    whole = math.gamma(0.6) ** 2 / math.gamma(1.2)
    for i, t in enumerate(times[8:-1], start=8):
        edge = t**0.6
        u = (torch.arange(n, dtype=torch.float64) + 0.5) * edge / n
        below = ((1 - u ** (1 / 0.6)) ** -0.4).sum().item() * edge / n / 0.6 / whole
        assert below == pytest.approx(1 - i / 16, abs=1e-8)
    steps = [now - after for now, after in pairwise(times)]
    assert steps[0] < steps[7] / 2 and steps[-1] < steps[8] / 2


@pytest.mark.parametrize("strength", [0.0, 0.2, 0.25, 0.31, 0.5, 0.99, 1.0])
def test_a_start_goes_the_last_part_of_the_way(strength: float) -> None:
    levels = spaced(RectifiedFlow(), 4)
    path = begun(levels, strength)
    assert path[0].t == pytest.approx(strength)  # even steps: time is the share of the way
    assert path[-1] == levels[-1] and len(path) - 1 == steps_of(4, strength)
    assert all(level in levels for level in path[1:])


def test_a_start_at_a_step_begins_with_that_very_step() -> None:
    levels = spaced(RectifiedFlow(), 12, 3.0, SPACINGS["karras"])
    assert [begun(levels, n / 12)[0] for n in range(13)] == levels[::-1]
    assert steps_of(12, None) == 12


def test_stronger_is_noisier_whatever_the_spacing() -> None:
    for schedule in (RectifiedFlow(), CosineVP(), LinearBetaVP()):
        for spacing in SPACINGS.values():
            levels = spaced(schedule, 7, 2.0, spacing)
            sigmas = [begun(levels, n / 50)[0].sigma for n in range(51)]
            assert sigmas == sorted(sigmas) and len(set(sigmas)) == len(sigmas)
