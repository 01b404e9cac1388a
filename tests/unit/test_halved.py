"""What the upscaler learns from: pictures that are sharp, and what becomes of them at half the size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from darkroom.contracts.ledger import read_ledger
from darkroom.data import halved
from darkroom.data.halved import KEPT, SharpPictures, area, cubic, rounded_blocks, sharp
from darkroom.data.scenes.compose import Composer
from darkroom.data.scenes.spec import Photo
from darkroom.data.stock import built
from darkroom.data.stock.built import Built
from darkroom.data.stock.drawings import LARGE, Sprite, SpriteTable, premultiplied
from darkroom.data.stock.pack import Pack, PackError
from darkroom.data.stock.photos import PhotoTable
from darkroom.wording.vocabulary import concept_of
from tests.sprites import RED, own_table, scene, thing
from tests.tiny_pack import drawing, row, write_pack, write_table
from tests.wardrobe import full_table

CAT = concept_of("cat")
assert CAT is not None


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A cat in three styles, two of them at 256 px as well, the way the pack joins them: by id alone."""
    folder = tmp_path / "pack"
    box = (20, 20, 100, 100)
    styles = (("fluent", "3d"), ("noto", "cartoon"), ("fluent", "flat"))
    rows = [row(CAT.drawing, source, style) for source, style in styles]
    write_pack(folder, "sprites", [(about, drawing(RED, box)) for about in rows])
    large = drawing(RED, (39, 40, 201, 200), side=256)
    write_pack(folder, "sprites_256", [({"id": about["id"], "px": 256}, large) for about in rows[:2]])
    return folder


def test_large_drawings_are_built_beside_the_others(pack: Path, tmp_path: Path) -> None:
    built.build(pack, tmp_path / "out", (CAT,))
    small, large = built.load(tmp_path / "out").drawings, built.load_large(tmp_path / "out")
    assert [s.style for s in small.sprites] == ["3d", "cartoon", "flat"] and small.pixels.shape == (3, 4, 128, 128)
    assert [s.style for s in large.sprites] == ["3d", "cartoon"] and large.pixels.shape == (2, 4, 256, 256)
    assert large.sprites[0].box == (39, 40, 201, 200) and large.sprites[0].concept == CAT.index
    lines = {line.id: line for line in read_ledger(tmp_path / "out" / "ledger.jsonl")}
    assert {s.id for s in (*small.sprites, *large.sprites)} == set(lines)
    line = lines[large.sprites[0].id]
    assert line.licence == "MIT" and line.sha256 != lines[small.sprites[0].id].sha256


def test_a_folder_built_without_them_says_what_to_do(pack: Path, tmp_path: Path) -> None:
    built.build(pack, tmp_path / "out", (CAT,))
    for path in pack.glob("sprites_256*.gz"):
        path.unlink()
    built.build(pack, tmp_path / "out", (CAT,))  # over the one before
    assert not list((tmp_path / "out").glob("sprites_256*"))
    with pytest.raises(PackError, match=r"no drawings at 256 px.*run `darkroom data build .*sprites_256\.jsonl\.gz"):
        built.load_large(tmp_path / "out")


def test_large_drawings_travel_with_an_excerpt(pack: Path, tmp_path: Path) -> None:
    assert built.excerpt(Pack(pack), tmp_path / "excerpt", 0)["sprites_256"] == 2
    for source, out in ((pack, "here"), (tmp_path / "excerpt", "there")):
        built.build(source, tmp_path / out, (CAT,))
    here, there = (built.load_large(tmp_path / out) for out in ("here", "there"))
    assert here.sprites == there.sprites and torch.equal(here.pixels, there.pixels)


def test_a_large_drawing_of_another_size_is_refused(pack: Path, tmp_path: Path) -> None:
    told = {"id": f"fluent-3d-{CAT.drawing}", "px": 256}
    (pack / "sprites_256.jsonl.gz").unlink()
    (tmp_path / "other").mkdir()
    write_pack(tmp_path / "other", "sprites_256", [(told, drawing(RED, (0, 0, 64, 64), side=128))])
    (pack / "sprites_256" / "sprites_256-000.tar").write_bytes(
        (tmp_path / "other" / "sprites_256" / "sprites_256-000.tar").read_bytes()
    )
    [about] = Pack(tmp_path / "other").rows("sprites_256")
    write_table(pack, "sprites_256", [about])
    with pytest.raises(PackError, match="is 128x128; large sprites are 256x256"):
        built.build(pack, tmp_path / "out", (CAT,))


def test_a_drawing_of_twice_the_size_is_painted_in_the_same_place() -> None:
    small = own_table()
    large = SpriteTable(
        tuple(replace(s, box=tuple(2 * edge for edge in s.box)) for s in small.sprites),  # type: ignore[arg-type]
        small.pixels.repeat_interleave(2, 2).repeat_interleave(2, 3),
    )
    shown = scene(thing(0, 0.4, 0.6, 0.5, angle=20.0), thing(1, 0.6, 0.3, 0.4, flip=True))
    one, other = (Composer(table, 256).render([shown]).pixels[0] for table in (small, large))
    inside = (one - other).abs().mean()
    assert inside < 0.004 and (one.amax() - one.amin()) > 0.5  # they differ in how soft edges are, not in where


