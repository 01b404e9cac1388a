"""docs/adapters.md, followed as a new user would, beside the model in the package; training ends after two steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from darkroom.data.stock import tables
from darkroom.data.stock.built import DRAWINGS
from darkroom.picture.read import read
from darkroom.wording.vocabulary import everyday
from tests.guides import ROOT, commands
from tests.program import ran
from tests.toys import sprite_table

SHORT = ("--samples", "8", "--batch", "4", "--no-compiled")


def test_every_command_of_the_guide_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    drawings = tmp_path / "my-drawings"
    drawings.mkdir()
    for i in range(10):
        plain = Image.new("RGB", (128, 128), (250 - 20 * i, 240, 200))
        plain.paste((20, 20 * i, 90), (20 + 3 * i, 30, 80, 90 + 2 * i))
        plain.save(drawings / f"{i}.png")
        (drawings / f"{i}.txt").write_text(f"a box, number {i}", encoding="utf-8")
    table = sprite_table(("3d", "cartoon", "flat"), words=[concept.word for concept in everyday()[:40]])
    tables.save(table.sprites, table.pixels, tmp_path / "runs" / "data", DRAWINGS)
    photo = np.full((200, 300, 3), 230, np.uint8)
    photo[60:140, 100:200] = (160, 60, 30)
    Image.fromarray(photo).save("photo.jpg")

    given = commands(ROOT / "docs" / "adapters.md")
    assert [line[1] for line in given] == ["train", "generate", "control-map", *["train", "generate"] * 2]
    for command in given:
        assert ran(*command[1:], *(SHORT if command[1] == "train" else ())) == 0, command
    assert read(tmp_path / "photo-edges.png").any()
    one, other, with_map = sorted((tmp_path / "pictures").glob("*.png"), key=_shown)
    assert read(one).shape == read(other).shape != read(with_map).shape  # that of the map's shape


def _shown(path: Path) -> tuple[bool, str]:
    """The picture that is not square last."""
    height, width = read(path).shape[:2]
    return height != width, path.name
