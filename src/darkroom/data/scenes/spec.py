"""Scene specs: what is in a picture, said before any pixel is.

The spec is the truth about its scene: layout.py draws it from a seed, the composer renders it, the captions describe
it, the judge checks it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from darkroom.wording.vocabulary import GROUNDS as GROUNDS  # said here too: a scene has one
from darkroom.wording.vocabulary import Concept, core, everyday

Relation = Literal[
    "left of", "right of", "above", "below", "on", "in front of", "behind", "next to", "wearing", "holding"
]
PLACED: tuple[Relation, ...] = ("left of", "right of", "above", "below", "on", "in front of", "behind", "next to")
"""Relations any two things can stand in; wearing and holding need somebody who can."""
DEEP: tuple[Relation, ...] = ("in front of", "behind")
"""Those of them in which one thing hides a part of the other."""
RELATIONS: tuple[Relation, ...] = (*PLACED, "wearing", "holding")
Kind = Literal["single", "count", "pair", "wearing", "figure", "boxes", "word", "photo"]

# Streams keep scenes of different purposes apart: no two ever share a seed.
STREAMS = {
    "train": 0,
    "autoencoder": 1,
    "text": 2,
    "judge": 3,
    "dev": 4,
    "test": 5,
    "held-out": 6,
    "preview": 7,
    "upscaler": 8,
    "reference": 9,
    "preference": 10,
}

PLACES = ("snow", "night sky", "sunset", "city", "forest", "sea", "room")
"""Painted grounds (backdrops.py)."""
OPEN_AIR = frozenset({"snow", "city", "forest", "sea"})  # where day and night look different

LIGHTS = ("day", "night", "sunset", "neon", "moonlight")
CAMERAS = ("close-up", "wide", "from above", "blurred background")
MOTIONS = ("fast", "slow")
QUALITIES = ("blurry", "noisy", "low quality", "cropped")
MEDIA = ("pencil sketch", "oil painting", "halftone", "watercolour", "pixel art")
"""Art styles a filter makes out of a drawing in one of the drawn styles (looks.py)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How a drawing fills its visible box, in lengths of the box's longer side, and which colour it has."""

    width: float = 1.0
    height: float = 1.0
    top: float = 0.0  # where the middle third of it begins, from the box's top: what stands on it rests there
    bottom: float = 1.0  # where the middle third of it ends: what it stands on begins there
    colour: str | None = None  # the word for its own colour; None: none fits it all


SQUARE = Shape()


@dataclass(frozen=True, slots=True, order=True)
class Person:
    """How a drawing shows somebody: as a man or a woman, in a skin tone; "" is the drawing's usual way."""

    gender: str = ""  # "male" or "female"
    tone: str = ""  # as in "medium-dark"


USUAL = Person()


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo: what it shows, in several wordings."""

    row: int  # row of the table of photos
    name: str
    captions: tuple[str, ...]
    id: str  # the data pack's id, the key of the ledger


@dataclass(frozen=True)
class Stock:
    """What there is to compose scenes of. ``shapes`` None stands for one square drawing of everything."""

    shapes: Mapping[tuple[int, str], tuple[Shape, ...]] | None = None  # of the drawings, by (concept, style)
    people: Mapping[tuple[int, str], tuple[Person, ...]] = field(default_factory=dict)  # how else they are drawn
    photos: tuple[Photo, ...] = ()

    def drawn(self, concept: int, style: str) -> bool:
        """Whether there is a drawing."""
        return self.shapes is None or (concept, style) in self.shapes

    def shape(self, concept: int, style: str, seed: int) -> Shape:
        """The shape of the drawing a scene of this seed shows."""
        if self.shapes is None:
            return SQUARE
        found = self.shapes[concept, style]
        return found[seed % len(found)]


@dataclass(frozen=True, slots=True)
class SpecObject:
    """One drawing in the scene. Positions and sizes are fractions of the picture's side."""

    concept: int  # index into the core vocabulary
    colour: str | None  # what it is painted in, unless it has that colour by itself; None: its own colours
    x: float  # centre of the drawing's visible box
    y: float
    size: float  # longer side of the visible box
    angle: float = 0.0  # degrees, counter-clockwise
    flip: bool = False
    person: Person = USUAL


@dataclass(frozen=True, slots=True)
class Ground:
    """The background: a plain colour, a vertical (or, with ``radial``, a centred) gradient, or a place."""

    name: str  # of GROUNDS or PLACES
    name_to: str | None = None  # the gradient's other end; None: no gradient
    radial: bool = False

    @property
    def place(self) -> bool:
        """Whether it is a painted place, not a colour."""
        return self.name in PLACES


