"""What a picture says about itself, in each format, and what foreign pictures may say."""

from __future__ import annotations

import io
import struct
import time
import zlib
from contextlib import suppress
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from darkroom.contracts.errors import BadFile, BadInput, NoRecipe
from darkroom.contracts.prompt import Prompt
from darkroom.contracts.recipe import Environment, Recipe
from darkroom.picture import xmp
from darkroom.picture.containers import jpeg_segments
from darkroom.picture.infotext import infotext, parse_infotext
from darkroom.picture.metadata import read_infotext, read_recipe
from darkroom.picture.write import encode

PIXELS = np.zeros((16, 16, 3), np.uint8)
FORMATS = ("png", "jpg", "webp")
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"


def recipe(text: str = "a red fox", negative: str = "", **more: object) -> Recipe:
    plain = {
        "prompt": Prompt(text=text, negative=negative),
        "seed": 7,
        "width": 256,
        "height": 192,
        "steps": 12,
        "sampler": "heun",
        "guidance": 3.5,
        "model": "default",
        "model_hash": "0123456789abcdef" * 4,
        "darkroom": "0.1.0",
        "environment": Environment(torch="2.13", threads=2, instruction_set="AVX2", mode="eager", dtype="float32"),
    }
    return Recipe.model_validate({**plain, **more})


def png(**texts: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def test_the_infotext_is_the_one_others_read() -> None:
    assert infotext(recipe("a red fox\nin the snow", "blurry, dark", style="3d", model='my, "model"')) == (
        "a red fox\nin the snow\n"
        "Negative prompt: blurry, dark\n"
        "Steps: 12, Sampler: heun, CFG scale: 3.5, Seed: 7, Size: 256x192, Model hash: 0123456789, "
        'Model: "my, \\"model\\"", Style: 3d, Version: darkroom 0.1.0'
    )
    with Image.open(io.BytesIO(encode(PIXELS, recipe()))) as image:
        assert image.info["parameters"] == infotext(recipe())


TRICKY = [
    ("a\nNegative prompt: b", ""),
    ("Negative prompt: b", "Negative prompt: c"),
    ("a", "b\nNegative prompt: c"),
    ("  a  ", " b "),
    ("a\r\nb\r", "\n"),
    ("Steps: 4, Sampler: x, Seed: 1, Size: 8x8", "Steps: 1, a: b, c: d"),
    ('"quoted", \\ "\\"', "'"),
    ("🦊 狐 \u202e\u2028\x85\x1b", "\x7f"),
    ("Darkroom prompt: x, y: z, a: b", ""),
]


@pytest.mark.parametrize(("text", "negative"), TRICKY)
@pytest.mark.parametrize("format", FORMATS)
def test_tricky_prompts_come_back(format: str, text: str, negative: str) -> None:
    made = recipe(text, negative, style='a: "b", c', upscale=2)
    data = encode(PIXELS, made, format)
    assert read_recipe(data) == made
    read = read_infotext(data)
    assert read is not None and (read.prompt, read.negative) == (text, negative)
    assert read.settings["Style"] == made.style and read.settings["Model"] == "default"
    assert read.request() == made.request().model_copy(update={"model": "default"})


@pytest.mark.parametrize("format", FORMATS)
def test_the_longest_prompts_come_back(format: str) -> None:
    made = recipe("🦊" * 32_000, "狐" * 32_000)
    data = encode(PIXELS, made, format)
    assert read_recipe(data) == made
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), PIXELS)
    read = read_infotext(data)
    assert read is None if format == "jpg" else read is not None and read.prompt == made.prompt.text


def test_long_jpeg_recipes_lie_in_standard_extended_xmp() -> None:
    bodies = [
        bytes(body) for marker, body in jpeg_segments(encode(PIXELS, recipe("🦊" * 32_000), "jpg")) if marker == 0xE1
    ]
    main = next(body for body in bodies if body.startswith(xmp.JPEG_HEADER))
    parts = [body for body in bodies if body.startswith(xmp.JPEG_EXTENSION_HEADER)]
    assert len(parts) > 1 and all(len(body) <= xmp.SEGMENT_BYTES for body in bodies)
    guid = parts[0][len(xmp.JPEG_EXTENSION_HEADER) :][:32]
    assert b'xmpNote:HasExtendedXMP="' + guid + b'"' in main


@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.parametrize("made", [None, recipe()], ids=["sheet", "picture"])
@pytest.mark.parametrize("format", FORMATS)
def test_every_picture_says_that_a_model_made_it(format: str, made: Recipe | None, edited: bool) -> None:
    with Image.open(io.BytesIO(encode(PIXELS, made, format, edited=edited))) as image:
        packet = image.info["xmp"]
    nodes = ElementTree.fromstring(packet).iter()
    kind = "compositeWithTrainedAlgorithmicMedia" if edited else "trainedAlgorithmicMedia"
    expected = f"http://cv.iptc.org/newscodes/digitalsourcetype/{kind}"
    assert [node.attrib[IPTC] for node in nodes if IPTC in node.attrib] == [expected]


