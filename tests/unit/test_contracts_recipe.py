"""Recipes: nothing left open, nothing lost on the way through JSON."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from darkroom.contracts.card import Card, Defaults, FileEntry
from darkroom.contracts.errors import BadInput, explain
from darkroom.contracts.prompt import Prompt
from darkroom.contracts.recipe import SCHEMA_VERSION, AdapterUse, Environment, Recipe
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
    said = "recipe schema version 2 is newer than this darkroom reads (1); update darkroom"
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


def test_what_is_drawn_keeps_its_size_and_the_finished_picture_has_its_own() -> None:
    recipe = resolved(upscale=4)
    assert (recipe.width, recipe.height, recipe.final_size) == (128, 192, (512, 768))
    assert resolved().final_size == (128, 192)
    larger = CARD.model_copy(update={"defaults": CARD.defaults.model_copy(update={"upscale": 2})})
    by_card = Recipe.resolve(Request(prompt=Prompt(text="a")), larger, darkroom="0.1.0", environment=ENVIRONMENT)
    assert by_card.upscale == 2
    plain = Recipe.resolve(Request(prompt=Prompt(text="a"), upscale=1), larger, darkroom="0", environment=ENVIRONMENT)
    assert plain.upscale == 1


def test_a_finished_picture_is_bounded_like_a_drawn_one() -> None:
    assert resolved(width=512, height=64, upscale=4).final_size == (2048, 256)
    said = "528x64 upscaled 4 times is larger than 2048 px a side; lower the size or the upscaling"
    with pytest.raises(BadInput) as caught:
        resolved(width=528, height=64, upscale=4)
    assert str(caught.value) == said
    data = {**json.loads(resolved().to_json()), "height": 2048, "upscale": 2}
    with pytest.raises(BadInput, match="128x2048 upscaled 2 times is larger"):
        Recipe.from_json(json.dumps(data))


def test_recipes_and_cards_from_before_there_was_an_upscaler_still_open() -> None:
    recipe = json.loads(resolved().to_json())
    assert recipe.pop("upscale") == 1
    assert Recipe.from_json(json.dumps(recipe)).upscale == 1
    card = json.loads(CARD.to_json())
    assert card["defaults"].pop("upscale") == 1
    assert Card.from_json(json.dumps(card)) == CARD
