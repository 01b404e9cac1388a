"""What ``darkroom data build`` writes of a data pack: drawings, places, photos, fonts and one ledger of them all.

And the excerpt of a pack that travels to another machine to be built there.
"""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from darkroom.contracts.errors import BadInput
from darkroom.contracts.ledger import LedgerRow, write_ledger
from darkroom.data.scenes.compose import Composer
from darkroom.data.scenes.letters import fonts
from darkroom.data.scenes.spec import FULL, ComposerConfig, Person, Photo, Stock
from darkroom.data.stock import drawings, photos, scenery, tables
from darkroom.data.stock.drawings import LARGE, LARGE_TABLE, SIDE, Sprite, SpriteTable
from darkroom.data.stock.pack import Pack, PackError
from darkroom.data.stock.photos import PhotoTable
from darkroom.data.stock.scenery import Scenery, SceneryTable
from darkroom.data.target import check_target
from darkroom.wording.vocabulary import Concept

DRAWINGS, SCENERIES, PHOTOS = "sprites", "sceneries", "photos"  # the tables' files
FONTS, LEDGER = "fonts", "ledger.jsonl"


@dataclass(frozen=True)
class Built:
    """A built data folder: what scenes are composed of."""

    drawings: SpriteTable
    photos: PhotoTable | None
    fonts: tuple[Path | None, ...]
    sceneries: SceneryTable | None = None

    @property
    def stock(self) -> Stock:
        """What scenes can be composed of."""
        return replace(self.drawings.stock, photos=self.photos.photos if self.photos is not None else ())

    def everything(self, **changes: Any) -> ComposerConfig:
        """All that the composer can do, in the styles there are drawings in; ``changes`` are other settings."""
        drawn = {sprite.style for sprite in self.drawings.sprites}
        styles = {style: share for style, share in FULL.styles.items() if style in drawn}
        return replace(FULL, **{"styles": styles, "stock": self.stock, **changes})

    def composer(self, side: int = SIDE) -> Composer:
        """What paints scenes of it."""
        return Composer(self.drawings, side, photos=self.photos, fonts=self.fonts, sceneries=self.sceneries)

    def restricted(self, scenes: ComposerConfig) -> Built:
        """The same with only the drawings that these scenes can show."""
        wanted = {concept.index for concept in scenes.concepts}
        return replace(self, drawings=self.drawings.restricted(wanted, tuple(scenes.styles)))

    def to(self, device: torch.device) -> Built:
        """The same with its pixels on another device."""
        photos, sceneries = self.photos and self.photos.to(device), self.sceneries and self.sceneries.to(device)
        return Built(self.drawings.to(device), photos, self.fonts, sceneries)


def build(
    source: Path,
    out: Path,
    concepts: tuple[Concept, ...] | None = None,
    *,
    with_photos: bool = True,
    lettering: Path | None = None,
) -> Built:
    """Decodes a data pack into ``out``; ``lettering`` is a folder of .ttf and .otf files, None: those in the pack.

    Writes ``sprites.safetensors`` and ``sprites.json``, the same two for sceneries, large drawings and photos,
    ``fonts/`` and last ``ledger.jsonl``: a folder without it is half built. Raises PackError when the pack is
    unreadable, BadInput when ``out`` holds something else.
    """
    check_target(out, source, f"{DRAWINGS}.safetensors")
    letters = _letters(lettering) or _font_files(source / FONTS)
    pack = Pack(source)
    drawn, ledger = drawings.build(pack, concepts)
    (out / LEDGER).unlink(missing_ok=True)
    tables.save(drawn.sprites, drawn.pixels, out, DRAWINGS)
    places, rows = scenery.build(pack)
    tables.save(places.sceneries, places.pixels, out, SCENERIES)
    ledger += rows
    ledger += _build_large(pack, drawn, out)
    pictures = None
    if with_photos and pack.has("photos"):
        pictures, rows = photos.build(pack)
        tables.save(pictures.photos, pictures.pixels, out, PHOTOS)
        ledger += rows
    else:  # those of a build before have no line in the ledger
        tables.forget(out, PHOTOS)
    _copied(letters, out / FONTS)
    write_ledger(ledger, out / LEDGER)
    return Built(drawn, pictures, fonts(out / FONTS), places)


def _build_large(pack: Pack, drawn: SpriteTable, out: Path) -> list[LedgerRow]:
    """Writes the drawings that the pack also holds at twice the size, if any; returns their ledger."""
    larger, rows = drawings.build_large(pack, drawn) if pack.has(LARGE_TABLE) else (None, [])
    if larger is None or not larger.sprites:
        tables.forget(out, LARGE_TABLE)
    else:
        tables.save(larger.sprites, larger.pixels, out, LARGE_TABLE)
    return rows


