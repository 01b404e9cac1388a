"""Built data folders: drawings, tones, photos, fonts and one ledger of them all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from darkroom.contracts.errors import BadInput
from darkroom.contracts.ledger import read_ledger
from darkroom.data.scenes.spec import USUAL, ComposerConfig, Ground, Person, Scene, SpecObject
from darkroom.data.stock import built
from darkroom.data.stock.built import Built, excerpt
from darkroom.data.stock.pack import Pack, PackError
from darkroom.wording.vocabulary import Concept
from tests.tiny_pack import drawing, row, write_pack
from tests.wardrobe import index, one

RED, BROWN = (200, 40, 20), (120, 80, 50)


def concept(word: str, drawn: str) -> Concept:
    return Concept(index(word), word, f"{word}s", drawn, "person", True, ())


CAT, WOMAN, DOCTOR = concept("cat", "cat face"), concept("woman", "woman"), concept("doctor", "health worker")


def toned(name: str, *tones: str) -> dict[str, object]:
    said = ", ".join(f"{tone} skin tone" for tone in tones)
    return row(f"{name}: {said}", tones=list(tones))


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A cat, a woman in two more tones, a couple in mixed ones, a doctor in three ways, and three photos."""
    folder = tmp_path / "pack"
    box = (20, 20, 100, 100)
    names = ("cat face", "woman", "health worker", "man health worker")
    write_pack(folder, "sprites", [(row(name), drawing(RED, box)) for name in names])
    write_pack(
        folder,
        "sprites_tones",
        [
            (toned("woman", "dark"), drawing(BROWN, box)),
            (toned("woman", "light"), drawing((240, 220, 200), box)),
            (toned("woman", "dark", "light"), drawing(BROWN, box)),
            (toned("mermaid", "dark"), drawing(BROWN, box)),
            (toned("woman health worker", "dark"), drawing(BROWN, box)),
        ],
    )
    shots = [
        (
            row(f"shirt {i}", "clothing", "photo", caption=f"shirt {i}", captions=[f"a shirt {i}"], split=split),
            np.full((128, 128, 3), 60 * i, np.uint8),
        )
        for i, split in enumerate(("train", "test", "train"))
    ]
    return write_pack(folder, "photos", shots)


def made(pack: Path, out: Path, **options: object) -> Built:
    return built.build(pack, out, (CAT, WOMAN, DOCTOR), **options)  # type: ignore[arg-type]


def test_what_is_built_is_what_is_loaded(pack: Path, tmp_path: Path) -> None:
    first, loaded = made(pack, tmp_path / "out"), built.load(tmp_path / "out")
    assert loaded.drawings.sprites == first.drawings.sprites
    assert torch.equal(loaded.drawings.pixels, first.drawings.pixels)
    assert first.photos is not None and loaded.photos is not None
    assert loaded.photos.photos == first.photos.photos and torch.equal(loaded.photos.pixels, first.photos.pixels)
    assert loaded.stock == first.stock and loaded.fonts == first.fonts == (None,)


def test_the_stock_holds_drawings_people_and_photos(pack: Path, tmp_path: Path) -> None:
    stock = made(pack, tmp_path / "out").stock
    assert set(stock.shapes or ()) == {(concept.index, "3d") for concept in (CAT, WOMAN, DOCTOR)}
    assert stock.people == {  # but no mixed tones, and no mermaid
        (WOMAN.index, "3d"): (Person(tone="dark"), Person(tone="light")),
        (DOCTOR.index, "3d"): (Person("female", "dark"), Person("male")),
    }
    assert [photo.name for photo in stock.photos] == ["shirt 0", "shirt 2"]


def test_a_tone_is_painted_with_its_drawing(pack: Path, tmp_path: Path) -> None:
    composer = made(pack, tmp_path / "out").composer()
    woman = SpecObject(WOMAN.index, None, 0.5, 0.5, 0.6, person=Person(tone="dark"))
    pixels = composer.render([Scene("single", "3d", (woman,), Ground("white"))]).pixels[0]
    assert pixels[:, 64, 64] == pytest.approx(torch.tensor(BROWN) / 255, abs=0.01)


def test_the_ledger_holds_drawings_tones_and_photos(pack: Path, tmp_path: Path) -> None:
    found = made(pack, tmp_path / "out")
    assert found.photos is not None
    ids = [line.id for line in read_ledger(tmp_path / "out" / "ledger.jsonl")]
    assert set(ids) == {s.id for s in found.drawings.sprites} | {p.id for p in found.photos.photos}
    assert len(ids) == 7 + 2


def test_without_photos_there_are_none_not_even_those_of_a_build_before(pack: Path, tmp_path: Path) -> None:
    made(pack, tmp_path / "out")
    assert made(pack, tmp_path / "out", with_photos=False).photos is None
    assert built.load(tmp_path / "out").photos is None
    assert not list((tmp_path / "out").glob("photos*"))
    assert len(list(read_ledger(tmp_path / "out" / "ledger.jsonl"))) == 7


def test_a_pack_without_tones_and_photos_builds_too(tmp_path: Path) -> None:
    bare = write_pack(tmp_path / "bare", "sprites", [(row("cat face"), drawing(RED, (20, 20, 100, 100)))])
    found = made(bare, tmp_path / "out")
    assert found.photos is None and not found.stock.people and not found.stock.photos


