"""Opening models: a sound folder draws the same, a damaged one is refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from darkroom.cards import CARD, known_models, read_card, with_file, write_card
from darkroom.contracts.errors import BadFile, BadInput
from darkroom.contracts.request import Request
from darkroom.generate import picture, run
from darkroom.model import load
from tests.tiny import saved, tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny_model(), tmp_path_factory.mktemp("model"))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_a_saved_model_draws_what_it_drew_before(folder: Path) -> None:
    before, after = tiny_model(), load(str(folder))
    request = Request(prompt="a red fox", seed=5)
    a = run(picture(before.resolve(request), before), before.evaluate)
    b = run(picture(after.resolve(request), after), after.evaluate)
    assert np.array_equal(a.pixels, b.pixels)
    assert b.recipe.model_hash == read_card(folder).model_hash


def test_a_flipped_bit_is_refused(copy: Path) -> None:
    path = copy / "denoiser.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadFile, match=r"denoiser\.safetensors is damaged: its sha256 .*; install the model again"):
        load(str(copy))


def test_a_missing_file_is_named(copy: Path) -> None:
    (copy / "text.safetensors").unlink()
    with pytest.raises(BadFile, match=r"text\.safetensors cannot be read"):
        load(str(copy))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {**t, "norm.gain": t["norm.gain"] * float("nan")}, "not finite in norm.gain"),
        (lambda t: {k: v for k, v in t.items() if k != "norm.gain"}, "no tensor norm.gain"),
        (lambda t: {**t, "norm.gain": t["norm.gain"][:-1].clone()}, r"norm.gain of shape \(64,\)"),
    ],
)
def test_unsound_weights_are_refused_even_when_the_card_vouches(copy: Path, change, message: str) -> None:
    path = copy / "denoiser.safetensors"
    save_file(change(load_file(path)), path)
    write_card(copy, with_file(read_card(copy), copy, "denoiser", path.name))
    with pytest.raises(BadFile, match=message):
        load(str(copy))


def test_an_unknown_setting_in_the_card_names_the_nearest(copy: Path) -> None:
    card = json.loads((copy / CARD).read_text())
    card["configs"]["denoiser"]["widht"] = card["configs"]["denoiser"].pop("width")
    (copy / CARD).write_text(json.dumps(card))
    with pytest.raises(BadFile, match="'widht'; did you mean 'width'"):
        load(str(copy))


def test_an_unknown_model_names_the_nearest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_MODELS", str(folder.parent))
    assert folder.name in known_models()
    with pytest.raises(BadInput, match=f"did you mean '{folder.name}'"):
        load(folder.name[:-1] + "x")


def test_unknown_samplers_and_styles_name_the_nearest(folder: Path) -> None:
    model = load(str(folder))
    with pytest.raises(BadInput, match="unknown sampler 'heum'; did you mean 'heun'"):
        model.resolve(Request(prompt="a fox", sampler="heum"))
    with pytest.raises(BadInput, match="unknown style 'carton'; did you mean 'cartoon'"):
        model.resolve(Request(prompt="a fox", style="carton"))


def test_defaults_come_from_the_card(folder: Path) -> None:
    recipe = load(str(folder)).resolve(Request(prompt="a fox"))
    assert (recipe.width, recipe.steps, recipe.sampler, recipe.guidance) == (64, 4, "euler", 3.0)
    assert recipe.environment.threads == torch.get_num_threads()


def test_a_function_as_sampler_is_said_in_the_recipe_and_not_drawn_again(folder: Path, tmp_path: Path) -> None:
    from darkroom.door import open_model
    from darkroom.drawing import draw

    def mine(denoise, x, levels, noise):
        return (yield from denoise(x, levels[0]))

    image = open_model(str(folder)).generate("a red fox", seed=1, steps=1, sampler=mine)
    assert image.recipe.sampler == "function mine"
    path = image.save(tmp_path / "fox.png")
    with pytest.raises(BadInput, match=r"was sampled by function mine, which is not here"):
        draw([], path, tmp_path, model=str(folder))
