"""Samplers: pure generator functions ``(denoise, x, levels, noise) -> x`` that read like their algorithm box.

All of them follow, exactly or in law, the probability-flow ODE (arXiv:2011.13456 eq. 13), which for
x = alpha * x0 + sigma * eps, with x0 = E[x0 | x] and eps = (x - alpha * x0) / sigma, reads

    dx = x0 dalpha + eps dsigma                                                                       (*)

on every schedule. With x0 and eps frozen over a step it integrates to x' = alpha' * x0 + sigma' * eps, which is DDIM
(arXiv:2010.02502 eq. 12). Neither end is singular in this form: alpha = 0 is a level like any other, and eps is never
asked for at sigma = 0.

Shared contract: ``x`` has any shape and floating dtype and lies at ``levels[0]``; ``levels`` are at least one, with
t falling and sigma above 0 everywhere but perhaps at the last; ``noise`` is drawn from by stochastic samplers only
and is cast to the dtype and device of ``x``. What returns lies at ``levels[-1]``; with a single level it is ``x``. A
sampler holds nothing but its local variables, so rows of a batch do not see each other.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from darkroom.protocols import Denoise, Level, NoiseSource, Sampler, Task
from darkroom.synthesis.prediction import to_eps


def euler(denoise: Denoise, x: Tensor, levels: Sequence[Level], noise: NoiseSource) -> Task[Tensor]:
    """Euler on (*), that is DDIM (arXiv:2010.02502 eq. 12 with sigma_t = 0): order 1, one evaluation a step."""
    for now, after in pairwise(levels):
        x0 = yield from denoise(x, now)
        x = after.alpha * x0 + after.sigma * to_eps(x0, x, now)
    return x


def heun(denoise: Denoise, x: Tensor, levels: Sequence[Level], noise: NoiseSource) -> Task[Tensor]:
    """The trapezoid of (*) (cf. arXiv:2206.00364 alg. 1): order 2, two evaluations a step, one for a step to sigma = 0.

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


def euler_ancestral(
    denoise: Denoise, x: Tensor, levels: Sequence[Level], noise: NoiseSource, eta: float = 1.0
) -> Task[Tensor]:
    """Euler with part of the noise exchanged for fresh noise (arXiv:2010.02502 eq. 12 and 16): order 1 in law.

    s**2 = eta**2 * sigma'**2 * (1 - rho**2) with rho = alpha * sigma' / (alpha' * sigma), which for eta = 1 is the
    variance of q(x' | x, x0) of the forward process, DDPM's ancestral sampling (arXiv:2006.11239 eq. 7), written for
    any schedule. What is kept of eps is sqrt(sigma'**2 - s**2), so x' has the noise of its level whatever eta.

    Args:
        denoise, x, levels, noise: as for every sampler; one draw a step, none for a step to sigma = 0.
        eta: 0 exchanges nothing (Euler, bit for bit), 1 is ancestral sampling.
    """
    for now, after in pairwise(levels):
        x0 = yield from denoise(x, now)
        rho = now.alpha * after.sigma / (after.alpha * now.sigma)
        fresh = after.sigma * eta * math.sqrt(1.0 - rho**2)
        kept = after.sigma * math.sqrt(1.0 - eta**2 * (1.0 - rho**2))
        x = after.alpha * x0 + kept * to_eps(x0, x, now)
        if fresh > 0.0:
            x = x + fresh * noise.draw(x.shape).to(x)
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


FLOW_MAP = "flow-map"  # the one for flow maps alone
SAMPLERS: dict[str, Sampler] = {
    "euler": euler,
    "heun": heun,
    "dpmpp-2m": dpmpp_2m,
    "euler-a": euler_ancestral,
    FLOW_MAP: flow_map,
}


def evaluations(sampler_name: str, steps: int) -> int:
    """How often a sampler asks ``denoise`` in ``steps`` steps that end at sigma = 0: the cost of a picture.

    Raises:
        ValueError: no sampler of that name, or steps below 1.
    """
    if sampler_name not in SAMPLERS:
        near = difflib.get_close_matches(sampler_name, SAMPLERS, n=1, cutoff=0.0)[0]
        raise ValueError(f'sampler "{sampler_name}" is unknown; did you mean "{near}"? Known: {", ".join(SAMPLERS)}')
    if steps < 1:
        raise ValueError(f"steps {steps} is below 1; try 20")
    return 2 * steps - 1 if sampler_name == "heun" else steps
