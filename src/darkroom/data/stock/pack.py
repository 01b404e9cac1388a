"""Reading the data pack: tables of openly licensed pictures in tar shards (standard library and Pillow only)."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from darkroom.contracts.ledger import LedgerRow

TABLES = ("sprites", "sprites_256", "sprites_tones", "photos")

STYLES: dict[str, tuple[tuple[str, str], ...]] = {
    "3d": (("fluent", "3d"),),
    "cartoon": (("noto", "cartoon"),),
    "flat": (("fluent", "flat"),),
    "black and white": (("fluent", "high-contrast"),),
    "simple": (("twemoji", "flat-simple"),),
    "bright": (("emojione", "flat-bright"),),
}
"""The style words of captions, and the (source, style) pairs of drawings they stand for. Fluent's colour-gradient
drawings look like its 3d ones and are left out; high-contrast has no colour and never gets a colour word."""

COLOURLESS = frozenset({"black and white"})


class PackError(ValueError):
    """The folder is not a readable data pack."""


def is_pack(folder: Path) -> bool:
    """Whether a folder is a data pack: it holds the table of drawings."""
    return (folder / "sprites.jsonl.gz").is_file()


@dataclass(frozen=True, slots=True)
class Pack:
    """A data pack on disk."""

    root: Path

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Every row of a table, as the pack's README describes them."""
        path = self.root / f"{table}.jsonl.gz"
        try:
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                rows = [json.loads(line) for line in lines]
        except FileNotFoundError:
            raise PackError(
                f"{self.root} is not a data pack: {path.name} is missing; give the folder that holds it with --source"
            ) from None
        except (OSError, EOFError, zlib.error, ValueError) as error:  # ValueError: not UTF-8, or not JSON
            raise PackError(f"{path} is damaged ({error}); copy the data pack again") from error
        if not rows:
            raise PackError(f"{path} is damaged (it has no rows); copy the data pack again")
        return rows

    def encoded(self, row: dict[str, Any]) -> bytes:
        """The bytes of a row's picture file."""
        shard = (self.root / row["shard"]).resolve()
        if not shard.is_relative_to(self.root.resolve()):
            raise PackError(f"row {row['id']} points outside the data pack: {row['shard']}")
        try:
            with open(shard, "rb") as file:
                file.seek(row["offset"])
                data = file.read(row["size"])
        except OSError as error:
            raise PackError(f"row {row['id']} cannot be read ({error}); copy the data pack again") from None
        if len(data) != row["size"]:
            raise PackError(f"{shard} ends before row {row['id']} does; copy the data pack again")
        return data

    def picture(self, row: dict[str, Any], mode: str = "RGBA") -> np.ndarray:
        """A row's picture as (H, W, C) uint8."""
        return np.asarray(self._opened(row).convert(mode))

    def has(self, table: str) -> bool:
        """Whether the pack holds this table; only the drawings are in every pack."""
        return (self.root / f"{table}.jsonl.gz").is_file()

    def square(self, row: dict[str, Any], side: int) -> np.ndarray:
        """The centre square of a row's picture, (side, side, 3) uint8."""
        rgb = self._opened(row).convert("RGB")
        edge = min(rgb.size)
        left, top = (rgb.width - edge) // 2, (rgb.height - edge) // 2
        box = (left, top, left + edge, top + edge)
        return np.asarray(rgb.resize((side, side), Image.Resampling.LANCZOS, box=box))

    def ledger_row(self, row: dict[str, Any]) -> LedgerRow:
        """Where a row's picture comes from, under which licence, and its hash."""
        return LedgerRow(
            id=row["id"],
            name=row["name"] or row["caption"],
            source=row["source"],
            style=row["style"],
            licence=row["licence"],
            attribution=row["attribution"],
            upstream_path=row["original_path"],
            sha256=sha256(self.encoded(row)).hexdigest(),
        )

    def _opened(self, row: dict[str, Any]) -> Image.Image:
        try:
            image = Image.open(io.BytesIO(self.encoded(row)))
            image.load()
        except OSError as error:
            raise PackError(f"the picture of row {row['id']} is damaged ({error}); copy the data pack again") from None
        return image
