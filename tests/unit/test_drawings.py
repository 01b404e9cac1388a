"""Drawings: built from a pack."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch

from darkroom.data.scenes.spec import Shape
from darkroom.data.stock import drawings
from darkroom.data.stock.drawings import SIDE, Sprite, SpriteTable, alpha_box, premultiplied
from darkroom.data.stock.pack import Pack, PackError
from darkroom.wording.vocabulary import Concept
from tests.tiny_pack import drawing, row, write_pack


def concept(index: int, drawn: str) -> Concept:
    return Concept(index, drawn, f"{drawn}s", drawn, "thing", False, ())


CAT, DOG = concept(7, "cat drawing"), concept(3, "dog drawing")
RED = (200, 40, 20)


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """Two concepts, one of them in two styles, and rows that are none of ours."""
    pictures = [
        (row("cat drawing"), drawing(RED, (10, 20, 50, 100))),
        (row("cat drawing", "noto", "cartoon"), drawing((0, 0, 255), (0, 0, 128, 128))),
        (row("dog drawing", "fluent", "flat"), drawing((0, 255, 0), (64, 64, 65, 65))),
        (row("cat drawing", "fluent", "colour-gradient"), drawing(RED, (1, 1, 9, 9))),  # no style of ours
        (row("fish drawing"), drawing(RED, (1, 1, 9, 9))),  # no concept of ours
    ]
    return write_pack(tmp_path / "pack", "sprites", pictures)


def table(count: int = 3) -> SpriteTable:
    random = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (count, 4, SIDE, SIDE), generator=random, dtype=torch.uint8)
    styles = ("3d", "flat", "cartoon")
    return SpriteTable(
        tuple(Sprite(i, i + 5, styles[i % 3], (1, 2, 3, 4 + i), f"id {i}") for i in range(count)), pixels
    )


# -- one picture ---------------------------------------------------------------------------------------------------


def test_premultiplying_darkens_by_alpha_and_forgets_hidden_colour() -> None:
    rgba = np.array([[[200, 100, 50, 255], [200, 100, 50, 128], [200, 100, 50, 0], [255, 255, 255, 1]]], np.uint8)
    found = premultiplied(rgba)
    assert found.shape == (4, 1, 4) and found.dtype == np.uint8
    assert found[:, 0, 0].tolist() == [200, 100, 50, 255]
    assert found[:, 0, 1].tolist() == [100, 50, 25, 128]
    assert found[:, 0, 2].tolist() == [0, 0, 0, 0]
    assert found[:, 0, 3].tolist() == [1, 1, 1, 1]


def test_premultiplied_colour_never_exceeds_alpha() -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (64, 64, 4), np.uint8)
    found = premultiplied(rgba)
    assert (found[:3] <= found[3:]).all()
    exact = rgba[..., :3].astype(float) * rgba[..., 3:] / 255
    assert np.abs(found[:3].transpose(1, 2, 0) - exact).max() <= 0.5


def test_the_box_holds_what_is_visible_and_no_faint_haze() -> None:
    rgba = drawing(RED, (10, 20, 50, 100))
    assert alpha_box(rgba) == (10, 20, 50, 100)
    rgba[0, 0, 3] = 8  # as faint as lossy compression leaves
    assert alpha_box(rgba) == (10, 20, 50, 100)
    rgba[5, 127, 3] = 9
    assert alpha_box(rgba) == (10, 5, 128, 100)
    assert alpha_box(drawing(RED, (0, 0, 128, 128))) == (0, 0, 128, 128)


def test_a_picture_of_nothing_has_no_box() -> None:
    with pytest.raises(ValueError, match="no visible pixel"):
        alpha_box(np.zeros((128, 128, 4), np.uint8))


# -- the table -----------------------------------------------------------------------------------------------------


def test_what_is_available() -> None:
    assert set(table().stock.shapes or ()) == {(5, "3d"), (6, "flat"), (7, "cartoon")}


def test_the_stock_knows_how_each_drawing_fills_its_box() -> None:
    """A table on two legs: its top is whole, and under its middle third there is nothing."""
    tall, legs = drawing(RED, (10, 20, 50, 100)), drawing(RED, (10, 30, 110, 50))
    legs[50:80, 10:20] = legs[50:80, 100:110] = (*RED, 255)
    sprites = tuple(Sprite(i, 5, "3d", alpha_box(rgba), f"s{i}") for i, rgba in enumerate((tall, legs)))
    pixels = torch.from_numpy(np.stack([premultiplied(rgba) for rgba in (tall, legs)]))
    shapes = SpriteTable(sprites, pixels).stock.shapes
    assert shapes == {(5, "3d"): (Shape(0.5, 1.0, 0.0, 1.0), Shape(1.0, 0.5, 0.0, 0.2))}


def test_a_restricted_table_keeps_each_picture_with_its_row() -> None:
    whole = table(9)
    part = whole.restricted({6, 8, 9, 13}, ("flat", "3d"))
    assert [sprite.id for sprite in part.sprites] == ["id 1", "id 3", "id 4"]
    assert [sprite.row for sprite in part.sprites] == [0, 1, 2]
    assert torch.equal(part.pixels, whole.pixels[[1, 3, 4]])
    assert set(part.stock.shapes or ()) == {(6, "flat"), (8, "3d"), (9, "flat")}
    assert whole.restricted({99}, ("3d",)).pixels.shape == (0, 4, SIDE, SIDE)


def test_to_keeps_the_table(tmp_path: Path) -> None:
    moved = table().to(torch.device("cpu"))
    assert moved.sprites == table().sprites and torch.equal(moved.pixels, table().pixels)


# -- building ------------------------------------------------------------------------------------------------------


def test_building_takes_the_wanted_drawings_and_nothing_else(pack: Path, tmp_path: Path) -> None:
    built, _ = drawings.build(Pack(pack), (CAT, DOG))
    assert [(s.concept, s.style, s.box) for s in built.sprites] == [
        (7, "3d", (10, 20, 50, 100)),
        (7, "cartoon", (0, 0, 128, 128)),
        (3, "flat", (64, 64, 65, 65)),
    ]
    assert built.pixels.shape == (3, 4, SIDE, SIDE)
    assert built.pixels[0, :, 60, 30].tolist() == [*RED, 255] and built.pixels[0, :, 0, 0].tolist() == [0, 0, 0, 0]


def test_the_ledger_says_where_each_picture_came_from(pack: Path) -> None:
    built, rows = drawings.build(Pack(pack), (CAT, DOG))
    ledger = {line.id: line for line in rows}
    assert set(ledger) == {sprite.id for sprite in built.sprites}
    first = ledger["fluent-3d-cat drawing"]
    assert (first.licence, first.attribution, first.upstream_path) == ("MIT", "Nobody, MIT", "art/cat drawing.svg")
    source = Pack(pack)
    assert first.sha256 == sha256(source.encoded(source.rows("sprites")[0])).hexdigest()


def test_a_pack_without_wanted_drawings_is_refused(pack: Path) -> None:
    with pytest.raises(PackError, match="holds no drawing of the wanted concepts; check --source"):
        drawings.build(Pack(pack), (concept(1, "nobody"),))
    with pytest.raises(PackError, match="holds no drawing of the wanted concepts"):
        drawings.build(Pack(pack))  # the core vocabulary, of which the pack has nothing


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (drawing(RED, (1, 1, 9, 9), side=64), "fluent-3d-cat drawing is 64x64; sprites are 128x128"),
        (np.zeros((128, 128, 4), np.uint8), "fluent-3d-cat drawing: the picture has no visible pixel"),
    ],
)
def test_a_drawing_that_cannot_be_a_sprite_is_named(tmp_path: Path, pixels: np.ndarray, message: str) -> None:
    source = write_pack(tmp_path / "pack", "sprites", [(row("cat drawing"), pixels)])
    with pytest.raises(PackError, match=message):
        drawings.build(Pack(source), (CAT,))


@pytest.mark.datapack
def test_a_few_drawings_of_the_real_pack_build(data_pack: Path) -> None:
    from darkroom.wording.vocabulary import core

    built, _ = drawings.build(Pack(data_pack), core()[:2])
    assert {(0, "3d"), (0, "cartoon"), (0, "flat"), (1, "3d"), (0, "black and white")} <= set(built.stock.shapes or ())
    assert all(x0 < x1 and y0 < y1 for x0, y0, x1, y1 in (sprite.box for sprite in built.sprites))
