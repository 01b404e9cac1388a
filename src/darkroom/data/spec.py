"""Scene specs: what is in a picture, drawn from a seed before any pixel is.

The spec is the truth about its scene: the composer renders it, the captions describe it, the judge checks it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Literal

from darkroom.data.pack import COLOURLESS
from darkroom.data.split import pair_held_out, style_trained
from darkroom.wording.vocabulary import COLOURS, Concept, core, everyday

Relation = Literal["left of", "right of", "above", "below", "on", "in front of", "behind", "next to"]
RELATIONS: tuple[Relation, ...] = ("left of", "right of", "above", "below", "on", "in front of", "behind", "next to")
Kind = Literal["single", "count", "pair"]

# Streams keep scenes of different purposes apart: no two ever share a seed.
STREAMS = {"train": 0, "autoencoder": 1, "text": 2, "judge": 3, "dev": 4, "test": 5, "held-out": 6, "preview": 7}

GROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (255, 255, 255),
    "light grey": (222, 224, 228),
    "black": (22, 22, 26),
    "red": (205, 60, 60),
    "orange": (240, 150, 70),
    "yellow": (248, 222, 110),
    "green": (110, 185, 115),
    "light green": (200, 232, 200),
    "blue": (70, 125, 215),
    "light blue": (190, 220, 245),
    "purple": (140, 100, 190),
    "pink": (248, 190, 210),
    "beige": (240, 226, 200),
}
"""Words for plain grounds and the sRGB colour painted for them."""


@dataclass(frozen=True, slots=True)
class SpecObject:
    """One drawing in the scene. Positions and sizes are fractions of the picture's side."""

    concept: int  # index into the core vocabulary
    colour: str | None  # None: its own colours
    x: float  # centre of the drawing's visible box
    y: float
    size: float  # longer side of the visible box
    angle: float = 0.0  # degrees, counter-clockwise
    flip: bool = False


@dataclass(frozen=True, slots=True)
class Ground:
    """The background: plain when both colours agree, else a vertical (or, with ``radial``, a centred) gradient."""

    name: str
    name_to: str | None = None  # None: plain
    radial: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """The whole truth about one picture; objects are painted in order."""

    kind: Kind
    style: str
    objects: tuple[SpecObject, ...]
    ground: Ground
    relation: Relation | None = None  # of the two objects in the order they are named, not painted
    named: tuple[int, ...] = (0,)  # positions in ``objects`` in the order the caption names them
    seed: int = 0


@dataclass(frozen=True)
class ComposerConfig:
    """What scenes are drawn from. Shares are weights; they need not sum to one."""

    vocabulary: Literal["everyday", "core"] = "everyday"
    styles: Mapping[str, float] = field(default_factory=lambda: {"3d": 0.5, "cartoon": 0.25, "flat": 0.25})
    kinds: Mapping[str, float] = field(default_factory=lambda: {"single": 0.7, "count": 0.15, "pair": 0.15})
    colour_share: float = 0.2  # of objects painted in another colour
    gradient_share: float = 0.25  # of grounds
    # Pairs of data/split.py. "only": every object's style or relation is held out, and so is every colour.
    held_out: Literal["exclude", "only", "include"] = "exclude"
    available: frozenset[tuple[int, str]] | None = None  # (concept, style) that have a drawing; None: all

    @cached_property
    def concepts(self) -> tuple[Concept, ...]:
        """The concepts scenes may show."""
        return everyday() if self.vocabulary == "everyday" else core()


def scene_seed(stream: str, run: int, index: int) -> int:
    """The seed of scene ``index`` of a run; streams never meet (index < 2**40, run < 2**16)."""
    if not (0 <= index < 1 << 40 and 0 <= run < 1 << 16):
        raise ValueError(f"scene {index} of run {run} is outside 2**40 scenes or 2**16 runs")
    return STREAMS[stream] << 56 | run << 40 | index


def draw_scene(seed: int, config: ComposerConfig) -> Scene:
    """Draws one scene; equal seeds and configs give equal scenes."""
    random = Random(seed)
    kind = _choice(random, config.kinds)
    style = _choice(random, config.styles)
    ground = _ground(random, config)
    if kind == "count":
        return _count(random, config, style, ground, seed)
    if kind == "pair":
        return _pair(random, config, style, ground, seed)
    return _single(random, config, style, ground, seed)


def _choice(random: Random, weights: Mapping[str, float]) -> str:
    names = list(weights)
    return random.choices(names, [weights[name] for name in names])[0]


def _ground(random: Random, config: ComposerConfig) -> Ground:
    if random.random() < 0.35:
        return Ground("white")
    names = list(GROUNDS)
    name = random.choice(names)
    if random.random() >= config.gradient_share:
        return Ground(name)
    other = random.choice([n for n in names if n != name])
    return Ground(name, other, radial=random.random() < 0.3)


def _concept(
    random: Random, config: ComposerConfig, style: str, relation: str | None = None, other: int | None = None
) -> int:
    """A concept, not ``other``, that this style (and relation) may show under the config's split."""

    def allowed(concept: Concept) -> bool:
        drawn = config.available is None or (concept.index, style) in config.available
        if not drawn or concept.index == other:
            return False
        seen = style_trained(concept.word, style)
        if relation is not None:
            seen = seen and not pair_held_out("relation", concept.word, relation)
        return config.held_out == "include" or seen == (config.held_out == "exclude")

    for _ in range(200):
        concept = random.choice(config.concepts)
        if allowed(concept):
            return concept.index
    rare = [concept.index for concept in config.concepts if allowed(concept)]  # a table of a few drawings only
    if rare:
        return random.choice(rare)
    asked = f"style {style!r}" + (f" and relation {relation!r}" if relation else "")
    raise ValueError(
        f"no{'' if other is None else ' second'} concept may be drawn in {asked} under held_out="
        f"{config.held_out!r}; add drawings, or change the styles or kinds of scenes"
    )


