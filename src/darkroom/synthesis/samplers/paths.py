"""The way from noise to picture as a line in the plane of (alpha, sigma), and levels in the middle of a step.

Rules that weigh several slopes of (*) (trapezoid, midpoint, Adams) depend on the scale that x is measured in: dividing
x, alpha and sigma by a number that changes along the way gives the same ODE and another rule. Their literature takes
them on straight paths: Karras et al. (arXiv:2206.00364) where alpha = 1, so that dx = eps dsigma; rectified flows where
alpha + sigma = 1, so that dx = (eps - x0) dsigma.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import wraps

from torch import Tensor

from darkroom.protocols import Denoise, Level, NoiseSchedule, NoiseSource, Sampler, Task


@dataclass(frozen=True, slots=True)
class Straightened:
    """A schedule whose levels are divided by alpha, or by alpha + sigma where alpha comes to 0: a straight path."""

    schedule: NoiseSchedule

    def scale(self, t: float) -> float:
        """What x, alpha and sigma are divided by at time ``t``."""
        level = self.schedule.level(t)
        return level.alpha if self.schedule.level(1.0).alpha > 0.0 else level.alpha + level.sigma

    def level(self, t: float) -> Level:
        """The level at time ``t``, on the straight path."""
        level, scale = self.schedule.level(t), self.scale(t)
        return Level(t, level.alpha / scale, level.sigma / scale, self)

    def at(self, lam: float) -> Level:
        """The level of that log(alpha / sigma), which no scale changes."""
        return self.level(self.schedule.at(lam).t)


def on_a_straight_path(sampler: Sampler) -> Sampler:
    """The sampler, run on the straightened path of a schedule that curves; straight ones are left as they are."""

    @wraps(sampler)
    def straight(denoise: Denoise, x: Tensor, levels: Sequence[Level], noise: NoiseSource) -> Task[Tensor]:
        schedule = levels[0].schedule
        if schedule is None or _straight(schedule):
            return (yield from sampler(denoise, x, levels, noise))
        path = Straightened(schedule)

        def unscaled(y: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
            goal = None if toward is None else schedule.level(toward.t)
            return (yield from denoise(path.scale(level.t) * y, schedule.level(level.t), goal))

        first, last = (path.scale(level.t) for level in (levels[0], levels[-1]))
        y = yield from sampler(unscaled, x / first, [path.level(level.t) for level in levels], noise)
        return last * y

    return straight


def _straight(schedule: NoiseSchedule) -> bool:
    """Whether alpha + sigma is 1 throughout, or alpha is; three looks tell."""
    levels = [schedule.level(t) for t in (0.0, 0.5, 1.0)]
    flow, exploding = ([level.alpha + more * level.sigma for level in levels] for more in (1.0, 0.0))
    return any(all(abs(total - 1.0) < 1e-12 for total in totals) for totals in (flow, exploding))


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
