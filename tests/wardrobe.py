"""Stocks and scenes of everything the composer can do, made on the spot."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import torch

from darkroom.data.scenes.compose import Composer
from darkroom.data.scenes.spec import FULL, ComposerConfig, Ground, Person, Photo, Scene, Shape, SpecObject, Stock
from darkroom.data.stock.drawings import SpriteTable
from darkroom.data.stock.photos import PhotoTable
from darkroom.wording.vocabulary import concept_of, core
from tests.toys import sprite_table

PEOPLE = (Person(tone="light"), Person(tone="dark"), Person("female"), Person("male", "dark"))
WORDS = ("cat", "dog", "car", "apple", "banana", "house", "tree", "star", "woman", "lion", "top hat", "pair of glasses")


def index(word: str) -> int:
    """The core vocabulary's number of a word."""
    concept = concept_of(word)
    assert concept is not None, word
    return concept.index


def random_shape(random: Random) -> Shape:
    """A box whose longer side is 1, and a middle third that begins and ends anywhere in its outer quarters."""
    width, height = (1.0, random.uniform(0.3, 1)) if random.random() < 0.5 else (random.uniform(0.3, 1), 1.0)
    return Shape(width, height, height * random.uniform(0, 0.25), height * random.uniform(0.75, 1))


def photos(count: int = 3) -> tuple[Photo, ...]:
    """Photos in two wordings each."""
    return tuple(Photo(i, f"p{i}", (f"a plaid shirt {i}", f"shirt {i}, photo"), f"photo {i}") for i in range(count))


def full_stock() -> Stock:
    """Two drawings of random shape for every concept and style, people in several ways, and photos."""
    random = Random(5)
    pairs = [(concept, style) for concept in core() for style in FULL.styles]
    shapes = {(concept.index, style): (random_shape(random), random_shape(random)) for concept, style in pairs}
    people = {(concept.index, style): PEOPLE for concept, style in pairs if concept.group == "person"}
    return Stock(shapes, people, photos())


def full_table() -> SpriteTable:
    """A drawing of a dozen things in every style, the woman also in several ways."""
    table = sprite_table(tuple(FULL.styles), words=WORDS)
    women = [s for s in table.sprites if s.concept == index("woman")]
    more = [replace(s, person=person, id=f"{s.id}/{person}") for s in women for person in PEOPLE]
    rows = torch.tensor([s.row for s in (*table.sprites, *more)])
    sprites = tuple(replace(s, row=i) for i, s in enumerate((*table.sprites, *more)))
    return SpriteTable(sprites, table.pixels[rows])


def full_composer(table: SpriteTable, side: int = 128) -> Composer:
    """A composer of the table and three photos of noise."""
    pixels = torch.randint(0, 256, (3, 3, 128, 128), generator=torch.Generator().manual_seed(3)).byte()
    return Composer(table, side, photos=PhotoTable(photos(), pixels))


def everything(stock: Stock, **changes: object) -> ComposerConfig:
    """FULL on a stock of few drawings: whatever the split, so that every kind can be drawn."""
    return replace(FULL, stock=replace(stock, photos=photos()), held_out="include", **changes)  # type: ignore[arg-type]


def one(word: str = "cat", style: str = "3d", **changes: object) -> Scene:
    """One thing in the middle of a white ground."""
    scene = Scene("single", style, (SpecObject(index(word), None, 0.5, 0.5, 0.6),), Ground("white"))
    return replace(scene, **changes)  # type: ignore[arg-type]
