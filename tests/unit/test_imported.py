"""A user's folder becomes squares, captions and a ledger; what is left out is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from darkroom.cli import main
from darkroom.contracts.errors import BadInput
from darkroom.contracts.ledger import read_ledger
from darkroom.data.imported import Imported, holds_pictures, import_folder, imported, put, square


def noise(seed: int, width: int, height: int) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    mine = tmp_path / "mine"
    mine.mkdir()
    for i, size in enumerate([(200, 120), (120, 200), (128, 128)]):
        noise(i, *size).save(mine / f"{i}.png")
        (mine / f"{i}.txt").write_text(f"picture number {i}")
    noise(9, 20, 20).save(mine / "tiny.png")
    (mine / "tiny.txt").write_text("too small")
    return mine


def test_usable_pictures_are_imported_with_captions_and_ledger(folder: Path, tmp_path: Path) -> None:
    report = import_folder(folder, tmp_path / "out")
    got = imported(tmp_path / "out")
    assert got.captions == ("picture number 0", "picture number 1", "picture number 2")
    assert got.pixels.shape == (3, 3, 128, 128)
    original = np.asarray(Image.open(folder / "2.png"))
    assert np.array_equal(got.pixels[2].permute(1, 2, 0).numpy(), original)  # already the right size: untouched
    assert [row.id for row in read_ledger(tmp_path / "out" / "ledger.jsonl")] == list(got.ids)
    assert report.counts["tiny"] == 1


def test_a_build_that_was_cut_short_is_none(tmp_path: Path) -> None:
    """New pictures never stand beside the captions of those that were there."""
    one = Imported(torch.zeros(1, 3, 128, 128, dtype=torch.uint8), ("a fox",), ("a",))
    assert holds_pictures(put(one, tmp_path))
    with pytest.raises(UnicodeEncodeError):
        put(Imported(one.pixels + 1, ("\ud800",), ("b",)), tmp_path)  # what cannot be written: it ends in between
    assert not holds_pictures(tmp_path)
    assert imported(put(one, tmp_path)).captions == ("a fox",)


def test_the_middle_is_kept() -> None:
    wide = np.zeros((128, 384, 3), np.uint8)
    wide[:, 128:256] = 200
    assert (square(wide) == 200).all()


def test_transparent_parts_become_white() -> None:
    assert (square(np.zeros((64, 64, 4), np.uint8)) == 255).all()


def test_a_folder_with_nothing_usable_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="no usable picture; see why: darkroom data check"):
        import_folder(tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_among_the_pictures_or_over_something_else(folder: Path, tmp_path: Path) -> None:
    before = sorted(folder.iterdir())
    for out in (folder, folder / "built"):
        with pytest.raises(BadInput, match=r"lies in the source .*; give --out a folder of its own"):
            import_folder(folder, out)
    assert sorted(folder.iterdir()) == before
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "ledger.jsonl").write_text("of the pack")
    with pytest.raises(BadInput, match=r"pack holds something else \(ledger.jsonl\); give --out a folder of its own"):
        import_folder(folder, tmp_path / "pack")
    assert [path.read_text() for path in (tmp_path / "pack").iterdir()] == ["of the pack"]
    for _ in range(2):  # its own build is built anew
        import_folder(folder, tmp_path / "out")


def test_the_command_takes_the_same_folder(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["data", "build", "--source", str(folder), "--out", str(tmp_path / "out")])
    assert not ended.value.code
    said = capsys.readouterr()
    assert "3 pictures in" in said.out and "tiny" in said.err
    assert len(imported(tmp_path / "out").captions) == 3