def _colour(random: Random, config: ComposerConfig, style: str, concept: int) -> str | None:
    """None (own colours) or a colour word the split allows for the concept."""
    if style in COLOURLESS or random.random() >= config.colour_share:
        return None
    word = core()[concept].word
    colours = list(COLOURS)
    if config.held_out != "include":
        held = config.held_out == "only"
        colours = [c for c in colours if pair_held_out("colour", word, c) == held]
    return random.choice(colours) if colours else None


def _single(random: Random, config: ComposerConfig, style: str, ground: Ground, seed: int) -> Scene:
    concept = _concept(random, config, style)
    size = random.uniform(0.66, 0.9) if random.random() < 0.85 else random.uniform(0.42, 0.6)
    room = (1 - size) / 2
    x, y = (0.5 + random.uniform(-1, 1) * min(room, 0.06 if size > 0.6 else room) for _ in "xy")
    thing = SpecObject(
        concept,
        _colour(random, config, style, concept),
        x,
        y,
        size,
        angle=random.gauss(0, 4) if random.random() < 0.3 else 0.0,
        flip=random.random() < 0.25,
    )
    return Scene("single", style, (thing,), ground, seed=seed)


# Centres on fixed grids: counts are learned from layouts, not from scatter.
LAYOUTS: dict[int, tuple[tuple[tuple[float, float], ...], ...]] = {
    2: (((0.27, 0.5), (0.73, 0.5)), ((0.5, 0.27), (0.5, 0.73))),
    3: (((0.19, 0.5), (0.5, 0.5), (0.81, 0.5)), ((0.5, 0.28), (0.27, 0.72), (0.73, 0.72))),
    4: (((0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73)),),
    5: (((0.22, 0.22), (0.78, 0.22), (0.5, 0.5), (0.22, 0.78), (0.78, 0.78)),),
    6: (((0.19, 0.3), (0.5, 0.3), (0.81, 0.3), (0.19, 0.7), (0.5, 0.7), (0.81, 0.7)),),
}
_COUNT_SIZE = {2: 0.44, 3: 0.33, 4: 0.40, 5: 0.33, 6: 0.29}
_COUNT_WEIGHTS = {2: 0.3, 3: 0.25, 4: 0.2, 5: 0.125, 6: 0.125}


def _count(random: Random, config: ComposerConfig, style: str, ground: Ground, seed: int) -> Scene:
    count = random.choices(list(_COUNT_WEIGHTS), list(_COUNT_WEIGHTS.values()))[0]
    concept = _concept(random, config, style)
    colour = _colour(random, config, style, concept)
    layout = random.choice(LAYOUTS[count])
    size = _COUNT_SIZE[count] * random.uniform(0.9, 1.0)
    flip = random.random() < 0.25
    things = tuple(
        SpecObject(concept, colour, x + random.uniform(-0.01, 0.01), y + random.uniform(-0.01, 0.01), size, flip=flip)
        for x, y in layout
    )
    return Scene("count", style, things, ground, named=tuple(range(count)), seed=seed)


def _pair(random: Random, config: ComposerConfig, style: str, ground: Ground, seed: int) -> Scene:
    relation = random.choice(RELATIONS)
    first = _concept(random, config, style, relation)
    second = _concept(random, config, style, relation, other=first)
    colours = [_colour(random, config, style, concept) for concept in (first, second)]
    size = random.uniform(0.42, 0.5)
    jitter = random.uniform(-0.03, 0.03)
    places = _places(random, relation, size, jitter)
    things = tuple(
        SpecObject(concept, colour, x, y, s, flip=random.random() < 0.25)
        for concept, colour, (x, y, s) in zip((first, second), colours, places, strict=True)
    )
    # Painting order: what stands in front (or on top) is painted last.
    if relation in ("in front of", "on"):
        return Scene("pair", style, things[::-1], ground, relation, named=(1, 0), seed=seed)
    return Scene("pair", style, things, ground, relation, named=(0, 1), seed=seed)


def _places(random: Random, relation: Relation, size: float, jitter: float) -> list[tuple[float, float, float]]:
    """(x, y, size) of the first-named and the second-named object."""
    near, far = 0.26 + jitter / 2, 0.74 + jitter / 2
    if relation == "next to":
        relation = random.choice(("left of", "right of"))
    match relation:
        case "left of":
            return [(near, 0.5 + jitter, size), (far, 0.5 + jitter, size)]
        case "right of":
            return [(far, 0.5 + jitter, size), (near, 0.5 + jitter, size)]
        case "above":
            return [(0.5 + jitter, near, size), (0.5 + jitter, far, size)]
        case "below":
            return [(0.5 + jitter, far, size), (0.5 + jitter, near, size)]
        case "on":  # the upper one rests on the lower one's top: overlap a little
            return [(0.5 + jitter, 0.30, size * 0.9), (0.5 + jitter, 0.70, size * 1.1)]
        case "in front of":
            return [(0.42 + jitter, 0.64, size), (0.60 + jitter, 0.42, size * 1.3)]
        case "behind":
            return [(0.60 + jitter, 0.42, size * 1.3), (0.42 + jitter, 0.64, size)]
    raise ValueError(f"unknown relation {relation!r}")
