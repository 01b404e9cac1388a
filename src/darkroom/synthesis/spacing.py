"""Which levels a picture visits on its way from t = 1 to t = 0.

A spacing says at which times ``steps`` steps begin; the last one ends at 0. Those that space noise instead of time do
so in sigma on the straight path of the schedule: sigma / alpha where it preserves variance, t on a rectified flow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from darkroom.protocols import Level, NoiseSchedule, Spacing
from darkroom.synthesis.noise import Straightened, is_straight

TABLE = 1000  # entries of the usual table of betas
CLEANEST = 1 / TABLE  # the time the last step of those begins at: the first entry of it


def even(schedule: NoiseSchedule, steps: int) -> list[float]:
    """Evenly in time."""
    return [n / steps for n in range(steps, 0, -1)]


def leading(schedule: NoiseSchedule, steps: int) -> list[float]:
    """The entries 1, 1 + k, 1 + 2 k ... of the usual table, k the whole part of its length over the steps.

    ("Leading" in arXiv:2305.08891, table 2, from entry 1 on, as Stable Diffusion's own pipeline has it.) It begins a
    little below t = 1.
    """
    stride = TABLE // min(steps, TABLE)
    last = (steps - 1) * stride + 2
    return [(n * stride + 2 - max(0, last - TABLE)) / TABLE for n in range(steps - 1, -1, -1)]


def linspace(schedule: NoiseSchedule, steps: int) -> list[float]:
    """Evenly from the last entry of the usual table to its first, both included (arXiv:2305.08891, table 2)."""
    return [(1 + (TABLE - 1) * (1.0 - _share(i, steps))) / TABLE for i in range(steps)]


def sd3(schedule: NoiseSchedule, steps: int, shift: float = 3.0) -> list[float]:
    """Evenly from 1 to the first entry of the usual table, which is shifted already: where Stable Diffusion 3's own
    pipeline has its steps, before it shifts them all."""
    last = shift / (TABLE + shift - 1.0)
    return [1.0 - _share(i, steps) * (1.0 - last) for i in range(steps)]


def karras(schedule: NoiseSchedule, steps: int, rho: float = 7.0) -> list[float]:
    """Evenly in sigma**(1 / rho) (arXiv:2206.00364 eq. 5): short steps where little noise is left."""
    first, last = _ends(schedule)
    a, b = first ** (1 / rho), last ** (1 / rho)
    return _times(schedule, [(a + _share(i, steps) * (b - a)) ** rho for i in range(steps)])


def exponential(schedule: NoiseSchedule, steps: int) -> list[float]:
    """Evenly in log(sigma), that is by a constant factor."""
    first, last = _ends(schedule)
    return _times(schedule, [first * (last / first) ** _share(i, steps) for i in range(steps)])


def beta(schedule: NoiseSchedule, steps: int, a: float = 0.6) -> list[float]:
    """At quantiles of Beta(a, a) in time (arXiv:2407.12173): with a below 1 short steps at both ends, long between."""
    return [_beta_quantile(n / steps, a) for n in range(steps, 0, -1)]


SPACINGS: dict[str, Spacing] = {
    "even": even,
    "leading": leading,
    "linspace": linspace,
    "sd3": sd3,
    "karras": karras,
    "exponential": exponential,
    "beta": beta,
}


def spaced(schedule: NoiseSchedule, steps: int, shift: float = 1.0, spacing: Spacing = even) -> list[Level]:
    """The ``steps + 1`` levels from t = 1 down to t = 0: spaced times, then shifted towards the noise.

    The shift is t' = s t / (1 + (s - 1) t) (arXiv:2403.03206 eq. 23). On :class:`RectifiedFlow` it multiplies
    sigma / alpha by s, which is what a larger picture needs; on other schedules it only warps time.

    Args:
        schedule: maps times to levels.
        steps: number of steps, at least 1.
        shift: s, above 0; 1 leaves the times as they are, 3 is common for a megapixel.
        spacing: which times.

    Raises:
        ValueError: steps or shift outside their range.
    """
    if steps < 1:
        raise ValueError(f"steps {steps} is below 1; try 20")
    if not 0.0 < shift < math.inf:
        raise ValueError(f"shift {shift} is not a finite number above 0; try 1 for even times or 3 for large pictures")
    times = [*spacing(schedule, steps), 0.0]
    # s t / (s t + (1 - t)), eq. 23 multiplied out: exactly 1 at t = 1 and exactly 0 at t = 0 for every s
    return [schedule.level(shift * t / (shift * t + (1.0 - t))) for t in times]


def begun(levels: Sequence[Level], strength: float) -> Sequence[Level]:
    """The last ``strength`` of the way along levels: 1 is all of them, 0 the last alone.

    Where it begins between two of them it begins at the time in between, so that every strength is another one. Its
    first step is half a step long or up to one and a half: multistep samplers divide by its length, and one of next to
    nothing would blow up the rounding of two estimates that are all but equal. (SDEdit, arXiv:2108.01073, which begins
    at any time.)
    """
    steps = len(levels) - 1
    whole, share = _begins(steps, strength)
    if not share:
        return levels[whole:]
    first, second = levels[whole : whole + 2]
    assert first.schedule is not None
    start = first.schedule.level(first.t + share * (second.t - first.t))
    return [start, *levels[len(levels) - steps_of(steps, strength) :]]


def steps_of(steps: int, strength: float | None) -> int:
    """How many steps of so many are left to a start of this strength; None: it begins with noise."""
    if strength is None:
        return steps
    whole, share = _begins(steps, strength)
    left = steps - whole
    return left - 1 if share > 0.5 and left > 1 else left


def _begins(steps: int, strength: float) -> tuple[int, float]:
    """The step in which a start lies, and the share of it that is over; 0 where it is none."""
    place = steps * (1.0 - strength)
    whole = min(int(place + 1e-9), steps)
    share = place - whole
    return whole, share if share > 1e-9 else 0.0


def _ends(schedule: NoiseSchedule) -> tuple[float, float]:
    """Most and least sigma on the straight path."""
    path = schedule if is_straight(schedule) else Straightened(schedule)
    return path.level(1.0).sigma, path.level(CLEANEST).sigma


def _times(schedule: NoiseSchedule, sigmas: list[float]) -> list[float]:
    """The times at which the straight path has these sigmas; the first of them is that of t = 1."""
    path = schedule if is_straight(schedule) else Straightened(schedule)
    ends = path.level(0.0), path.level(1.0)
    slope = (ends[1].alpha - ends[0].alpha) / (ends[1].sigma - ends[0].sigma)
    alphas = (ends[0].alpha + slope * (sigma - ends[0].sigma) for sigma in sigmas)
    lams = [math.log(alpha / sigma) for alpha, sigma in list(zip(alphas, sigmas, strict=True))[1:]]
    return [1.0, *(path.at(lam).t for lam in lams)]


def _share(i: int, steps: int) -> float:
    return i / max(steps - 1, 1)


@lru_cache(maxsize=4096)
def _beta_quantile(p: float, a: float) -> float:
    """The x below which Beta(a, a) has probability p, by bisection to fp64."""
    if p == 1.0:
        return 1.0
    if p > 0.5:
        return 1.0 - _beta_quantile(1.0 - p, a)  # the same from the other end
    low, high = 0.0, 0.5
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _beta_below(middle, a) < p else (low, middle)
    return (low + high) / 2


def _beta_below(x: float, a: float) -> float:
    """P(X < x) for Beta(a, a) and x up to 1/2: x**a (1 - x)**a / (a B) times sum_n x**n prod_k (2 a + k) / (a + 1 + k).

    (Abramowitz and Stegun 26.5.4.) All terms are positive, and each is at most about x times the one before.
    """
    if x == 0.0:
        return 0.0
    term = total = 1.0
    n = 0
    while term > 1e-17 * total:
        term *= x * (2.0 * a + n) / (a + 1.0 + n)
        total += term
        n += 1
    log_beta = 2.0 * math.lgamma(a) - math.lgamma(2.0 * a)
    return math.exp(a * math.log(x) + a * math.log1p(-x) - log_beta) / a * total
