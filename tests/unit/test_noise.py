"""Seeded draws, schedules and spacing."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import darkroom.synthesis.noise
from darkroom.protocols import Level, NoiseSchedule
from darkroom.synthesis.noise import (
    LARGEST_SEED,
    Between,
    CosineVP,
    LinearBetaVP,
    RectifiedFlow,
    SeededNoise,
    WithoutSignal,
    initial_noise,
)

SCHEDULES: list[NoiseSchedule] = [
    RectifiedFlow(),
    CosineVP(),
    LinearBetaVP(),
    LinearBetaVP(1e-4, 0.02, 1000, scaled=False),
    WithoutSignal(LinearBetaVP()),
]


# -- draws ---------------------------------------------------------------------------------------------------------


def test_a_seed_repeats_and_its_draws_continue_one_stream() -> None:
    one, two = SeededNoise(7), SeededNoise(7)
    first, second = one.draw((4, 8, 8)), one.draw((4, 8, 8))
    assert torch.equal(first, two.draw((4, 8, 8)))
    SeededNoise(8).draw((100,))  # somebody else's draws change nothing
    torch.randn(100)
    assert torch.equal(second, two.draw((4, 8, 8)))
    assert not torch.equal(first, second)
    assert first.dtype == torch.float32 and first.device.type == "cpu" and first.shape == (4, 8, 8)


def test_drawing_leaves_torchs_global_generator_alone() -> None:
    before = torch.get_rng_state()
    SeededNoise(7).draw((64,))
    assert torch.equal(before, torch.get_rng_state())


def test_streams_and_seeds_are_distinct_also_above_32_bits() -> None:
    sources = [SeededNoise(s) for s in (7, 8, 7 + 2**32, 7 + 2**40, LARGEST_SEED)] + [SeededNoise(7, stream="start")]
    draws = torch.stack([source.draw((4096,)) for source in sources])
    correlations = torch.corrcoef(draws) - torch.eye(len(sources))
    assert correlations.abs().max() < 5 / math.sqrt(4096)


def test_draws_are_standard_normal() -> None:
    n = 100_000
    x = SeededNoise(3).draw((n,)).double()
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(x.pow(power).mean() - expected) < 5 * math.sqrt(variance / n), power


def test_the_noise_of_a_seed_is_fixed_for_ever() -> None:
    # A recipe written today must give the same picture tomorrow: changing these numbers breaks every saved recipe.
    expected = torch.tensor([0.966699660, -1.753229499, 0.420583040, 0.334572524])
    torch.testing.assert_close(SeededNoise(7).draw((16,))[:4], expected, rtol=0, atol=2e-7)


@pytest.mark.parametrize("instruction_set", ["default", "avx2"])
def test_draws_do_not_depend_on_the_instruction_set(instruction_set: str) -> None:
    program = (
        "import hashlib\nfrom darkroom.synthesis.noise import SeededNoise\n"
        "print(hashlib.sha256(SeededNoise(7).draw((4, 32, 32)).numpy().tobytes()).hexdigest())"
    )
    source = Path(darkroom.synthesis.noise.__file__).parents[2]
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": instruction_set, "PYTHONPATH": str(source)}
    there = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    here = hashlib.sha256(SeededNoise(7).draw((4, 32, 32)).numpy().tobytes()).hexdigest()
    assert there.stdout.strip() == here


@pytest.mark.parametrize("seed", [-1, 2**63, 2**64 + 5])
def test_a_seed_out_of_range_is_refused_with_its_value(seed: int) -> None:
    with pytest.raises(ValueError, match=f"seed {seed} is outside 0 to {2**63 - 1}"):
        SeededNoise(seed)


def test_a_seed_is_an_integer() -> None:
    with pytest.raises(TypeError):
        SeededNoise(1.5)  # type: ignore[arg-type]


def test_initial_noise_is_sigma_times_the_draw() -> None:
    x = initial_noise(SeededNoise(7), (4, 8, 8), Level(0.5, 0.5, 0.25))
    assert torch.equal(x, 0.25 * SeededNoise(7).draw((4, 8, 8)))


# -- schedules -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_a_schedule_starts_clean_and_loses_signal_all_the_way(schedule: NoiseSchedule) -> None:
    assert schedule.level(0.0) == (0.0, 1.0, 0.0, schedule)
    assert math.copysign(1.0, schedule.level(0.0).sigma) == 1.0
    levels = [schedule.level(i / 997) for i in range(998)]
    for less, more in pairwise(levels):
        assert more.lam < less.lam and more.alpha < less.alpha and more.sigma > less.sigma
        assert all(type(number) is float for number in more[:3])
    assert [level.t for level in levels] == [i / 997 for i in range(998)]


@pytest.mark.parametrize("schedule", [RectifiedFlow(), CosineVP(), WithoutSignal(LinearBetaVP())], ids=repr)
def test_pure_noise_is_exact(schedule: NoiseSchedule) -> None:
    assert schedule.level(1.0) == (1.0, 0.0, 1.0, schedule)
    assert schedule.level(1.0).lam == -math.inf


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@given(st.floats(0.001, 1))
def test_a_level_is_found_by_its_lambda(schedule: NoiseSchedule, t: float) -> None:
    level = schedule.level(t)
    if level.alpha > 0:
        found = schedule.at(level.lam)
        assert found[:3] == pytest.approx(level[:3], rel=1e-9, abs=1e-12) and found.schedule == schedule


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_lambdas_beyond_the_ends_are_nearly_them(schedule: NoiseSchedule) -> None:
    clean, noisy = schedule.at(800.0), schedule.at(-800.0)
    assert clean[:3] == pytest.approx((0.0, 1.0, 0.0), abs=1e-12)
    assert noisy[:3] == pytest.approx(schedule.level(1.0)[:3], abs=1e-12)


@given(st.floats(0, 1))
def test_what_each_schedule_preserves(t: float) -> None:
    flow = RectifiedFlow().level(t)
    assert flow.alpha + flow.sigma == pytest.approx(1, abs=1e-15)
    for schedule in SCHEDULES[1:]:
        level = schedule.level(t)
        assert level.alpha**2 + level.sigma**2 == pytest.approx(1, abs=1e-14)
    assert CosineVP().level(t).alpha == pytest.approx(math.cos(math.pi * t / 2), abs=1e-15)


@pytest.mark.parametrize("scaled", [True, False])
def test_a_beta_table_agrees_with_the_cumulative_product(scaled: bool) -> None:
    first, last = (0.00085, 0.012) if scaled else (1e-4, 0.02)
    betas = torch.linspace(first**0.5, last**0.5, 1000, dtype=torch.float64) ** 2
    if not scaled:
        betas = torch.linspace(first, last, 1000, dtype=torch.float64)
    alphas_cumprod = (1 - betas).cumprod(0)
    schedule = LinearBetaVP(first, last, 1000, scaled)
    for i in (0, 1, 17, 500, 998, 999):
        t = (i + 1) / 1000
        assert schedule.level(t).alpha ** 2 == pytest.approx(alphas_cumprod[i].item(), rel=1e-12)
        assert schedule.level(t).sigma ** 2 == pytest.approx(1 - alphas_cumprod[i].item(), rel=1e-11)
        assert schedule.timestep(t) == pytest.approx(i, abs=1e-9)
    between = [schedule.level(t).alpha for t in (0.5, 0.5004, 0.501)]
    assert math.log(between[1]) == pytest.approx(0.6 * math.log(between[0]) + 0.4 * math.log(between[2]), rel=1e-12)


def test_stable_diffusions_table_ends_where_it_is_known_to() -> None:
    # arXiv:2305.08891, table 1: alpha_bar at the last step is 0.004660, so sqrt is 0.068265
    assert LinearBetaVP().level(1.0).alpha == pytest.approx(0.068265, abs=5e-7)
    assert LinearBetaVP().timestep(0.0) == 0.0


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("t", [-1e-9, 1.0000001, math.nan])
def test_times_outside_the_unit_interval_are_refused(schedule: NoiseSchedule, t: float) -> None:
    with pytest.raises(ValueError, match="outside 0"):
        schedule.level(t)


@pytest.mark.parametrize("bad", [(0.0, 0.1, 10), (0.2, 0.1, 10), (0.1, 1.0, 10), (0.1, 0.2, 1)])
def test_impossible_tables_are_refused(bad: tuple[float, float, int]) -> None:
    with pytest.raises(ValueError, match="try"):
        LinearBetaVP(*bad)


def test_noise_between_two_sources_is_noise() -> None:
    shape = (4, 64, 64)

    def between(share: float) -> torch.Tensor:
        return Between(SeededNoise(1), SeededNoise(2), share).draw(shape)

    one, other = SeededNoise(1).draw(shape), SeededNoise(2).draw(shape)
    assert torch.equal(between(0.0), one) and torch.equal(between(1.0), other)
    for share in (0.1, 0.5, 0.9):  # a straight line would leave .71 of it in the middle
        assert between(share).std().item() == pytest.approx(1.0, abs=0.02)
    near = [torch.dot(between(share).flatten(), one.flatten()).item() for share in (0.0, 0.3, 0.6, 1.0)]
    assert near == sorted(near, reverse=True)
    assert torch.equal(Between(SeededNoise(1), SeededNoise(1), 0.4).draw(shape), one)  # between one and itself
