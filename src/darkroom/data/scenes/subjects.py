"""What a scene shows: which things, how many, in which colours, where they stand to one another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from math import cos, radians, sin
from random import Random

from darkroom.data.scenes.anchors import heads, may_wear, put_on, wearables
from darkroom.data.scenes.backdrops import brightness
from darkroom.data.scenes.figures import POSES, keypoints, posed
from darkroom.data.scenes.letters import WORDS, word_size
from darkroom.data.scenes.rooms import COLOURS_OF_WALLS
from darkroom.data.scenes.spec import (
    DEEP,
    PLACED,
    Box,
    BoxRoom,
    ComposerConfig,
    Figure,
    Ground,
    Lettering,
    Relation,
    Scene,
    Shape,
    SpecObject,
)
from darkroom.data.split import TURNED, pair_held_out, style_trained
from darkroom.data.stock.pack import COLOURLESS
from darkroom.wording.vocabulary import COLOURS, HELD, Concept, core

NATURAL_SHARE = 0.25  # of the things told in a colour, where the drawing has one by itself


def _concept(
    random: Random,
    config: ComposerConfig,
    style: str,
    relation: str | None = None,
    other: int | None = None,
    among: Callable[[tuple[int, str]], bool] | None = None,
    *,
    any_pair: bool = False,
) -> int:
    """A concept, not ``other``, that this style (and its part in a relation) may show under the config's split.

    ``among`` None allows any; ``any_pair`` leaves relation and style out of the split's asking for held-out ones only.
    """

    def allowed(concept: Concept) -> bool:
        drawn = config.stock.drawn(concept.index, style)
        if not drawn or concept.index == other or (among is not None and not among((concept.index, style))):
            return False
        if config.held_out == "include" or (config.every_drawing and relation is None):
            return True
        seen = config.every_drawing or style_trained(concept.word, style)
        if any_pair:
            return seen
        if relation is not None:
            seen = seen and not pair_held_out("relation", concept.word, relation)
        return seen == (config.held_out == "exclude")

    for _ in range(200 if among is None else 0):
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


def _colour(random: Random, config: ComposerConfig, style: str, concept: int, seed: int) -> str | None:
    """None (own colours) or a colour word the split allows for the concept, now and then its drawing's own.

    Nobody is painted: a person has a skin tone, not a colour.
    """
    if style in COLOURLESS or core()[concept].group == "person" or random.random() >= config.colour_share:
        return None
    word = core()[concept].word
    colours: Iterable[str] = COLOURS
    if config.held_out != "include":
        held = config.held_out == "only"
        colours = [c for c in colours if pair_held_out("colour", word, c) == held]
    natural = config.stock.shape(concept, style, seed).colour
    if natural is not None and natural in colours and random.random() < NATURAL_SHARE:
        return natural
    return random.choice(list(colours)) if colours else None


def _single(random: Random, config: ComposerConfig, style: str, ground: Ground, seed: int) -> Scene:
    concept = _concept(random, config, style)
    size = random.uniform(0.66, 0.9) if random.random() < 0.85 else random.uniform(0.42, 0.6)
    room = (1 - size) / 2
    x, y = (0.5 + random.uniform(-1, 1) * min(room, 0.06 if size > 0.6 else room) for _ in "xy")
    thing = SpecObject(
        concept,
        _colour(random, config, style, concept, seed),
        x,
        y,
        size,
        angle=random.gauss(0, 4) if random.random() < 0.3 else 0.0,
        flip=random.random() < 0.25,
    )
    return Scene("single", style, (_portrayed(config, style, thing, seed),), ground, seed=seed)


def _portrayed(config: ComposerConfig, style: str, thing: SpecObject, seed: int) -> SpecObject:
    """The thing, if it is somebody who is drawn in several ways, mostly in another than the usual one."""
    people = config.stock.people.get((thing.concept, style))
    random = Random(f"{seed}/person")
    if not people or random.random() >= config.person_share:
        return thing
    return replace(thing, person=random.choice(people))


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
    colour = _colour(random, config, style, concept, seed)
    layout = random.choice(LAYOUTS[count])
    size = _COUNT_SIZE[count] * random.uniform(0.9, 1.0)
    flip = random.random() < 0.25
    things = tuple(
        SpecObject(concept, colour, x + random.uniform(-0.01, 0.01), y + random.uniform(-0.01, 0.01), size, flip=flip)
        for x, y in layout
    )
    return Scene("count", style, things, ground, named=tuple(range(count)), seed=seed)


def _pair(random: Random, config: ComposerConfig, style: str, ground: Ground, seed: int) -> Scene:
    return _placed(random, config, style, ground, seed, random.choice(PLACED))


def _depth(random: Random, config: ComposerConfig, style: str, ground: Ground, seed: int) -> Scene:
    """A pair of which one hides a part of the other: the hardest to see, and rare among all pairs."""
    return _placed(random, config, style, ground, seed, random.choice(DEEP))


def _placed(random: Random, config: ComposerConfig, style: str, ground: Ground, seed: int, relation: Relation) -> Scene:
    first = _concept(random, config, style, relation)
    second = _concept(random, config, style, TURNED[relation], other=first)
    colours = [_colour(random, config, style, concept, seed) for concept in (first, second)]
    size = random.uniform(0.42, 0.5)
    jitter = random.uniform(-0.03, 0.03)
    shapes = [config.stock.shape(concept, style, seed) for concept in (first, second)]
    places = _places(random, relation, size, jitter, *shapes, seed=seed)
    things = tuple(
        SpecObject(concept, colour, x, y, s, flip=random.random() < 0.25)
        for concept, colour, (x, y, s) in zip((first, second), colours, places, strict=True)
    )
    # Painting order: what stands in front (or on top) is painted last.
    if relation in ("in front of", "on"):
        return Scene("pair", style, things[::-1], ground, relation, named=(1, 0), seed=seed)
    return Scene("pair", style, things, ground, relation, named=(0, 1), seed=seed)


def _places(
    random: Random, relation: Relation, size: float, jitter: float, first: Shape, second: Shape, *, seed: int
) -> list[tuple[float, float, float]]:
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
        case (
            "on"
        ):  # the middle of the upper one's foot rests on the middle of the lower one's top, and sinks in a little
            tall = 0.9 * first.bottom + 1.1 * (second.height - second.top)
            size = min(size, 0.92 / tall)
            upper, lower = size * 0.9, size * 1.1
            foot = 0.5 + tall * size / 2 + jitter / 2
            y = foot - second.height * lower / 2
            rests = foot - (second.height - second.top) * lower + 0.02
            return [(0.5 + jitter, rests - (first.bottom - first.height / 2) * upper, upper), (0.5 + jitter, y, lower)]
        case "in front of":
            return _one_before(Random(f"{seed}/depth"), size, jitter, first, second)
        case "behind":
            return _one_before(Random(f"{seed}/depth"), size, jitter, second, first)[::-1]
    raise ValueError(f"unknown relation {relation!r}")


def _one_before(
    random: Random, size: float, jitter: float, front: Shape, back: Shape
) -> list[tuple[float, float, float]]:
    """(x, y, size) of what stands in front and of what it hides a part of: nearer to the eye is lower in the picture,
    more or less to the left or to the right, and as far as hides a part of it whatever their shapes."""
    far = size * random.uniform(1.15, 1.4)
    turn, away = radians(random.uniform(-75, 75)), random.uniform(0.5, 0.6)  # of where they would touch
    middles = []
    for share, near_side, far_side in (
        (away * sin(turn), front.width * size, back.width * far),
        (away * cos(turn), front.height * size, back.height * far),
    ):
        step = share * (near_side + far_side) / 2  # from the farther one's middle to the nearer one's
        ends = min(-far_side / 2, step - near_side / 2), max(far_side / 2, step + near_side / 2)
        behind = 0.5 - sum(ends) / 2  # the two together stand in the middle
        middles.append((behind + step, behind))
    (x, behind_x), (y, behind_y) = middles
    return [(x + jitter, y, size), (behind_x + jitter, behind_y, far)]


def _wearing(random: Random, config: ComposerConfig, style: str, ground: Ground, seed: int) -> Scene:
    """Somebody with a hat or glasses on. The split holds out who wears, never a hat: it would be worn by nobody."""
    worn = _concept(random, config, style, among=wearables().__contains__, any_pair=True)
    wearer = _concept(random, config, style, "wearing", other=worn, among=lambda head: may_wear(head, (worn, style)))
    colours = [_colour(random, config, style, concept, seed) for concept in (wearer, worn)]
    size = random.uniform(0.66, 0.8)
    who = SpecObject(wearer, colours[0], 0.5 + random.uniform(-0.05, 0.05), 0.5, size, flip=random.random() < 0.25)
    shapes = [config.stock.shape(concept, style, seed) for concept in (wearer, worn)]
    who = _portrayed(config, style, who, seed)
    what = put_on(who, shapes[0], worn, shapes[1], colours[1], style)
    who, what = _framed((who, what), shapes)
    return Scene("wearing", style, (who, what), ground, "wearing", named=(0, 1), seed=seed)


def _framed(things: tuple[SpecObject, ...], shapes: list[Shape]) -> tuple[SpecObject, ...]:
    """Things made smaller together, and moved, until they stand in the middle of the picture's height."""
    halves = [thing.size * shape.height / 2 for thing, shape in zip(things, shapes, strict=True)]
    top = min(thing.y - half for thing, half in zip(things, halves, strict=True))
    foot = max(thing.y + half for thing, half in zip(things, halves, strict=True))
    scale = min(1.0, 0.9 / (foot - top))
    middle = (top + foot) / 2
    return tuple(
        replace(t, size=t.size * scale, x=0.5 + (t.x - 0.5) * scale, y=0.5 + (t.y - middle) * scale) for t in things
    )


