"""Captions with one fact changed: what a scene almost shows, for a reader that must mind every word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

from darkroom.data.scenes.captions import NUMBERS, tell
from darkroom.data.scenes.spec import CAMERAS, GROUNDS, LIGHTS, MEDIA, MOTIONS, PLACES, Scene, SpecObject
from darkroom.data.stock.pack import STYLES
from darkroom.judge.expect import OPPOSITES
from darkroom.wording.vocabulary import COLOURS, core

_TOLD: dict[str, tuple[str, ...]] = {
    "style": (*STYLES, *MEDIA),
    "light": LIGHTS,
    "camera": CAMERAS,
    "motion": MOTIONS,
}
"""Facts a caption may say, and their values."""


def mistold(scene: Scene) -> str | None:
    """A caption of ``scene`` that is wrong in one fact; None where it has none to change."""
    random = Random(f"{scene.seed}/mistold")
    told = tell(scene)
    changed = list(_changed(scene, told.facts, random))
    if not changed:
        return None
    wrong = tell(random.choice(changed)).text
    return wrong if wrong != told.text else None


def _changed(scene: Scene, facts: frozenset[str], random: Random) -> Iterator[Scene]:
    """The scene with one fact changed that its caption tells, once for each fact."""
    things = [scene.objects[i] for i in scene.named]
    if things:
        i = random.randrange(len(things))
        taken = {thing.concept for thing in things}
        group = core()[things[i].concept].group
        others = [c.index for c in core() if c.group == group and c.index not in taken]
        if scene.kind == "count":
            other = random.choice(others)
            yield _with(scene, [replace(thing, concept=other) for thing in things])
            number = random.choice([n for n in (len(things) - 1, len(things) + 1) if n in NUMBERS])
            yield _with(scene, [things[0]] * number)
        else:
            yield _with(scene, _put(things, i, replace(things[i], concept=random.choice(others))))
        told = [j for j, thing in enumerate(things) if thing.person.gender and scene.kind != "count"]
        if told:
            j = random.choice(told)
            gender = {"female": "male", "male": "female"}[things[j].person.gender]
            yield _with(scene, _put(things, j, replace(things[j], person=replace(things[j].person, gender=gender))))
        painted = [j for j, thing in enumerate(things) if thing.colour is not None]
        if painted:
            j = random.choice(painted)
            colour = random.choice([c for c in COLOURS if c not in {thing.colour for thing in things}])
            same = range(len(things)) if scene.kind == "count" else (j,)
            yield _with(scene, [replace(t, colour=colour) if k in same else t for k, t in enumerate(things)])
        if len(things) == len(painted) == 2 and things[0].colour != things[1].colour:
            first, second = (thing.colour for thing in things)
            yield _with(scene, [replace(things[0], colour=second), replace(things[1], colour=first)])
    if scene.relation in OPPOSITES:
        yield replace(scene, relation=OPPOSITES[scene.relation])
    for fact, values in _TOLD.items():
        if fact in facts:
            changed: dict[str, Any] = {fact: random.choice([v for v in values if v != getattr(scene, fact)])}
            yield replace(scene, **changed)
    if "ground" in facts:
        known = PLACES if scene.ground.place else tuple(GROUNDS)
        names = [n for n in known if n not in (scene.ground.name, scene.ground.name_to)]
        yield replace(scene, ground=replace(scene.ground, name=random.choice(names)))


def _with(scene: Scene, things: list[SpecObject]) -> Scene:
    """The scene as it would be told of other things, in the order they are named."""
    return replace(scene, objects=tuple(things), named=tuple(range(len(things))))


def _put(things: list[SpecObject], i: int, thing: SpecObject) -> list[SpecObject]:
    return [*things[:i], thing, *things[i + 1 :]]
