"""The one place where a network's output becomes the clean estimate x0, and back.

A level (alpha, sigma) says x = alpha * x0 + sigma * eps. A network is trained to answer one of

    eps    the noise                            (arXiv:2006.11239 eq. 14)
    v      alpha * eps - sigma * x0             (arXiv:2202.00512 appendix D)
    flow   eps - x0, the rectified velocity     (arXiv:2209.03003 eq. 1, with our direction of time)
    x0     the clean picture

and each answer together with x is a 2 x 2 linear system in (x0, eps), solved here without assuming
alpha**2 + sigma**2 = 1 or alpha + sigma = 1, so that any network can be sampled on any schedule:

    eps    x - sigma * eps       = alpha * x0
    v      alpha * x - sigma * v = (alpha**2 + alpha * 0 + sigma**2) * x0      (the eps terms cancel)
    flow   x - sigma * flow      = (alpha + sigma) * x0                        (the eps terms cancel)

All four are affine in x0 for fixed x, so a weighted mean of outputs (weights summing to 1) is the weighted mean of
the x0. Arithmetic is in the dtype of the tensors; nothing is clamped or regularised, and what cannot be known raises.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from darkroom.protocols import Level

PredictionKind = Literal["eps", "v", "flow", "x0"]
KINDS: tuple[PredictionKind, ...] = ("eps", "v", "flow", "x0")


def to_x0(
    kind: PredictionKind, output: Float[Tensor, "*shape"], x: Float[Tensor, "*shape"], level: Level
) -> Float[Tensor, "*shape"]:
    """The clean estimate from a network's output at a level (equations in the module's docstring).

    At sigma = 0 there is no noise and x0 = x / alpha, whatever the network said.

    Args:
        kind: what the network predicts.
        output: its answer, any shape.
        x: what it was asked about, same shape.
        level: the noise level of ``x``.

    Raises:
        ValueError: an unknown kind, a level that cannot be, or "eps" at alpha = 0, where x is the noise and the answer
            says nothing about x0.
    """
    _check(kind, level)
    alpha, sigma = level.alpha, level.sigma
    if sigma == 0.0:
        return x / alpha
    if kind == "eps":
        if alpha == 0.0:
            raise ValueError(
                f'an "eps" prediction at alpha = 0 (t = {level.t}) says nothing about x0, because x is pure noise '
                'there; start a little below t = 1, or use a network that predicts "v", "flow" or "x0"'
            )
        return (x - sigma * output) / alpha
    if kind == "v":
        return (alpha * x - sigma * output) / (alpha * alpha + sigma * sigma)
    if kind == "flow":
        return (x - sigma * output) / (alpha + sigma)
    return output


def to_eps(x0: Float[Tensor, "*shape"], x: Float[Tensor, "*shape"], level: Level) -> Float[Tensor, "*shape"]:
    """The noise that a clean estimate leaves in x: eps = (x - alpha * x0) / sigma.

    Raises:
        ValueError: sigma = 0, where x holds no noise to read off.
    """
    if level.sigma <= 0.0:
        raise ValueError(f"at sigma = {level.sigma} (t = {level.t}) x holds no noise, so eps is undefined")
    return (x - level.alpha * x0) / level.sigma


def from_x0(
    kind: PredictionKind, x0: Float[Tensor, "*shape"], x: Float[Tensor, "*shape"], level: Level
) -> Float[Tensor, "*shape"]:
    """The inverse of :func:`to_x0`: what a network of ``kind`` would have answered to mean ``x0``.

    Raises:
        ValueError: an unknown kind, a level that cannot be, or any kind but "x0" at sigma = 0, where the noise in the
            answer is undefined. (At alpha = 0 every kind is defined; "eps" is then x / sigma, whatever x0 is.)
    """
    _check(kind, level)
    if kind == "x0":
        return x0
    return training_target(kind, x0, to_eps(x0, x, level), level.alpha, level.sigma)


def training_target(
    kind: PredictionKind,
    x0: Float[Tensor, "*shape"],
    noise: Float[Tensor, "*shape"],
    alpha: float | Tensor,
    sigma: float | Tensor,
) -> Float[Tensor, "*shape"]:
    """What a network of ``kind`` should answer for x = alpha * x0 + sigma * noise; defined at every level.

    Args:
        kind: what the network predicts.
        x0: clean latents, any shape.
        noise: the normals they were mixed with, same shape.
        alpha, sigma: floats, or tensors that broadcast against ``x0`` when each row has a level of its own.

    Raises:
        ValueError: an unknown kind.
    """
    if kind == "eps":
        return noise
    if kind == "v":
        return alpha * noise - sigma * x0
    if kind == "flow":
        return noise - x0
    if kind == "x0":
        return x0
    raise _unknown(kind)


def _check(kind: PredictionKind, level: Level) -> None:
    if kind not in KINDS:
        raise _unknown(kind)
    if not (level.alpha >= 0.0 and level.sigma >= 0.0 and level.alpha + level.sigma > 0.0):
        raise ValueError(f"{level} is no noise level: alpha and sigma are at least 0, and not both 0")


def _unknown(kind: str) -> ValueError:
    return ValueError(f'prediction kind "{kind}" is unknown; it is one of {", ".join(KINDS)}')
