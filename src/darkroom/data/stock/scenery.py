"""Drawings of whole places, to stand behind things, decoded once into one uint8 tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from darkroom.contracts.ledger import LedgerRow
from darkroom.data.stock.pack import COLOURLESS, STYLES, Pack

SIDE = 128  # pixels a side
PLACES = {
    "cityscape": "city",
    "milky way": "night sky",
    "sunrise": "sunset",
    "sunrise over mountains": "sunset",
    "sunset": "sunset",
}
"""Names of the pack's drawings of places, and the captions' word for them."""
MOST_CUT = 24  # pixels cut off each edge to lose a rounded corner; a drawing with more air around it is no place


@dataclass(frozen=True, slots=True)
class Scenery:
    """One drawing of a place."""

    row: int  # row of the pixel tensor
    place: str  # of the places grounds are named by
    style: str
    id: str  # the data pack's id, the key of the ledger


@dataclass(frozen=True)
class SceneryTable:
    """Drawings that fill a picture to its edges, sRGB."""

    sceneries: tuple[Scenery, ...]
    pixels: UInt8[Tensor, "sceneries 3 128 128"]

    def to(self, device: torch.device) -> SceneryTable:
        """The table with its pixels on another device."""
        return SceneryTable(self.sceneries, self.pixels.to(device))


def build(pack: Pack) -> tuple[SceneryTable, list[LedgerRow]]:
    """Decodes the pack's drawings of places, with their ledger."""
    sceneries: list[Scenery] = []
    planes: list[np.ndarray] = []
    ledger: list[LedgerRow] = []
    for row, style in wanted_rows(pack):
        filled = _filled(pack.picture(row))
        if filled is not None:
            sceneries.append(Scenery(len(sceneries), PLACES[row["name"]], style, row["id"]))
            planes.append(filled.transpose(2, 0, 1))
            ledger.append(pack.ledger_row(row))
    pixels = np.stack(planes) if planes else np.empty((0, 3, SIDE, SIDE), np.uint8)
    return SceneryTable(tuple(sceneries), torch.from_numpy(np.ascontiguousarray(pixels))), ledger


def wanted_rows(pack: Pack) -> list[tuple[dict[str, Any], str]]:
    """The pack's rows that are drawings of places, with their style's word."""
    style_of = {pair: style for style, pairs in STYLES.items() if style not in COLOURLESS for pair in pairs}
    rows = [(row, style_of.get((row["source"], row["style"]))) for row in pack.rows("sprites")]
    return [(row, style) for row, style in rows if row.get("scene") and row["name"] in PLACES and style is not None]


def _filled(rgba: np.ndarray) -> np.ndarray | None:
    """The largest middle square of a drawing (H, W, 4) without an empty pixel, (128, 128, 3); None: it is small."""
    for cut in range(MOST_CUT + 1):
        inner = rgba[cut : rgba.shape[0] - cut, cut : rgba.shape[1] - cut]
        if inner[..., 3].min() > 250:
            square = Image.fromarray(np.ascontiguousarray(inner[..., :3]))
            return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    return None
