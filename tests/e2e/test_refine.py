"""``darkroom refine`` and ``generate --refine``, as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from darkroom.picture import xmp
from darkroom.picture.metadata import read_recipe, read_refinement, read_source_type
from darkroom.picture.read import read
from tests.program import ran
from tests.tiny import saved, tiny_model

CHAIN = "exposure=0.5, contrast=1.2, crop=4:3"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(saved(tiny_model(), tmp_path_factory.mktemp("model")))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A JPEG of 60x40 that lies on its side, as phones write them."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "photo.jpg"
    Image.fromarray(pixels).save(path, exif=exif, quality=95)
    return path


def drawn(model: str, out: Path, *options: str) -> Path:
    assert ran("generate", "a red fox", "--model", model, "--seed", "3", "--out", out, *options) == 0
    return next(out.glob("*.png"))


def test_a_refined_drawing_is_drawn_again_with_all_its_steps(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = drawn(model, tmp_path / "first", "--refine", "saturation=1.3")
    assert ran("refine", first, f"{CHAIN}, upscale=2", "--out", tmp_path / "once", "--model", model) == 0
    once = tmp_path / "once" / f"{first.stem}-refined.png"
    assert ran("refine", once, "sharpen=1", "--out", tmp_path / "twice") == 0
    twice = tmp_path / "twice" / once.name
    capsys.readouterr()
    assert ran("recipe", "show", twice) == 0
    wanted = f"saturation=1.3, round, {CHAIN}, upscale=2, round, sharpen=1:1"
    assert f"refine              {wanted}" in capsys.readouterr().out.splitlines()
    assert ran("generate", "--recipe", twice, "--model", model, "--out", tmp_path / "again") == 0
    again = next((tmp_path / "again").glob("*.png"))
    assert np.array_equal(read(again), read(twice)) and read(again).shape == (96, 128, 3)
    assert read_source_type(twice) == xmp.MADE


def test_tables_and_references_are_found_beside_the_picture_or_in_a_folder(
    model: str, tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = tmp_path / "looks"
    looks.mkdir()
    (looks / "film.cube").write_text("LUT_1D_SIZE 2\n0 0 0.1\n1 0.9 0.8\n", encoding="ascii")
    chain = f"lut={looks / 'film.cube'}:0.7, match={photo}:0.5"
    first = drawn(model, tmp_path / "first", "--refine", chain)
    again = ("generate", "--recipe", first, "--model", model, "--out", tmp_path / "again")
    assert ran(*again) == 2
    assert "'film.cube', of the step lut of this recipe, is not in" in capsys.readouterr().err
    (looks / photo.name).write_bytes(photo.read_bytes())
    assert ran(*again, "--files", looks) == 0
    assert np.array_equal(read(next((tmp_path / "again").glob("*.png"))), read(first))
    assert ran("recipe", "run", first, "--model", model, "--out", tmp_path / "run", "--files", looks) == 0
    for file in looks.iterdir():
        (first.parent / file.name).write_bytes(file.read_bytes())
    assert ran(*again) == 0
    (first.parent / "film.cube").write_text("LUT_1D_SIZE 2\n0 0 0\n1 1 1\n", encoding="ascii")
    assert ran(*again) == 2 and "is not the file of the step lut" in capsys.readouterr().err


def test_a_photo_is_edited_and_not_generated(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = photo.read_bytes()
    assert ran("refine", photo, CHAIN, "--out", tmp_path) == 0
    refined = tmp_path / "photo-refined.png"
    assert capsys.readouterr().out.strip() == str(refined) and photo.read_bytes() == before
    told = read_refinement(refined)
    assert told is not None and (told.source.name, told.source.size, told.model) == ("photo.jpg", (40, 64), None)
    assert read(refined).shape == (30, 40, 3)  # upright first
    assert read_source_type(refined) == xmp.BY_HAND and b"trainedAlgorithmicMedia" not in refined.read_bytes()
    assert ran("recipe", "show", refined) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("source              name photo.jpg") and f"refine              {CHAIN}\n" in shown
    assert ran("recipe", "show", refined, "--json") == 0
    assert json.loads(capsys.readouterr().out)["source"]["sha256"] == told.source.sha256
    assert ran("recipe", "run", refined) == 1
    assert "photo-refined.png was refined, and not drawn from a recipe" in capsys.readouterr().err

    assert ran("refine", refined, "sharpen", "--out", tmp_path) == 0
    further = read_refinement(tmp_path / "photo-refined-2.png")
    assert further is not None and further.source == told.source
    assert [step.step for step in further.refine] == ["exposure", "contrast", "crop", "round", "sharpen"]


@pytest.mark.parametrize("format", ["png", "jpg", "webp"])
def test_every_format_says_what_was_done(photo: Path, tmp_path: Path, model: str, format: str) -> None:
    assert ran("refine", photo, "upscale=2", "--out", tmp_path, "--format", format, "--model", model) == 0
    refined = tmp_path / f"photo-refined.{format}"
    told = read_refinement(refined)
    assert told is not None and told.model == "tiny" and told.model_hash is not None
    assert read(refined).shape == (128, 80, 3)
    assert read_source_type(refined) == xmp.EDITED  # the upscaler painted in it


def test_a_drawing_that_was_stored_otherwise_is_a_picture_of_its_own(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = drawn(model, tmp_path / "first")
    recipe = read_recipe(first)
    assert ran("refine", first, "saturation=1.1", "--out", tmp_path, "--format", "jpg") == 0
    assert read_recipe(jpeg := tmp_path / f"{first.stem}-refined.jpg").refine
    assert ran("refine", jpeg, "sharpen", "--out", tmp_path / "two") == 0
    assert "its pixels are not those that its recipe draws" in capsys.readouterr().err
    refined = next((tmp_path / "two").glob("*.png"))
    assert read_refinement(refined) is not None and read_source_type(refined) == xmp.MADE
    smaller = tmp_path / "smaller.png"  # by an editor that keeps texts
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("darkroom", recipe.to_json())
    Image.fromarray(read(first)).resize((20, 20)).save(smaller, pnginfo=texts)
    assert ran("refine", smaller, "sharpen", "--out", tmp_path / "three") == 0
    assert read_source_type(next((tmp_path / "three").glob("*.png"))) == xmp.MADE


def test_another_programs_drawing_stays_generated(tmp_path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", "a fox\nSteps: 3, Sampler: Euler a, CFG scale: 2, Seed: 8")
    Image.new("RGB", (9, 9), "red").save(tmp_path / "foreign.png", pnginfo=texts)
    assert ran("refine", tmp_path / "foreign.png", "sharpen", "--out", tmp_path) == 0
    assert read_source_type(tmp_path / "foreign-refined.png") == xmp.MADE


def test_transparent_pictures_get_a_white_ground(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4] = (200, 0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "logo.png")
    assert ran("refine", tmp_path / "logo.png", "exposure=0", "--out", tmp_path) == 0
    assert "logo.png: it is transparent; what shines through becomes white" in capsys.readouterr().err
    found = read(tmp_path / "logo-refined.png")
    assert (found[0, 0].tolist(), found[7, 7].tolist()) == ([200, 0, 0], [255, 255, 255])


def test_bad_pictures_are_named_and_the_others_go_on(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no")
    (tmp_path / "notes.txt").write_text("no picture", encoding="ascii")
    (tmp_path / "empty").mkdir()
    chain, out = "crop=30x30+0+20", tmp_path / "out"
    Image.new("RGB", (9, 9)).save(tmp_path / "small.png")
    assert ran("refine", tmp_path, tmp_path / "empty", tmp_path / "gone.png", chain, "--out", out, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert [Path(entry["path"]).name for entry in told["pictures"]] == ["photo-refined.png"]
    assert told["pictures"][0]["refinement"]["refine"][0]["left"] == 0
    failed = {Path(entry["source"]).name: entry["error"] for entry in told["failed"]}
    assert list(failed) == ["empty", "broken.png", "small.png", "gone.png"]
    assert "goes beyond the picture, 9x9 there" in failed["small.png"] and "no such file" in failed["gone.png"]
    assert "(and 3 more, named above)" in told["error"]


def test_a_dry_run_writes_nothing(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran("refine", photo, CHAIN, "--out", tmp_path / "out", "--dry-run") == 0
    [told] = json.loads(capsys.readouterr().out)
    assert told["refinement"]["source"]["name"] == "photo.jpg" and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no picture was given; give both: darkroom refine photo.jpg"),
        (["PHOTO"], "no chain was given"),
        (["clean"], "no picture or no chain was given"),
        (["PHOTO", "PHOTO"], "is a file, and the chain of steps comes last"),
        (["PHOTO", ""], "the chain names no step"),
        (["PHOTO", "sharpn"], "unknown step 'sharpn'; did you mean 'sharpen'?"),
        (["PHOTO", "clean", "--format", "tiff"], "--format tiff is not written; use png, jpg or webp"),
        (["", "clean"], "the picture '' has no name"),
        (["a\0b", "clean"], "has no name"),
        (["PHOTO", "lut=gone.cube"], "gone.cube cannot be read (no such file or directory)"),
        (["PHOTO", "lut=PHOTO"], "photo.jpg is no text, and a .cube file is"),
        (["PHOTO", "upscale", "--model", "gone"], "unknown model 'gone'"),
        (["PHOTO", "clean", "--out", "PHOTO"], "is a file, and pictures need a folder"),
    ],
)
def test_what_is_wrong_with_all_is_said_once(
    arguments: list[str], said: str, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = set(tmp_path.rglob("*"))
    assert ran("refine", *(word.replace("PHOTO", str(photo)) for word in arguments)) in (1, 2)
    told = capsys.readouterr().err
    assert said in told and "Traceback" not in told and set(tmp_path.rglob("*")) == files


def test_generate_refuses_a_chain_before_it_opens_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran("generate", "a fox", "--refine", "clean, shapen", "--model", "no such model") == 2
    assert "unknown step 'shapen'; did you mean 'sharpen'?" in capsys.readouterr().err
    assert ran("generate", "--recipe", "x.png", "--refine", "clean") == 2
    assert "--refine cannot change a recipe" in capsys.readouterr().err
    assert ran("generate", "a fox", "--files", "looks") == 2
