"""``darkroom prompt`` and ``darkroom style``; talk, parts, templates and saved styles in ``darkroom generate``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from darkroom.door import DrawingModel
from darkroom.picture.metadata import read_recipe
from darkroom.picture.read import read
from tests.guides import ROOT
from tests.program import ran
from tests.tiny import saved, tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(saved(tiny_model(), tmp_path_factory.mktemp("model")))


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DARKROOM_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config" / "styles.toml"


def test_a_prompt_is_shown_without_torch() -> None:
    script = (
        "import sys; from darkroom.cli.run import main; main(['prompt', 'a red fox', '--json'])\n"
        "assert 'torch' not in sys.modules and 'PIL' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    view = json.loads(done.stdout)
    [spell] = view["spells"]
    assert (spell["read"][0]["tokens"], view["limit"], view["written"]) == (5, 48, None)
    assert [(role["role"], role["means"], role["colour"]) for role in spell["roles"]] == [("subject", "fox", "red")]


def test_talk_is_drawn_as_it_is_read_and_never_read_again(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "Could you please draw a red fox? I'd love it in the snow, thanks!"
    assert ran("generate", said, "--model", model, "--seed", "3", "--out", str(tmp_path / "one"), "--json") == 0
    told = capsys.readouterr()
    assert "read as 'a red fox, in the snow'" in told.err
    assert "read as 'a red fox, in the snow'" in json.loads(told.out)["notes"]
    [picture] = (tmp_path / "one").glob("*.png")
    recipe = read_recipe(picture)
    assert (recipe.prompt.text, recipe.written) == ("a red fox, in the snow", said)
    assert ran("generate", "--recipe", str(picture), "--model", model, "--out", str(tmp_path / "two")) == 0
    assert np.array_equal(read(next((tmp_path / "two").glob("*.png"))), read(picture))
    assert ran("generate", said, "--model", model, "--seed", "3", "--out", str(tmp_path / "as"), "--verbatim") == 0
    assert read_recipe(next((tmp_path / "as").glob("*.png"))).prompt.text == said


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--subject", "a red fox", "--setting", "in a forest", "--light", "soft light", "--composition", "close-up"],
         "a red fox in a forest, close-up, soft light"),
        (["a fox.", "--setting", "in a forest", "--composition", "a close-up of"], "a close-up of a fox in a forest"),
        (["a fox, 3d", "--light", "at night"], "a fox, 3d, at night"),
        (["--subject", "a fox", "--setting", "in a forest", "--composition", "with a blurred background"],
         "a fox in a forest with a blurred background"),
        (["--template", "a {x} on {y}", "--fill", "x=red fox", "--fill", '{"y": "a hill"}'], "a red fox on a hill"),
        (["a fox", "--template", "photo of {prompt}"], "photo of a fox"),
    ],
)  # fmt: skip
def test_parts_and_templates_become_one_sentence(
    arguments: list[str], text: str, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran("generate", *arguments, "--model", model, "--dry-run") == 0
    assert [recipe["prompt"] for recipe in json.loads(capsys.readouterr().out)] == [{"negative": "", "text": text}]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["generate", "--subject", " "], "subject ' ' is blank"),
        (["generate", "a fox", "--light", "..."], "holds no word"),
        (["generate", "please make me a picture"], "names no subject"),
        (["prompt", "please make me a picture"], "names no subject"),
        (["prompt", "a red fox " * 10_000], "at most 32000"),
        (["prompt"], "no prompt was given"),
        (["generate", "--template", "a {x"], "not closed"),
        (["generate", "--template", "a {x} {y}"], "lacks x, y"),
        (["generate", "a fox", "--fill", "x=y"], "has no template to fill"),
        (["style", "save", "a/b", "x"], "holds a slash"),
        (["style", "save", "flat", "x"], "one of the model default's own"),
        (["style", "save", "new"], "says nothing"),
        (["style", "save", "new", "{subject}"], "is not {prompt}"),
        (["style", "show", "none"], "unknown saved style 'none'"),
        (["style", "delete", "none"], "unknown saved style 'none'"),
        (["style", "import", "none.csv"], "cannot be read"),
    ],
)
def test_what_means_nothing_is_refused(
    arguments: list[str], said: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(*arguments) in (1, 2)
    assert said in capsys.readouterr().err and not config.exists()


def test_a_style_is_saved_used_listed_and_deleted(model: str, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["style", "save", "noir", "noir {prompt}", "--negative", "red", "--steps", "2", "--size", "96x64"]
    assert ran(*words) == 0 and config.is_file()
    assert ran(*words) == 2 and "saved already" in capsys.readouterr().err
    assert ran(*words, "--replace") == 0
    capsys.readouterr()
    assert ran("style", "list", "--json") == 0
    assert list(json.loads(capsys.readouterr().out)) == ["noir"]
    assert ran("generate", "a fox", "--style", "noir", "--model", model, "--dry-run") == 0
    [recipe] = json.loads(capsys.readouterr().out)
    assert recipe["prompt"] == {"text": "noir a fox", "negative": "red"} and recipe["saved_style"] == "noir"
    assert (recipe["steps"], recipe["width"], recipe["height"], recipe["style"]) == (2, 96, 64, None)
    assert ran("prompt", "a fox", "--style", "noir", "--model", model) == 0
    assert "noir, saved; " in capsys.readouterr().out
    image = DrawingModel(tiny_model()).generate("a fox", seed=1, style="noir", setting="in a forest")
    assert image.recipe.prompt.text == "noir a fox in a forest" and image.pixels.shape == (64, 96, 3)
    assert ran("style", "delete", "noir") == 0 and ran("style", "show", "noir") == 2


def test_rows_that_fail_are_told_and_the_others_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = tmp_path / "styles.csv"
    sheet.write_text(
        "name,prompt,negative_prompt\nnoir,film noir,\nflat,x,\na/b,x,\nlast,{prompt} y,z\n", encoding="utf-8-sig"
    )
    assert ran("style", "import", str(sheet), "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["saved"] == ["noir", "last"] and list(told["failed"]) == ["3", "4"]
    assert ran("style", "import", str(sheet), "--replace") == 1
    assert capsys.readouterr().out.split() == ["noir", "last"]


def test_a_broken_file_keeps_only_those_who_need_it(
    model: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.parent.mkdir()
    config.write_text('[noir]\nprompt = "x\n', encoding="utf-8")
    assert ran("generate", "a fox", "--style", "3d", "--model", model, "--dry-run") == 0
    for arguments in (["generate", "a fox", "--style", "noir", "--model", model], ["style", "save", "x", "y"]):
        assert ran(*arguments) == 1
        assert f"line 2 of {config} is no TOML" in capsys.readouterr().err