def _font_files(folder: Path) -> dict[str, bytes]:
    return {font.name: font.read_bytes() for font in fonts(folder) if font is not None}


def _letters(folder: Path | None) -> dict[str, bytes]:
    """The font files of a folder that somebody named, by name; None: none."""
    found = {} if folder is None else _font_files(folder)
    if folder is not None and not found:
        raise BadInput(f"fonts {str(folder)!r}", "holds no .ttf or .otf file", "give a folder of font files")
    return found


def _copied(letters: dict[str, bytes], folder: Path) -> None:
    """Writes font files in place of those that were there before."""
    shutil.rmtree(folder, ignore_errors=True)
    if letters:
        folder.mkdir()
    for name, content in letters.items():
        (folder / name).write_bytes(content)


def load(folder: Path) -> Built:
    """Reads what :func:`build` wrote. Raises PackError when the folder holds no drawings."""
    drawn = SpriteTable(*tables.load(folder, DRAWINGS, _sprite))
    places, pictures = None, None
    if tables.exists(folder, SCENERIES):
        places = SceneryTable(*tables.load(folder, SCENERIES, lambda told: Scenery(**told)))
    if tables.exists(folder, PHOTOS):
        pictures = PhotoTable(*tables.load(folder, PHOTOS, _photo))
    return Built(drawn, pictures, fonts(folder / FONTS), places)


def load_large(folder: Path) -> SpriteTable:
    """The drawings at twice the size. Raises PackError where the folder was built without them.

    They stand apart from :func:`load`: only an upscaler learns from them, and they take more memory than all others.
    """
    if not tables.exists(folder, LARGE_TABLE):
        raise PackError(
            f"{folder} holds no drawings at {LARGE} px: it is an older build, or its pack had none; run `darkroom data "
            f"build --source PACK --out {folder}` with a pack that holds {LARGE_TABLE}.jsonl.gz"
        )
    return SpriteTable(*tables.load(folder, LARGE_TABLE, _sprite))


def _sprite(told: dict[str, Any]) -> Sprite:
    """A row of the table; ``tone`` is what there was before there were genders, too."""
    tone = told.pop("tone", None) or ""
    person = Person(**told.pop("person")) if "person" in told else Person(tone=tone)
    return Sprite(**{**told, "box": tuple(told["box"]), "person": person})


def _photo(told: dict[str, Any]) -> Photo:
    return Photo(**{**told, "captions": tuple(told["captions"])})


def excerpt(pack: Pack, out: Path, photos: int, lettering: Path | None = None) -> dict[str, int]:
    """Writes a pack of the core vocabulary's drawings and at most so many photos; returns pictures by table.

    Pictures are copied byte for byte, and the fonts of ``lettering``, a folder (None: of none); ``darkroom data build
    --source`` reads the excerpt as it reads the pack.
    """
    letters = _letters(lettering)
    copies: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row, _, _, person in drawings.wanted_rows(pack):
        copies["sprites_tones" if person.tone else "sprites"].append(row)
    known = {row["id"] for row in copies["sprites"]}
    copies["sprites"] += [row for row, _ in scenery.wanted_rows(pack) if row["id"] not in known]
    if pack.has(LARGE_TABLE):
        known = {row["id"] for row in copies["sprites"]}
        copies[LARGE_TABLE] = [row for row in pack.rows(LARGE_TABLE) if row["id"] in known]
    if photos and pack.has("photos"):
        kept = [row for row in pack.rows("photos") if row["split"] != "test"]
        copies["photos"] = kept[:: max(1, -(-len(kept) // photos))]
    out.mkdir(parents=True, exist_ok=True)
    _copied(letters, out / FONTS)
    for table, rows in copies.items():
        shard = f"{table}.tar"
        copied = []
        with tarfile.open(out / shard, "w") as tar:
            for row in rows:
                data = pack.encoded(row)
                info = tarfile.TarInfo(row["member"])
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
                blocks = -(-len(data) // tarfile.BLOCKSIZE)
                copied.append({**row, "shard": shard, "offset": tar.offset - blocks * tarfile.BLOCKSIZE})
        with gzip.open(out / f"{table}.jsonl.gz", "wt", encoding="utf-8") as lines:
            lines.writelines(json.dumps(row) + "\n" for row in copied)
    return {table: len(rows) for table, rows in copies.items()}