# --- mannequins, box rooms, words --------------------------------------------------------------------------------


def _fits_a_hand(drawing: tuple[int, str]) -> bool:
    concept = core()[drawing[0]]
    return concept.group == "food" or concept.word in HELD


_HOLDING = ("standing", "walking", "waving", "stretching its arms out", "sitting")


def _figure(random: Random, config: ComposerConfig, style: str, ground: Ground, seed: int) -> Scene:
    """A mannequin in a pose, sometimes with a thing in its hand."""
    holds = random.random() < 0.4 and any(
        config.stock.drawn(concept.index, "3d") and _fits_a_hand((concept.index, "3d")) for concept in config.concepts
    )
    pose = random.choice(_HOLDING if holds else tuple(POSES))
    colour = random.choice([None, None, *COLOURS])
    size = random.uniform(0.74, 0.86)
    figure = Figure(pose, posed(random, pose), 0.5, 0.5, size, colour, flip=random.random() < 0.5)
    if not holds:
        return Scene("figure", "3d", (), ground, named=(), seed=seed, figure=figure)
    concept = _concept(random, config, "3d", "holding", among=_fits_a_hand)
    hand = keypoints(figure)["right wrist"]
    x, y = (min(0.86, max(0.14, place)) for place in (hand[0], hand[1] - 0.03))  # a raised hand reaches the edge
    thing = SpecObject(concept, _colour(random, config, "3d", concept, seed), x, y, 0.27)
    return Scene("figure", "3d", (thing,), ground, "holding", named=(0,), seed=seed, figure=figure)


