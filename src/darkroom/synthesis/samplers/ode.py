"""Samplers of one or two stages that follow the ODE (*) of ``darkroom.synthesis.samplers`` without noise."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from darkroom.protocols import Denoise, Level, NoiseSource, Task
from darkroom.synthesis.prediction import to_eps
from darkroom.synthesis.samplers.paths import on_a_straight_path, steps_middle


def euler(denoise: Denoise, x: Tensor, levels: Sequence[Level], noise: NoiseSource) -> Task[Tensor]:
    """Euler on (*), that is DDIM (arXiv:2010.02502 eq. 12 with sigma_t = 0): order 1, one evaluation a step."""
    for now, after in pairwise(levels):
        x0 = yield from denoise(x, now)
        x = after.alpha * x0 + after.sigma * to_eps(x0, x, now)
    return x


@on_a_straight_path
def heun(denoise: Denoise, x: Tensor, levels: Sequence[Level], noise: NoiseSource) -> Task[Tensor]:
    """The trapezoid of (*) (arXiv:2206.00364 alg. 1): order 2, two evaluations a step, one for a step to sigma = 0.

    An Euler step looks ahead, and x0 and eps are averaged over both ends. At sigma = 0 eps is undefined, so the step
    that goes there stays an Euler step; it is one step, and its local error is of order 2.
    """
    for now, after in pairwise(levels):
        x0 = yield from denoise(x, now)
        eps = to_eps(x0, x, now)
        ahead = after.alpha * x0 + after.sigma * eps
        if after.sigma == 0.0:
            x = ahead
            continue
        x0_ahead = yield from denoise(ahead, after)
        eps_ahead = to_eps(x0_ahead, ahead, after)
        x = x + (after.alpha - now.alpha) * (x0 + x0_ahead) / 2 + (after.sigma - now.sigma) * (eps + eps_ahead) / 2
    return x


@on_a_straight_path
def dpm2(denoise: Denoise, x: Tensor, levels: Sequence[Level], noise: NoiseSource) -> Task[Tensor]:
    """The midpoint rule of (*), as DPM-Solver-2 takes it (arXiv:2206.00364 alg. 3, k-diffusion's form): order 2.

    The middle is that of log sigma on the straight path. Two evaluations a step; one to sigma = 0, an Euler step.
    """
    for now, after in pairwise(levels):
        x0 = yield from denoise(x, now)
        if after.sigma == 0.0:
            x = after.alpha * x0
            continue
        middle = steps_middle(now, after)
        ahead = middle.alpha * x0 + middle.sigma * to_eps(x0, x, now)
        x0_middle = yield from denoise(ahead, middle)
        eps_middle = to_eps(x0_middle, ahead, middle)
        x = x + (after.alpha - now.alpha) * x0_middle + (after.sigma - now.sigma) * eps_middle
    return x


def flow_map(denoise: Denoise, x: Tensor, levels: Sequence[Level], noise: NoiseSource) -> Task[Tensor]:
    """Euler that says where it goes (arXiv:2505.13447 eq. 12): exact, if the network is an exact flow map.

    With alpha = 1 - t, sigma = t and x0 = x - t * u, the Euler step lands on x - (t - t') * u, where u is the mean
    velocity from t to t'. A network that is no flow map makes it plain Euler.
    """
    for now, after in pairwise(levels):
        x0 = yield from denoise(x, now, after)
        x = after.alpha * x0 + after.sigma * to_eps(x0, x, now)
    return x
