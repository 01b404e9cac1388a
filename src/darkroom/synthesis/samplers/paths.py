"""The way from noise to picture as a line in the plane of (alpha, sigma), and levels in the middle of a step.

Rules that weigh several slopes of (*) (trapezoid, midpoint, Adams) depend on the scale that x is measured in: dividing
x, alpha and sigma by a number that changes along the way gives the same ODE and another rule. Their literature takes
them on straight paths: Karras et al. (arXiv:2206.00364) where alpha = 1, so that dx = eps dsigma; rectified flows where
alpha + sigma = 1, so that dx = (eps - x0) dsigma.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import wraps

from torch import Tensor

from darkroom.protocols import Denoise, Level, NoiseSchedule, NoiseSource, Sampler, Task
from darkroom.synthesis.noise import Straightened, is_straight


def on_a_straight_path(sampler: Sampler) -> Sampler:
    """The sampler, run on the straightened path of a schedule that curves; straight ones are left as they are."""

    @wraps(sampler)
    def straight(denoise: Denoise, x: Tensor, levels: Sequence[Level], noise: NoiseSource) -> Task[Tensor]:
        schedule = levels[0].schedule
        if schedule is None or is_straight(schedule):
            return (yield from sampler(denoise, x, levels, noise))
        path = Straightened(schedule)

        def unscaled(y: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
            goal = None if toward is None else schedule.level(toward.t)
            return (yield from denoise(path.scale(level.t) * y, schedule.level(level.t), goal))

        first, last = (path.scale(level.t) for level in (levels[0], levels[-1]))
        y = yield from sampler(unscaled, x / first, [path.level(level.t) for level in levels], noise)
        return last * y

    return straight


def steps_middle(now: Level, after: Level) -> Level:
    """The level on a straight path between two whose sigma is their geometric mean."""
    sigma = math.sqrt(now.sigma * after.sigma)
    share = (sigma - now.sigma) / (after.sigma - now.sigma)
    alpha = now.alpha + share * (after.alpha - now.alpha)
    return schedule_of(now).at(math.log(alpha / sigma))


def lambdas_middle(now: Level, lam: float, after: Level) -> Level:
    """The level halfway in lambda from ``now`` to ``lam``; from pure noise, which has no lambda, that of the step.

    Then alpha and sigma are taken for a line, on which the middle has the geometric mean of both ends' sigma.
    """
    if now.alpha == 0.0:
        return steps_middle(now, after)
    return schedule_of(now).at((now.lam + lam) / 2)


def schedule_of(level: Level) -> NoiseSchedule:
    """The schedule of a level. Raises ValueError for one made by hand."""
    if level.schedule is None:
        raise ValueError(
            f"{level} is of no schedule, so there is none between it and the next; take one-stage samplers"
        )
    return level.schedule
