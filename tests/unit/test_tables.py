"""Built tables on disk: drawings, places and photos, read back as they were saved."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from darkroom.data.scenes.spec import Person, Photo
from darkroom.data.stock import built, tables
from darkroom.data.stock.built import DRAWINGS, PHOTOS, SCENERIES, Built
from darkroom.data.stock.pack import PackError
from darkroom.data.stock.photos import PhotoTable
from darkroom.data.stock.scenery import Scenery, SceneryTable
from tests.toys import sprite_table

ALL = (DRAWINGS, SCENERIES, PHOTOS)


def pixels(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 128, 128), generator=torch.Generator().manual_seed(count)).byte()


@pytest.fixture
def saved(tmp_path: Path) -> Built:
    drawings = sprite_table(("3d", "flat"), words=("cat", "dog"))
    first, *rest = drawings.sprites
    drawings = replace(drawings, sprites=(replace(first, person=Person(tone="dark"), colour="red"), *rest))
    sceneries = SceneryTable(tuple(Scenery(i, "city", "flat", f"s{i}") for i in range(3)), pixels(3))
    photos = PhotoTable(tuple(Photo(i, f"n{i}", (f"a {i}", f"b {i}"), f"id {i}") for i in range(4)), pixels(4))
    folder = tmp_path / "new" / "data"
    tables.save(drawings.sprites, drawings.pixels, folder, DRAWINGS)
    tables.save(sceneries.sceneries, sceneries.pixels, folder, SCENERIES)
    tables.save(photos.photos, photos.pixels, folder, PHOTOS)
    return Built(drawings, photos, (None,), sceneries)


@pytest.fixture
def folder(saved: Built, tmp_path: Path) -> Path:
    return tmp_path / "new" / "data"


def test_what_is_saved_is_what_is_loaded(saved: Built, folder: Path) -> None:
    loaded = built.load(folder)
    assert loaded.drawings.sprites == saved.drawings.sprites and loaded.stock == saved.stock
    assert loaded.photos is not None and saved.photos is not None and loaded.photos.photos == saved.photos.photos
    assert loaded.sceneries is not None and saved.sceneries is not None
    assert loaded.sceneries.sceneries == saved.sceneries.sceneries
    for mine, theirs in ((loaded.drawings, saved.drawings), (loaded.photos, saved.photos),
                         (loaded.sceneries, saved.sceneries)):  # fmt: skip
        assert torch.equal(mine.pixels, theirs.pixels) and mine.pixels.dtype == torch.uint8


def test_data_without_photos_and_places_has_none(folder: Path) -> None:
    tables.forget(folder, PHOTOS)
    tables.forget(folder, SCENERIES)
    loaded = built.load(folder)
    assert loaded.photos is None and loaded.sceneries is None and len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("missing", ["sprites.json", "sprites.safetensors", "photos.safetensors"])
def test_a_missing_file_is_named_with_how_to_make_it(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    name = missing.partition(".")[0]
    with pytest.raises(PackError, match=rf"holds no {name} .*run `darkroom data build --source PACK --out") as caught:
        built.load(folder)
    assert str(folder) in str(caught.value) and missing in str(caught.value)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("ending", "content"),
    [("json", b"[{"), ("json", b'[{"row": 0}]'), ("json", b'{"row": 0}'), ("json", b"\xff\xfe"),
     ("safetensors", b"nothing of the kind"), ("safetensors", b"")],
)  # fmt: skip
def test_damaged_files_are_named(folder: Path, name: str, ending: str, content: bytes) -> None:
    (folder / f"{name}.{ending}").write_bytes(content)
    with pytest.raises(PackError, match=rf"(?s)the {name} in .* are damaged \(.*\); run `darkroom data build` again"):
        built.load(folder)


@pytest.mark.parametrize("name", ALL)
def test_files_that_do_not_belong_together_are_refused(folder: Path, name: str) -> None:
    rows = json.loads((folder / f"{name}.json").read_text())
    (folder / f"{name}.json").write_text(json.dumps(rows[:2]))
    with pytest.raises(PackError, match=rf"names 2 {name} but holds {len(rows)}; run `darkroom data build` again"):
        built.load(folder)