def fine_and_large() -> tuple[Built, SpriteTable]:
    """Drawings in all styles at 128 px; those of the first two also at 256 px."""
    small = full_table()
    both = [s for s in small.sprites if s.style in ("3d", "cartoon")]
    pixels = small.pixels[[s.row for s in both]].repeat_interleave(2, 2).repeat_interleave(2, 3)
    boxes = [tuple(2 * edge for edge in s.box) for s in both]
    large = [replace(s, row=i, box=box) for i, (s, box) in enumerate(zip(both, boxes, strict=True))]  # type: ignore[arg-type]
    shots = torch.randint(0, 256, (3, 3, 128, 128), generator=torch.Generator().manual_seed(3)).byte()
    shots[2] = 7  # the one that is kept
    told = tuple(Photo(i, f"p{i}", (f"photo {i}",), f"clothing/{i}" if i < 2 else f"{KEPT}{i}") for i in range(3))
    return Built(small, PhotoTable(told, shots), (None,)), SpriteTable(tuple(large), pixels)


def test_no_drawing_is_ever_enlarged(monkeypatch: pytest.MonkeyPatch) -> None:
    data, large = fine_and_large()
    pictures = SharpPictures(data, large, held_out="include")
    scales: list[tuple[int, float]] = []
    place = Composer._place

    def noted(composer: Composer, number: int, shown, what):
        x0, y0, x1, y1 = composer.sprite(shown, what).box
        scales.append((composer.drawn, what.size * composer.side / max(x1 - x0, y1 - y0)))
        return place(composer, number, shown, what)

    monkeypatch.setattr(Composer, "_place", noted)
    made = pictures(0, 60)
    assert {drawn for drawn, _ in scales} == {128, LARGE}
    assert max(scale for _, scale in scales) <= 1 + 1e-9
    assert max(scale for drawn, scale in scales if drawn == 128) > 0.99  # and not smaller than need be
    assert {picture.shape[-1] for picture in made} == {128, LARGE}
    assert all(picture.min() >= 0 and picture.max() <= 1 for picture in made)


def test_pictures_depend_on_their_number_alone_and_those_kept_are_never_shown() -> None:
    data, large = fine_and_large()
    pictures = SharpPictures(data, large, held_out="include", shares={"photo": 1.0})
    assert torch.equal(torch.stack(pictures(0, 6))[4], pictures(4, 1)[0])
    shown = pictures(0, 40)
    assert len({float(p.mean()) for p in shown}) == 2 and all(p.std() > 0.1 for p in shown)


def test_scenes_kept_whole_have_their_sizes() -> None:
    composer = Composer(own_table(), 256)
    shown = scene(thing(0, size=0.9), thing(1, size=0.1))  # drawn 64 and 96 px wide
    assert [t.size for t in sharp(shown, composer).objects] == [0.25, 0.1]


def test_halving_keeps_a_ramp_straight() -> None:
    ramp = torch.linspace(0, 1, 64).expand(3, 64, 64)
    for small in (area(ramp), cubic(ramp)):
        assert small.shape == (3, 32, 32)
        steps = small[0, 16, 4:28].diff()
        assert steps.tolist() == pytest.approx([2 / 63] * 23, abs=1e-5)


def test_halved_pictures_are_of_many_kinds_and_follow_their_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))

    def made(seed: int) -> torch.Tensor:
        return halved.halved(picture, torch.Generator().manual_seed(seed))

    assert torch.equal(made(3), made(3)) and made(0).shape == (3, 32, 32)
    plain = [area(picture), cubic(picture)]
    same = [any(torch.allclose(made(seed), one) for one in plain) for seed in range(60)]
    assert 15 < sum(same) < 50
    for share in ("BLUR_SHARE", "NOISE_SHARE", "BLOCKS_SHARE"):
        monkeypatch.setattr(halved, share, 0.0)
    assert all(any(torch.allclose(made(seed), one) for one in plain) for seed in range(10))


def test_blocks_are_rounded_where_it_is_fine() -> None:
    flat = torch.full((3, 16, 16), 0.5)
    assert torch.allclose(rounded_blocks(flat, 0.1), flat, atol=1e-6)
    noisy = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1))
    errors = [float((rounded_blocks(noisy, step) - noisy).square().mean()) for step in (1e-4, 0.05, 0.3)]
    assert errors[0] < 1e-6 < errors[1] < errors[2]
    one = noisy.clone()
    one[:, :8, :8] = 0  # another block does not change this one
    assert torch.equal(rounded_blocks(one, 0.2)[:, 8:, 8:], rounded_blocks(noisy, 0.2)[:, 8:, 8:])


def test_a_table_of_large_drawings_keeps_its_boxes() -> None:
    rgba = drawing(RED, (40, 60, 200, 220), side=256)
    table = SpriteTable(
        (Sprite(0, 0, "3d", (40, 60, 200, 220), "s"),), torch.from_numpy(np.stack([premultiplied(rgba)]))
    )
    pixels = Composer(table, 64).render([scene(thing(0, size=0.5))]).pixels[0]
    red = (pixels[1] < 0.5).nonzero()
    assert red.amin(0).tolist() == [16, 16] and red.amax(0).tolist() == [47, 47]
