"""Samplers on Gaussian mixtures whose posterior mean is exact: order, moments, and agreement with the papers' boxes.

To add a sampler, add its row to ``ORDER`` and to ``STEPS``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from darkroom.protocols import Call, Level, NoiseSchedule, Task
from darkroom.synthesis.noise import CosineVP, LinearBetaVP, RectifiedFlow, SeededNoise, initial_noise
from darkroom.synthesis.prediction import KINDS, PredictionKind
from darkroom.synthesis.samplers import (
    SAMPLERS,
    dpmpp_2m,
    dpmpp_2m_sde,
    dpmpp_2s_ancestral,
    dpmpp_3m_sde,
    dpmpp_sde,
    euler,
    euler_ancestral,
    evaluations,
    lms,
    unipc,
)
from darkroom.synthesis.spacing import spaced
from tests.analytic import (
    FOUR_D,
    ONE_D,
    Mixture,
    even,
    exact,
    integrated,
    orders,
    predicting,
    run,
    transported,
)

# Deterministic samplers: their order on the flow. That of lms and unipc is that of their first steps, which know less.
ORDER = {"euler": 1, "ddim": 1, "heun": 2, "dpm2": 2, "lms": 2, "dpmpp-2m": 2, "unipc": 2, "flow-map": 1}
# Enough to leave only Monte-Carlo error. lcm is not here: it keeps the law only of models that map noise to pictures.
STEPS = {"euler": 300, "ddim": 300, "heun": 50, "dpm2": 50, "lms": 80, "dpmpp-2m": 80, "unipc": 80, "flow-map": 300}
STEPS |= {"euler-a": 300, "dpmpp-2s-a": 80, "dpmpp-sde": 80, "dpmpp-2m-sde": 150, "dpmpp-3m-sde": 150}
DRAWS = {"euler-a": 1, "dpmpp-2s-a": 1, "dpmpp-sde": 2, "dpmpp-2m-sde": 1, "dpmpp-3m-sde": 1, "lcm": 1}  # a step
REMEMBERING = {"lms", "dpmpp-2m", "unipc", "dpmpp-2m-sde", "dpmpp-3m-sde"}

every_sampler = pytest.mark.parametrize("name", SAMPLERS)
both_schedules = pytest.mark.parametrize("schedule", [RectifiedFlow(), CosineVP()], ids=["flow", "cosine"])
both_mixtures = pytest.mark.parametrize("mixture", [ONE_D, FOUR_D], ids=["1-D", "4-D"])


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class NoNoise:
    """For samplers that must not draw."""

    def draw(self, shape: Sequence[int]) -> Tensor:
        raise AssertionError("a deterministic sampler drew noise")


def sampled(name: str, mixture: Mixture, x: Tensor, levels: Sequence[Level], seed: int = 0) -> Tensor:
    denoise, evaluate = exact(mixture)
    return run(SAMPLERS[name](denoise, x, levels, SeededNoise(seed)), evaluate)


def particles(mixture: Mixture, level: Level, count: int = 48) -> Tensor:
    """Draws from the mixture's distribution at ``level``, (count, D), fp64."""
    generator = torch.Generator().manual_seed(0)
    x0 = mixture.sample(count, generator)
    return level.alpha * x0 + level.sigma * torch.randn(x0.shape, generator=generator, dtype=torch.float64)


# -- the yardsticks themselves ---------------------------------------------------------------------------------------


@both_schedules
def test_runge_kutta_reference_agrees_with_rank_transport(schedule: NoiseSchedule) -> None:
    x = particles(ONE_D, schedule.level(1.0))
    by_rank = transported(ONE_D, x, schedule.level(1.0), schedule.level(0.0))
    torch.testing.assert_close(integrated(ONE_D, x, schedule, 1.0, 0.0, 400), by_rank, rtol=0, atol=1e-9)


