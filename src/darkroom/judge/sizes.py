"""Scenes seen from farther away: their things smaller, and nearer to the middle.

The judge learns from some, or what it knows would be sure only at the sizes things usually have. It is tried on others:
single things and pairs at sizes that neither their scenes nor those it learnt from have, several of one thing smaller
than they stand by themselves.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import NamedTuple

from darkroom.data.scenes.spec import Scene


class Reach(NamedTuple):
    """How far away: what the largest thing's size becomes (a share of the side), and where it is small already, by
    what it is multiplied."""

    sizes: tuple[float, float]
    factors: tuple[float, float]


SMALL = 0.40  # a largest thing up to this is small already
TAUGHT = Reach((0.22, 0.30), (0.55, 0.70))
TRIED = Reach((0.32, 0.40), (0.75, 0.85))  # between what is taught and what scenes have by themselves


def from_afar(scene: Scene, reach: Reach, random: Random) -> Scene | None:
    """The scene from farther away; None where its size is told or is not its own."""
    if not scene.objects or scene.camera or scene.figure or scene.lettering:
        return None
    largest = max(thing.size for thing in scene.objects)
    scale = random.uniform(*reach.sizes) / largest if largest > SMALL else random.uniform(*reach.factors)
    things = (
        replace(t, size=t.size * scale, x=0.5 + (t.x - 0.5) * scale, y=0.5 + (t.y - 0.5) * scale) for t in scene.objects
    )
    return replace(scene, objects=tuple(things))
