"""A denoiser whose right answer is known: Gaussian mixtures in fp64, and the flow they give.

For x0 ~ sum_k w_k N(m_k, diag(s_k**2)) and x = alpha * x0 + sigma * noise, each component of x is
N(alpha * m_k, v_k) with v_k = alpha**2 * s_k**2 + sigma**2, so that with responsibilities r_k(x)

    E[x0 | x]  = sum_k r_k (m_k + alpha * s_k**2 / v_k * (x - alpha * m_k))
    E[eps | x] = sum_k r_k sigma / v_k * (x - alpha * m_k)

Both are finite at every level, alpha = 0 and sigma = 0 included. Particles are rows: x is (..., dimensions).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor

from darkroom.protocols import Call, Denoise, Level, NoiseSchedule, Task
from darkroom.synthesis.noise import CosineVP, RectifiedFlow
from darkroom.synthesis.prediction import PredictionKind, from_x0, to_x0

R = TypeVar("R")
Evaluate = Callable[[list[Call]], list[Tensor]]


def run(task: Task[R], evaluate: Evaluate) -> R:
    """Drives one task to its result."""
    try:
        calls = next(task)
        while True:
            calls = task.send(evaluate(calls))
    except StopIteration as stop:
        result: R = stop.value
        return result


@dataclass(frozen=True)
class Mixture:
    """sum_k weights[k] * N(means[k], diag(stds[k]**2)), with ``means`` and ``stds`` as K rows of D numbers."""

    weights: tuple[float, ...]
    means: tuple[tuple[float, ...], ...]
    stds: tuple[tuple[float, ...], ...]

    def x0(self, x: Tensor, level: Level) -> Tensor:
        """E[x0 | x], same shape as x."""
        means, variances, v, centred, responsibility = self._components(x, level)
        return (responsibility * (means + level.alpha * variances / v * centred)).sum(-2)

    def eps(self, x: Tensor, level: Level) -> Tensor:
        """E[eps | x], same shape as x; not by way of :meth:`x0`."""
        _, _, v, centred, responsibility = self._components(x, level)
        return (responsibility * level.sigma / v * centred).sum(-2)

    def _components(self, x: Tensor, level: Level) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """m, s**2 and v (K, D), x - alpha * m (..., K, D), and responsibilities (..., K, 1)."""
        means, variances = torch.tensor(self.means, dtype=x.dtype), torch.tensor(self.stds, dtype=x.dtype) ** 2
        v = level.alpha**2 * variances + level.sigma**2
        centred = x.unsqueeze(-2) - level.alpha * means
        log_joint = torch.tensor(self.weights, dtype=x.dtype).log() - 0.5 * (centred**2 / v + v.log()).sum(-1)
        return means, variances, v, centred, log_joint.softmax(-1).unsqueeze(-1)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` draws of x0, (count, D), fp64."""
        which = torch.multinomial(torch.tensor(self.weights), count, replacement=True, generator=generator)
        means, stds = torch.tensor(self.means, dtype=torch.float64), torch.tensor(self.stds, dtype=torch.float64)
        normals = torch.randn(count, means.shape[1], generator=generator, dtype=torch.float64)
        return means[which] + stds[which] * normals

    def moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, variance and fourth central moment of each coordinate of x0, (D,) each."""
        w = torch.tensor(self.weights, dtype=torch.float64).unsqueeze(-1)
        m, s = torch.tensor(self.means, dtype=torch.float64), torch.tensor(self.stds, dtype=torch.float64)
        mean = (w * m).sum(0)
        d = m - mean
        return mean, (w * (d**2 + s**2)).sum(0), (w * (d**4 + 6 * d**2 * s**2 + 3 * s**4)).sum(0)

    def cdf(self, x: Tensor, level: Level) -> Tensor:
        """P(X <= x) at a level, for a mixture of one dimension."""
        means, stds = (torch.tensor(rows, dtype=x.dtype).squeeze(-1) for rows in (self.means, self.stds))
        spread = (level.alpha**2 * stds**2 + level.sigma**2).sqrt()
        z = (x - level.alpha * means) / spread  # (..., 1) against (K,)
        below: Tensor = torch.special.ndtr(z)
        return (torch.tensor(self.weights, dtype=x.dtype) * below).sum(-1, keepdim=True)


ONE_D = Mixture((0.3, 0.7), ((-1.5,), (1.0,)), ((0.4,), (0.6,)))
FOUR_D = Mixture(
    (0.2, 0.5, 0.3),
    ((1.0, -1.0, 0.5, 0.0), (-1.0, 0.5, 0.0, 1.0), (0.3, 1.2, -1.0, -0.7)),
    ((0.5, 0.8, 0.6, 0.7), (0.7, 0.5, 0.9, 0.6), (0.6, 0.6, 0.5, 0.8)),
)


def exact(mixture: Mixture) -> tuple[Denoise, Evaluate]:
    """A denoiser that asks one call for E[x0 | x], and who answers it."""
    return predicting(mixture, "x0")


def predicting(mixture: Mixture, kind: PredictionKind) -> tuple[Denoise, Evaluate]:
    """A denoiser whose network answers in ``kind``, turned back into x0 where the product does it."""

    def denoise(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
        (output,) = yield [Call("mixture", {"x": x, "t": level.t, "alpha": level.alpha, "sigma": level.sigma})]
        return to_x0(kind, output, x, level)

    def evaluate(calls: list[Call]) -> list[Tensor]:
        return [_answer(mixture, kind, call) for call in calls]

    return denoise, evaluate


def _answer(mixture: Mixture, kind: PredictionKind, call: Call) -> Tensor:
    x, t, alpha, sigma = (call.inputs[name] for name in ("x", "t", "alpha", "sigma"))
    assert isinstance(x, Tensor)
    level = Level(float(t), float(alpha), float(sigma))
    return from_x0(kind, mixture.x0(x, level), x, level)


def even(schedule: NoiseSchedule, first: float, last: float, steps: int) -> list[Level]:
    """``steps + 1`` levels at even times from ``first`` down to ``last``."""
    return [schedule.level(first + (last - first) * i / steps) for i in range(steps + 1)]


def transported(mixture: Mixture, x: Tensor, first: Level, last: Level) -> Tensor:
    """Where the probability-flow ODE takes x (n, 1): in one dimension it preserves ranks, so F_last^-1(F_first(x)).

    By bisection to fp64; it knows nothing of ODEs.
    """
    rank = mixture.cdf(x, first)
    low, high = torch.full_like(x, -30.0), torch.full_like(x, 30.0)
    for _ in range(80):
        middle = (low + high) / 2
        below = mixture.cdf(middle, last) < rank
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def integrated(mixture: Mixture, x: Tensor, schedule: NoiseSchedule, first: float, last: float, steps: int) -> Tensor:
    """The probability-flow ODE dx/dt = alpha'(t) x0 + sigma'(t) eps by classical Runge-Kutta, in any dimension."""

    def velocity(x: Tensor, t: float) -> Tensor:
        level, (d_alpha, d_sigma) = schedule.level(t), _rates(schedule, t)
        return d_alpha * mixture.x0(x, level) + d_sigma * mixture.eps(x, level)

    h = (last - first) / steps
    for i in range(steps):
        t = first + i * h
        t_next = first + (i + 1) * h if i + 1 < steps else last
        k1 = velocity(x, t)
        k2 = velocity(x + h / 2 * k1, t + h / 2)
        k3 = velocity(x + h / 2 * k2, t + h / 2)
        k4 = velocity(x + h * k3, t_next)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x


def _rates(schedule: NoiseSchedule, t: float) -> tuple[float, float]:
    """d alpha / dt and d sigma / dt."""
    if isinstance(schedule, RectifiedFlow):
        return -1.0, 1.0
    assert isinstance(schedule, CosineVP)
    return -math.pi / 2 * math.sin(math.pi / 2 * t), math.pi / 2 * math.cos(math.pi / 2 * t)


def orders(errors: Sequence[float]) -> list[float]:
    """Measured orders log2(e_n / e_2n) of errors at successively halved steps."""
    return [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
