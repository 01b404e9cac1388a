"""Recipes: nothing left open, nothing lost on the way through JSON."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from darkroom.contracts.card import UPSCALER, Card, Defaults, FileEntry
from darkroom.contracts.errors import BadInput, explain
from darkroom.contracts.prompt import Prompt
from darkroom.contracts.recipe import SCHEMA_VERSION, AdapterUse, ControlUse, Environment, Recipe
from darkroom.contracts.refinement import PictureFile
from darkroom.contracts.request import Request

ENVIRONMENT = Environment(torch="2.13.0+cpu", threads=2, instruction_set="AVX512", mode="eager", dtype="bfloat16")
CARD = Card(
    name="everyday",
    family="diffusion",
    licence="Apache-2.0",
    defaults=Defaults(width=128, height=192, steps=8, sampler="heun", guidance=3.5),
    files={"denoiser": FileEntry(path="denoiser.safetensors", sha256="1" * 64, bytes=10)},
)


def resolved(**asked: object) -> Recipe:
    request = Request.model_validate({"prompt": "a fox", **asked})
    return Recipe.resolve(request, CARD, darkroom="0.1.0", environment=ENVIRONMENT)


def test_the_card_fills_what_the_request_leaves_open() -> None:
    recipe = resolved(seed=7, steps=4)
    assert (recipe.width, recipe.height, recipe.sampler, recipe.guidance) == (128, 192, "heun", 3.5)
    assert (recipe.seed, recipe.steps, recipe.style) == (7, 4, None)
    assert (recipe.model, recipe.model_hash) == ("everyday", CARD.model_hash)


def test_zeros_are_not_taken_for_nothing() -> None:
    recipe = resolved(seed=0, guidance=0.0)
    assert (recipe.seed, recipe.guidance) == (0, 0.0)


def test_a_seed_nobody_gave_is_drawn_anew() -> None:
    assert len({resolved().seed for _ in range(20)}) == 20


def test_the_request_comes_back() -> None:
    request = Request(
        prompt=Prompt(text="a fox", negative="blurry"),
        seed=2**63 - 1,
        width=64,
        height=2048,
        steps=1000,
        sampler="euler",
        guidance=0.1 + 0.2,
        guidance_method="projected",
        guidance_rescale=0.5,
        guidance_interval=(0.0, 0.9),
        guidance_threshold=0.99,
        spacing="karras",
        shift=2.5,
        style="3d",
        upscale=1,
        model="everyday",
    )
    recipe = Recipe.resolve(request, CARD, darkroom="0.1.0", environment=ENVIRONMENT)
    assert recipe.request() == request
    again = Recipe.resolve(recipe.request(), CARD, darkroom="0.1.0", environment=ENVIRONMENT)
    assert again == recipe


def test_json_loses_nothing() -> None:
    adapters = (AdapterUse(name="line", sha256="2" * 64, scale=-0.1), AdapterUse(name="b", sha256="3" * 64))
    recipe = resolved(seed=2**63 - 1, guidance=0.1 + 0.2, prompt='"é狐🦊"\r\n\t\x1b\u2028').model_copy(
        update={"adapters": adapters}
    )
    for text in (recipe.to_json(), recipe.to_json(ascii_only=True)):
        assert Recipe.from_json(text) == recipe
        assert "\n" not in text
    assert recipe.to_json(ascii_only=True).isascii()


def test_a_newer_recipe_says_so() -> None:
    data = {**json.loads(resolved().to_json()), "schema_version": SCHEMA_VERSION + 1, "invented_later": 1}
    said = "recipe schema version 4 is newer than this darkroom reads (3); update darkroom"
    with pytest.raises(BadInput) as caught:
        Recipe.from_json(json.dumps(data))
    assert str(caught.value) == said
    with pytest.raises(ValidationError) as invalid:
        Recipe.model_validate(data)
    assert explain(invalid.value) == said


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "7", "[" * 100_000, '{"prompt": "a fox"}', "\ud800", "x" * 5_000_000]
)
def test_what_is_no_recipe_is_one_sentence(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        Recipe.from_json(text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_hashes_are_hashes() -> None:
    data = {**json.loads(resolved().to_json()), "model_hash": "ABC"}
    with pytest.raises(BadInput, match="model_hash 'ABC' does not match"):
        Recipe.from_json(json.dumps(data))


def sizes(asked: dict[str, int], card: Card) -> tuple[int, int, int]:
    recipe = Recipe.resolve(Request(prompt=Prompt(text="a"), **asked), card, darkroom="0.1.0", environment=ENVIRONMENT)
    assert recipe.request().upscale == recipe.upscale and recipe.request().width == recipe.width
    return recipe.width, recipe.height, recipe.upscale


def trained_at(width: int, height: int, *, upscale: int = 2) -> Card:
    """A card of a model with an upscaler."""
    entry = FileEntry(path="u", sha256="0" * 64, bytes=1)
    defaults = CARD.defaults.model_copy(update={"width": width, "height": height, "upscale": 1}).enlarged(upscale)
    return CARD.model_copy(update={"defaults": defaults, "files": {"upscaler": entry}})


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, (256, 256, 2)),
        ({"upscale": 1}, (128, 128, 1)),
        ({"upscale": 4}, (512, 512, 4)),
        ({"width": 128, "height": 128}, (128, 128, 1)),
        ({"width": 512, "height": 512}, (512, 512, 4)),
        ({"width": 2048, "height": 2048}, (2048, 2048, 4)),
        ({"width": 256, "height": 192}, (256, 192, 2)),
        ({"width": 384}, (384, 256, 2)),
        ({"width": 192, "height": 192}, (192, 192, 2)),  # 96 is nearer to 128 than 192 is
        ({"width": 160, "height": 160}, (160, 160, 1)),  # 80 is not
        ({"width": 272, "height": 272}, (272, 272, 1)),  # 136 is no multiple of 16
        ({"width": 512, "height": 512, "upscale": 1}, (512, 512, 1)),
        ({"width": 256, "height": 256, "upscale": 4}, (256, 256, 4)),
    ],
)
def test_a_size_is_that_of_the_finished_picture(asked: dict[str, int], found: tuple[int, int, int]) -> None:
    assert sizes(asked, trained_at(128, 128)) == found


def test_without_an_upscaler_nothing_is_drawn_smaller() -> None:
    for asked in ({"width": 512, "height": 512}, {"width": 64}, {}):
        width, height, upscale = sizes(asked, CARD)
        assert upscale == 1
        assert (width, height) == (asked.get("width", CARD.defaults.width), asked.get("height", CARD.defaults.height))
    small = trained_at(128, 96, upscale=1)
    assert sizes({}, small) == (128, 96, 1) and sizes({"width": 256, "height": 192}, small) == (256, 192, 2)


def test_a_drawing_is_bounded_like_a_finished_picture() -> None:
    assert resolved(width=2048, height=256, upscale=4).drawn == (512, 64)
    said = (
        "2048x192 upscaled 4 times would be drawn at 512x48, and a drawing's sides are multiples of 16 from 64 on; "
        "try 2048x256, or less upscaling"
    )
    with pytest.raises(BadInput) as caught:
        resolved(width=2048, height=192, upscale=4)
    assert str(caught.value) == said
    data = {**json.loads(resolved().to_json()), "height": 2032, "upscale": 2}
    with pytest.raises(BadInput, match="128x2032 upscaled 2 times would be drawn at 64x1016"):
        Recipe.from_json(json.dumps(data))
    defaults = json.loads(CARD.defaults.to_json())
    with pytest.raises(BadInput, match="would be drawn at 72x"):
        Defaults.from_json(json.dumps({**defaults, "width": 144, "upscale": 2}))


def test_a_recipe_of_the_first_version_told_the_size_of_the_drawing() -> None:
    first = {**json.loads(resolved().to_json()), "schema_version": 1, "width": 128, "height": 96, "upscale": 4}
    recipe = Recipe.from_json(json.dumps(first))
    assert (recipe.width, recipe.height, recipe.drawn) == (512, 384, (128, 96))
    assert Recipe.from_json(recipe.to_json()) == recipe
    told = {**first, "prompt": {"text": "a (red:2) fox", "negative": "{b}"}}  # brackets were brackets then
    assert Recipe.from_json(json.dumps(told)).prompt == Prompt(text=r"a \(red\:2\) fox", negative=r"\{b\}")
    del first["upscale"]
    assert Recipe.from_json(json.dumps(first)).drawn == (128, 96)
    with pytest.raises(BadInput, match="width"):
        Recipe.from_json(json.dumps({**first, "width": "wide"}))


def test_recipes_and_cards_from_before_there_was_an_upscaler_still_open() -> None:
    recipe = json.loads(resolved().to_json())
    assert recipe.pop("upscale") == 1
    assert Recipe.from_json(json.dumps(recipe)).upscale == 1
    card = json.loads(CARD.to_json())
    assert card["defaults"].pop("upscale") == 1
    assert Card.from_json(json.dumps(card)) == CARD


@pytest.mark.parametrize(
    ("map_size", "upscale", "size"),
    [
        ((128, 85), None, (320, 224)),  # smaller than what the card draws: its shape
        ((85, 128), None, (224, 320)),
        ((128, 128), 1, (128, 128)),
        ((512, 256), None, (512, 256)),  # larger: as large
        ((16, 640), None, (128, 1632)),
    ],
)
def test_a_control_map_gives_a_picture_its_shape(
    map_size: tuple[int, int], upscale: int | None, size: tuple[int, int]
) -> None:
    entry = FileEntry(path="upscaler.safetensors", sha256="0" * 64, bytes=1)
    drawn = Defaults(width=256, height=256, upscale=2, steps=12, sampler="euler", guidance=3.0)
    card = CARD.model_copy(update={"defaults": drawn, "files": {**CARD.files, UPSCALER: entry}})
    map_ = PictureFile(name="map.png", sha256="1" * 64, width=map_size[0], height=map_size[1])
    use = ControlUse(name="edges.safetensors", sha256="2" * 64, map=map_)
    request = Request.checked({"prompt": "a fox", "upscale": upscale})
    recipe = Recipe.resolve(request, card, darkroom="0", environment=ENVIRONMENT, controls=(use,))
    assert (recipe.width, recipe.height) == size