@both_mixtures
def test_posterior_means_are_consistent_and_right(mixture: Mixture) -> None:
    level = Level(0.5, 0.6, 0.7)
    x = particles(mixture, level)
    x0, eps = mixture.x0(x, level), mixture.eps(x, level)
    torch.testing.assert_close(level.alpha * x0 + level.sigma * eps, x, rtol=0, atol=1e-13)
    # E[x0 | x] by importance sampling: an estimate that shares no formula with the closed form
    draws = mixture.sample(200_000, torch.Generator().manual_seed(1))
    for i in range(3):
        weights = (-((x[i] - level.alpha * draws) ** 2).sum(-1, keepdim=True) / (2 * level.sigma**2)).softmax(0)
        standard_error = ((weights * (draws - x0[i])) ** 2).sum(0).sqrt()
        assert ((weights * draws).sum(0) - x0[i]).abs().lt(5 * standard_error).all()


# -- (a) order -------------------------------------------------------------------------------------------------------


def errors(
    name: str, mixture: Mixture, schedule: NoiseSchedule, ends: tuple[float, float], steps: Sequence[int]
) -> list[float]:
    """Root mean square distance to the exact flow, for each number of steps."""
    first, last = (schedule.level(t) for t in ends)
    x = particles(mixture, first)
    if mixture is ONE_D:
        goal = transported(mixture, x, first, last)
    else:
        goal = integrated(mixture, x, schedule, *ends, steps=400)  # error below 1e-8, see above
    runs = [sampled(name, mixture, x, even(schedule, *ends, n)) for n in steps]
    return [(out - goal).pow(2).mean().sqrt().item() for out in runs]


@both_mixtures
@both_schedules
@pytest.mark.parametrize("name", ORDER)
def test_order_away_from_the_ends(name: str, schedule: NoiseSchedule, mixture: Mixture) -> None:
    # An error C h^p (1 + c h) shows order p + c h / (2 ln 2); with h = 1 / 64 and |c| up to 5 that is within 0.1 of p.
    # (unipc's is that of its last step, an Euler step, only in the end: the others err less.)
    measured = orders(errors(name, mixture, schedule, (0.95, 0.05), (64, 128, 256)))
    assert measured == pytest.approx([ORDER[name]] * 2, abs=0.4 if name == "unipc" else 0.1)


@both_mixtures
@both_schedules
@pytest.mark.parametrize("name", ["euler", "heun"])
def test_order_from_pure_noise_to_clean(name: str, schedule: NoiseSchedule, mixture: Mixture) -> None:
    measured = orders(errors(name, mixture, schedule, (1.0, 0.0), (64, 128, 256)))
    assert measured == pytest.approx([ORDER[name]] * 2, abs=0.1)


@both_mixtures
@both_schedules
def test_order_of_dpmpp_2m_from_pure_noise_to_clean(schedule: NoiseSchedule, mixture: Mixture) -> None:
    # Even times are never fine in lambda at the ends: the j-th step from an end has length about 1 / j there. Near
    # sigma = 0, x0 moves by sigma**2, so step j errs by (j/n)**2 (1/j)**2 (1/j), and near alpha = 0 by (j/n) (1/j)**2
    # (1/n): sums of 1 / (n**2 j), that is log(n) / n**2. Lower terms fade only like 1 / log(n), hence the wider
    # tolerance; without the division by log(n) the orders measured are 1.63 to 1.82.
    steps = (128, 256, 512)
    raw = errors("dpmpp-2m", mixture, schedule, (1.0, 0.0), steps)
    measured = orders([error / math.log(n) for error, n in zip(raw, steps, strict=True)])
    assert measured == pytest.approx([2, 2], abs=0.2)


@both_schedules
def test_second_order_pays_at_the_price_of_a_picture(schedule: NoiseSchedule) -> None:
    # at about 31 evaluations, from noise to clean
    by_name = {
        name: errors(name, FOUR_D, schedule, (1.0, 0.0), [steps])[0]
        for name, steps in (("euler", 31), ("heun", 16), ("dpmpp-2m", 31))
    }
    assert by_name["heun"] < by_name["euler"] / 4 and by_name["dpmpp-2m"] < by_name["euler"] / 8


# -- (b) moments -----------------------------------------------------------------------------------------------------


