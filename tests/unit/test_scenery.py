"""Drawings of places: which are taken, what is cut off, and which scenes show them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from darkroom.data.scenes.compose import Composer
from darkroom.data.scenes.spec import Ground
from darkroom.data.stock import scenery
from darkroom.data.stock.pack import Pack
from darkroom.data.stock.scenery import Scenery, SceneryTable
from tests.tiny_pack import drawing, row, write_pack
from tests.wardrobe import full_table, one

TEAL = (20, 140, 150)


def rounded(air: int = 8) -> np.ndarray:
    """A place in a frame of air, its corners cut, a red sun in the middle."""
    rgba = drawing(TEAL, (air, air, 128 - air, 128 - air))
    rgba[56:72, 56:72, :3] = (230, 40, 40)
    for y in (air, 127 - air):
        rgba[y, [air, 127 - air], 3] = 0
    return rgba


def test_places_are_taken_without_their_rims_and_nothing_else(tmp_path: Path) -> None:
    rows = [
        (row("cityscape", scene=True), rounded()),
        (row("cityscape", style="high-contrast", scene=True), rounded()),
        (row("sunset", "noto", "cartoon", scene=True), rounded(0)),
        (row("milky way", scene=True), rounded(40)),
        (row("cat", scene=True), rounded()),
        (row("sunrise", scene=False), rounded()),
    ]
    table, ledger = scenery.build(Pack(write_pack(tmp_path / "pack", "sprites", rows)))
    assert [(s.row, s.place, s.style) for s in table.sceneries] == [(0, "city", "3d"), (1, "sunset", "cartoon")]
    assert [line.id for line in ledger] == [s.id for s in table.sceneries]
    for picture in table.pixels:
        assert (picture[:, 0, 0] - torch.tensor(TEAL)).abs().max() <= 1  # no air, no corner
        assert picture[0, 64, 64] > 200


def test_a_pack_without_places_has_an_empty_table(tmp_path: Path) -> None:
    table, ledger = scenery.build(Pack(write_pack(tmp_path / "pack", "sprites", [(row("cat"), rounded())])))
    assert table.sceneries == () and table.pixels.shape == (0, 3, 128, 128) and ledger == []


def test_every_other_scene_of_a_place_shows_a_drawing_in_its_own_style() -> None:
    pixels = torch.zeros(1, 3, 128, 128, dtype=torch.uint8)
    pixels[:, 1] = 255
    places = SceneryTable((Scenery(0, "city", "flat", "s"),), pixels)
    composer, plain = Composer(full_table(), sceneries=places), Composer(full_table())
    scenes = [replace(one(style="flat", ground=Ground("city")), seed=i) for i in range(60)]

    def drawn(changes: dict[str, object]) -> int:
        varied = [replace(scene, **changes) for scene in scenes]  # type: ignore[arg-type]
        pictures, without = (c.render(varied).pixels[:, :, :3, :3] for c in (composer, plain))
        green = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
        shown = [torch.equal(p, green.expand_as(p)) for p in pictures]
        assert all(torch.equal(p, w) for p, w, s in zip(pictures, without, shown, strict=True) if not s)
        return sum(shown)

    assert 15 < drawn({}) < 45
    assert drawn({"style": "3d"}) == 0
    assert drawn({"light": "night"}) == 0
    assert drawn({"ground": Ground("sea")}) == 0
