"""A user's own folder of captioned pictures, turned into what training reads: squares, captions and a ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from darkroom.contracts.errors import BadInput
from darkroom.contracts.ledger import write_ledger
from darkroom.data.check import CheckReport, check_folder
from darkroom.data.sources import ledger_of
from darkroom.data.stock.drawings import SIDE
from darkroom.picture.read import read

PICTURES, CAPTIONS, LEDGER = "pictures.safetensors", "pictures.jsonl", "ledger.jsonl"


@dataclass(frozen=True)
class Imported:
    """Pictures of a user's folder with their captions, in the order of the listing."""

    pixels: UInt8[Tensor, "n 3 128 128"]
    captions: tuple[str, ...]
    ids: tuple[str, ...]


def import_folder(folder: Path, out: Path, progress: Callable[[str, int, int], None] | None = None) -> CheckReport:
    """Writes every usable picture of ``folder`` into ``out``; what was left out, and why, is in the report.

    Pictures are cut to their middle square and scaled to 128 px. Raises BadInput when nothing is usable.
    """
    report = check_folder(folder, progress)
    if not report.usable:
        raise BadInput(f"{folder}", "holds no usable picture", f"see why: darkroom data check {folder}")
    out.mkdir(parents=True, exist_ok=True)
    squares = np.stack([square(read(example.path)) for example in report.usable])
    save_file({"pixels": torch.from_numpy(squares.transpose(0, 3, 1, 2).copy())}, out / PICTURES)
    rows = [{"id": example.id, "caption": example.caption} for example in report.usable]
    (out / CAPTIONS).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    write_ledger(ledger_of(report.usable), out / LEDGER)
    return report


def imported(folder: Path) -> Imported:
    """Reads back what :func:`import_folder` wrote."""
    rows = [json.loads(line) for line in (folder / CAPTIONS).read_text(encoding="utf-8").splitlines()]
    pixels = load_file(folder / PICTURES)["pixels"]
    return Imported(pixels, tuple(row["caption"] for row in rows), tuple(row["id"] for row in rows))


def square(pixels: np.ndarray) -> np.ndarray:
    """The middle square of a picture at 128 px, (128, 128, 3) uint8; transparent parts become white."""
    image = Image.fromarray(pixels)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    edge = min(image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    scaled = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box=(left, top, left + edge, top + edge))
    return np.asarray(scaled)
