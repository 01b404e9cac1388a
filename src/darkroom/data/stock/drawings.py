"""The data pack's drawings decoded once into one uint8 tensor, with the table that names them.

``darkroom data build`` writes them; the composer, on any device, draws from them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from darkroom.contracts.ledger import LedgerRow
from darkroom.data.scenes.spec import USUAL, Person, Shape, Stock
from darkroom.data.stock.colours import colour_word
from darkroom.data.stock.pack import COLOURLESS, STYLES, Pack, PackError
from darkroom.wording.vocabulary import Concept, core

SIDE = 128  # pixels a side of every sprite
LARGE = 256  # pixels a side of those that there is a large version of
LARGE_TABLE = "sprites_256"  # of the pack, and of what is built of it
GENDERS = {"man": "male", "woman": "female"}  # word before a drawing's name -> word before the concept's


@dataclass(frozen=True, slots=True)
class Sprite:
    """One drawing: which concept, in which style, and where its visible part lies."""

    row: int  # row of the pixel tensor
    concept: int  # index into the core vocabulary
    style: str
    box: tuple[int, int, int, int]  # x0, y0, x1, y1 of the visible part, pixels
    id: str  # the data pack's id, the key of the ledger
    person: Person = USUAL
    colour: str | None = None  # the word for its own colour; None: none fits it all


@dataclass(frozen=True)
class SpriteTable:
    """Drawings for the composer; ``pixels`` is premultiplied RGBA, so that filtering never drags in hidden colour."""

    sprites: tuple[Sprite, ...]
    pixels: UInt8[Tensor, "sprites 4 drawn drawn"]  # 128 px a side, or LARGE

    @cached_property
    def stock(self) -> Stock:
        """What there is to draw: the drawings of each (concept, style) pair, in the table's order, and its people."""
        shapes: dict[tuple[int, str], list[Shape]] = defaultdict(list)
        people: dict[tuple[int, str], set[Person]] = defaultdict(set)
        alpha = self.pixels[:, 3].cpu().numpy()
        for sprite in self.sprites:
            if sprite.person == USUAL:
                shapes[sprite.concept, sprite.style].append(_shape(alpha[sprite.row], sprite))
            else:
                people[sprite.concept, sprite.style].add(sprite.person)
        return Stock(
            {pair: tuple(found) for pair, found in shapes.items()},
            {pair: tuple(sorted(found)) for pair, found in people.items()},
        )

    def restricted(self, concepts: set[int], styles: tuple[str, ...]) -> SpriteTable:
        """The table with only these concepts and styles; pixel rows are copied together."""
        kept = [s for s in self.sprites if s.concept in concepts and s.style in styles]
        rows = torch.tensor([s.row for s in kept], dtype=torch.long)
        sprites = tuple(replace(s, row=i) for i, s in enumerate(kept))
        return SpriteTable(sprites, self.pixels[rows])

    def to(self, device: torch.device) -> SpriteTable:
        """The table with its pixels on another device."""
        return SpriteTable(self.sprites, self.pixels.to(device))


def premultiplied(rgba: np.ndarray) -> np.ndarray:
    """RGBA (H, W, 4) uint8 to premultiplied (4, H, W) uint8."""
    alpha = rgba[..., 3:].astype(np.uint16)
    colour = (rgba[..., :3].astype(np.uint16) * alpha + 127) // 255
    return np.concatenate([colour, alpha], axis=2).astype(np.uint8).transpose(2, 0, 1)


def alpha_box(rgba: np.ndarray) -> tuple[int, int, int, int]:
    """The smallest box (x0, y0, x1, y1) around the visible pixels of an RGBA picture (H, W, 4)."""
    visible = rgba[..., 3] > 8
    if not visible.any():
        raise ValueError("the picture has no visible pixel")
    ys, xs = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
    return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1


def _shape(alpha: np.ndarray, sprite: Sprite) -> Shape:
    """The shape and colour of a drawing with this alpha (H, W)."""
    x0, y0, x1, y1 = sprite.box
    width, height = x1 - x0, y1 - y0
    third = width // 3
    lines = np.flatnonzero((alpha[y0:y1, x0 + third : x1 - third] > 127).any(1))
    top, bottom = (int(lines[0]), int(lines[-1]) + 1) if len(lines) else (0, height)
    longer = max(width, height)
    return Shape(width / longer, height / longer, top / longer, bottom / longer, sprite.colour)


