"""Photos with their captions, decoded once into one uint8 tensor."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from darkroom.contracts.ledger import LedgerRow
from darkroom.data.scenes.spec import Photo
from darkroom.data.stock.pack import Pack, PackError
from darkroom.wording.vocabulary import plural

SIDE = 128  # pixels a side


@dataclass(frozen=True)
class PhotoTable:
    """Photos to train on; ``pixels`` are centre squares in sRGB."""

    photos: tuple[Photo, ...]
    pixels: UInt8[Tensor, "photos 3 128 128"]

    def to(self, device: torch.device) -> PhotoTable:
        """The table with its pixels on another device."""
        return PhotoTable(self.photos, self.pixels.to(device))


_BARE = re.compile(r"(a photo of )?(?!an? )([a-z ]+?)( in a grocery store)?")
_STUFF = ("asparagus", "cabbage", "garlic", "ginger", "s")


def _worded(caption: str) -> str:
    """The pack's caption as one would say it: shelves of fruit are told without an article, "a photo of apple"."""
    bare = _BARE.fullmatch(caption)
    if bare is None or not (bare[1] or bare[3]) or bare[2].endswith(_STUFF):
        return caption
    return f"{bare[1] or ''}{plural(bare[2])}{bare[3] or ''}"


def build(pack: Pack) -> tuple[PhotoTable, list[LedgerRow]]:
    """Decodes the pack's photos, those kept for tests left out, with their ledger."""
    rows = [row for row in pack.rows("photos") if row["split"] != "test"]
    photos: list[Photo] = []
    planes: list[np.ndarray] = []
    ledger: list[LedgerRow] = []
    for row in rows:
        captions = tuple(map(_worded, row["captions"] or (row["caption"],)))
        photos.append(Photo(len(photos), row["name"], captions, row["id"]))
        planes.append(pack.square(row, SIDE).transpose(2, 0, 1))
        ledger.append(pack.ledger_row(row))
    if not photos:
        raise PackError(f"{pack.root} holds no photo to train on; leave them out with --no-photos")
    return PhotoTable(tuple(photos), torch.from_numpy(np.ascontiguousarray(np.stack(planes)))), ledger
