"""For a word that a model was never taught, the words nearest to it that it was."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from darkroom.wording.anatomy.roles import ROLE_WORDS
from darkroom.wording.parse import words_of
from darkroom.wording.vocabulary import Concept, concepts_by_name, core

MOST = 4  # words named for one
_HELPERS = frozenset(("show", "shows", "that", "with", "left", "right", "over", "under", "next", "has", "the", "and"))
LONGEST = 24  # letters of a word that is looked for: the time it takes grows with them
_KINDS = (
    ("bird", "owl, duck, chick, penguin, eagle, parrot"),
    ("pet animal creature beast", "cat, dog, rabbit, horse"),
    ("insect bug", "bee, butterfly, ladybug"),
    ("flower blossom flowers", "rose, tulip, sunflower"),
    ("plant bush shrub", "cactus, tree, sunflower"),
    ("forest wood woods", "tree, pine tree"),
    ("fruit berry", "apple, pear, banana, strawberry"),
    ("vegetable", "carrot, tomato, pumpkin"),
    ("food meal dish snack", "hamburger, slice of pizza, cake, apple"),
    ("dessert sweets pastry", "cake, cookie, doughnut, ice cream cone"),
    ("vehicle", "car, bus, truck, bicycle"),
    ("ship vessel yacht", "sailboat"),
    ("aircraft aeroplane", "airplane, helicopter"),
    ("building home hut cabin barn", "house, castle, tent"),
    ("instrument", "guitar, drum"),
    ("bag luggage suitcase", "backpack"),
    ("toy ball", "soccer ball, basketball, robot"),
    ("hat cap", "top hat, crown"),
    ("machine", "robot, tractor, rocket"),
    ("monster spirit", "ghost, dinosaur"),
    ("lamp lantern", "light bulb"),
    ("clock watch timer", "alarm clock"),
    ("box parcel", "gift"),
    ("novel magazine notebook", "book"),
    ("hound poodle terrier", "dog"),
    ("feline tabby", "cat"),
    ("pony foal mare", "horse"),
    ("hen rooster", "chick"),
    ("motorbike motorcycle scooter", "bicycle"),
    ("van pickup", "truck, car"),
    ("pie tart cupcake", "cake"),
    ("burgers sandwich", "hamburger"),
)
_PAINTS = {
    "red": "crimson scarlet ruby cherry maroon vermilion burgundy",
    "orange": "amber tangerine apricot peach copper coral",
    "yellow": "gold golden lemon mustard blond blonde",
    "green": "emerald lime olive mint jade khaki",
    "blue": "navy azure cobalt sapphire turquoise cyan teal aqua indigo",
    "purple": "violet lilac lavender mauve plum magenta",
    "pink": "rosy salmon fuchsia",
    "brown": "chestnut tan hazel bronze chocolate russet",
    "white": "ivory cream snowy pearl",
    "grey": "gray silver ash slate",
    "black": "ebony jet raven",
}
_SIZES = {"small": "tiny mini miniature wee petite", "large": "huge giant enormous massive gigantic tall"}
_LOOKS = {"cartoon": "comic anime manga toon", "3d": "cgi rendered sculpted", "flat": "vector minimalist minimal"}


@dataclass(frozen=True, slots=True)
class Near:
    """A word that a model was taught, and why it is near: what is meant, or how it is spelt."""

    word: str
    why: str  # "the same thing", "one of them", "about the same", "spelt alike"


def near(word: str, known: Collection[str], things: Collection[str] = ()) -> list[Near]:
    """The words of ``known`` nearest to a word outside it: the same thing by another name and things of its kind, or
    else words spelt alike. Empty where none is near, or the word is longer than any word is.

    ``things`` are the names of what the model draws; empty: whatever its words can name.
    """
    if not 2 <= len(word) <= LONGEST:
        return []
    taught = [(name, why) for name, why, thing in _meant(word) if not things or thing in things or thing is None]
    found: dict[str, str] = {}
    for name, why in taught or [(name, "spelt alike") for name in _alike(word, known)]:
        if words_of(name) <= set(known) and name != word:
            found.setdefault(name, why)
    return [Near(name, why) for name, why in list(found.items())[:MOST]]


def _meant(word: str) -> Iterable[tuple[str, str, str | None]]:
    """What a word means in words of the vocabulary, how near that is, and the concept it is, where it is one."""
    singular = word[:-1] if word.endswith("s") and not word.endswith("ss") else word
    for name in dict.fromkeys((word, singular)):
        if (concept := concepts_by_name().get(name)) is not None:
            several = word.endswith("s") and word not in (concept.word, *concept.synonyms)
            yield (concept.plural if several else concept.word), "the same thing", concept.word
    for concept in core():
        if _last_of(concept, singular):
            yield concept.word, "one of them", concept.word
    for words, kinds in _KINDS:
        if singular in words.split() or word in words.split():
            yield from ((kind, "one of them", kind) for kind in kinds.split(", "))
    for table in (_PAINTS, _SIZES, _LOOKS):
        yield from ((plain, "about the same", None) for plain, others in table.items() if word in others.split())


def _last_of(concept: Concept, word: str) -> bool:
    """Whether a word is the last of one of a concept's names: "tree" of "pine tree"."""
    names = (concept.word, *concept.synonyms)
    return any(" " in name and name.lower().split()[-1] == word for name in names)


def _alike(word: str, known: Iterable[str]) -> list[str]:
    """Words a slip away, or two from seven letters on, nearest first; none where the word is one that people write."""
    if len(word) < 4 or word in ROLE_WORDS or word in concepts_by_name():
        return []
    most = 1 if len(word) < 7 else 2
    likely = (other for other in known if abs(len(other) - len(word)) <= most and other not in _HELPERS)
    slips = ((distance(word, other, most), other) for other in likely)
    return [other for far, other in sorted(slips) if far <= most]


def distance(one: str, other: str, most: int) -> int:
    """Letters to leave out, put in, change or swap with their neighbour to make one word of another; more than ``most``
    is ``most + 1``.

    Optimal string alignment, row by row (Damerau, "A technique for computer detection and correction of spelling
    errors", 1964; no letter is touched twice).
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, last, row = row, before, [i]
        for j, wanted in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if last and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return min(row[-1], most + 1)
