"""Photos: those for tests are left out, and what is saved is what is read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from darkroom.data import photos
from darkroom.data.pack import Pack, PackError
from darkroom.data.photos import SIDE, PhotoTable
from darkroom.data.scenes.spec import Photo
from tests.tiny_pack import row, write_pack


def photo(name: str, split: str = "train", captions: tuple[str, ...] = ("one", "two")) -> dict[str, object]:
    return row(name, "clothing", "photo", caption=f"a {name}", captions=list(captions), split=split)


def a_pack(folder: Path, *splits: str) -> Pack:
    """Photos of one grey each, wider than high."""
    pictures = [(photo(f"shirt {i}", s), np.full((150, 200, 3), 40 * i, np.uint8)) for i, s in enumerate(splits)]
    return Pack(write_pack(folder / "pack", "photos", pictures))


def table(count: int = 3) -> PhotoTable:
    pixels = torch.randint(0, 256, (count, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(2)).byte()
    return PhotoTable(tuple(Photo(i, f"n{i}", (f"a {i}", f"b {i}"), f"id {i}") for i in range(count)), pixels)


def test_photos_kept_for_tests_are_left_out(tmp_path: Path) -> None:
    built, ledger = photos.build(a_pack(tmp_path, "train", "test", "val", "test", "train"))
    assert [(p.row, p.name) for p in built.photos] == [(0, "shirt 0"), (1, "shirt 2"), (2, "shirt 4")]
    assert built.pixels.shape == (3, 3, SIDE, SIDE) and built.pixels.dtype == torch.uint8
    assert [int(p.float().mean()) for p in built.pixels] == [0, 80, 160]
    assert [line.id for line in ledger] == [p.id for p in built.photos]


def test_a_photo_without_several_captions_keeps_its_one(tmp_path: Path) -> None:
    pictures = [(photo("shirt", captions=()), np.zeros((128, 128, 3), np.uint8))]
    built, _ = photos.build(Pack(write_pack(tmp_path / "pack", "photos", pictures)))
    assert built.photos[0].captions == ("a shirt",)


def test_a_pack_of_test_photos_only_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="holds no photo to train on; leave them out with --no-photos"):
        photos.build(a_pack(tmp_path, "test", "test"))


def test_saving_and_loading_loses_nothing(tmp_path: Path) -> None:
    photos.save(table(), tmp_path)
    loaded = photos.load(tmp_path)
    assert loaded is not None and loaded.photos == table().photos
    assert torch.equal(loaded.pixels, table().pixels)
    assert loaded.to(torch.device("cpu")).photos == table().photos


def test_a_folder_without_photos_has_none(tmp_path: Path) -> None:
    assert photos.load(tmp_path) is None
    photos.save(table(), tmp_path)
    photos.forget(tmp_path)
    assert photos.load(tmp_path) is None and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("photos.json", b"[{"),
        ("photos.json", b'[{"row": 0}]'),
        ("photos.json", b"\xff\xfe"),
        ("photos.safetensors", b"nothing of the kind"),
        ("photos.safetensors", None),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    photos.save(table(), tmp_path)
    (tmp_path / name).unlink() if content is None else (tmp_path / name).write_bytes(content)
    with pytest.raises(PackError, match=r"the photos in .* are damaged \(.*\); run `darkroom data build` again"):
        photos.load(tmp_path)


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    photos.save(table(3), tmp_path)
    rows = json.loads((tmp_path / "photos.json").read_text())
    (tmp_path / "photos.json").write_text(json.dumps(rows[:2]))
    with pytest.raises(PackError, match="names 2 photos but holds 3; run `darkroom data build` again"):
        photos.load(tmp_path)