@both_mixtures
@both_schedules
@pytest.mark.parametrize("name", STEPS)
def test_mean_and_variance(name: str, schedule: NoiseSchedule, mixture: Mixture) -> None:
    count = 10_000
    mean, variance, fourth = mixture.moments()
    levels = spaced(schedule, STEPS[name])
    x = initial_noise(SeededNoise(1, "start"), (count, len(mean)), levels[0]).double()
    out = sampled(name, mixture, x, levels, seed=1)
    # Monte-Carlo standard errors of mean and variance; 4 of them, of which the first-order samplers use up to 1 in
    # bias at 300 steps (measured: the variance of euler-a is about 2.5 standard errors low at 200 steps, 20 000 rows).
    assert (out.mean(0) - mean).abs().lt(4 * (variance / count).sqrt()).all()
    assert (out.var(0) - variance).abs().lt(4 * ((fourth - variance**2) / count).sqrt()).all()


# -- (c) samplers do not know what the network predicts --------------------------------------------------------------


@every_sampler
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("schedule", [RectifiedFlow(), CosineVP(), LinearBetaVP()], ids=["flow", "cosine", "beta"])
def test_every_kind_of_network_gives_the_same_picture(name: str, kind: PredictionKind, schedule: NoiseSchedule) -> None:
    # eps knows nothing at alpha = 0, so it starts a little below; 1 / alpha = 50 there costs two digits of fp64
    levels = even(schedule, 0.98 if kind == "eps" else 1.0, 0.0, 12)
    x = particles(FOUR_D, levels[0])
    denoise, evaluate = predicting(FOUR_D, kind)
    out = run(SAMPLERS[name](denoise, x, levels, SeededNoise(5)), evaluate)
    torch.testing.assert_close(out, sampled(name, FOUR_D, x, levels, seed=5), rtol=0, atol=1e-9)


# -- the boxes of the papers, written out ----------------------------------------------------------------------------


@both_schedules
def test_dpmpp_2m_is_algorithm_2_of_its_paper(schedule: NoiseSchedule) -> None:
    levels = even(schedule, 0.97, 0.03, 9)
    x = start = particles(FOUR_D, levels[0])
    lam = [math.log(level.alpha / level.sigma) for level in levels]
    q: list[Tensor] = []  # the buffer Q of the paper
    for i, (now, after) in enumerate(pairwise(levels), start=1):
        q.append(FOUR_D.x0(x, now))
        h = lam[i] - lam[i - 1]
        d = q[-1]
        if i > 1:
            r = (lam[i - 1] - lam[i - 2]) / h
            d = (1 + 1 / (2 * r)) * q[-1] - 1 / (2 * r) * q[-2]
        x = after.sigma / now.sigma * x - after.alpha * (math.exp(-h) - 1) * d
    torch.testing.assert_close(sampled("dpmpp-2m", FOUR_D, start, levels), x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ancestral_is_eq_12_and_16_of_ddim(eta: float) -> None:
    # in the paper's alpha_bar = alpha**2, on a schedule that preserves variance
    levels = even(CosineVP(), 1.0, 0.0, 9)
    x = start = particles(FOUR_D, levels[0])
    noise = SeededNoise(3)
    for now, after in pairwise(levels):
        bar, bar_after = now.alpha**2, after.alpha**2
        x0 = FOUR_D.x0(x, now)
        eps = (x - math.sqrt(bar) * x0) / math.sqrt(1 - bar)
        s = eta * math.sqrt((1 - bar_after) / (1 - bar)) * math.sqrt(1 - bar / bar_after)
        x = math.sqrt(bar_after) * x0 + math.sqrt(max(0.0, 1 - bar_after - s**2)) * eps
        if after.sigma > 0:
            x = x + s * noise.draw(x.shape).double()
    denoise, evaluate = exact(FOUR_D)
    out = run(euler_ancestral(denoise, start, levels, SeededNoise(3), eta), evaluate)
    torch.testing.assert_close(out, x, rtol=0, atol=1e-7)  # sqrt of 1 - bar_after - s**2, rounding error 1e-16, near 0


@both_schedules
def test_an_ancestral_step_draws_from_bayes_posterior(schedule: NoiseSchedule) -> None:
    # q(x' | x, x0) of the forward process, by Bayes: prior N(alpha' x0, sigma'**2), likelihood
    # x | x' ~ N(g x', sigma**2 - g**2 sigma'**2) with g = alpha / alpha'
    now, after = schedule.level(0.8), schedule.level(0.6)
    x, x0 = particles(FOUR_D, now), particles(FOUR_D, schedule.level(0.0))

    def known(x: Tensor, level: Level) -> Task[Tensor]:
        yield [Call("none", {})]
        return x0

    g = now.alpha / after.alpha
    precision = 1 / after.sigma**2 + g**2 / (now.sigma**2 - g**2 * after.sigma**2)
    mean = (after.alpha * x0 / after.sigma**2 + g * x / (now.sigma**2 - g**2 * after.sigma**2)) / precision
    expected = mean + SeededNoise(2).draw(x.shape).double() / math.sqrt(precision)
    out = run(euler_ancestral(known, x, [now, after], SeededNoise(2)), lambda calls: [x0])
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)


