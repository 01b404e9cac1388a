"""Start pictures and masks brought to size, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from darkroom.contracts.card import Card, Defaults, FileEntry
from darkroom.contracts.errors import BadInput
from darkroom.contracts.recipe import Environment, PictureFile, Recipe
from darkroom.contracts.request import Request
from darkroom.control.canvas import canvas_of, continued, softened
from darkroom.picture.inputs import Inputs, named
from darkroom.requests.spelling import parse_margins

CARD = Card(
    name="m",
    family="diffusion",
    licence="CC0-1.0",
    defaults=Defaults(width=256, height=256, steps=4, sampler="euler", guidance=3.0, upscale=2),
    files={"upscaler": FileEntry(path="u", sha256="0" * 64, bytes=1)},
)
HERE = Environment(torch="2", threads=1, instruction_set="x", mode="eager", dtype="float32")


def resolved(inputs: Inputs, **asked: Any) -> Recipe:
    request = Request.checked({"prompt": "a fox", **asked})
    brought = {name: inputs.found(asked[name]) for name in ("init_image", "mask") if name in asked}
    return Recipe.resolve(request, CARD, darkroom="0", environment=HERE, **brought)


def of_size(wide: int, high: int, **asked: Any) -> tuple[int, int, int]:
    file = PictureFile(name="x.png", sha256="0" * 64, width=wide, height=high)
    request = Request.checked({"prompt": "a fox", "init_image": "x.png", **asked})
    recipe = Recipe.resolve(request, CARD, darkroom="0", environment=HERE, init_image=file)
    return recipe.width, recipe.height, recipe.upscale


@pytest.mark.parametrize(
    ("size", "found"),
    [
        ((256, 256), (256, 256, 2)),
        ((128, 128), (128, 128, 1)),
        ((250, 170), (256, 160, 2)),
        ((512, 512), (512, 512, 4)),
        ((40, 40), (64, 64, 1)),
        ((100, 20), (96, 64, 1)),
        ((4000, 3000), (832, 640, 4)),  # what the upscaler reaches from twice the area it was trained at
        ((20_000, 10), (2048, 256, 4)),
    ],
)
def test_a_picture_is_drawn_over_at_about_its_own_size(size: tuple[int, int], found: tuple[int, int, int]) -> None:
    assert of_size(*size) == found


def test_a_size_and_an_upscaling_that_are_said_hold() -> None:
    assert of_size(300, 200, width=128, height=128) == (128, 128, 1)
    assert of_size(300, 200, upscale=1)[2] == 1
    assert of_size(256, 256, outpaint={"right": 128}) == (384, 256, 2)


def test_how_much_is_drawn_anew_where_nobody_says() -> None:
    inputs = Inputs()
    picture, mask = inputs.put(np.zeros((64, 64, 3), np.uint8)), inputs.put(np.full((64, 64, 3), 255, np.uint8), "m")
    assert resolved(inputs).strength is None
    assert resolved(inputs, init_image=picture).strength == 0.7
    assert resolved(inputs, init_image=picture, mask=mask).strength == 1.0
    assert resolved(inputs, init_image=picture, outpaint={"left": 64}).strength == 0.9
    assert resolved(inputs, init_image=picture, mask=mask, outpaint={"left": 64}).strength == 1.0
    assert resolved(inputs, init_image=picture, mask=mask, strength=0.2).strength == 0.2


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"strength": 0.5}, r"strength 0.5 needs a picture to start from; give one: init_image, or --init-image"),
        ({"init_image": "a", "outpaint": {"left": 0}}, "outpaint adds nothing on any side"),
        ({"init_image": "a", "mask_blur": 3}, "mask_blur 3 has no edge to soften"),
        ({"variation_seed": 3}, "variation_seed 3 needs to know how far to go there; give a variation such as 0.2"),
        ({"mask": "m.png"}, "mask 'm.png' needs a picture to start from"),
        ({"outpaint": {"left": 8}}, "outpaint needs a picture to start from"),
        ({"init_image": "a", "strength": 1.5}, "strength 1.5 is above 1"),
        ({"init_image": "a", "strength": float("nan")}, "strength"),
        ({"init_image": "a", "mask_blur": -1}, "mask_blur -1 is below 0"),
        ({"init_image": "a", "outpaint": {"left": -8}}, "left -8 is below 0"),
        ({"init_image": ""}, "init_image '' is too short"),
        ({"variation": 2.0}, "variation 2.0 is above 1"),
    ],
)
def test_what_cannot_be_asked_is_said(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Request.checked({"prompt": "a fox", **asked})


def test_a_mask_of_another_size_and_a_black_one_are_refused() -> None:
    inputs = Inputs()
    picture = inputs.put(np.zeros((64, 96, 3), np.uint8), "photo")
    small, black = inputs.put(np.ones((64, 64, 3), np.uint8), "small"), inputs.put(np.zeros((64, 96, 3), np.uint8), "b")
    with pytest.raises(
        BadInput, match=r"the mask small .*, 64x64 is not as large as photo .*, 96x64; scale it to that"
    ):
        resolved(inputs, init_image=picture, mask=small)
    with pytest.raises(BadInput, match="is black everywhere; paint white what is to be drawn"):
        canvas_of(resolved(inputs, init_image=picture, mask=black), inputs)


def test_pictures_that_are_none_are_refused() -> None:
    for wrong in (np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4, 3), np.uint8), "no array"):
        with pytest.raises(BadInput, match="is not a uint8 array"):
            Inputs().put(wrong)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="is not a uint8 array"):
        named(Inputs(), 7)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("left=64", {"left": 64}),
        (" left = 64 , top=8", {"left": 64, "top": 8}),
        ("32", {"left": 32, "top": 32, "right": 32, "bottom": 32}),
    ],
)
def test_margins_are_read(text: str, found: dict[str, int]) -> None:
    assert parse_margins(text) == found


@pytest.mark.parametrize("text", ["", "left", "left=", "up=3", "left=3,left=4", "left=-3", "left=3;top=4", "1.5"])
def test_margins_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"is not sides \(left, top, right, bottom\) with a number of pixels"):
        parse_margins(text)


def test_a_soft_edge_lies_within_the_mask_and_loses_nothing_of_it() -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    soft = softened(mask, 8)
    assert not soft[:, :32].any() and (soft[:, 40:] == 255).all()
    assert (np.diff(soft[20, 31:40].astype(int)) > 0).all()
    assert np.array_equal(softened(mask, 0), mask) and np.array_equal(softened(mask, 1), mask)
    for whole in (np.full((64, 64), 255, np.uint8), np.full((64, 64), 100, np.uint8)):
        assert np.array_equal(softened(whole, 20), whole)  # the picture's own edge is none, and grey is grey
    line = np.zeros((64, 64), np.uint8)
    line[10, 5:60] = 255
    assert np.array_equal(softened(line, 256) > 0, line > 0)


def test_names_of_folders_are_no_names_of_pictures() -> None:
    for name in ("../x.png", "a/b.png", "..", "a\\b.png"):
        with pytest.raises(BadInput, match="names a folder; give the file's own name"):
            PictureFile.checked({"name": name, "sha256": "0" * 64, "width": 1, "height": 1})


def test_what_is_drawn_and_cut_away_is_refused() -> None:
    inputs = Inputs()
    asked = {"init_image": inputs.put(np.zeros((64, 64, 3), np.uint8)), "outpaint": {"left": 64, "right": 64}}
    with pytest.raises(BadInput, match="the parts to be drawn lie outside of 64x64, to which the picture is cut"):
        canvas_of(resolved(inputs, **asked, width=64, height=64), inputs)


def test_a_picture_like_a_thread_is_cut_before_it_is_scaled() -> None:
    inputs = Inputs()
    thread = inputs.put(np.full((3, 30_000, 3), 80, np.uint8))  # scaled first it would be 20 million pixels wide
    canvas = canvas_of(resolved(inputs, init_image=thread, width=2048, height=2048), inputs)
    assert canvas is not None and canvas.pixels.shape == (2048, 2048, 3)


def test_a_grey_mask_of_numpy_will_do() -> None:
    inputs = Inputs()
    mask = np.zeros((64, 64), np.uint8)
    mask[8:, :] = 255
    assert inputs.found(inputs.put(mask)).size == (64, 64)


def test_the_cells_of_a_latent_that_hold_any_drawn_pixel() -> None:
    inputs = Inputs()
    mask = np.zeros((64, 64, 3), np.uint8)
    mask[9, 40] = 255
    asked = {"init_image": inputs.put(mask[::-1].copy()), "mask": inputs.put(mask, "m"), "width": 64, "height": 64}
    canvas = canvas_of(resolved(inputs, **asked, mask_blur=0), inputs)
    assert canvas is not None
    touched = canvas.touched(8, 8)
    assert touched is not None and touched.sum() == 1 and touched[1, 5]


def test_margins_begin_with_the_colours_beside_them() -> None:
    inputs = Inputs()
    halves = np.zeros((64, 64, 3), np.uint8)
    halves[:, :32], halves[:, 32:] = (200, 40, 40), (40, 40, 200)
    asked = {"init_image": inputs.put(halves), "outpaint": {"left": 64, "right": 64}}
    canvas = canvas_of(resolved(inputs, **asked, width=192, height=64, upscale=1), inputs)
    assert canvas is not None and canvas.drawn is not None
    assert np.array_equal(canvas.pixels[:, 64:128], halves)
    red, blue = canvas.pixels[:, 48:64].astype(int), canvas.pixels[:, 128:144].astype(int)  # further off, the mean
    assert (red[..., 0] > red[..., 2]).all() and (blue[..., 2] > blue[..., 0]).all()
    assert abs(red[:, -1] - halves[:, 0]).max() < 30  # no edge where they meet


def test_a_continuation_leaves_what_is_known_and_is_smooth() -> None:
    known = np.zeros((37, 50), bool)
    known[5, 7] = known[30, 45] = True
    pixels = np.random.default_rng(0).integers(0, 256, (37, 50, 3), np.uint8)
    found = continued(pixels, known).astype(int)
    assert np.array_equal(found[known], pixels[known])
    low, high = pixels[known].min(0), pixels[known].max(0)
    assert (found >= low).all() and (found <= high).all()


def test_what_shines_through_is_white_in_a_picture_and_kept_in_a_mask() -> None:
    inputs = Inputs()
    clear = np.zeros((64, 64, 4), np.uint8)
    mask = np.full((64, 64, 4), 255, np.uint8)
    mask[:, :32, 3] = 0
    asked = {"init_image": inputs.put(clear), "mask": inputs.put(mask, "m"), "width": 64, "height": 64}
    canvas = canvas_of(resolved(inputs, **asked, mask_blur=0), inputs)
    assert canvas is not None and canvas.drawn is not None
    assert (canvas.pixels == 255).all()
    assert not canvas.drawn[:, :32].any() and (canvas.drawn[:, 32:] == 255).all()


def test_a_picture_of_another_shape_is_scaled_and_cut_in_the_middle() -> None:
    inputs = Inputs()
    stripes = np.zeros((64, 192, 3), np.uint8)
    stripes[:, 64:128] = 255
    asked = {"init_image": inputs.put(stripes), "width": 64, "height": 64}
    canvas = canvas_of(resolved(inputs, **asked), inputs)
    assert canvas is not None and canvas.drawn is None and (canvas.pixels == 255).all()
