"""Samplers that remember what they were answered: higher order for one evaluation a step.

Equation (*) and the shared contract stand in ``darkroom.synthesis.samplers``. A start from alpha = 0, where lambda is
minus infinity, is Euler's, and what was answered there says nothing of how x0 moves in lambda.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from darkroom.protocols import Denoise, Level, NoiseSource, Task
from darkroom.synthesis.prediction import to_eps
from darkroom.synthesis.samplers.paths import on_a_straight_path

_NODES = ((-math.sqrt(0.6), 5 / 18), (0.0, 8 / 18), (math.sqrt(0.6), 5 / 18))  # Gauss-Legendre, exact to degree 5


@on_a_straight_path
def lms(denoise: Denoise, x: Tensor, levels: Sequence[Level], noise: NoiseSource) -> Task[Tensor]:
    """Adams-Bashforth of order 4 on uneven steps (k-diffusion's LMS): slopes, as a polynomial in sigma, integrated.

    On a straight path alpha is linear in sigma, so (*) is dx/dsigma = eps + x0 * dalpha/dsigma. The first steps have
    fewer slopes to go by, and the whole is of no higher order than they are: 2.
    """
    seen: list[tuple[float, Tensor]] = []
    for now, after in pairwise(levels):
        x0 = yield from denoise(x, now)
        slope = to_eps(x0, x, now) + (after.alpha - now.alpha) / (after.sigma - now.sigma) * x0
        seen = [*seen, (now.sigma, slope)][-4:]
        for j, (_, slope) in enumerate(seen):
            x = x + _share([sigma for sigma, _ in seen], j, now.sigma, after.sigma) * slope
    return x


def _share(nodes: Sequence[float], j: int, first: float, last: float) -> float:
    """The integral from ``first`` to ``last`` of the Lagrange polynomial that is 1 at node j and 0 at the others."""
    total = 0.0
    for place, weight in _NODES:
        at = first + (last - first) * (1 + place) / 2
        total += weight * math.prod((at - node) / (nodes[j] - node) for i, node in enumerate(nodes) if i != j)
    return total * (last - first)


def dpmpp_2m(denoise: Denoise, x: Tensor, levels: Sequence[Level], noise: NoiseSource) -> Task[Tensor]:
    """DPM-Solver++(2M) (arXiv:2211.01095 alg. 2): order 2 with one evaluation a step.

    With h the step in lambda = log(alpha / sigma) and r = h_before / h, the box reads

        D  = (1 + 1 / (2 r)) * x0 - 1 / (2 r) * x0_before
        x' = sigma' / sigma * x - alpha' * (exp(-h) - 1) * D

    and since exp(-h) = alpha * sigma' / (alpha' * sigma), the second line is

        x' = alpha' * D + sigma' * (x - alpha * D) / sigma

    an Euler step with D for x0, without infinities at either end. D = x0, order 1, in the first step, in the one
    after a start from alpha = 0 (1 / r is 0 there), and in the one to sigma = 0 (1 / r would be infinite).
    """
    before: tuple[Tensor, Level] | None = None
    for now, after in pairwise(levels):
        x0 = yield from denoise(x, now)
        d = x0
        if before is not None and after.sigma > 0.0:
            x0_before, earlier = before
            r = (now.lam - earlier.lam) / (after.lam - now.lam)  # infinite after a start from alpha = 0
            d = x0 + (x0 - x0_before) / (2 * r)
        x = after.alpha * d + after.sigma * to_eps(d, x, now)
        before = x0, now
    return x


def unipc(denoise: Denoise, x: Tensor, levels: Sequence[Level], noise: NoiseSource, order: int = 2) -> Task[Tensor]:
    """UniPC-p with B(h) = exp(h) - 1, on x0 (arXiv:2302.04867 alg. 5 to 8): predictor of ``order``, corrector one more.

    The evaluation that the predictor's x is given anyway also corrects that x: one evaluation a step. The last step is
    not corrected, and it and the first are of order 1, as in diffusers' UniPCMultistepScheduler.
    """
    seen: list[tuple[Level, Tensor]] = []  # newest last
    start, used = x, 0  # where the step that led to x began, and how many answers its predictor took
    for i, (now, after) in enumerate(pairwise(levels)):
        x0 = yield from denoise(x, now)
        if seen:
            x = _uni(start, seen[-used:], now, x0)
        seen = [*seen, (now, x0)][-order:]
        start, used = x, min(len(seen), len(levels) - 1 - i)
        x = _uni(x, seen[-used:], after)
    return x


def _uni(x: Tensor, seen: Sequence[tuple[Level, Tensor]], after: Level, newest: Tensor | None = None) -> Tensor:
    """One step from the level of the newest of ``seen`` to ``after``: UniP, or UniC where its own x0 is known.

    x' = alpha' x0 + sigma' eps - alpha' B sum_i a_i (x0_i - x0) / r_i with B = exp(-h) - 1 and a from eq. 11, but 1/2
    where there is one difference, for any h (the paper's section 3.3): for h infinite it is the trapezoid in alpha.
    """
    now, x0 = seen[-1]
    euler = after.alpha * x0 + after.sigma * to_eps(x0, x, now)
    if after.sigma == 0.0:
        return euler
    h = after.lam - now.lam
    earlier = [((level.lam - now.lam) / h, answer) for level, answer in seen[:-1] if level.alpha > 0.0]
    points = earlier if newest is None else [*earlier, (1.0, newest)]
    if not points:
        return euler
    weights = [0.5] if len(points) == 1 else _uni_weights([r for r, _ in points], h)
    total = sum(weight / r * (answer - x0) for weight, (r, answer) in zip(weights, points, strict=True))
    return euler - after.alpha * math.expm1(-h) * total


def _uni_weights(ratios: Sequence[float], h: float) -> list[float]:
    """a with sum_i a_i r_i**(k - 1) = k! phi_(k+1)(-h) / phi_1(-h) for k = 1, 2, ... (arXiv:2302.04867 eq. 11).

    phi_1(z) = (exp(z) - 1) / z, and phi_(k+1)(z) = (phi_k(z) - 1 / k!) / z.
    """
    z, moments = -h, []
    first = phi = math.expm1(z) / z
    for k in range(1, len(ratios) + 1):
        phi = (phi - 1 / math.factorial(k)) / z
        moments.append(math.factorial(k) * phi / first)
    powers = torch.tensor([[r**k for r in ratios] for k in range(len(ratios))], dtype=torch.float64)
    solved: list[float] = torch.linalg.solve(powers, torch.tensor(moments, dtype=torch.float64)).tolist()
    return solved
