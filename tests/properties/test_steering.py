"""Regions, another prompt, swaps, edges that meet, a second pass: identities on pixels, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from darkroom.contracts.errors import BadInput
from darkroom.contracts.recipe import Recipe
from darkroom.contracts.request import Request
from darkroom.control.passes import evaluations_of
from darkroom.engine import Engine
from darkroom.generate import Moment, picture, run
from darkroom.model import Model
from darkroom.picture.image import Image
from darkroom.picture.inputs import Inputs
from darkroom.picture.metadata import read_recipe
from darkroom.wording.parse import swapped
from tests.tiny import tiny_model

PROMPT = "a red fox and a green tree"
STEERED: dict[str, dict[str, Any]] = {
    "plain": {},
    "regions": {"regions": ["left: a red fox", "0.5,0,1,60%: a green tree"]},
    "toward": {"toward": "two blue cats:0.4"},
    "swap": {"swap": "red->blue:0.6"},
    "tile": {"tile": "both", "sampler": "heun"},
    "hires": {"hires": 0.5, "upscale": 2, "width": 128, "height": 128},
    "all": {
        "regions": "top half: snow",
        "toward": "a cat",
        "swap": "fox->cat",
        "tile": "across",
        "hires": 0.4,
        "upscale": 2,
        "width": 128,
        "height": 128,
        "sampler": "euler-a",
    },
}


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


def resolved(model: Model, inputs: Inputs | None = None, **asked: Any) -> Recipe:
    told = {"prompt": PROMPT, "seed": 3, "width": 96, "height": 64, "upscale": 1, **asked}
    return model.resolve(Request.checked(told), inputs or Inputs())


def pixels(model: Model, inputs: Inputs | None = None, **asked: Any) -> np.ndarray:
    return run(picture(resolved(model, inputs, **asked), model, inputs=inputs), model.evaluate).pixels


@pytest.mark.parametrize(
    "nothing",
    [
        {"swap": "red->blue:0"},
        {"toward": "two blue cats:0"},
        {"regions": f"0,0,1,1: {PROMPT}"},
        {"regions": [f"left: {PROMPT}"], "guidance": 1.0, "regions_of": "moved"},
    ],
)
def test_what_says_nothing_changes_nothing(model: Model, nothing: dict[str, Any]) -> None:
    if nothing.pop("regions_of", None):  # the same words about a moved picture are another estimate
        assert not np.array_equal(pixels(model, guidance=1.0), pixels(model, **nothing))
    else:
        assert np.array_equal(pixels(model), pixels(model, **nothing))


def test_no_second_pass_is_the_picture_enlarged(model: Model) -> None:
    size = {"upscale": 2, "width": 128, "height": 128}
    assert np.array_equal(pixels(model, **size), pixels(model, hires=0.0, **size))


def test_all_the_way_toward_another_prompt_is_that_one(model: Model) -> None:
    assert np.array_equal(pixels(model, toward="two blue cats:1"), pixels(model, prompt="two blue cats"))


@pytest.mark.parametrize("name", [name for name in STEERED if name != "plain"])
def test_each_changes_the_picture(model: Model, name: str) -> None:
    size = {key: STEERED[name][key] for key in ("upscale", "width", "height") if key in STEERED[name]}
    assert not np.array_equal(pixels(model, **size), pixels(model, **STEERED[name]))


def test_all_of_them_together_are_each_alone(model: Model) -> None:
    asked = [told | {"guidance": g} for told in STEERED.values() for g in (1.0, 3.0)]
    recipes = [resolved(model, **told) for told in asked]
    found = {
        outcome.index: outcome.result.pixels
        for outcome in Engine[Image](model.evaluate).run(picture(recipe, model) for recipe in recipes)
        if outcome.result is not None
    }
    assert len(found) == len(asked)
    for i, recipe in enumerate(recipes):
        assert np.array_equal(found[i], run(picture(recipe, model), model.evaluate).pixels), asked[i]


def test_a_recipe_out_of_a_picture_gives_it_again(model: Model, tmp_path: Any) -> None:
    image = run(picture(resolved(model, **STEERED["all"]), model), model.evaluate)
    again = read_recipe(image.save(tmp_path / "all.png"))
    assert again == image.recipe
    assert np.array_equal(run(picture(again, model), model.evaluate).pixels, image.pixels)
    asked = model.resolve(again.request())
    assert asked.regions == again.regions and asked.swap == again.swap and asked.toward == again.toward


def test_what_is_kept_stays_in_every_pass(model: Model) -> None:
    inputs, blocks = (
        Inputs(),
        np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8).repeat(8, 0).repeat(8, 1),
    )
    mask = np.zeros((128, 128, 3), np.uint8)
    mask[:, 64:] = 255
    brought = {"init_image": inputs.put(blocks), "mask": inputs.put(mask, "mask"), "mask_blur": 0}
    drawn = pixels(model, inputs, **brought, **STEERED["all"])
    assert np.array_equal(drawn[:, :64], blocks[:, :64]) and not np.array_equal(drawn[:, 64:], blocks[:, 64:])


@pytest.mark.parametrize("name", STEERED)
def test_progress_counts_every_pass(model: Model, name: str) -> None:
    recipe, seen = resolved(model, **STEERED[name]), []
    run(picture(recipe, model, lambda moment: seen.append(moment)), model.evaluate)
    steps = [moment for moment in seen if isinstance(moment, Moment) and moment.stage == "synthesise"]
    assert [(m.step, m.steps) for m in steps] == [(i, len(steps)) for i in range(1, len(steps) + 1)]
    assert len(steps) == evaluations_of(recipe) > 0


def test_choices_in_regions_and_swaps_are_made_by_the_seed(model: Model) -> None:
    asked = {"regions": "left: a {red|blue|green} fox", "swap": "red->{blue|green}", "toward": "{a|two} cats"}
    recipes = [resolved(model, seed=seed, **asked) for seed in range(12)]
    said = [(r.regions[0].prompt, r.swap.new, r.toward.prompt) for r in recipes if r.regions and r.swap and r.toward]
    assert not any("{" in text for texts in said for text in texts)
    assert [len({texts[i] for texts in said}) for i in range(3)] == [3, 2, 2]
    assert resolved(model, seed=5, **asked).regions == recipes[5].regions


@pytest.mark.parametrize(
    ("prompt", "left_out", "left"),
    [
        ("a fox and a tree", "tree", "a fox"),
        ("a fox and a tree", "Fox", "a tree"),
        ("a fox, a tree, the cat", "tree", "a fox, the cat"),
        ("a fox and a tree on a hill", "tree", "a fox on a hill"),
        ("a cat with a hat, 3d", "hat", "a cat, 3d"),
        ("a fox and a tree house", "tree", "a fox and a house"),
        ("a red fox and a treetop", "red", "a fox and a treetop"),
        ("trees and a tree", "tree", "trees"),
        ("a red fox and a green tree", "fox", "a green tree"),
        ("a cat on a book", "book", "a cat"),
        ("a fox, and a tree", "tree", "a fox"),
        ("two cats to the left of a dog", "cats", "a dog"),
        ("a fox in front of a tree!", "tree", "a fox!"),
        ("the red and blue fox", "red", "the and blue fox"),
    ],
)
def test_a_thing_that_is_left_out_goes_with_its_article(prompt: str, left_out: str, left: str) -> None:
    assert " ".join(swapped(prompt, left_out, "").split()) == left


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"swap": "yellow->blue"},
            "the swap of 'yellow' swaps words that are not in the prompt 'a red fox and a green",
        ),
        ({"swap": "re->blue"}, "not in the prompt"),
        ({"swap": f"{PROMPT}->"}, "leaves nothing to draw"),
        ({"swap": "red"}, 'write "blue->stormy"'),
        ({"swap": "red->blue:1.5"}, "swap.strength 1.5 is above 1"),
        ({"swap": "red->" + "x " * 15_999, "prompt": "red red red"}, "over 32000 characters"),
        ({"toward": " "}, "is blank"),
        ({"toward": "a cat:7"}, "toward.share 7"),
        ({"regions": "a cat"}, "does not say where and what"),
        ({"regions": "left:"}, "is blank"),
        ({"regions": "behind: a cat"}, "write one of left half, right half"),
        ({"regions": "0,0,120%,1: a cat"}, "reaches outside the picture"),
        ({"regions": "0.5,0,0.5,1: a cat"}, "less than 5% wide or high"),
        ({"regions": ["left: a cat"] * 17}, "regions"),
        ({"tile": "sideways"}, "tile 'sideways'"),
        ({"hires": 0.3}, "draws anew what was enlarged, and nothing is; add upscale 2"),
        ({"hires": 1.3, "upscale": 2}, "hires 1.3 is above 1"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(model: Model, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as caught:
        resolved(model, **asked)
    assert said in str(caught.value)
