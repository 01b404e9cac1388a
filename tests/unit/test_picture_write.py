"""The way out: deterministic bytes, safe names, all or nothing."""

from __future__ import annotations

import errno
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from darkroom.contracts import files
from darkroom.contracts.errors import BadInput, CannotWrite, NoSpace
from darkroom.contracts.prompt import Prompt
from darkroom.contracts.recipe import Environment, Recipe
from darkroom.picture.metadata import read_recipe
from darkroom.picture.read import read
from darkroom.picture.write import choose_path, encode, place_of, slug, write, write_new

PIXELS = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
ENVIRONMENT = Environment(torch="2.13.0", threads=2, instruction_set="AVX512", mode="eager", dtype="bfloat16")
RECIPE = Recipe(
    prompt=Prompt(text="a red fox in the snow"),
    seed=7,
    width=64,
    height=64,
    steps=4,
    sampler="heun",
    guidance=3.5,
    model="default",
    model_hash="0" * 64,
    darkroom="0.1.0",
    environment=ENVIRONMENT,
)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.JPEG", "a.webp"])
def test_the_ending_picks_the_format(tmp_path: Path, name: str) -> None:
    path = write(PIXELS, tmp_path / "new" / "folder" / name, RECIPE)
    assert path == tmp_path / "new" / "folder" / name
    assert read_recipe(path) == RECIPE
    with Image.open(path) as image:
        assert image.format == {"png": "PNG", "webp": "WEBP"}.get(name[2:], "JPEG")


@pytest.mark.parametrize("format", ["png", "jpg", "webp"])
def test_equal_input_gives_equal_bytes(format: str) -> None:
    assert encode(PIXELS, RECIPE, format) == encode(PIXELS.copy(), RECIPE.model_copy(), format)


def test_png_keeps_every_pixel_and_any_layout() -> None:
    assert np.array_equal(read(encode(PIXELS, RECIPE)), PIXELS)
    turned = PIXELS.transpose(1, 0, 2)[::-1]
    assert np.array_equal(read(encode(turned, RECIPE)), turned)
    clear = np.dstack([PIXELS, PIXELS[..., 0]])
    assert np.array_equal(read(encode(clear, RECIPE)), clear)


def test_jpeg_keeps_the_colour_of_edges() -> None:
    image = Image.open(io.BytesIO(encode(PIXELS, RECIPE, "jpg")))
    assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # no chroma subsampling
    assert len(encode(PIXELS, RECIPE, "jpg", quality=50)) < len(encode(PIXELS, RECIPE, "jpg", quality=95))


@pytest.mark.parametrize("name", ["a.tiff", "a", "a.png.exe", ".png"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="is not written; use png, jpg or webp"):
        write(PIXELS, tmp_path / name, RECIPE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("pixels", "format", "said"),
    [
        (PIXELS.astype(np.float32), "png", "float32"),
        (PIXELS[..., 0], "png", "are not a uint8 array"),
        (PIXELS[..., :2], "png", "2 channels are neither RGB nor RGBA"),
        (PIXELS[:0], "png", "48 x 0 pixels do not fit"),
        (np.zeros((1, 20_000, 3), np.uint8), "webp", "do not fit into WEBP"),
        (np.dstack([PIXELS, PIXELS[..., :1]]), "jpg", "a transparent picture does not fit into JPEG; use png or webp"),
        ("pixels", "png", "are not a uint8 array"),
    ],
)
def test_what_cannot_be_encoded_is_said(pixels: np.ndarray, format: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        encode(pixels, RECIPE, format)


@pytest.mark.parametrize("quality", [0, 101, True, 90.0, "90"])
def test_quality_is_bounded(quality: int) -> None:
    with pytest.raises(BadInput, match="quality"):
        encode(PIXELS, RECIPE, "jpg", quality=quality)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: str, number: int
) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(files.os, call, fail)
        for attempt in (
            lambda: write(PIXELS, tmp_path / "a.png", RECIPE),
            lambda: write_new(PIXELS, tmp_path, RECIPE),
        ):
            with pytest.raises(CannotWrite) as caught:
                attempt()
            assert isinstance(caught.value, NoSpace) == (number == errno.ENOSPC)
            assert "could not be written because the disk" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_its_own(tmp_path: Path) -> None:
    names = [write_new(PIXELS, tmp_path, RECIPE).name for _ in range(3)]
    stem = "0007-a-red-fox-in-the-snow"
    assert names == [f"{stem}.png", f"{stem}-2.png", f"{stem}-3.png"]
    assert choose_path(tmp_path, 7, RECIPE.prompt.text) == tmp_path / f"{stem}-4.png"
    assert write_new(PIXELS, tmp_path, RECIPE, "jpg").name == f"{stem}.jpg"


def test_numbered_names_sort_as_they_belong(tmp_path: Path) -> None:
    paths = [write_new(PIXELS, tmp_path, RECIPE, number=place_of(at, 12)) for at in range(12)]
    assert sorted(paths) == paths and paths[2].name == "0007-a-red-fox-in-the-snow-03.png"
    assert [place_of(at, 9) for at in (0, 8)] == ["01", "09"] and place_of(99, 100) == "100"


def test_writers_at_the_same_time_overwrite_nothing(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: write_new(PIXELS, tmp_path, RECIPE), range(24)))
    assert len(set(paths)) == 24 == len(list(tmp_path.iterdir()))


def test_choose_path_steps_over_dangling_links(tmp_path: Path) -> None:
    (tmp_path / "0007-x.png").symlink_to("nowhere")
    assert choose_path(tmp_path, 7, "x").name == "0007-x-2.png"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A Red Fox, in the SNOW!", "a-red-fox-in-the-snow"),
        ("../../etc/passwd", "etc-passwd"),
        ("a\0b\nc\\d:e|f?g*h", "a-b-c-d-e-f-g-h"),
        ("Zoë's café", "zoes-cafe"),
        ("狐 🦊", "picture"),
        ("...", "picture"),
        ("-rf ~", "rf"),
        ("\u202egnp.exe", "gnp-exe"),
        ("x" * 1000, "x" * 60),
        ("one two three " * 10_000, "one-two-three-one-two-three-one-two-three-one-two-three-one"),
    ],
)
def test_slugs_are_safe(text: str, expected: str) -> None:
    assert slug(text) == expected


def test_slugs_of_anything_stay_in_the_folder(tmp_path: Path) -> None:
    for code in [*range(0x250), *range(0x2000, 0x2100), 0xFF0F, 0xFE68, 0x1F98A]:
        path = choose_path(tmp_path, 2**63 - 1, chr(code) * 3 + "/../x")
        assert path.parent == tmp_path and path.name.isascii() and len(path.name) < 100
