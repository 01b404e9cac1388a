"""Photos with their captions, decoded once into one uint8 tensor."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from darkroom.contracts.ledger import LedgerRow
from darkroom.data.pack import Pack, PackError
from darkroom.data.scenes.spec import Photo

SIDE = 128  # pixels a side


@dataclass(frozen=True)
class PhotoTable:
    """Photos to train on; ``pixels`` are centre squares in sRGB."""

    photos: tuple[Photo, ...]
    pixels: UInt8[Tensor, "photos 3 128 128"]

    def to(self, device: torch.device) -> PhotoTable:
        """The table with its pixels on another device."""
        return PhotoTable(self.photos, self.pixels.to(device))


def build(pack: Pack) -> tuple[PhotoTable, list[LedgerRow]]:
    """Decodes the pack's photos, those kept for tests left out, with their ledger."""
    rows = [row for row in pack.rows("photos") if row["split"] != "test"]
    photos: list[Photo] = []
    planes: list[np.ndarray] = []
    ledger: list[LedgerRow] = []
    for row in rows:
        captions = tuple(row["captions"] or (row["caption"],))
        photos.append(Photo(len(photos), row["name"], captions, row["id"]))
        planes.append(pack.square(row, SIDE).transpose(2, 0, 1))
        ledger.append(pack.ledger_row(row))
    if not photos:
        raise PackError(f"{pack.root} holds no photo to train on; leave them out with --no-photos")
    return PhotoTable(tuple(photos), torch.from_numpy(np.ascontiguousarray(np.stack(planes)))), ledger


def save(table: PhotoTable, folder: Path) -> None:
    """Writes the table's two files into a folder."""
    save_file({"pixels": table.pixels.cpu().contiguous()}, folder / "photos.safetensors")
    (folder / "photos.json").write_text(json.dumps([asdict(photo) for photo in table.photos], indent=0))


def forget(folder: Path) -> None:
    """Removes the table's two files from a folder."""
    for name in ("photos.json", "photos.safetensors"):
        (folder / name).unlink(missing_ok=True)


def load(folder: Path) -> PhotoTable | None:
    """Reads the table that :func:`save` wrote; None where the folder was built without photos."""
    if not (folder / "photos.json").exists():
        return None
    try:
        rows = json.loads((folder / "photos.json").read_text())
        photos = tuple(Photo(r["row"], r["name"], tuple(r["captions"]), r["id"]) for r in rows)
        with safe_open(folder / "photos.safetensors", framework="pt") as file:
            pixels = file.get_tensor("pixels")
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise PackError(f"the photos in {folder} are damaged ({error}); run `darkroom data build` again") from error
    if len(photos) != len(pixels):
        raise PackError(f"{folder} names {len(photos)} photos but holds {len(pixels)}; run `darkroom data build` again")
    return PhotoTable(photos, pixels)
