"""parse(write(x)) == x for whatever a prompt, a name or a number may hold."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.contracts.prompt import Prompt
from darkroom.contracts.recipe import (
    AdapterUse,
    Answered,
    Environment,
    GuideUse,
    PictureFile,
    Recipe,
    RefinerUse,
    Verdict,
)
from darkroom.contracts.refinement import chain_text, parse_chain
from darkroom.contracts.request import MAX_SEED, MAX_SIDE, Margins, Request
from darkroom.contracts.steering import Region, Swap, Toward
from darkroom.picture.infotext import infotext, parse_infotext
from darkroom.picture.metadata import read_infotext, read_recipe
from darkroom.picture.write import encode
from tests.chains import CHAINS

EXAMPLES = int(os.environ.get("DARKROOM_EXAMPLES", "300"))  # `make test-all` takes 10,000
PIXELS = np.zeros((2, 2, 3), np.uint8)

# Pieces that mean something to one of the formats, mixed into any text
PIECES = st.sampled_from(
    [
        *("Negative prompt:", "\nNegative prompt: ", "\nSteps: 4, Sampler: x, Seed: 1", "Darkroom prompt: ", "a fox"),
        *("\n", "\r\n", "\t", " ", ", ", ": ", '"', "\\", "'", "{", "}", "&amp;", "<!", "]]>", "<rdf:RDF>"),
        *("🦊", "狐", "\u202e", "\u2028", "\x85", "\x1b", "\ufeff", "\uffff"),
    ]
)
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXT = st.lists(PIECES | st.text(CHARACTERS, max_size=20)).map("".join)
NAMES = TEXT.map(lambda s: "".join(c for c in s if c.isprintable())[:200]).filter(bool)
HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)
SIDES = st.integers(4, 128).map(lambda n: 16 * n)
FILE_NAMES = NAMES.map(lambda name: name.replace("/", "").replace("\\", "")).filter(lambda name: name not in ("", ".."))
ADAPTERS = st.builds(AdapterUse, name=FILE_NAMES, sha256=HASHES, scale=st.floats(-10, 10))

VERDICTS = st.builds(
    Verdict,
    judge=HASHES,
    facts=st.lists(
        st.builds(Answered, kind=NAMES, text=TEXT, answer=st.sampled_from(["yes", "no", "cannot tell"])), max_size=3
    ).map(tuple),
    tried=st.integers(1, 10_000),
)
SPOKEN = TEXT.filter(lambda s: bool(s.strip()))
REGIONS = st.builds(
    lambda prompt, left, top: Region(prompt=prompt, left=left, top=top, right=left + 0.3, bottom=top + 0.06),
    SPOKEN,
    st.floats(0, 0.7),
    st.floats(0, 0.9),
)
STEERED = {
    "regions": st.none() | st.lists(REGIONS, max_size=3).map(tuple),
    "toward": st.none() | st.builds(Toward, prompt=SPOKEN, share=st.floats(0, 1)),
    "swap": st.none() | st.builds(Swap, old=SPOKEN, new=TEXT, strength=st.floats(0, 1)),
    "tile": st.sampled_from([None, "across", "down", "both"]),
}
DRAWN = st.builds(
    Recipe,
    **STEERED,
    prompt=st.builds(Prompt, text=SPOKEN, negative=TEXT),
    seed=st.integers(0, MAX_SEED),
    width=SIDES,
    height=SIDES,
    steps=st.integers(1, 1000),
    sampler=NAMES,
    guidance=st.floats(0, 30),
    style=st.none() | NAMES,
    guidance_method=NAMES,
    guidance_rescale=st.floats(0, 1),
    guidance_interval=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted).map(tuple),
    guidance_threshold=st.none() | st.floats(0.1, 1),
    spacing=NAMES,
    shift=st.none() | st.floats(0.1, 100),
    model=NAMES,
    model_hash=HASHES,
    adapters=st.lists(ADAPTERS, max_size=2).map(tuple),
    refine=st.just(()) | CHAINS,
    darkroom=NAMES,
    verdict=st.none() | VERDICTS,
    environment=st.builds(
        Environment,
        torch=NAMES,
        threads=st.integers(1, 64),
        instruction_set=NAMES,
        mode=st.sampled_from(["eager", "compiled"]),
        dtype=st.sampled_from(["float32", "bfloat16", "float16"]),
        device=NAMES,
    ),
)


def enlarged(recipe: Recipe, upscale: int, hires: float | None) -> Recipe:
    """The recipe with its picture so much larger, if it may be."""
    if max(recipe.width, recipe.height) * upscale > MAX_SIDE:
        return recipe
    larger = {"width": recipe.width * upscale, "height": recipe.height * upscale}
    return recipe.model_copy(update={**larger, "upscale": upscale, "hires": hires if upscale > 1 else None})


def varied(recipe: Recipe, share: float, seed: int) -> Recipe:
    """The recipe with the noise between its seed's and another's."""
    return recipe.model_copy(update={"variation": share, "variation_seed": seed})


def led(recipe: Recipe, guide: GuideUse) -> Recipe:
    """The recipe led away from a weaker model, in place of what it does not want."""
    plain = recipe.prompt.model_copy(update={"negative": ""})
    return recipe.model_copy(update={"prompt": plain, "guide": guide})


def finished(recipe: Recipe, refiner: RefinerUse) -> Recipe:
    """The recipe finished by another model."""
    return recipe.model_copy(update={"refiner": refiner})


def begun(recipe: Recipe, start: PictureFile, mask: PictureFile | None, strength: float, margins: Margins) -> Recipe:
    """The recipe of a picture that began with another."""
    fitting = None if mask is None else mask.model_copy(update={"width": start.width, "height": start.height})
    told = {"init_image": start, "mask": fitting, "strength": strength, "outpaint": margins}
    told |= {"mask_blur": 9} if mask or margins else {}
    return Recipe.checked({**dict(recipe), **told})


FILES = st.builds(PictureFile, name=FILE_NAMES, sha256=HASHES, width=st.integers(1, 9999), height=st.integers(1, 9999))
MARGINS = st.builds(Margins, left=st.integers(1, 2048), bottom=st.integers(0, 2048))
PLAIN = st.builds(enlarged, DRAWN, st.sampled_from([1, 2, 4]), st.none() | st.floats(0, 1))
GUIDES = st.builds(GuideUse, name=NAMES, model_hash=HASHES)
REFINERS = st.builds(RefinerUse, name=NAMES, model_hash=HASHES, at=st.floats(0, 1))
ALONE = PLAIN | st.builds(led, PLAIN, GUIDES) | st.builds(finished, PLAIN, REFINERS)
ALONE |= st.builds(varied, PLAIN, st.floats(0, 1), st.integers(0, MAX_SEED))
RECIPES = ALONE | st.builds(begun, ALONE, FILES, st.none() | FILES, st.floats(0, 1), st.none() | MARGINS)
BROUGHT = ("init_image", "mask", "guide", "refiner", "refine")


@pytest.mark.timeout(60 + EXAMPLES // 4)  # 50 ms a recipe, on a machine that does other things five times as long
@given(RECIPES)
@settings(max_examples=EXAMPLES)
def test_a_recipe_comes_back_out_of_all_it_is_written_into(recipe: Recipe) -> None:
    """One test for all of them: to make a recipe up takes longer than to write and read it."""
    comes_back_out_of_json_and_of_its_request(recipe)
    for format in ("png", "jpg", "webp"):
        comes_back_out_of_a_picture(recipe, format)
    comes_back_out_of_an_infotext(recipe)


def comes_back_out_of_json_and_of_its_request(recipe: Recipe) -> None:
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert Recipe.from_json(recipe.to_json(ascii_only=True)) == recipe
    assert json.loads(recipe.to_json()) == json.loads(recipe.to_json(ascii_only=True))
    request = recipe.request()
    again = {name: value for name, value in request if name in Recipe.model_fields and name not in BROUGHT}
    assert {name: getattr(recipe, name) for name in again} == again
    for name in ("init_image", "mask", "guide"):
        assert getattr(request, name) == getattr(getattr(recipe, name), "name", None)
    assert request.refiner == (None if recipe.refiner is None else recipe.refiner.asked())
    assert parse_chain(chain_text(recipe.refine)) == request.refine
    assert not recipe.request().judged  # the picture is drawn again, not judged again


def comes_back_out_of_a_picture(recipe: Recipe, format: str) -> None:
    data = encode(PIXELS, recipe, format)
    assert read_recipe(data) == recipe
    read = read_infotext(data)
    assert read is not None and (read.prompt, read.negative) == (recipe.prompt.text, recipe.prompt.negative)


def comes_back_out_of_an_infotext(recipe: Recipe) -> None:
    read = parse_infotext(infotext(recipe))
    assert (read.prompt, read.negative) == (recipe.prompt.text, recipe.prompt.negative)
    assert read.settings["Sampler"] == recipe.sampler and read.settings["Model"] == recipe.model
    assert read.settings["Version"] == f"darkroom {recipe.darkroom}"
    assert read.settings.get("Style") == recipe.style
    assert ("Refiner" in read.settings) == (recipe.refiner is not None)
    begun = (
        "init_image",
        "mask",
        "guide",
        "refiner",
        "strength",
        "outpaint",
        "mask_blur",
        "refine",
        "lora",
    )  # no such file
    # no such file is in the text
    left_out = {name: Request.model_fields[name].default for name in begun}
    assert read.request() == recipe.request().model_copy(update={"model": "default", **left_out})


@given(TEXT)
@settings(max_examples=EXAMPLES)
def test_any_text_has_a_reading(text: str) -> None:
    read = parse_infotext(text)
    assert len(read.prompt) + len(read.negative) <= len(text)
