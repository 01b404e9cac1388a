"""A user's own folder of captioned pictures, turned into what training reads: squares, captions and a ledger.

The autoencoder and the denoiser train on them as they do on scenes; the text encoder and the judge do not: they must be
told what is where.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from safetensors.torch import load_file, save
from torch import Tensor

from darkroom.contracts.errors import BadInput
from darkroom.contracts.files import publish
from darkroom.contracts.ledger import write_ledger
from darkroom.data.check import CheckReport, check_folder
from darkroom.data.loader import SceneBatch, joined
from darkroom.data.scenes.captions import Told
from darkroom.data.scenes.compose import PATCHES, Composed
from darkroom.data.sources import ledger_of
from darkroom.data.stock.drawings import SIDE
from darkroom.data.target import check_target
from darkroom.picture.read import read
from darkroom.wording.parse import words_of

PICTURES, CAPTIONS, LEDGER = "pictures.safetensors", "pictures.jsonl", "ledger.jsonl"


@dataclass(frozen=True)
class Imported:
    """Pictures of a user's folder with their captions, in the order of the listing."""

    pixels: UInt8[Tensor, "n 3 128 128"]
    captions: tuple[str, ...]
    ids: tuple[str, ...]


def import_folder(folder: Path, out: Path, progress: Callable[[str, int, int], None] | None = None) -> CheckReport:
    """Writes every usable picture of ``folder`` into ``out``; what was left out, and why, is in the report.

    Pictures are cut to their middle square and scaled to 128 px. Raises BadInput when nothing is usable, or ``out``
    holds something else.
    """
    check_target(out, folder, PICTURES)
    report = check_folder(folder, progress)
    if not report.usable:
        raise BadInput(f"{folder}", "holds no usable picture", f"see why: darkroom data check {folder}")
    squares = np.stack([square(read(example.path)) for example in report.usable])
    pixels = torch.from_numpy(squares.transpose(0, 3, 1, 2).copy())
    write_ledger(ledger_of(report.usable), out / LEDGER)
    put(Imported(pixels, tuple(one.caption for one in report.usable), tuple(one.id for one in report.usable)), out)
    return report


def imported(folder: Path) -> Imported:
    """Reads back what :func:`import_folder` wrote."""
    rows = [json.loads(line) for line in (folder / CAPTIONS).read_text(encoding="utf-8").splitlines()]
    pixels = load_file(folder / PICTURES)["pixels"]
    return Imported(pixels, tuple(row["caption"] for row in rows), tuple(row["id"] for row in rows))


def put(pictures: Imported, folder: Path) -> Path:
    """Writes pictures as :func:`import_folder` does, for :func:`imported`."""
    rows = zip(pictures.ids, pictures.captions, strict=True)
    lines = "".join(json.dumps({"id": id, "caption": said}, ensure_ascii=False) + "\n" for id, said in rows)
    (folder / CAPTIONS).unlink(missing_ok=True)  # those there are of other pictures
    publish(save({"pixels": pictures.pixels.contiguous()}), folder / PICTURES)
    publish(lines.encode(), folder / CAPTIONS)  # last: it says that all is there
    return folder


def count(folder: Path) -> int:
    """How many pictures :func:`import_folder` wrote, without reading them."""
    with open(folder / CAPTIONS, encoding="utf-8") as lines:
        return sum(1 for _ in lines)


def holds_pictures(folder: Path) -> bool:
    """Whether :func:`import_folder` wrote this folder."""
    return (folder / CAPTIONS).exists()


class ImportedPictures:
    """Imported pictures by sample number, each once in every round; a round's number shuffles it."""

    def __init__(self, pictures: Imported, run: int = 0) -> None:
        self.pictures, self.run = pictures, run

    def settings(self) -> dict[str, Any]:
        """What decides the pictures of a run, for its saved configuration."""
        told = sha256("\n".join([*self.pictures.ids, *self.pictures.captions]).encode()).hexdigest()
        return {"pictures": len(self.pictures.ids), "sha256": told, "words": self.words(), "run": self.run}

    def defaults(self) -> dict[str, Any]:
        """Every setting has been there from the start."""
        return {}

    def words(self) -> list[str]:
        """The words of the captions."""
        return sorted({word for caption in self.pictures.captions for word in words_of(caption)})

    def __call__(self, first: int, count: int) -> SceneBatch:
        """Samples first .. first + count - 1; nobody says what is where in them, so all of it counts as ground."""
        rows = [self._row(sample) for sample in range(first, first + count)]
        told = [Told(self.pictures.captions[row], frozenset()) for row in rows]
        pixels = self.pictures.pixels[rows].float() / 255
        ground = torch.full((count, PATCHES, PATCHES), -1)
        return SceneBatch([], told, Composed(pixels, ground, torch.zeros(count, PATCHES, PATCHES)))

    def _row(self, sample: int) -> int:
        number, place = divmod(sample, len(self.pictures.ids))
        return shuffled(len(self.pictures.ids), f"{self.run}/{number}")[place]


class Preserved(ImportedPictures):
    """Own pictures in turn with some that a model drew before it learned: what it could shall stay.

    That is the prior preservation of arXiv:2208.12242 (eq. 2) with weight 1, by samples.
    """

    def __init__(self, pictures: Imported, drawn: Imported, run: int = 0) -> None:
        super().__init__(pictures, run)
        self.drawn = ImportedPictures(drawn, run)

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "preserved": self.drawn.settings()}

    def words(self) -> list[str]:
        return sorted({*super().words(), *self.drawn.words()})

    def __call__(self, first: int, count: int) -> SceneBatch:
        own, drawn = super().__call__, self.drawn
        batch: SceneBatch = joined([(drawn if n % 2 else own)(n // 2, 1) for n in range(first, first + count)])
        return batch


@lru_cache(maxsize=4)
def shuffled(count: int, seed: str) -> list[int]:
    """The numbers below ``count`` in the order that the seed gives them; not to be written to."""
    return Random(seed).sample(range(count), count)


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