def test_without_fresh_noise_ancestral_is_euler_bit_for_bit() -> None:
    levels = spaced(CosineVP(), 10)
    x = particles(FOUR_D, levels[0])
    denoise, evaluate = exact(FOUR_D)
    out = run(euler_ancestral(denoise, x, levels, NoNoise(), eta=0.0), evaluate)
    assert torch.equal(out, run(euler(denoise, x, levels, NoNoise()), evaluate))


@both_schedules
@pytest.mark.parametrize("sampler", [dpmpp_2s_ancestral, dpmpp_sde, dpmpp_2m_sde, dpmpp_3m_sde])
def test_without_fresh_noise_the_stochastic_ones_follow_the_flow(sampler: Any, schedule: NoiseSchedule) -> None:
    first, last = schedule.level(0.95), schedule.level(0.05)
    x, (denoise, evaluate) = particles(ONE_D, first), exact(ONE_D)
    goal = transported(ONE_D, x, first, last)
    runs = [
        run(sampler(denoise, x, even(schedule, 0.95, 0.05, n), SeededNoise(0), eta=0.0), evaluate)
        for n in (64, 128, 256)
    ]
    measured = orders([(out - goal).pow(2).mean().sqrt().item() for out in runs])
    assert measured == pytest.approx([2, 2], abs=0.15)


@both_schedules
def test_without_fresh_noise_2m_sde_is_2m(schedule: NoiseSchedule) -> None:
    levels = spaced(schedule, 12)
    x, (denoise, evaluate) = particles(FOUR_D, levels[0]), exact(FOUR_D)
    plain = run(dpmpp_2m(denoise, x, levels, NoNoise()), evaluate)
    out = run(dpmpp_2m_sde(denoise, x, levels, NoNoise(), eta=0.0), evaluate)
    torch.testing.assert_close(out, plain, rtol=0, atol=1e-12)


@both_schedules
def test_more_memory_is_more_exact(schedule: NoiseSchedule) -> None:
    first, last = schedule.level(0.95), schedule.level(0.05)
    x, (denoise, evaluate) = particles(ONE_D, first), exact(ONE_D)
    goal, levels = transported(ONE_D, x, first, last), even(schedule, 0.95, 0.05, 64)

    def error(task: Task[Tensor]) -> float:
        return (run(task, evaluate) - goal).pow(2).mean().sqrt().item()

    assert error(lms(denoise, x, levels, NoNoise())) < error(euler(denoise, x, levels, NoNoise())) / 5
    corrected = [error(unipc(denoise, x, levels, NoNoise(), order=order)) for order in (1, 2, 3)]
    assert corrected[1] < corrected[0] / 2 and corrected[2] < corrected[0] / 2  # the last step, Euler's, hides more
    assert corrected[1] < error(dpmpp_2m(denoise, x, levels, NoNoise()))


def test_consistency_sampling_draws_all_noise_anew() -> None:
    levels = spaced(RectifiedFlow(), 3)
    x = particles(FOUR_D, levels[0])
    noise, expected = SeededNoise(4), x
    for now, after in pairwise(levels):
        x0 = FOUR_D.x0(expected, now)
        expected = after.alpha * x0
        if after.sigma > 0:
            expected = expected + after.sigma * noise.draw(x.shape).double()
    assert torch.equal(sampled("lcm", FOUR_D, x, levels, seed=4), expected)