def _boxes(random: Random, config: ComposerConfig, style: str, ground: Ground, seed: int) -> Scene:
    """One to three boxes side by side in an empty room, named from left to right."""
    count = random.choice((1, 1, 2, 2, 3))
    colours = random.sample([c for c in COLOURS if c != "brown"], count)  # brown is the floor's
    boxes = tuple(
        Box(
            colour,
            x=(i - (count - 1) / 2) * 1.15 + random.uniform(-0.12, 0.12),
            z=random.uniform(2.9, 4.2),
            width=random.uniform(0.55, 0.8),
            height=random.uniform(0.4, 1.3),
            turn=random.uniform(0, 90),
        )
        for i, colour in enumerate(colours)
    )
    walls = random.choice(tuple(COLOURS_OF_WALLS))
    return Scene("boxes", "3d", (), Ground("room"), named=(), seed=seed, room=BoxRoom(walls, boxes))


def _word(random: Random, config: ComposerConfig, style: str, ground: Ground, seed: int) -> Scene:
    """A word, alone, on a sign or under a drawing."""
    text, font = random.choice(WORDS), random.randrange(1 << 16)
    how = random.choice(("alone", "sign", "under"))
    if how == "under" and style in COLOURLESS:
        how = "alone"
    backing = Ground("white") if how == "sign" else ground
    bright = brightness(backing)
    contrast = 0.45 if how == "sign" else 0.3
    colours = [name for name, rgb in COLOURS.items() if abs(sum(rgb) / 765 - bright) > contrast]
    width, height = word_size(text, 0.8 if how != "sign" else 0.66, 0.42 if how == "alone" else 0.24)
    y = {"alone": 0.5, "sign": 0.5, "under": 0.84}[how]
    word = Lettering(text, random.choice(colours), 0.5, y, height, width, font, board=how == "sign")
    things: tuple[SpecObject, ...] = ()
    if how == "under":
        concept = _concept(random, config, style)
        colour = _colour(random, config, style, concept, seed)
        things = (SpecObject(concept, colour, 0.5, 0.38, random.uniform(0.56, 0.64), flip=random.random() < 0.25),)
    return Scene("word", style, things, ground, named=tuple(range(len(things))), seed=seed, lettering=word)


def _photo(random: Random, config: ComposerConfig, style: str, ground: Ground, seed: int) -> Scene:
    """One of the photos, as it is."""
    return Scene("photo", "photo", (), ground, named=(), seed=seed, photo=random.choice(config.stock.photos))


KINDS: dict[str, Callable[[Random, ComposerConfig, str, Ground, int], Scene]] = {
    "single": _single,
    "count": _count,
    "pair": _pair,
    "depth": _depth,
    "wearing": _wearing,
    "figure": _figure,
    "boxes": _boxes,
    "word": _word,
    "photo": _photo,
}
"""What draws the subject of each kind of scene."""


def can_show(kind: str, style: str, config: ComposerConfig) -> bool:
    """Whether the stock has what a kind of scene needs; without it a single thing is shown."""
    if kind == "photo":
        return bool(config.stock.photos)
    if kind == "wearing":  # not in black and white: one would see the head through the hat
        stock = config.stock
        some = [any(s == style and stock.drawn(c, s) for c, s in table) for table in (wearables(), heads())]
        return style not in COLOURLESS and all(some)
    return True
