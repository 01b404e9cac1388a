"""``darkroom generate`` as a user meets it, with the model inside the package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from darkroom.evaluation.sheet import PROMPTS
from darkroom.model import load
from darkroom.picture.read import read
from darkroom.wording.vocabulary import concepts_in


def darkroom(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own."""
    command = [sys.executable, "-m", "darkroom.cli", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def pictures(folder: Path) -> list[Path]:
    return sorted((folder / "pictures").glob("*.png"))


def test_a_seed_alone_equals_the_same_seed_of_a_range(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir(), (tmp_path / "many").mkdir()
    assert darkroom("generate", "a fox", "--seed", "2", "--steps", "2", folder=tmp_path / "one").returncode == 0
    said = darkroom("generate", "a fox", "--seed", "0-2", "--steps", "2", folder=tmp_path / "many")
    assert said.stdout.split() == [f"pictures/{seed:04d}-a-fox.png" for seed in range(3)]
    [one], many = pictures(tmp_path / "one"), pictures(tmp_path / "many")
    assert one.name == many[2].name
    assert np.array_equal(read(one), read(many[2]))


def test_json_speaks_to_machines(tmp_path: Path) -> None:
    said = darkroom("generate", "a fox", "--seed", "1", "--steps", "1", "--json", folder=tmp_path)
    [entry] = json.loads(said.stdout)["pictures"]
    assert (tmp_path / entry["path"]).is_file() and entry["recipe"]["steps"] == 1
    assert said.stderr == ""


def test_a_word_the_model_never_saw_is_said(tmp_path: Path) -> None:
    said = darkroom("generate", "a fox beside a carburettor", "--seed", "1", "--steps", "1", folder=tmp_path)
    assert "never taught 'carburettor'; `darkroom models show`" in said.stderr


def test_a_program_is_told_what_the_model_does_not_take(tmp_path: Path) -> None:
    arguments = ("generate", "a fox, 3d", "--negative", "a flugelhorn", "--style", "flat", "--size", "64", "--sheet")
    said = darkroom(*arguments, "--seed", "1", "--steps", "1", "--json", folder=tmp_path)
    told = json.loads(said.stdout)
    assert told["unknown"] == ["flugelhorn"] and told["dropped"] == []
    assert (tmp_path / told["sheet"]).is_file()
    taught, size, style = told["notes"]
    assert "flugelhorn" in taught and "at 64x64 it may draw nothing" in size and "3d" in style and "flat" in style
    assert [line.removeprefix("note").strip() for line in said.stderr.splitlines()] == told["notes"]


def test_long_prompts_are_told_in_short(tmp_path: Path) -> None:
    prompt = " ".join(f"{'x' * 200}{number}" for number in range(60))
    said = darkroom("generate", prompt, "--seed", "1", "--steps", "1", folder=tmp_path)
    assert said.returncode == 0 and len(said.stderr) < 1500 and "more" in said.stderr


def test_a_second_sheet_leaves_the_first(tmp_path: Path) -> None:
    arguments = ("generate", "a fox", "--seed", "1", "--steps", "1", "--sheet")
    sheets = [darkroom(*arguments, folder=tmp_path).stdout.splitlines()[-1] for _ in range(2)]
    assert sheets == ["pictures/sheet.png", "pictures/sheet-2.png"]


def test_a_long_prompt_is_read_in_parts(tmp_path: Path) -> None:
    said = darkroom("generate", "a cat and " * 30 + "a zebra", "--seed", "1", "--steps", "1", folder=tmp_path)
    assert "dropped" not in said.stderr and "48 tokens that are read at once: read in 2 parts" in said.stderr


def test_a_recipe_of_another_model_is_refused_with_the_reason(tmp_path: Path) -> None:
    from darkroom.contracts.request import Request
    from darkroom.generate import picture, run
    from tests.tiny import tiny_model

    model = tiny_model()
    image = run(picture(model.resolve(Request(prompt="a fox", seed=1, steps=1)), model), model.evaluate)
    image.save(tmp_path / "other.png")
    said = darkroom("generate", "--recipe", "other.png", folder=tmp_path)
    assert said.returncode == 2 and "was made by the model tiny" in said.stderr
    assert pictures(tmp_path) == []


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_sheet_asks_only_for_what_the_model_was_taught(prompt: str) -> None:
    taught = set(load().card.vocabulary)
    assert concepts_in(prompt) and {concept.word for concept in concepts_in(prompt)} <= taught


def test_the_embedded_weights_fit_their_budget() -> None:
    assert sum(entry.bytes for entry in load().card.files.values()) <= 40e6
