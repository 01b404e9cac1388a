"""Finished pictures made larger: by whom, how large, and what is said where nobody can."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from darkroom.cli import main
from darkroom.contracts.errors import BadInput
from darkroom.contracts.request import Request
from darkroom.door import DrawingModel, open_model
from darkroom.generate import Moment, picture, run
from darkroom.model import load
from darkroom.picture.metadata import read_recipe
from darkroom.picture.read import read
from darkroom.protocols import Call
from darkroom.refine.upscale import NetworkUpscaler, doublings
from tests.tiny import saved, tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny_model(), tmp_path_factory.mktemp("models") / "tiny")


def darkroom(*arguments: str) -> None:
    """The program; it must end well."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert not ended.value.code


@pytest.mark.parametrize("upscale", [1, 2, 4])
def test_a_picture_is_as_large_as_asked_for(upscale: int) -> None:
    size = {"width": 96 * upscale, "height": 64 * upscale}
    image = DrawingModel(tiny_model()).generate("a fox", seed=1, steps=1, upscale=upscale, **size)
    assert image.pixels.shape == (64 * upscale, 96 * upscale, 3)
    assert (image.recipe.width, image.recipe.height, image.recipe.drawn) == (96 * upscale, 64 * upscale, (96, 64))
    assert f"{96 * upscale}x{64 * upscale}" in repr(image)


def test_a_size_is_drawn_at_what_the_model_was_trained_at(folder: Path) -> None:
    model = open_model(str(folder))
    for side, drawn in ((64, 64), (128, 64), (256, 64), (512, 128), (80, 80)):
        image = model.generate("a fox", seed=1, steps=1, width=side, height=side)
        assert image.pixels.shape == (side, side, 3) and image.recipe.drawn == (drawn, drawn)


def test_what_is_enlarged_is_the_picture_that_would_have_been_drawn() -> None:
    model = tiny_model()
    assert isinstance(model.upscaler, NetworkUpscaler)
    for parameter in model.upscaler.network.layers[-1].parameters():
        parameter.data.zero_()  # nothing is left but the bicubic enlargement
    drawn, larger = (
        DrawingModel(model).generate("a fox", seed=1, steps=2, upscale=upscale).pixels.astype(float)
        for upscale in (1, 2)
    )
    means = larger.reshape(64, 2, 64, 2, 3).mean((1, 3))
    shifts = [np.abs(np.roll(means, n, 1) - drawn).mean() for n in (-1, 0, 1)]
    assert shifts[1] < 0.3 * min(shifts[0], shifts[2])


def test_four_times_is_twice_two_times() -> None:
    model, seen = tiny_model(), []

    def evaluate(calls: Sequence[Call]) -> list[Tensor]:
        seen.extend((call.network, tuple(call.inputs["x"].shape)) for call in calls if call.network == "upscaler")  # type: ignore[union-attr]
        return model.evaluate(calls)

    moments: list[Moment] = []
    recipe = model.resolve(Request(prompt="a fox", seed=1, steps=1, upscale=4))
    run(picture(recipe, model, moments.append), evaluate)
    assert seen == [("upscaler", (3, 64, 64)), ("upscaler", (3, 128, 128))]
    assert [(m.step, m.steps) for m in moments if m.stage == "refine"] == [(0, 2), (1, 2)]
    upscaler = model.upscaler
    assert upscaler is not None and doublings(4, upscaler) == [upscaler, upscaler] and doublings(1, None) == []


def test_a_model_without_an_upscaler_says_so_before_it_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_model(with_upscaler=False)
    said = r"upscale 2 is not possible: the model has no upscaler; .*`darkroom models pack --upscaler`"
    with pytest.raises(BadInput, match=said):
        model.resolve(Request(prompt="a fox", upscale=2))
    assert model.resolve(Request(prompt="a fox", upscale=1)).upscale == 1
    folder = saved(model, tmp_path / "bare")
    assert load(str(folder)).upscaler is None
    arguments = ["generate", "a fox", "--upscale", "2", "--model", str(folder), "--out", str(tmp_path / "out")]
    for more in ([], ["--dry-run"]):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, *more])
        assert ended.value.code == 2
        assert "upscale 2 is not possible" in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*.png"))


def test_the_command_line_says_the_final_size_and_draws_it_again(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--model", str(folder), "--out", str(tmp_path)]
    darkroom("generate", "a fox", "--seed", "1", "--steps", "1", "--upscale", "2", *where)
    out, err = capsys.readouterr()
    assert "drawn at 64x64, upscaled 2 times: 128x128" in err
    [path] = map(Path, out.split())
    assert read(path).shape == (128, 128, 3)
    recipe = read_recipe(path)
    assert (recipe.width, recipe.drawn, recipe.upscale) == (128, (64, 64), 2)
    darkroom("generate", "--recipe", str(path), *where)
    [again] = map(Path, capsys.readouterr().out.split())
    assert again != path and np.array_equal(read(again), read(path))
    with pytest.raises(SystemExit):
        main(["generate", "--recipe", str(path), "--upscale", "4", *where])
    assert "--upscale cannot change a recipe" in capsys.readouterr().err


def test_a_dry_run_tells_both_sizes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    darkroom("generate", "a fox", "--upscale", "4", "--dry-run", "--model", str(folder))
    out, err = capsys.readouterr()
    [recipe] = json.loads(out)
    assert (recipe["width"], recipe["height"], recipe["upscale"]) == (256, 256, 4)
    assert "drawn at 64x64, upscaled 4 times: 256x256" in err


def test_what_is_not_possible_is_said_in_a_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["--upscale", "3"], "error: upscale 3 is not 1, 2 or 4; try 2"),
        (["--upscale", "2", "--size", "1040"], "error: 1040x1040 upscaled 2 times would be drawn at 520x520, and a"),
        (["--upscale", "4", "--size", "128x512"], "error: 128x512 upscaled 4 times would be drawn at 32x128, and a"),
        (["--upscale", "x"], "error: --upscale 'x' is not a whole number"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["generate", "a fox", "--model", str(folder), *arguments])
        assert ended.value.code == 2 and capsys.readouterr().err.startswith(said)


def test_the_card_says_whether_pictures_can_be_enlarged(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    darkroom("models", "show", str(folder))
    assert "upscaling   1, 2, 4 times; by default 1, drawn at 64x64" in capsys.readouterr().out
    darkroom("models", "show", str(saved(tiny_model(with_upscaler=False), tmp_path / "bare")))
    assert "upscaling" not in capsys.readouterr().out


def test_the_upscaler_is_opened_with_its_model(folder: Path) -> None:
    model, first = open_model(str(folder)), tiny_model()
    one, other = (m.generate("a fox", seed=3, steps=1, upscale=2) for m in (model, DrawingModel(first)))
    assert np.array_equal(one.pixels, other.pixels)


def test_pictures_of_one_pass_are_those_of_many() -> None:
    upscaler = tiny_model().upscaler
    assert isinstance(upscaler, NetworkUpscaler)
    calls = [Call(upscaler.NETWORK, {"x": torch.rand(3, 20, 30)}) for _ in range(5)]
    with torch.inference_mode():
        together = upscaler.evaluate(calls)
        for call, made in zip(calls, together, strict=True):
            assert torch.equal(made, upscaler.evaluate([call])[0])
            assert made.shape == (3, 40, 60) and made.min() >= 0 and made.max() <= 1
