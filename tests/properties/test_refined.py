"""Steps on finished pictures: what changes nothing changes no bit, and what is drawn with steps is drawn again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from darkroom.contracts.errors import BadFile, BadInput
from darkroom.contracts.recipe import Recipe
from darkroom.contracts.refinement import Chain, Lut, Match, Step, Upscale, parse_chain
from darkroom.contracts.request import Request
from darkroom.engine import Engine
from darkroom.generate import Moment, picture, run
from darkroom.model import Model
from darkroom.picture.image import Image
from darkroom.picture.inputs import Inputs
from darkroom.picture.metadata import read_recipe
from darkroom.refine.chain import refined, size_after
from darkroom.refine.grading import saturated
from tests.chains import CHAINS
from tests.tiny import tiny_model

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
REFERENCE = np.random.default_rng(1).integers(90, 256, (20, 30, 3), np.uint8)


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """With a reference picture and a table, by their names in ``files``."""
    return Inputs()


@pytest.fixture(scope="module")
def files(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    table = tmp_path_factory.mktemp("tables") / "film.cube"
    table.write_bytes(b"LUT_1D_SIZE 3\n0 0 0.1\n0.4 0.5 0.6\n1 0.9 0.9\n")
    return {"lut": str(table), "match": inputs.put(REFERENCE, "reference")}


def applied(pixels: np.ndarray, steps: Chain, inputs: Inputs, model: Model) -> np.ndarray:
    found: np.ndarray = run(refined(pixels, inputs.steps(steps), inputs, model.upscaler), model.evaluate)
    return found


@pytest.mark.parametrize(
    "chain",
    [
        "",
        "clean=0",
        "exposure=0",
        "white-balance=6504",
        "curve=0:0 0.3:0.3 1:1",
        "contrast=1",
        "saturation=1",
        "lut=FILE:0",
        "match=FILE:0",
        "sharpen=0",
        "crop=4:3",
        "crop=64x48+0+0",
        "resize=64",
        "resize=64x48",
        "round",
        "exposure=0, contrast=1, round, saturation=1, sharpen=0:3, clean=0, resize=64",
    ],
)
def test_what_is_neutral_changes_no_bit(chain: str, inputs: Inputs, files: dict[str, str], model: Model) -> None:
    name = files["lut" if "lut" in chain else "match"]
    steps = parse_chain(chain.replace("FILE", f'"{name}"'))
    assert np.array_equal(applied(PIXELS, steps, inputs, model), PIXELS)


@given(steps=CHAINS)
@settings(max_examples=120, suppress_health_check=[HealthCheck.filter_too_much])
def test_every_chain_gives_a_picture_of_the_size_it_says(
    steps: tuple[Step, ...], inputs: Inputs, files: dict[str, str], model: Model
) -> None:
    """Or is refused before; the tables and pictures are those at hand."""
    own: list[Any] = []
    for step in steps:
        if isinstance(step, Lut | Match):
            step = step.model_copy(update={"file": files[step.step]})
        own.append(step)
    try:
        width, height = size_after(own, (24, 16))
    except BadInput:
        return
    if max(width, height) > 600 or width * height > 90_000 or any(isinstance(s, Upscale) for s in own[:-1]):
        return  # it would take long
    found = applied(PIXELS[:16, :24], tuple(own), inputs, model)
    assert found.shape == (height, width, 3) and found.dtype == np.uint8
    assert np.array_equal(found, applied(PIXELS[:16, :24].copy(), tuple(own), inputs, model))


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (3, 2)])
def test_small_pictures_are_refined(size: tuple[int, int], inputs: Inputs, files: dict[str, str], model: Model) -> None:
    chain = "clean=0.1, exposure=1, white-balance, curve=0:0.1 1:0.9, contrast=2, saturation=2, sharpen=2:3, resize=9"
    pixels = PIXELS[: size[0], : size[1]]
    for steps in (parse_chain(chain), (Lut(file=files["lut"]), Match(file=files["match"]), Upscale())):
        assert applied(pixels, steps, inputs, model).size > 0


def drawn(model: Model, inputs: Inputs, **asked: Any) -> Image:
    request = Request.checked({"prompt": "a red fox", "seed": 5, "steps": 2, **asked})
    return run(picture(model.resolve(request, inputs), model, inputs=inputs), model.evaluate)


def test_no_steps_are_no_steps(model: Model) -> None:
    plain = drawn(model, Inputs())
    for nothing in ("", " ", []):
        empty = drawn(model, Inputs(), refine=nothing)
        assert np.array_equal(empty.pixels, plain.pixels) and empty.recipe == plain.recipe


def test_steps_are_done_to_the_finished_picture_one_after_the_other(model: Model) -> None:
    plain = drawn(model, Inputs(), upscale=2).pixels
    half = drawn(model, Inputs(), upscale=2, refine="saturation=0.5, crop=64x48+8+8").pixels
    wanted = saturated(plain.astype(np.float32) / 255, 0.5)[8:56, 8:72]
    assert np.array_equal(half, (wanted * 255).round().astype(np.uint8))
    moments: list[Moment] = []
    recipe = model.resolve(Request(prompt="a fox", seed=1, steps=1, upscale=2, refine="clean, sharpen"))
    run(picture(recipe, model, moments.append), model.evaluate)
    assert [(m.step, m.steps) for m in moments if m.stage == "refine"] == [(0, 4), (1, 4), (2, 4), (3, 4)]


def test_upscale_is_the_models_own(model: Model) -> None:
    asked = {"width": 64, "height": 64, "upscale": 1}
    larger = drawn(model, Inputs(), refine="upscale=2", **asked)
    eight_bits = drawn(model, Inputs(), **asked).pixels
    assert larger.pixels.shape == (128, 128, 3) and larger.recipe.upscale == 1
    assert np.array_equal(larger.pixels, applied(eight_bits, (Upscale(),), Inputs(), model))


@pytest.fixture
def recipes(model: Model, inputs: Inputs, files: dict[str, str]) -> list[Recipe]:
    chains = [
        "",
        "clean=0.05, exposure=0.4, white-balance, sharpen",
        f'lut="{files["lut"]}":0.6, contrast=1.3, upscale=2, resize=200',
        f'match="{files["match"]}", curve=0:0.1 1:0.9, crop=16:9, round, saturation=1.4',
        "upscale=2, upscale=2",
    ]
    requests = [Request(prompt="a red fox", seed=i, steps=2, refine=chain) for i, chain in enumerate(chains)]
    return [model.resolve(request, inputs) for request in requests]


def test_alone_and_together_are_the_same(model: Model, inputs: Inputs, recipes: list[Recipe]) -> None:
    alone = [run(picture(recipe, model, inputs=inputs), model.evaluate).pixels for recipe in recipes]
    tasks = (picture(recipe, model, inputs=inputs) for recipe in recipes)
    for outcome in Engine[Image](model.evaluate, width=4).run(tasks):
        assert outcome.result is not None and np.array_equal(outcome.result.pixels, alone[outcome.index])


def test_a_recipe_read_back_gives_the_picture_again(model: Model, inputs: Inputs, recipes: list[Recipe]) -> None:
    for recipe in recipes:
        first = run(picture(recipe, model, inputs=inputs), model.evaluate)
        read = read_recipe(first.encoded())
        assert read == recipe
        again = run(picture(read, model, inputs=inputs), model.evaluate)
        assert np.array_equal(again.pixels, first.pixels)


def test_refining_a_file_is_drawing_with_both_chains(model: Model) -> None:
    first = drawn(model, Inputs(), refine="exposure=-2, contrast=1.3")
    after = applied(first.pixels, parse_chain("exposure=2, saturation=1.2"), Inputs(), model)
    whole = drawn(model, Inputs(), refine="exposure=-2, contrast=1.3, round, exposure=2, saturation=1.2")
    assert np.array_equal(whole.pixels, after)
    finer = drawn(model, Inputs(), refine="exposure=-2, contrast=1.3, exposure=2, saturation=1.2")
    assert not np.array_equal(finer.pixels, after)  # it was never rounded between


def test_what_a_recipe_names_must_be_there_and_the_same(
    model: Model, tmp_path: Path, recipes: list[Recipe], files: dict[str, str]
) -> None:
    with_table = recipes[2]
    with pytest.raises(
        BadInput, match=r"'film.cube', of the step lut of this recipe, is not in .*; say where .*--files"
    ):
        Inputs().looked_for(with_table, tmp_path, {})
    (tmp_path / "film.cube").write_bytes(Path(files["lut"]).read_bytes() + b"\n")
    with pytest.raises(BadInput, match="is not the file of the step lut of this recipe"):
        Inputs().looked_for(with_table, tmp_path, {})
    (tmp_path / "film.cube").write_bytes(Path(files["lut"]).read_bytes())
    found = Inputs()
    found.looked_for(with_table, tmp_path, {})
    assert run(picture(with_table, model, inputs=found), model.evaluate).pixels.size
    (tmp_path / "film.cube").write_bytes(b"LUT_1D_SIZE 2\n0 0 0\n1 1 1\n")
    with pytest.raises(BadInput, match="has changed since it was named"):
        run(picture(with_table, model, inputs=found), model.evaluate)


@pytest.mark.parametrize(
    ("chain", "said"),
    [
        ("crop=64x64+1+0", r"crop=64x64\+1\+0 goes beyond the picture, 64x64 there; take less: all of it is 64x64"),
        ("resize=8000x8001", "resize=8000x8001 would make more than 64,000,000 pixels"),
        ("upscale=4, upscale=4, upscale=4, upscale=4", "would make 16384x16384 .*; resize it to less before"),
        ("lut=nowhere.cube", "nowhere.cube cannot be read"),
        ("match=nowhere.png", "nowhere.png cannot be read"),
        (f"match={Path(__file__).name}", "cannot be read|is no picture"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_drawn(model: Model, chain: str, said: str) -> None:
    with pytest.raises((BadInput, BadFile), match=said):
        model.resolve(Request(prompt="a fox", width=64, height=64, upscale=1, refine=chain))


def test_a_model_without_an_upscaler_says_so() -> None:
    small = tiny_model(with_upscaler=False)
    with pytest.raises(BadInput, match=r"upscale=2 is not possible: the model has no upscaler; .*models pack"):
        small.resolve(Request(prompt="a fox", refine="clean, upscale=2"))


def test_a_recipe_without_hashes_is_no_recipe(recipes: list[Recipe]) -> None:
    with pytest.raises(BadInput, match=r"'film\.cube' is named without its hash"):
        Recipe.checked({**dict(recipes[0]), "refine": [{"step": "lut", "file": "film.cube"}]})