@pytest.mark.parametrize("name", ["dpm2", "dpmpp-2s-a", "dpmpp-sde"])
def test_two_stages_need_a_schedule(name: str) -> None:
    levels = [Level(0.9, 0.1, 0.9), Level(0.5, 0.5, 0.5)]
    with pytest.raises(ValueError, match="is of no schedule, so there is none between it and the next"):
        sampled(name, ONE_D, particles(ONE_D, levels[0]), levels)


# -- the contract of every sampler -----------------------------------------------------------------------------------


@every_sampler
@both_schedules
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_few_steps_across_both_singular_ends(name: str, schedule: NoiseSchedule, steps: int) -> None:
    out = sampled(name, ONE_D, particles(ONE_D, schedule.level(1.0)), spaced(schedule, steps))
    assert out.isfinite().all() and out.abs().max() < 4
    if steps == 1:  # all that can be said of pure noise is the mean
        torch.testing.assert_close(out, ONE_D.moments()[0].expand_as(out), rtol=0, atol=1e-14)


@every_sampler
def test_cost_levels_and_draws(name: str) -> None:
    for steps in (1, 2, 7):
        levels = spaced(RectifiedFlow(), steps)
        drawn: list[tuple[int, ...]] = []
        asked: list[Tensor | float] = []
        denoise, evaluate = exact(ONE_D)

        class Counted(SeededNoise):
            def draw(self, shape: Sequence[int]) -> Tensor:
                drawn.append(tuple(shape))  # noqa: B023
                return super().draw(shape)

        def counted(calls: list[Call]) -> list[Tensor]:
            asked.extend(call.inputs["t"] for call in calls)  # noqa: B023
            return evaluate(calls)  # noqa: B023

        x = particles(ONE_D, levels[0])
        run(SAMPLERS[name](denoise, x, levels, Counted(0)), counted)
        assert len(asked) == evaluations(name, steps)
        assert 0.0 not in asked and set(asked) >= {level.t for level in levels[:-1]}
        assert asked == sorted(asked, reverse=True)
        assert drawn == [(48, 1)] * (steps - 1) * DRAWS.get(name, 0)


@every_sampler
def test_stopping_half_way_and_going_on(name: str) -> None:
    # a pass may end above sigma = 0 and another go on from there; a multistep sampler forgets, so it differs a little
    levels = spaced(RectifiedFlow(), 40)
    x = particles(ONE_D, levels[0])
    denoise, evaluate = exact(ONE_D)
    noise = SeededNoise(0)
    half = run(SAMPLERS[name](denoise, x, levels[:21], noise), evaluate)
    out = run(SAMPLERS[name](denoise, half, levels[20:], noise), evaluate)
    apart = (out - sampled(name, ONE_D, x, levels)).abs()
    assert apart.median() < 0.02 if name in REMEMBERING else not apart.any()
    assert run(SAMPLERS[name](denoise, x, levels[:1], noise), evaluate) is x


@every_sampler
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dtype_and_shape_are_those_of_x(name: str, dtype: torch.dtype) -> None:
    x = SeededNoise(0).draw((4, 6, 5)).to(dtype)

    def denoise(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
        (x0,) = yield [Call("net", {"x": x})]
        return x0

    out = run(SAMPLERS[name](denoise, x, spaced(CosineVP(), 4), SeededNoise(1)), lambda calls: [0.5 * x for _ in calls])
    assert out.dtype == dtype and out.shape == x.shape


@pytest.mark.parametrize("name", ORDER)
def test_a_row_does_not_see_its_batch(name: str) -> None:
    def denoise(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
        (x0,) = yield [Call("net", {"x": x})]
        return x0

    def evaluate(calls: list[Call]) -> list[Tensor]:
        return [call.inputs["x"] * 0.5 for call in calls]  # type: ignore[misc]

    x, levels = SeededNoise(0).draw((5, 3, 8)), spaced(CosineVP(), 6)
    batch = run(SAMPLERS[name](denoise, x, levels, NoNoise()), evaluate)
    alone = [run(SAMPLERS[name](denoise, row, levels, NoNoise()), evaluate) for row in x]
    assert torch.equal(batch, torch.stack(alone))


def test_unknown_samplers_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match='"dpmp-2m" is unknown; did you mean "dpmpp-2m"'):
        evaluations("dpmp-2m", 20)
    with pytest.raises(ValueError, match="steps 0 is below 1"):
        evaluations("euler", 0)
