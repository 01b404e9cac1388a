"""Where noise comes from and how much of it there is: seeded draws, schedules, and the levels a sampler visits.

Everything about levels is Python floats (fp64); only draws are tensors. Time runs from ``t = 1`` (noise) to
``t = 0`` (clean).
"""

from __future__ import annotations

import hashlib
import math
import operator
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from darkroom.protocols import Level, NoiseSchedule, NoiseSource

LARGEST_SEED = 2**63 - 1


class SeededNoise:
    """One seeded stream of standard normals for one picture, drawn on the CPU.

    Two properties of torch are worked around here, both measured with torch 2.13:

    - ``torch.Generator.manual_seed`` on the CPU uses only the low 32 bits, so seeds 7 and 7 + 2**32 would give one
      picture. The seed is therefore hashed together with the stream's name; two different pairs share their noise
      with probability 2**-32.
    - fp32 ``randn`` gives other bits with AVX2 than without. fp64 draws do not, so draws are made in fp64 and rounded.

    Args:
        seed: 0 to 2**63 - 1.
        stream: name of a sub-stream; streams of one seed are independent of each other, so that for example the
            start of a picture does not move when a sampler draws more noise. "" is a stream like any other.

    Raises:
        ValueError: the seed is outside its range.
        TypeError: the seed is not an integer.
    """

    def __init__(self, seed: int, stream: str = "") -> None:
        seed = operator.index(seed)
        if not 0 <= seed <= LARGEST_SEED:
            raise ValueError(f"seed {seed} is outside 0 to {LARGEST_SEED}; try {seed % (LARGEST_SEED + 1)}")
        digest = hashlib.sha256(f"{seed}/{stream}".encode()).digest()
        self._generator = torch.Generator(device="cpu").manual_seed(int.from_bytes(digest[:4], "little"))

    def draw(self, shape: Sequence[int]) -> Tensor:
        """The next draw of the stream: fp32 standard normals of ``shape`` on the CPU."""
        return torch.randn(tuple(shape), generator=self._generator, dtype=torch.float64).float()


@dataclass(frozen=True, slots=True)
class Between:
    """Noise between that of two sources: ``share`` of the way along the great circle (Shoemake 1985), which keeps it
    standard normal. 0 is the first of them, bit for bit, and 1 the second."""

    first: NoiseSource
    second: NoiseSource
    share: float

    def draw(self, shape: Sequence[int]) -> Tensor:
        """The next draws of both, and the one between."""
        a, b = self.first.draw(shape), self.second.draw(shape)
        if self.share in (0.0, 1.0):
            return b if self.share else a
        x, y = a.double(), b.double()
        cosine = float((x * y).sum() / (x.norm() * y.norm()))
        angle = math.acos(max(-1.0, min(1.0, cosine)))
        if angle < 1e-6:  # one and the same
            return a
        weights = math.sin((1.0 - self.share) * angle), math.sin(self.share * angle)
        return ((weights[0] * x + weights[1] * y) / math.sin(angle)).float()


def initial_noise(noise: NoiseSource, shape: Sequence[int], level: Level) -> Tensor:
    """The x a sampler starts from at ``level`` (usually ``levels[0]``): sigma * noise, fp32 of ``shape``, on the CPU.

    Exact where alpha = 0. Where a schedule ends a little short of pure noise (Stable Diffusion: alpha = 0.068), the
    missing alpha * x0 is the known bias of arXiv:2305.08891, section 3.1.
    """
    return level.sigma * noise.draw(shape)


@dataclass(frozen=True, slots=True)
class RectifiedFlow:
    """Straight paths: alpha = 1 - t, sigma = t (arXiv:2209.03003; arXiv:2403.03206 eq. 13)."""

    def level(self, t: float) -> Level:
        """The level at time ``t``. Raises ValueError outside 0 to 1."""
        t = _checked_time(t)
        return Level(t, 1.0 - t, t, self)

    def at(self, lam: float) -> Level:
        """The level with log(alpha / sigma) = ``lam``: both sides of a sigmoid, neither by subtraction."""
        alpha, sigma = _ratio(lam)
        return Level(sigma / (alpha + sigma), alpha / (alpha + sigma), sigma / (alpha + sigma), self)


