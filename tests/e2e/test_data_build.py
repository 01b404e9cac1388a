"""``darkroom data build`` and ``inspect`` on a small pack, as a user runs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from darkroom.cli import main
from darkroom.contracts.ledger import read_ledger
from darkroom.data.stock.built import load
from darkroom.picture.read import read
from darkroom.wording.vocabulary import concept_of, core, everyday
from tests.tiny_pack import drawing, row, write_pack

WARDROBE = {concept_of(word) for word in ("top hat", "crown", "pair of glasses", "woman", "lion")}
SHOWN = [concept for concept in core() if concept in everyday() or concept in WARDROBE]
COUNT = 3 * len(SHOWN)  # drawings


def done(*arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert not ended.value.code


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """Three styles of every everyday concept, a wardrobe to dress them, and four photos, two of them for tests."""
    folder = tmp_path / "pack"
    pairs = (("fluent", "3d"), ("noto", "cartoon"), ("fluent", "flat"))
    drawings = [
        (row(concept.drawing, source, style), drawing((9 * i % 256, 200, 50), (20, 30, 100, 110)))
        for i, concept in enumerate(SHOWN)
        for source, style in pairs
    ]
    write_pack(folder, "sprites", drawings)
    photos = [
        (
            row(f"photo {i}", "clothing", "photo", caption=f"shirt {i}", captions=[f"a shirt {i}"], split=split),
            np.full((150, 200 + i, 3), 40 * i, np.uint8),
        )
        for i, split in enumerate(("train", "test", "train", "test"))
    ]
    return write_pack(folder, "photos", photos)


def test_build_and_inspect(pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "data"
    done("data", "build", "--source", str(pack), "--out", str(out))
    assert f"{COUNT} drawings of {COUNT // 3} concepts and 2 photos in {out}" in capsys.readouterr().out
    assert len(load(out).drawings.sprites) == COUNT
    photos = load_file(out / "photos.safetensors")["pixels"]
    assert photos.shape == (2, 3, 128, 128) and [int(p.float().mean()) for p in photos] == [0, 80]
    ledger = list(read_ledger(out / "ledger.jsonl"))
    assert len(ledger) == COUNT + 2 and {entry.licence for entry in ledger} == {"MIT"}

    sheet = tmp_path / "scenes.png"
    done("data", "inspect", "--data", str(out), "--out", str(sheet), "--count", "8")
    assert read(sheet).std() > 10
    plain = tmp_path / "plain.png"
    done("data", "inspect", "--data", str(out), "--out", str(plain), "--count", "8", "--scenes", "plain")
    assert plain.read_bytes() != sheet.read_bytes()


@pytest.mark.parametrize("count", ["0", "-1", "401", "1000000000"])
def test_a_sheet_has_bounds(count: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["data", "inspect", "--data", str(tmp_path), "--count", count])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: count {count} is not from 1 to 400; give a number in between\n"


def test_a_missing_pack_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["data", "build", "--source", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert "does not exist; give a folder of pictures" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
