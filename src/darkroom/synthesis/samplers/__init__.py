"""Samplers: pure generator functions ``(denoise, x, levels, noise) -> x`` that read like their algorithm box.

All of them follow, exactly or in law, the probability-flow ODE (arXiv:2011.13456 eq. 13), which for
x = alpha * x0 + sigma * eps, with x0 = E[x0 | x] and eps = (x - alpha * x0) / sigma, reads

    dx = x0 dalpha + eps dsigma                                                                       (*)

on every schedule. With x0 and eps frozen over a step it integrates to x' = alpha' * x0 + sigma' * eps, which is DDIM
(arXiv:2010.02502 eq. 12). Neither end is singular in this form: alpha = 0 is a level like any other, and eps is never
asked for at sigma = 0. With D in place of x0 and so eps = (x - alpha * D) / sigma, the same step is the exact solution
for a D that is constant in lambda = log(alpha / sigma), since exp(-h) = alpha * sigma' / (alpha' * sigma) for a step h:
what exponential integrators build on (arXiv:2211.01095 eq. 8).

Shared contract: ``x`` has any shape and floating dtype and lies at ``levels[0]``; ``levels`` are at least one, with
t falling and sigma above 0 everywhere but perhaps at the last; ``noise`` is drawn from by stochastic samplers only
and is cast to the dtype and device of ``x``. What returns lies at ``levels[-1]``; with a single level it is ``x``. A
sampler holds nothing but its local variables, so rows of a batch do not see each other. Samplers with two stages a step
ask at levels in between, which only the levels of a schedule have (ValueError without one).
"""

from __future__ import annotations

import difflib

from darkroom.protocols import Sampler
from darkroom.synthesis.samplers.multistep import dpmpp_2m, lms, unipc
from darkroom.synthesis.samplers.ode import dpm2, euler, flow_map, heun
from darkroom.synthesis.samplers.stochastic import (
    dpmpp_2m_sde,
    dpmpp_2s_ancestral,
    dpmpp_3m_sde,
    dpmpp_sde,
    euler_ancestral,
    lcm,
)

FLOW_MAP = "flow-map"  # the one for flow maps alone
SAMPLERS: dict[str, Sampler] = {
    "euler": euler,
    "ddim": euler,  # the same thing: the paper's step without fresh noise
    "heun": heun,
    "dpm2": dpm2,
    "lms": lms,
    "dpmpp-2m": dpmpp_2m,
    "unipc": unipc,
    "euler-a": euler_ancestral,
    "dpmpp-2s-a": dpmpp_2s_ancestral,
    "dpmpp-sde": dpmpp_sde,
    "dpmpp-2m-sde": dpmpp_2m_sde,
    "dpmpp-3m-sde": dpmpp_3m_sde,
    "lcm": lcm,
    FLOW_MAP: flow_map,
}
TWO_STAGES = frozenset({"heun", "dpm2", "dpmpp-2s-a", "dpmpp-sde"})  # two evaluations a step, one for that to sigma = 0


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
    return 2 * steps - 1 if sampler_name in TWO_STAGES else steps