@dataclass(frozen=True, slots=True)
class CosineVP:
    """Variance preserving: alpha = cos(pi t / 2), sigma = sin(pi t / 2).

    arXiv:2102.09672 eq. 17 without its offset, as used by arXiv:2202.00512; the offset would keep alpha(1) and
    sigma(0) from being exactly 0.
    """

    def level(self, t: float) -> Level:
        """The level at time ``t``. Raises ValueError outside 0 to 1."""
        t = _checked_time(t)
        # sin of the complement rather than cos: alpha is exactly 0 at t = 1, and accurate near it.
        return Level(t, math.sin(0.5 * math.pi * (1.0 - t)), math.sin(0.5 * math.pi * t), self)

    def at(self, lam: float) -> Level:
        """The level with log(alpha / sigma) = ``lam``."""
        alpha, sigma = _ratio(lam)
        length = math.hypot(alpha, sigma)
        return Level(math.atan2(sigma, alpha) / (0.5 * math.pi), alpha / length, sigma / length, self)


@dataclass(frozen=True, slots=True)
class LinearBetaVP:
    """A table of betas, made continuous: for checkpoints trained on discrete steps (arXiv:2006.11239, section 2).

    After n of ``steps`` forward steps alpha_n**2 = (1 - beta_1) ... (1 - beta_n), at time t = n / steps; t = 0 is
    clean, and alpha(1) is small but not 0. Between entries log alpha is linear in t, which is the VP SDE with a
    piecewise constant beta (arXiv:2011.13456 eq. 11; DPM-Solver reads tables so too, arXiv:2206.00927).

    Args:
        beta_start: first beta; the default is Stable Diffusion's.
        beta_end: last beta.
        steps: length of the table.
        scaled: True spaces sqrt(beta) evenly (Stable Diffusion's "scaled linear", arXiv:2112.10752), False spaces
            beta evenly (DDPM: 1e-4 to 0.02).

    Raises:
        ValueError: not 0 < beta_start <= beta_end < 1, or fewer than 2 steps.
    """

    beta_start: float = 0.00085
    beta_end: float = 0.012
    steps: int = 1000
    scaled: bool = True

    def __post_init__(self) -> None:
        if not 0.0 < self.beta_start <= self.beta_end < 1.0:
            raise ValueError(
                f"betas {self.beta_start} to {self.beta_end} break 0 < beta_start <= beta_end < 1; "
                "try 0.00085 to 0.012, which are Stable Diffusion's"
            )
        if self.steps < 2:
            raise ValueError(f"a table of {self.steps} steps has no first and last beta; try 1000")

    def level(self, t: float) -> Level:
        """The level at time ``t``. Raises ValueError outside 0 to 1."""
        t = _checked_time(t)
        table = _log_alphas(self.beta_start, self.beta_end, self.steps, self.scaled)
        place = t * self.steps
        n = min(int(place), self.steps - 1)
        log_alpha = table[n] + (place - n) * (table[n + 1] - table[n])
        # sigma**2 = 1 - alpha**2 without the cancellation near t = 0; abs turns -0.0 at t = 0 into 0.0
        return Level(t, math.exp(log_alpha), math.sqrt(abs(math.expm1(2.0 * log_alpha))), self)

    def at(self, lam: float) -> Level:
        """The level with log(alpha / sigma) = ``lam``; below the last of the table, that one."""
        log_alpha = min(lam, 0.0) - 0.5 * math.log1p(math.exp(-2.0 * abs(lam)))
        table = _log_alphas(self.beta_start, self.beta_end, self.steps, self.scaled)
        n = bisect_left(table, -log_alpha, key=lambda entry: -entry)  # the first entry that is no larger
        if n > self.steps:
            return self.level(1.0)
        place = n - (log_alpha - table[n]) / (table[n - 1] - table[n]) if n else 0.0
        return self.level(place / self.steps)

    def timestep(self, t: float) -> float:
        """The (fractional) table index from 0 that a network trained on this table expects at time ``t``.

        Index i is reached after i + 1 forward steps, so t = 1 is ``steps - 1``; below the first entry it is 0.
        """
        return max(0.0, _checked_time(t) * self.steps - 1.0)


