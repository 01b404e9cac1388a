"""The core vocabulary: the words the default model is trained and judged on, frozen by name in ``core.tsv``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (222, 45, 45),
    "orange": (245, 135, 30),
    "yellow": (250, 210, 40),
    "green": (60, 170, 70),
    "blue": (50, 110, 230),
    "purple": (145, 75, 205),
    "pink": (250, 130, 185),
    "brown": (140, 90, 50),
    "black": (45, 45, 50),
    "white": (240, 240, 242),
    "grey": (150, 150, 155),
}
"""Colour words an object or a plain ground may be given, with the sRGB colour the composer paints for them."""

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
GRADIENT = "gradient"
"""The word for a ground of two colours."""

BARE = frozenset(
    re.split(
        r",\s+",
        """bacon, beer, bowling pins, bread, broccoli, cattle, cheese, cherries, chips, chocolate, coffee, corn,
        custard, earth, french fries, fries, garlic, glasses, gloves, grapes, headphones, honey, jeans, lightning,
        maize, meat, milk, noodles, pancakes, pasta, popcorn, ramen, saturn, scissors, socks, spaghetti, spectacles,
        sunglasses, sushi, toast, trousers""",
    )
)
"""Names that take no article when one of the thing is meant: stuff, plurals and proper names."""

HELD = frozenset(
    re.split(
        r",\s+",
        """umbrella, book, guitar, drum, camera, key, bell, gift, soccer ball, basketball, light bulb, alarm clock,
        balloon, trophy, medal, tennis racket, baseball, volleyball, yo-yo, teddy bear, joystick, palette,
        magic wand, crystal ball, microphone, saxophone, trumpet, violin, banjo, handbag, lipstick, diamond,
        money bag, laptop, mobile phone, telephone, radio, video camera, magnifying glass, padlock,
        flashlight, candle, hammer, wrench, axe, magnet, pencil, pen, paintbrush, crayon, pair of scissors,
        envelope, package, newspaper, bucket, broom, hourglass, shield, dagger, rose, tulip, sunflower,
        daisy, bouquet""",
    )
)
"""What a hand holds, beside food."""

WORN = frozenset(
    {"baseball cap", "crown", "graduation cap", "pair of glasses", "pair of sunglasses", "sun hat", "top hat"}
)
"""What heads are drawn with; "a cat in a box" wears nothing."""


_PLURALS = {"die": "dice", "onigiri": "onigiri", "kiwi fruit": "kiwi fruit", "hero": "heroes"}


def plural(name: str) -> str:
    """The plural of a name: "puppies", "sandwiches", "glasses of wine"."""
    if name in _PLURALS:
        return _PLURALS[name]
    head, of, rest = name.partition(" of ")
    if head.endswith("y") and head[-2] not in "aeiou":
        head = head[:-1] + "ies"
    else:
        head += "es" if head.endswith(("s", "x", "ch", "sh", "ato")) else "s"
    return head + of + rest


def article(words: str) -> str:
    """The indefinite article, "a" or "an", by the first sound of the words."""
    first = words.split()[0].lower()
    if first.startswith(("uni", "ufo", "one", "eu", "use")):
        return "a"
    return "an" if first[0] in "aeiou" or first.startswith(("hour", "heir", "honest", "x-ray")) else "a"


@dataclass(frozen=True, slots=True)
class Concept:
    """One thing the model knows how to draw."""

    index: int  # position in core.tsv, stable for ever: rows are only appended
    word: str
    plural: str
    drawing: str  # the drawing's name in the data pack
    group: str  # animal, food, vehicle, place, plant, thing or person
    everyday: bool
    synonyms: tuple[str, ...]

    @property
    def synonyms_plural(self) -> tuple[str, ...]:
        """What a user may say for several of it; a synonym that takes no article has no plural."""
        return tuple(plural(name) for name in self.synonyms if name not in BARE)

    @property
    def article(self) -> str:
        """The indefinite article before the word: "a", "an", or "" where it takes none."""
        return "" if self.word in BARE else article(self.word)


@cache
def core() -> tuple[Concept, ...]:
    """Every concept of the core vocabulary, in file order."""
    text = files("darkroom.wording").joinpath("core.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
    return tuple(
        Concept(i, word, plural, drawing, group, everyday == "1", tuple(filter(None, synonyms.split(","))))
        for i, (word, plural, drawing, group, everyday, synonyms) in enumerate(rows)
    )


@cache
def everyday() -> tuple[Concept, ...]:
    """The everyday hundred: the concepts the default model learns first."""
    return tuple(concept for concept in core() if concept.everyday)


@cache
def concepts_by_name() -> dict[str, Concept]:
    """Every concept by each of its names in lower case, in one or several; names are no two concepts'."""
    names: dict[str, Concept] = {}
    for concept in core():
        for name in (concept.word, concept.plural, *concept.synonyms, *concept.synonyms_plural):
            names.setdefault(name.lower(), concept)
    return names


@cache
def _pattern() -> re.Pattern[str]:
    names = sorted(concepts_by_name(), key=len, reverse=True)  # the longest name wins: "pine tree" before "tree"
    return re.compile(r"\b(?:" + "|".join(map(re.escape, names)) + r")\b")


def concept_of(word: str) -> Concept | None:
    """The concept a word, plural or synonym names; None when it is outside the core vocabulary."""
    return concepts_by_name().get(word.strip().lower())


def concepts_in(text: str) -> list[Concept]:
    """The concepts a sentence mentions, in order of mention, each once."""
    found = (concepts_by_name()[match.group()] for match in _pattern().finditer(text.lower()))
    return list(dict.fromkeys(found))
