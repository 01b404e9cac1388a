"""``darkroom recipe``: shown, compared, drawn again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from darkroom.picture.read import read
from tests.program import ran
from tests.tiny import saved, tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(saved(tiny_model(), tmp_path_factory.mktemp("model")))


def drawn(model: str, out: Path, *options: str) -> Path:
    assert ran("generate", "a red fox", "--model", model, "--seed", "3", "--out", str(out), *options) == 0
    return next(out.glob("*.png"))


def test_a_recipe_is_shown_compared_and_drawn_again(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = drawn(model, tmp_path / "one"), drawn(model, tmp_path / "other", "--guidance", "5")
    again = tmp_path / "again"
    capsys.readouterr()

    assert ran("recipe", "show", str(one)) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split(maxsplit=1) == ["prompt", "a red fox"] and shown[1].split() == ["seed", "3"]
    assert ran("recipe", "show", str(one), "--json") == 0
    assert json.loads(capsys.readouterr().out)["guidance"] == 3.0

    assert ran("recipe", "diff", str(one), str(other)) == 1
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [["guidance", "3.0", "5.0"]]
    assert ran("recipe", "diff", str(one), str(one)) == 0
    assert capsys.readouterr().out == "the same recipe\n"

    assert ran("recipe", "run", str(one), "--model", model, "--out", str(again)) == 0
    assert np.array_equal(read(next(again.glob("*.png"))), read(one))


def test_another_programs_picture_is_drawn_as_far_as_it_goes(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text(
        "parameters", "a fox\nNegative prompt: snow\nSteps: 3, Sampler: Euler a, CFG scale: 2, Seed: 8, ENSD: 1"
    )
    foreign = tmp_path / "foreign.png"
    Image.new("RGB", (8, 8)).save(foreign, pnginfo=info)

    assert ran("recipe", "show", str(foreign), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["left_out"] == {"ENSD": "1"} and told["sampler"] == "euler-a" and told["negative"] == "snow"
    assert ran("recipe", "run", str(foreign), "--model", model, "--out", str(tmp_path / "out")) == 0
    assert "left out ENSD: 1" in capsys.readouterr().err
    [picture] = (tmp_path / "out").glob("*.png")
    assert ran("recipe", "diff", str(picture), str(picture)) == 0
    assert ran("recipe", "show", str(picture), "--json") == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["prompt"], told["steps"], told["seed"], told["sampler"]) == ("a fox", 3, 8, "euler-a")


def test_what_has_no_recipe_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "bare.png")
    for verb in (["show"], ["run"], ["diff", str(tmp_path / "bare.png")]):
        assert ran("recipe", *verb, str(tmp_path / "bare.png")) == 1
        assert "bare.png holds no recipe and no settings; give a picture as it was saved" in capsys.readouterr().err