@pytest.mark.parametrize("format", FORMATS)
def test_a_picture_without_recipe_says_so(format: str) -> None:
    with pytest.raises(NoRecipe, match="the picture holds no darkroom recipe; give a picture as darkroom saved it"):
        read_recipe(encode(PIXELS, None, format))
    assert read_infotext(encode(PIXELS, None, format)) is None


A1111 = """fox, (snow:1.2)
Negative prompt: a
b
Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 512x768, x"""


def test_pictures_of_other_programs() -> None:
    foreign = png(parameters=A1111)
    read = read_infotext(foreign)
    assert read is not None and (read.prompt, read.negative) == ("fox, (snow:1.2)", "a\nb")
    request = read.request()
    assert (request.steps, request.sampler, request.guidance, request.seed) == (20, "euler-a", 7.0, 5)
    assert (request.width, request.height, request.model) == (512, 768, "default")
    with pytest.raises(NoRecipe, match="settings of another program but no darkroom recipe"):
        read_recipe(foreign)


@pytest.mark.parametrize("order", ["utf-16-be", "utf-16-le"])
def test_user_comments_of_either_byte_order(order: str) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + infotext(recipe("狐 fox")).encode(order)
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "JPEG", exif=exif)
    read = read_infotext(file.getvalue())
    assert read is not None and read.prompt == "狐 fox"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Steps: 1001", "steps 1001 is above 1000"),
        ("Steps: many", "Steps 'many' is not a number"),
        ("Seed: -1", "seed -1 is below 0"),
        ("CFG scale: 1e999", "guidance inf is not a finite number"),
        ("Size: 9999x64", "width 9999 is not between"),
        (f"Seed: {'9' * 5000}", "is not a number"),
    ],
)
def test_settings_read_in_obey_the_bounds(line: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        parse_infotext(f"a fox\n{line}, a: b, c: d, e: f").request()


def test_text_without_settings_is_all_prompt() -> None:
    for text in ("a fox", "a: b, c: d", "one\ntwo: three", "line\nSteps: 4, only: two"):
        assert parse_infotext(text).prompt == text
    assert parse_infotext("").prompt == "" and parse_infotext("\n\n").settings == {}


@pytest.mark.parametrize("piece", ['a:"\\q,', "a:", 'a:"', '"\\', "a: b, ", "\nNegative prompt:", ",", '"'])
def test_reading_takes_linear_time(piece: str) -> None:
    started = time.perf_counter()
    parse_infotext(piece * (200_000 // len(piece)))
    assert time.perf_counter() - started < 5  # a quadratic reader needs minutes


def test_a_recipe_that_cannot_be_used_is_said() -> None:
    for text, said in (
        ("{}", "prompt is missing"),
        ("{", "not valid JSON"),
        (recipe().to_json().replace('"steps":12', '"steps":100000'), "steps 100000 is above 1000"),
        (recipe().to_json().replace('"schema_version":3', '"schema_version":99'), "newer than this darkroom reads"),
    ):
        with pytest.raises(BadFile, match=said) as caught:
            read_recipe(png(darkroom=text))
        assert "\n" not in str(caught.value)


def test_texts_that_unfold_are_not_unpacked() -> None:
    bomb = zlib.compress(b" " * 100_000_000)
    body = b"darkroom\0\1\0\0\0" + bomb
    chunk = struct.pack(">I", len(body)) + b"iTXt" + body + struct.pack(">I", zlib.crc32(b"iTXt" + body))
    data = png()
    with pytest.raises(BadFile, match="damaged"):
        read_recipe(data[:33] + chunk + data[33:])


def test_xmp_with_declarations_is_not_parsed() -> None:
    lol = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    assert xmp.told(f'<!DOCTYPE x [<!ENTITY l0 "x">{lol}]><x>&l11;</x>'.encode()) is None
    assert xmp.told(b"<x") is None and xmp.told(b"\xff\xfe\0") is None
    assert xmp.told(b"<x>" * 100_000) is None


@pytest.mark.parametrize("format", FORMATS)
def test_broken_files_are_refused_and_never_crash(format: str) -> None:
    data = encode(PIXELS, recipe(), format)
    for cut in range(0, len(data), 13):
        for reader in (read_recipe, read_infotext):
            try:
                reader(data[:cut])
            except BadFile as error:
                assert "\n" not in str(error)
    rng = np.random.default_rng(1)
    for _ in range(200):
        broken = bytearray(data)
        for at in rng.integers(0, len(broken), 3):
            broken[at] = rng.integers(256)
        for reader in (read_recipe, read_infotext):
            with suppress(BadFile):
                reader(bytes(broken))
