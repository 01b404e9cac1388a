"""Hues turned and colours taken away, so that a thing is known by its form in whatever colour it comes.

Whoever has only seen brown ants takes a red one for something else. Of a picture treated so nothing is asked that
names a colour.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from random import Random

import torch
from jaxtyping import Float
from torch import Tensor

from darkroom.judge.truth import IGNORED, Truth
from darkroom.wording.parse import words_of
from darkroom.wording.vocabulary import COLOURS

GREYED = 0.25  # of the pictures: their colours are taken away, nearly all or all; of the others the hue is turned
LEAST = 40.0  # degrees that make a hue another one
HUELESS = frozenset({"white", "black", "grey", "gray"})  # which no turn changes
COLOURED = ("ground", "light", "style")  # facts of the whole picture that its colours are a part of


def turned(picture: Float[Tensor, "3 side side"], random: Random) -> Float[Tensor, "3 side side"]:
    """The picture in other hues, or nearly without any; sRGB in [0, 1]. White, black and grey stay."""
    if random.random() < GREYED:
        return picture + (picture.mean(0, keepdim=True) - picture) * random.uniform(0.8, 1.0)
    turn = rotation(random.uniform(LEAST, 360 - LEAST)).to(picture)
    return torch.einsum("ij,jyx->iyx", turn, picture).clamp(0, 1)


def rotation(degrees: float) -> Float[Tensor, "3 3"]:
    """Turns RGB around the axis of the greys (Rodrigues' formula)."""
    angle = math.radians(degrees)
    across = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    along = torch.full((3, 3), 1 / 3)
    return math.cos(angle) * torch.eye(3) + (1 - math.cos(angle)) * along + math.sin(angle) * across


def can_be_turned(caption: str) -> bool:
    """Whether it is known what becomes of a caption: one that says white of a thing may stay right, in part."""
    return not words_of(caption) & HUELESS


def names_a_colour(caption: str) -> bool:
    """Whether a caption is wrong of its picture in other hues."""
    return bool(words_of(caption) & COLOURS.keys())


def unasked(truth: Truth, pictures: Collection[int]) -> Truth:
    """The targets of a batch with nothing asked of these pictures that their colours decide."""
    colour, whole = truth.colour.clone(), {name: value.clone() for name, value in truth.whole.items()}
    rows = torch.tensor(sorted(pictures), dtype=torch.long, device=colour.device)
    colour[torch.isin(truth.at[:, 0], rows)] = IGNORED
    for name in COLOURED:
        whole[name][rows] = IGNORED
    return truth._replace(colour=colour, whole=whole)