@dataclass(frozen=True, slots=True)
class WithoutSignal:
    """A table of betas moved so that nothing of the picture is left at t = 1 (arXiv:2305.08891, algorithm 1).

    alpha' = (alpha - alpha_T) * alpha_1 / (alpha_1 - alpha_T): the first entry of the table is what it was, the last
    one is 0. Before the first entry it is the table.
    """

    table: LinearBetaVP

    @property
    def _ends(self) -> tuple[float, float]:
        """alpha at the first and at the last entry of the table."""
        return self.table.level(1.0 / self.table.steps).alpha, self.table.level(1.0).alpha

    def level(self, t: float) -> Level:
        """The level at time ``t``. Raises ValueError outside 0 to 1."""
        level = self.table.level(t)
        if t * self.table.steps <= 1.0:
            return level._replace(schedule=self)
        first, last = self._ends
        alpha = (level.alpha - last) * first / (first - last)
        return Level(level.t, alpha, math.sqrt((1.0 - alpha) * (1.0 + alpha)), self)

    def at(self, lam: float) -> Level:
        """The level with log(alpha / sigma) = ``lam``."""
        ratio = _ratio(lam)
        alpha = ratio[0] / math.hypot(*ratio)
        first, last = self._ends
        if alpha < first:
            moved = alpha * (first - last) / first + last
            lam = math.log(moved / math.sqrt((1.0 - moved) * (1.0 + moved)))
        return self.level(self.table.at(lam).t)

    def timestep(self, t: float) -> float:
        """The table index that a network trained on this expects; see :class:`LinearBetaVP`."""
        return self.table.timestep(t)


@dataclass(frozen=True, slots=True)
class Straightened:
    """A schedule whose levels are divided by alpha, or by alpha + sigma where alpha comes to 0: a straight path.

    The same process in another scale of x: at (alpha = 1, sigma / alpha) dx = eps dsigma (arXiv:2206.00364), at
    alpha + sigma = 1 dx = (eps - x0) dsigma (arXiv:2209.03003).
    """

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


def is_straight(schedule: NoiseSchedule) -> bool:
    """Whether alpha + sigma is 1 throughout, or alpha is; three looks tell."""
    levels = [schedule.level(t) for t in (0.0, 0.5, 1.0)]
    flow, exploding = ([level.alpha + more * level.sigma for level in levels] for more in (1.0, 0.0))
    return any(all(abs(total - 1.0) < 1e-12 for total in totals) for totals in (flow, exploding))


def _ratio(lam: float) -> tuple[float, float]:
    """Two numbers, the larger of them 1, whose ratio's logarithm is ``lam``."""
    return (1.0, math.exp(-lam)) if lam >= 0.0 else (math.exp(lam), 1.0)


def _checked_time(t: float) -> float:
    if not 0.0 <= t <= 1.0:  # also catches NaN
        raise ValueError(f"time {t} is outside 0 (clean) to 1 (noise)")
    return float(t)


@lru_cache(maxsize=8)
def _log_alphas(beta_start: float, beta_end: float, steps: int, scaled: bool) -> tuple[float, ...]:
    """log alpha after 0, 1, ..., ``steps`` forward steps."""
    power = 2 if scaled else 1
    first, last = beta_start ** (1 / power), beta_end ** (1 / power)
    log_alpha = 0.0
    table = [log_alpha]
    for i in range(steps):
        beta = (first + (last - first) * i / (steps - 1)) ** power
        log_alpha += 0.5 * math.log1p(-beta)
        table.append(log_alpha)
    return tuple(table)
