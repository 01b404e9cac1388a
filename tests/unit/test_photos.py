"""Photos: those for tests are left out, and what is saved is what is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from darkroom.data.stock import photos
from darkroom.data.stock.pack import Pack, PackError
from darkroom.data.stock.photos import SIDE
from tests.tiny_pack import row, write_pack


def photo(name: str, split: str = "train", captions: tuple[str, ...] = ("one", "two")) -> dict[str, object]:
    return row(name, "clothing", "photo", caption=f"a {name}", captions=list(captions), split=split)


def a_pack(folder: Path, *splits: str) -> Pack:
    """Photos of one grey each, wider than high."""
    pictures = [(photo(f"shirt {i}", s), np.full((150, 200, 3), 40 * i, np.uint8)) for i, s in enumerate(splits)]
    return Pack(write_pack(folder / "pack", "photos", pictures))


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
