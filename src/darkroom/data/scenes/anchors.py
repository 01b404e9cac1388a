"""Where hats and glasses sit: points of drawings, read off them by eye into ``anchors.tsv``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from darkroom.data.scenes.spec import Shape, SpecObject
from darkroom.wording.vocabulary import concept_of

EYEWEAR = frozenset({"pair of glasses", "pair of sunglasses"})


@dataclass(frozen=True, slots=True)
class Head:
    """A head that faces us; fractions of the drawing's visible box."""

    x: float  # its middle
    brow: float  # y a hat's brim sits on
    width: float  # at the brow
    eyes: float  # y of the eyes; 0: it has glasses already


@dataclass(frozen=True, slots=True)
class Worn:
    """A hat or glasses; fractions of its visible box."""

    x: float  # the point that meets the brow or the eyes
    y: float
    width: float  # in widths of the head
    at_eyes: bool


@cache
def _anchors() -> tuple[dict[tuple[int, str], Head], dict[tuple[int, str], Worn]]:
    heads: dict[tuple[int, str], Head] = {}
    worn: dict[tuple[int, str], Worn] = {}
    text = files("darkroom.data.scenes").joinpath("anchors.tsv").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        kind, word, style, *numbers = line.split("\t")
        concept = concept_of(word)
        assert concept is not None, word
        if kind == "head":
            heads[concept.index, style] = Head(*map(float, numbers))
        else:
            x, y, width = map(float, numbers)
            worn[concept.index, style] = Worn(x, y, width, at_eyes=word in EYEWEAR)
    return heads, worn


def heads() -> dict[tuple[int, str], Head]:
    """The (concept, style) pairs that can wear something."""
    return _anchors()[0]


def wearables() -> dict[tuple[int, str], Worn]:
    """The (concept, style) pairs that can be worn."""
    return _anchors()[1]


def may_wear(head: tuple[int, str], worn: tuple[int, str]) -> bool:
    """Whether a drawing has a place for another: a head, bare eyes for glasses; one may not see through the other."""
    at, what = heads().get(head), wearables().get(worn)
    return at is not None and what is not None and head[1] == worn[1] and not (what.at_eyes and at.eyes == 0)


def put_on(
    wearer: SpecObject, wearer_shape: Shape, worn: int, worn_shape: Shape, colour: str | None, style: str
) -> SpecObject:
    """The worn thing where it sits on the wearer, turned and mirrored with it."""
    at, what = heads()[wearer.concept, style], wearables()[worn, style]
    width = at.width * what.width * wearer_shape.width * wearer.size  # of its visible box, in sides of the picture
    size = width / worn_shape.width
    mirror = -1 if wearer.flip else 1
    x = wearer.x + mirror * (at.x - 0.5) * wearer_shape.width * wearer.size
    y = wearer.y + ((at.eyes if what.at_eyes else at.brow) - 0.5) * wearer_shape.height * wearer.size
    x -= mirror * (what.x - 0.5) * worn_shape.width * size
    y -= (what.y - 0.5) * worn_shape.height * size
    return SpecObject(worn, colour, x, y, size, flip=wearer.flip)