def test_fonts_are_copied_beside_the_data(pack: Path, tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    for name in ("b.otf", "a.ttf", "licence.txt"):
        (tmp_path / "faces" / name).write_bytes(name.encode())
    made(pack, tmp_path / "out", lettering=tmp_path / "faces")
    fonts = built.load(tmp_path / "out").fonts
    assert [font and font.name for font in fonts] == [None, "a.ttf", "b.otf"]
    assert fonts[1] is not None and fonts[1].read_bytes() == b"a.ttf" and tmp_path / "out" in fonts[1].parents


def test_fonts_travel_with_an_excerpt(pack: Path, tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "a.ttf").write_bytes(b"a")
    excerpt(Pack(pack), tmp_path / "excerpt", 10, tmp_path / "faces")
    assert [f and f.name for f in built.build(tmp_path / "excerpt", tmp_path / "out").fonts] == [None, "a.ttf"]
    excerpt(Pack(pack), tmp_path / "excerpt", 10)
    assert built.build(tmp_path / "excerpt", tmp_path / "out").fonts == (None,)
    with pytest.raises(BadInput, match=r"holds no \.ttf or \.otf file"):
        excerpt(Pack(pack), tmp_path / "none", 10, tmp_path)


def test_a_build_that_was_killed_has_no_ledger(pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(pack, tmp_path / "out")
    assert (tmp_path / "out" / built.LEDGER).exists()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(built.photos, "build", killed)
    with pytest.raises(KeyboardInterrupt):
        made(pack, tmp_path / "out")
    assert not (tmp_path / "out" / built.LEDGER).exists()


def test_what_somebody_else_built_is_not_built_over(pack: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "pictures.jsonl").write_text("{}")
    with pytest.raises(BadInput, match="out holds something else"):
        made(pack, tmp_path / "out")
    with pytest.raises(BadInput, match="lies in the source"):
        made(pack, pack / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["pictures.jsonl"] and not (pack / "out").exists()


def test_a_folder_without_fonts_is_refused_before_anything_is_written(pack: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"holds no \.ttf or \.otf file"):
        made(pack, tmp_path / "out", lettering=tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_pack_without_wanted_drawings_leaves_nothing_behind(pack: Path, tmp_path: Path) -> None:
    with pytest.raises(PackError, match="holds no drawing of the wanted concepts; check --source"):
        built.build(pack, tmp_path / "out", (concept("dog", "nobody"),))
    assert not (tmp_path / "out").exists()


def test_a_folder_without_drawings_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"holds no sprites .*run `darkroom data build"):
        built.load(tmp_path)


def test_tables_written_before_there_were_tones_or_genders_still_load(pack: Path, tmp_path: Path) -> None:
    first = made(pack, tmp_path / "out")
    path = tmp_path / "out" / "sprites.json"
    rows = json.loads(path.read_text())
    bare = [{k: v for k, v in r.items() if k != "person"} for r in rows]
    path.write_text(json.dumps([bare[0], *({**r, "tone": "dark"} for r in bare[1:])]))
    loaded = built.load(tmp_path / "out").drawings.sprites
    assert [s.id for s in loaded] == [s.id for s in first.drawings.sprites]
    assert [s.person for s in loaded] == [USUAL] + [Person(tone="dark")] * (len(loaded) - 1)


def test_restricted_to_the_everyday_it_keeps_photos_and_fonts(pack: Path, tmp_path: Path) -> None:
    found = made(pack, tmp_path / "out")
    part = found.restricted(ComposerConfig(styles={"3d": 1.0}))
    everyday = {concept.index for concept in ComposerConfig().concepts}
    assert {s.concept for s in part.drawings.sprites} == {CAT.index, WOMAN.index} & everyday
    assert part.photos is found.photos and part.fonts == found.fonts
    assert not found.restricted(ComposerConfig(styles={"flat": 1.0})).drawings.sprites


def test_the_composer_paints_the_photos(pack: Path, tmp_path: Path) -> None:
    found = made(pack, tmp_path / "out")
    for side in (128, 64):
        scenes = [Scene("photo", "photo", (), Ground("white"), named=(), photo=p) for p in found.stock.photos]
        means = found.composer(side).render(scenes).pixels.mean((1, 2, 3)) * 255
        assert means.tolist() == pytest.approx([0, 120], abs=0.5)
    without = made(pack, tmp_path / "bare", with_photos=False).composer()
    with pytest.raises(KeyError, match=r"photo .* is asked for, but the data was built without photos"):
        without.render([one(kind="photo", photo=found.stock.photos[0])])


def test_an_excerpt_builds_as_its_pack_does(pack: Path, tmp_path: Path) -> None:
    counts = excerpt(Pack(pack), tmp_path / "excerpt", 1000)
    from_pack, from_excerpt = (built.build(source, tmp_path / f"built-{i}") for i, source in
                               enumerate((pack, tmp_path / "excerpt")))  # fmt: skip
    assert sum(counts.values()) == len(from_pack.drawings.sprites) + len(from_pack.photos.photos)  # type: ignore[union-attr]
    assert from_excerpt.drawings.sprites == from_pack.drawings.sprites
    assert torch.equal(from_excerpt.drawings.pixels, from_pack.drawings.pixels)
    assert from_excerpt.photos is not None and from_pack.photos is not None
    assert torch.equal(from_excerpt.photos.pixels, from_pack.photos.pixels)
    ledgers = [(tmp_path / f"built-{i}" / "ledger.jsonl").read_bytes() for i in (0, 1)]
    assert ledgers[0] == ledgers[1]


def test_an_excerpt_holds_at_most_so_many_photos(pack: Path, tmp_path: Path) -> None:
    assert excerpt(Pack(pack), tmp_path / "one", 1)["photos"] == 1
    assert "photos" not in excerpt(Pack(pack), tmp_path / "none", 0)