def build(pack: Pack, concepts: tuple[Concept, ...] | None = None) -> tuple[SpriteTable, list[LedgerRow]]:
    """Decodes the data pack's drawings of ``concepts`` (None: the core vocabulary), with their ledger.

    Raises PackError when the pack is unreadable or holds none of them.
    """
    sprites: list[Sprite] = []
    planes: list[np.ndarray] = []
    ledger: list[LedgerRow] = []
    for row, concept, style, person in wanted_rows(pack, concepts):
        rgba = pack.picture(row)
        if rgba.shape[:2] != (SIDE, SIDE):
            raise PackError(f"{row['id']} is {rgba.shape[1]}x{rgba.shape[0]}; sprites are {SIDE}x{SIDE}")
        try:
            box = alpha_box(rgba)
        except ValueError as error:
            raise PackError(f"{row['id']}: {error}") from None
        # Skin has no colour word, and black and white drawings have no colour.
        plain = style in COLOURLESS or concept.group == "person"
        colour = None if plain else colour_word(rgba)
        sprites.append(Sprite(len(sprites), concept.index, style, box, row["id"], person, colour))
        planes.append(premultiplied(rgba))
        ledger.append(pack.ledger_row(row))
    if not sprites:
        raise PackError(f"{pack.root} holds no drawing of the wanted concepts; check --source")
    return SpriteTable(tuple(sprites), torch.from_numpy(np.stack(planes))), ledger


def build_large(pack: Pack, table: SpriteTable) -> tuple[SpriteTable, list[LedgerRow]]:
    """The same drawings at twice the size, those of ``table`` that the pack holds so, with their ledger."""
    told = {row["id"]: row for row in pack.rows("sprites")}
    larger = {row["id"]: row for row in pack.rows(LARGE_TABLE)}
    sprites: list[Sprite] = []
    planes: list[np.ndarray] = []
    ledger: list[LedgerRow] = []
    for sprite in table.sprites:
        if sprite.id not in larger:
            continue
        row = {**told[sprite.id], **larger[sprite.id], "id": f"{sprite.id}@{LARGE}"}
        rgba = pack.picture(row)
        if rgba.shape[:2] != (LARGE, LARGE):
            raise PackError(f"{row['id']} is {rgba.shape[1]}x{rgba.shape[0]}; large sprites are {LARGE}x{LARGE}")
        sprites.append(replace(sprite, row=len(sprites), box=alpha_box(rgba), id=row["id"]))
        planes.append(premultiplied(rgba))
        ledger.append(pack.ledger_row(row))
    pixels = np.stack(planes) if planes else np.empty((0, 4, LARGE, LARGE), np.uint8)
    return SpriteTable(tuple(sprites), torch.from_numpy(pixels)), ledger


def wanted_rows(
    pack: Pack, concepts: tuple[Concept, ...] | None = None
) -> Iterator[tuple[dict[str, Any], Concept, str, Person]]:
    """The pack's rows that are drawings of ``concepts`` (None: the core vocabulary), with concept, style and person."""
    wanted: dict[str, tuple[Concept, str]] = {}  # name of a drawing -> concept and gender
    for concept in core() if concepts is None else concepts:
        wanted[concept.drawing] = concept, ""
        if concept.group == "person":
            wanted.update({f"{word} {concept.drawing}": (concept, gender) for word, gender in GENDERS.items()})
    style_of = {pair: style for style, pairs in STYLES.items() for pair in pairs}
    for table in ("sprites", "sprites_tones"):
        for row in pack.rows(table) if table == "sprites" or pack.has(table) else ():
            name, tone = _toned(row)
            style = style_of.get((row["source"], row["style"]))
            if style is not None and name in wanted:
                concept, gender = wanted[name]
                yield row, concept, style, Person(gender, tone)


def _toned(row: dict[str, Any]) -> tuple[str, str]:
    """Name and skin tone of a row: "woman: dark skin tone" is a woman, dark. Mixed tones of several people: no name."""
    name, _, _ = row["name"].partition(": ")
    tones = row.get("tones") or []
    if not tones:
        return row["name"], ""
    return (name if row["name"] == f"{name}: {tones[0]} skin tone" else ""), tones[0]
