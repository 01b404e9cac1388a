"""Ways to make one estimate of two: what the prompt wants, and what the negative prompt (or nothing) would give.

A :data:`Combine` is made anew for each picture, as some remember the steps before. All take and return x0; what a paper
states for the network's own output (eps, v or velocity) is computed in that, because for fixed x it is affine in x0 and
a ratio or a projection of outputs is not one of x0. (The plain rule is the same in all of them.)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from darkroom.contracts.recipe import Recipe
from darkroom.protocols import Guidance, Level
from darkroom.synthesis.prediction import PredictionKind, from_x0, to_x0

# (positive, negative, x, level) -> x0
Combine = Callable[[Tensor, Tensor, Tensor, Level], Tensor]


def classifier_free(scale: float) -> Combine:
    """x0 = negative + scale * (positive - negative) (arXiv:2207.12598 eq. 6)."""

    def combine(positive: Tensor, negative: Tensor, x: Tensor, level: Level) -> Tensor:
        return negative + scale * (positive - negative)

    return combine


def rescaled(combine: Combine, share: float, kind: PredictionKind) -> Combine:
    """Part of the way back to the spread of the unguided output, against burnt colours (arXiv:2305.08891 eq. 15, 16).

    Args:
        combine: what guides.
        share: phi, 0 changes nothing (bit for bit), 1 gives the guided output the standard deviation of the positive.
        kind: what the network predicts; the deviations are of that.
    """
    if share == 0.0:
        return combine

    def narrowed(positive: Tensor, negative: Tensor, x: Tensor, level: Level) -> Tensor:
        guided = from_x0(kind, combine(positive, negative, x, level), x, level)
        ratio = from_x0(kind, positive, x, level).std() / guided.std()
        return to_x0(kind, guided * (share * ratio + (1.0 - share)), x, level)

    return narrowed


def zero_star(scale: float, kind: PredictionKind) -> Combine:
    """CFG-Zero*'s scaling (arXiv:2503.18886 eq. 8): the negative output at the length that fits the positive best.

    s = <u+, u-> / |u-|**2 makes s u- the projection of the positive on the negative output, and the guided one is
    s u- + scale (u+ - s u-).
    """

    def combine(positive: Tensor, negative: Tensor, x: Tensor, level: Level) -> Tensor:
        plus, minus = (from_x0(kind, x0, x, level) for x0 in (positive, negative))
        s = (plus * minus).sum() / (minus * minus).sum()
        return to_x0(kind, s * minus + scale * (plus - s * minus), x, level)

    return combine


def projected(scale: float, parallel: float = 0.0, momentum: float = -0.5, radius: float | None = None) -> Combine:
    """Adaptive projected guidance (arXiv:2410.02416 alg. 1), on x0: strong guidance without burnt colours.

    The difference of positive and negative, with those before weighed by ``momentum`` (below 0: pushed away from them),
    is cut to ``radius`` (None: not at all), and of its part along the positive, which raises saturation, only the share
    ``parallel`` is kept.
    """
    running: Tensor | None = None

    def combine(positive: Tensor, negative: Tensor, x: Tensor, level: Level) -> Tensor:
        nonlocal running
        running = positive - negative if running is None else positive - negative + momentum * running
        update = running
        if radius is not None:
            update = update * (radius / max(update.norm().item(), radius))
        along = (update * positive).sum() / (positive * positive).sum() * positive
        return positive + (scale - 1.0) * (update - along + parallel * along)

    return combine


def thresholded(combine: Combine, share: float) -> Combine:
    """Dynamic thresholding (arXiv:2205.11487 section 2.3), for latents, whose range no one knows beforehand.

    Where the guided x0 is larger than the positive one, both measured by the quantile ``share`` of their sizes, it is
    cut there and shrunk to the positive's range; the paper cuts pixels to [-1, 1] (with .995 for ``share``).
    """

    def cut(positive: Tensor, negative: Tensor, x: Tensor, level: Level) -> Tensor:
        guided = combine(positive, negative, x, level)
        goal, reach = (torch.quantile(x0.abs().flatten().float(), share).to(x0) for x0 in (positive, guided))
        return guided if reach <= goal else guided.clamp(-reach, reach) * (goal / reach)

    return cut


ZERO_STAR = "zero-star"
STANDING = 0.04  # of the steps: arXiv:2503.18886, section 4.2
METHODS: dict[str, Callable[[float, PredictionKind], Combine]] = {
    "classifier-free": lambda scale, kind: classifier_free(scale),
    ZERO_STAR: zero_star,
    "projected": lambda scale, kind: projected(scale),
}


def standing(guidance: Guidance, steps: int) -> int:
    """How many first steps of a rectified flow CFG-Zero* takes without moving: what a network says there is too vague.

    A velocity of zero leaves x where it is, so such a step costs nothing; it comes on top of the ``steps`` asked for.
    """
    return round(STANDING * steps) if guidance.method == ZERO_STAR and guidance.scale != 1.0 else 0


def guidance_of(recipe: Recipe) -> Guidance:
    """How the prompt of a recipe steers, in one word."""
    return Guidance(
        recipe.guidance,
        recipe.guidance_method,
        recipe.guidance_rescale,
        recipe.guidance_interval,
        recipe.guidance_threshold,
        weaker=recipe.guide is not None,
    )


def combining(guidance: Guidance, kind: PredictionKind) -> Combine:
    """What a picture's guidance comes to, for a network that predicts ``kind``."""
    combine = rescaled(METHODS[guidance.method](guidance.scale, kind), guidance.rescale, kind)
    return combine if guidance.threshold is None else thresholded(combine, guidance.threshold)