@dataclass(frozen=True, slots=True)
class Figure:
    """A jointed mannequin (figures.py)."""

    pose: str
    angles: tuple[float, ...]  # of its limbs, degrees
    x: float  # middle of its joints
    y: float
    size: float  # its height when it stands upright
    colour: str | None = None  # None: wood
    flip: bool = False


@dataclass(frozen=True, slots=True)
class Box:
    """A cuboid on a room's floor, in metres: x to the right of the eye, z away from it."""

    colour: str
    x: float
    z: float
    width: float
    height: float
    turn: float  # degrees about the vertical


@dataclass(frozen=True, slots=True)
class BoxRoom:
    """A room seen in perspective, with boxes in it (rooms.py); the boxes are named in their order."""

    walls: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Lettering:
    """A word in the scene (letters.py)."""

    text: str
    colour: str
    x: float  # its middle
    y: float
    height: float
    width: float
    font: int  # number of the font, modulo those there are
    board: bool = False  # on a sign


@dataclass(frozen=True, slots=True)
class Scene:
    """The whole truth about one picture; objects are painted in order."""

    kind: Kind
    style: str  # as the caption says it
    objects: tuple[SpecObject, ...]
    ground: Ground
    relation: Relation | None = None  # of the two objects in the order they are named, not painted
    named: tuple[int, ...] = (0,)  # positions in ``objects`` in the order the caption names them
    seed: int = 0
    drawn: str | None = None  # style of the drawings a medium is made of; None: ``style`` itself
    light: str | None = None
    camera: str | None = None
    motion: str | None = None
    quality: str | None = None  # a flaw; None: clean
    figure: Figure | None = None
    room: BoxRoom | None = None
    lettering: Lettering | None = None
    photo: Photo | None = None  # the whole picture

    @property
    def drawings(self) -> str:
        """The style its drawings are taken from."""
        return self.drawn or self.style


@dataclass(frozen=True)
class ComposerConfig:
    """What scenes are drawn from. Shares are weights; they need not sum to one."""

    vocabulary: Literal["everyday", "core"] = "everyday"
    styles: Mapping[str, float] = field(default_factory=lambda: {"3d": 0.5, "cartoon": 0.25, "flat": 0.25})
    kinds: Mapping[str, float] = field(default_factory=lambda: {"single": 0.7, "count": 0.15, "pair": 0.15})
    colour_share: float = 0.2  # of objects painted in another colour
    gradient_share: float = 0.25  # of grounds of one colour
    place_share: float = 0.0  # of grounds
    light_share: float = 0.0  # of scenes whose ground may be lit so
    camera_share: float = 0.0
    motion_share: float = 0.0  # of single things that can move
    quality_share: float = 0.0  # of scenes that are flawed, and said to be
    medium_share: float = 0.0  # of scenes in an art style that a filter makes
    person_share: float = 0.6  # of people who are drawn in several ways and shown in another than the usual one
    # Pairs of split.py. "only": every object's style or relation is held out, and so is every colour.
    held_out: Literal["exclude", "only", "include"] = "exclude"
    every_drawing: bool = False  # also those of held-out concept x style pairs: a judge must know them all
    stock: Stock = field(default_factory=Stock)

    @cached_property
    def concepts(self) -> tuple[Concept, ...]:
        """The concepts scenes may show."""
        return everyday() if self.vocabulary == "everyday" else core()


FULL = ComposerConfig(
    vocabulary="core",
    styles={"3d": 0.34, "cartoon": 0.22, "flat": 0.2, "black and white": 0.06, "simple": 0.1, "bright": 0.08},
    kinds={
        "single": 0.52,
        "count": 0.14,
        "pair": 0.2,
        "wearing": 0.04,
        "figure": 0.03,
        "boxes": 0.02,
        "word": 0.03,
        "photo": 0.02,
    },
    place_share=0.3,
    light_share=0.16,
    camera_share=0.16,
    motion_share=0.12,
    quality_share=0.08,
    medium_share=0.15,
)
"""Everything the composer can do, in the shares the default model is trained with; give it a stock."""


def scene_seed(stream: str, run: int, index: int) -> int:
    """The seed of scene ``index`` of a run; streams never meet (index < 2**40, run < 2**16)."""
    if not (0 <= index < 1 << 40 and 0 <= run < 1 << 16):
        raise ValueError(f"scene {index} of run {run} is outside 2**40 scenes or 2**16 runs")
    return STREAMS[stream] << 56 | run << 40 | index
