"""Samplers that exchange noise on the way: the ODE (*) of ``darkroom.synthesis.samplers`` in law, not path by path.

A step keeps part of the noise it sees in x and draws the rest anew, so that together they are the noise of its level:
x' = alpha' * D + kept * (x - alpha * D) / sigma + fresh * z, with D for the clean picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from darkroom.protocols import Denoise, Level, NoiseSource, Task
from darkroom.synthesis.prediction import to_eps
from darkroom.synthesis.samplers.paths import lambdas_middle


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
        kept, fresh = exchanged(now, after, eta)
        x = after.alpha * x0 + kept * to_eps(x0, x, now)
        if fresh > 0.0:
            x = x + fresh * noise.draw(x.shape).to(x)
    return x


def dpmpp_2s_ancestral(
    denoise: Denoise, x: Tensor, levels: Sequence[Level], noise: NoiseSource, eta: float = 1.0
) -> Task[Tensor]:
    """DPM-Solver++(2S) (arXiv:2211.01095 alg. 1, r = 1/2) to less noise than the level has, then fresh noise up to it.

    The second stage lies halfway in lambda to where the noise that is kept would be alone. One draw a step (none to
    sigma = 0). In k-diffusion: ``sample_dpmpp_2s_ancestral``.
    """
    for now, after in pairwise(levels):
        x0 = yield from denoise(x, now)
        if after.sigma == 0.0:
            x = after.alpha * x0
            continue
        kept, fresh = exchanged(now, after, eta)
        middle = lambdas_middle(now, Level(after.t, after.alpha, kept).lam, after)
        ahead = middle.alpha * x0 + middle.sigma * to_eps(x0, x, now)
        x0_middle = yield from denoise(ahead, middle)
        x = after.alpha * x0_middle + kept * to_eps(x0_middle, x, now)
        if fresh > 0.0:
            x = x + fresh * noise.draw(x.shape).to(x)
    return x


def dpmpp_sde(
    denoise: Denoise, x: Tensor, levels: Sequence[Level], noise: NoiseSource, eta: float = 1.0
) -> Task[Tensor]:
    """DPM-Solver++ (SDE), two stages with r = 1/2, both of them ancestral steps along one Brownian path.

    The path runs in sigma / alpha, so the noise of the whole step is that of its two halves, weighted by their lengths.
    Two draws a step (none to sigma = 0). In k-diffusion: ``sample_dpmpp_sde``.
    """
    for now, after in pairwise(levels):
        x0 = yield from denoise(x, now)
        if after.sigma == 0.0:
            x = after.alpha * x0
            continue
        middle = lambdas_middle(now, after.lam, after)
        first, second = noise.draw(x.shape).to(x), noise.draw(x.shape).to(x)
        kept, fresh = exchanged(now, middle, eta)
        ahead = middle.alpha * x0 + kept * to_eps(x0, x, now) + fresh * first
        x0_middle = yield from denoise(ahead, middle)
        share = _share(now, middle, after)
        kept, fresh = exchanged(now, after, eta)
        whole = math.sqrt(share) * first + math.sqrt(1.0 - share) * second
        x = after.alpha * x0_middle + kept * to_eps(x0_middle, x, now) + fresh * whole
    return x


def dpmpp_2m_sde(
    denoise: Denoise, x: Tensor, levels: Sequence[Level], noise: NoiseSource, eta: float = 1.0
) -> Task[Tensor]:
    """SDE-DPM-Solver++(2M) (arXiv:2211.01095 eq. 13 and appendix D): 2M's D in a step of the diffusion SDE.

    ``eta`` scales the SDE's noise: 0 is dpmpp-2m, 1 the SDE. One draw a step (none to sigma = 0). In k-diffusion:
    ``sample_dpmpp_2m_sde``, solver midpoint.
    """
    before: tuple[Tensor, Level] | None = None
    for now, after in pairwise(levels):
        x0 = yield from denoise(x, now)
        d = x0
        if before is not None and after.sigma > 0.0:
            x0_before, earlier = before
            d = x0 + (x0 - x0_before) * (after.lam - now.lam) / (2 * (now.lam - earlier.lam))
        kept, fresh = diffused(now, after, eta)
        x = after.alpha * d + kept * to_eps(d, x, now)
        if fresh > 0.0:
            x = x + fresh * noise.draw(x.shape).to(x)
        before = x0, now
    return x


def dpmpp_3m_sde(
    denoise: Denoise, x: Tensor, levels: Sequence[Level], noise: NoiseSource, eta: float = 1.0
) -> Task[Tensor]:
    """DPM-Solver++(3M) SDE: x0 as a parabola in lambda through the last three answers, integrated over the step.

    With h = (1 + eta) times the step in lambda, phi_2 = (exp(-h) - 1) / h + 1 and phi_3 = phi_2 / h - 1/2 weigh the
    first and second differences. One draw a step (none to sigma = 0). In k-diffusion: ``sample_dpmpp_3m_sde``.
    """
    seen: list[tuple[Level, Tensor]] = []  # newest first
    for now, after in pairwise(levels):
        x0 = yield from denoise(x, now)
        kept, fresh = diffused(now, after, eta)
        x = after.alpha * x0 + kept * to_eps(x0, x, now)
        if seen and after.sigma > 0.0:
            step = after.lam - now.lam
            h = (1.0 + eta) * step
            phi_2 = math.expm1(-h) / h + 1.0
            r = (now.lam - seen[0][0].lam) / step  # infinite after a start from alpha = 0: no slope
            slope = (x0 - seen[0][1]) / r
            bend = torch.zeros_like(x0)
            if len(seen) > 1:
                r_before = (seen[0][0].lam - seen[1][0].lam) / step
                bend = (slope - (seen[0][1] - seen[1][1]) / r_before) / (r + r_before)
                slope = slope + r * bend
            x = x + after.alpha * (phi_2 * slope - (phi_2 / h - 0.5) * bend)
        if fresh > 0.0:
            x = x + fresh * noise.draw(x.shape).to(x)
        seen = [(now, x0), *seen][:2]
    return x


def lcm(denoise: Denoise, x: Tensor, levels: Sequence[Level], noise: NoiseSource) -> Task[Tensor]:
    """Multistep consistency sampling (arXiv:2303.01469 alg. 1; arXiv:2310.04378 alg. 3): x0, all noise drawn anew.

    For models whose x0 is a picture at every level (consistency models, LCM); others give their mean, without detail.
    """
    for now, after in pairwise(levels):
        x0 = yield from denoise(x, now)
        x = after.alpha * x0
        if after.sigma > 0.0:
            x = x + after.sigma * noise.draw(x.shape).to(x)
    return x


def exchanged(now: Level, after: Level, eta: float) -> tuple[float, float]:
    """Noise that an ancestral step keeps, and that it draws (arXiv:2010.02502 eq. 16): squares add to sigma'**2."""
    rho = now.alpha * after.sigma / (after.alpha * now.sigma)
    fresh = after.sigma * eta * math.sqrt(1.0 - rho**2)
    return after.sigma * math.sqrt(1.0 - eta**2 * (1.0 - rho**2)), fresh


def diffused(now: Level, after: Level, eta: float) -> tuple[float, float]:
    """The same of an exact step of the SDE with eta times the noise (arXiv:2211.01095 appendix D): rho = exp(-h)."""
    rho = now.alpha * after.sigma / (after.alpha * now.sigma)
    return after.sigma * rho**eta, after.sigma * math.sqrt(1.0 - rho ** (2.0 * eta))


def _share(now: Level, middle: Level, after: Level) -> float:
    """How much of a step in sigma / alpha its first half is; all of it from pure noise, where that is infinite."""
    if now.alpha == 0.0:
        return 1.0
    first, halfway, last = (level.sigma / level.alpha for level in (now, middle, after))
    return (first - halfway) / (first - last)
