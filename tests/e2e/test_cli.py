"""The command line as a user meets it: in an empty folder, by its exit code and by what it prints where.

What it refuses is tried in this process, a few in a process of their own: what those show holds for all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import darkroom
from darkroom.cli import main

SRC = Path(darkroom.__file__).parents[1]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """An empty folder to call the program in."""
    return tmp_path


def call(here: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the program with nothing on stdin."""
    path = os.pathsep.join([str(SRC), os.environ["PYTHONPATH"]])
    environment = {**os.environ, "PYTHONPATH": path, "NO_COLOR": "1", "COLUMNS": "100"}
    environment.pop("DARKROOM_MODELS", None)
    command = [sys.executable, "-m", "darkroom.cli", *arguments]
    return subprocess.run(
        command, cwd=here, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def refused(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Calls the program in this process: the one sentence of a call that must fail and write nothing."""

    def refused(*arguments: str) -> str:
        monkeypatch.chdir(here)
        with pytest.raises(SystemExit) as exit:
            main(arguments)
        captured = capsys.readouterr()
        return only_sentence(here, exit.value.code, captured.out, captured.err)

    return refused


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--own", "mine", "--limit", "3"), "--limit and --own"),
        (("--own", "mine", "--report"), "--report and --own"),
        (("--own", "mine", "--calibration"), "--own is about a model, and --calibration about its judge"),
        (("--own", "mine", "--strict"), "--strict is for --calibration"),
        (("--count", "30"), "--count is for --calibration and --own"),
        (("--own", "mine", "--count", "3"), "--count 3 draws too few to compare; take 20 or more"),
        (
            (
                "--own",
                "mine",
            ),
            "mine",
        ),
    ],
)
def test_what_does_not_go_with_own_pictures_is_refused(
    refused: Callable[..., str], flags: tuple[str, ...], said: str
) -> None:
    assert said in refused("evaluate", *flags)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--toward", "a cat:1.5"), "--toward: share 1.5 is above 1"),
        (("--outpaint", "left=4000", "--init-image", "a.png"), "--outpaint: left 4000 is above"),
        (("--guidance-interval", "1-3"), "--guidance-interval 3"),
        (("--negative", "x" * 32_001), "--negative 'xxx"),
    ],
)
def test_errors_name_the_flag_that_was_typed(refused: Callable[..., str], flags: tuple[str, ...], said: str) -> None:
    assert said in refused("generate", "a fox", *flags)


def test_a_number_of_the_shells_in_a_choice_is_refused(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of "{2$$fox|cat}" in double quotes the shell makes its own number, which is that of whoever started this."""
    monkeypatch.setattr(os, "getppid", lambda: 4321)
    said = refused("generate", "{24321fox|cat|owl}", "--seed", "1")
    assert "holds 4321, the shell's own number, where $$ stood; use single quotes" in said
    assert "single quotes" in refused("generate", "a fox", "--negative", "{1-34321 and 4321a|b}")
    assert "single quotes" in refused("generate", "a fox", "--region", "left: a {24321red|blue} fox")
    for sound in ("{4321|5000} foxes", "{24322fox|cat}", "{24321$$fox|cat}"):
        assert "single quotes" not in refused("generate", sound, "--steps", "0")
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert "single quotes" not in refused("generate", "{11 cats|12 dogs}", "--steps", "0")


def only_sentence(here: Path, code: object, out: str, err: str) -> str:
    assert code in (1, 2), err
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), err
    assert list(here.iterdir()) == []
    return lines[0]


# --- help --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--help",), ("generate", "train", "data", "models", "doctor")),
        (
            ("generate", "--help"),
            ("--seed", "--steps", "--guidance", "--sampler", "--recipe", "red fox", "darkroom generate"),
        ),
        (("train", "--help"), ("autoencoder", "text", "diffusion")),
        (("train", "diffusion", "--help"), ("--samples", "--minutes", "darkroom train diffusion")),
        (("data", "--help"), ("build", "check", "inspect")),
        (("models", "--help"), ("list", "show", "pack")),
        (("doctor", "--help"), ("device",)),
    ],
)
def test_help(here: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    done = call(here, *arguments)
    assert done.returncode == 0, done.stderr
    assert [word for word in words if word not in done.stdout] == []
    assert done.stderr == ""


def test_version(here: Path) -> None:
    assert call(here, "--version").stdout.strip() == darkroom.__version__


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a fox", "--size", "1001"), ("width 1001", "multiple of 16", "1008")),
        (("a fox", "--size", "16x100000"), ("between 64 and 2048",)),
        (("a fox", "--size", "big"), ("big", "128x96")),
        (("a fox", "--seed", "seven"), ("seven", "0-7")),
        (("a fox", "--seed", "7-3"), ("backwards", "3-7")),
        (("a fox", "--seed", "0-1000000000"), ("more than",)),
        (("a fox", "--seed=-1"), ("-1", "from 0 to 9223372036854775807")),
        (("a fox", "--seed", "1.5"), ("1.5", "whole numbers")),
        (("a fox", "--seed", str(2**64 - 1)), ("from 0 to 9223372036854775807",)),
        (("a fox", "--seed", "1,1,1"), ("1,1,1", "twice")),
        (("a fox", "--seed", "9223372036854775808"), ("9223372036854775807",)),
        (("a fox", "--count", "0"), ("count 0", "try 1")),
        (("a fox", "--count", "3", "--seed", "0-7"), ("count 3", "8 seeds")),
        (("a fox", "--guidance", "nan"), ("guidance",)),
        (("a fox", "--guidance", "inf"), ("guidance",)),
        (("a fox", "--guidance=-1"), ("guidance",)),
        (("a fox", "--steps", "1000000000"), ("steps", "1000")),
        (("a fox", "--steps", "0"), ("steps",)),
        (("a fox", "--steps", "four"), ("--steps 'four' is not a whole number; give one",)),
        (("a fox", "--steps", "1.5"), ("--steps '1.5' is not a whole number; give one",)),
        (("a fox", "--guidance", "abc"), ("--guidance 'abc' is not a number; give one",)),
        (("a fox", "--best-of", "0"), ("--best-of 0 is below 1",)),
        (("a fox", "--size", ""), ("size ''",)),
        (("a fox", "--out", ""), ("--out ''",)),
        (("a fox", "--out", __file__), (__file__, "is a file")),
        (("a fox", "--verify", "--judge", "no/judge"), ("no/judge", "holds no judge", "--judge")),
        (("a fox", "--verify", "--judge", "no/judge", "--dry-run"), ("holds no judge",)),
        (("a", "red", "fox"), ("'red', 'fox'", "quotes")),
        (("a fox", "--model", str(Path(__file__).parent)), ("holds no card.json",)),
        (("",), ("prompt", "blank")),
        ((" \n\t",), ("prompt", "blank")),
        ((), ("no prompt",)),
        (("a fox", "--no-such-flag"), ("--no-such-flag",)),
        (("a fox", "--recipe", "there.png"), ("--prompt", "recipe")),
        (("x" * 40_000,), ("32000",)),
        (("a fox", "--model", "no/such/folder"), ("no/such/folder",)),
    ],
)
def test_bad_input_is_one_sentence(
    refused: Callable[..., str], arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    sentence = refused("generate", *arguments)
    assert [word for word in words if word not in sentence] == [], sentence


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a fox", "--sampler", "heum"), ("heum", "heun", "euler")),
        (("a fox", "--model", "defualt"), ("defualt", "did you mean 'default'")),
        (("a fox", "--style", "no such style"), ("no such style", "known")),
        (("a fox", "--style", "cartoons"), ("did you mean 'cartoon'",)),
        (("a fox", "--style", ""), ("known: 3d, cartoon, flat",)),
        (("a fox", "--sampler", ""), ("known: ddim, dpm2, dpmpp-2m",)),
        (("a fox", "--sampler", "dpm"), ("did you mean 'dpm2'",)),
        (("--recipe", "there.png"), ("there.png",)),
    ],
)
def test_what_the_model_does_not_know_is_one_sentence(
    refused: Callable[..., str], arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    sentence = refused("generate", *arguments)
    assert [word for word in words if word not in sentence] == [], sentence


@pytest.mark.parametrize(
    "arguments",
    [
        ("no-such-verb",),
        ("data", "build", "--source", "nowhere"),
        ("data", "inspect", "--data", "nowhere"),
        ("data", "check", "nowhere"),
        ("train", "autoencoder", "--data", "nowhere"),
        ("train", "text", "--data", "nowhere"),
        ("train", "diffusion", "--data", "nowhere", "--autoencoder", "nowhere", "--text", "nowhere"),
        ("train", "diffusion", "--autoencoder", "a", "--text", "t", "--styles", "3d"),
        ("models", "show", "no-such-model"),
        ("models", "pack", "--autoencoder", "nowhere", "--base", "nowhere", "--out", "model"),
    ],
)
def test_other_verbs_refuse_in_one_sentence(refused: Callable[..., str], arguments: tuple[str, ...]) -> None:
    assert len(refused(*arguments)) < 400


@pytest.mark.parametrize(
    "arguments",
    [
        ("generate", "a fox", "--guidance", "nan"),
        ("generate", "a fox", "--model", "no-such-model"),
        ("train", "text", "--data", "nowhere"),
    ],
)
def test_a_process_of_its_own_says_the_same(here: Path, arguments: tuple[str, ...]) -> None:
    done = call(here, *arguments)
    assert done.returncode != 0 and done.stderr.startswith("error: ")
    only_sentence(here, done.returncode, done.stdout, done.stderr)


def test_a_sentence_without_its_verb_is_told_where_it_goes(refused: Callable[..., str]) -> None:
    assert 'darkroom generate "a fox"' in refused("a fox")


def test_a_program_finds_the_error_in_its_json(here: Path) -> None:
    done = call(here, "generate", "a fox", "--steps", "0", "--json")
    assert done.returncode == 2 and json.loads(done.stdout) == {"error": "--steps 0 is below 1; try 1"}


def test_a_sheet_is_refused_before_it_is_drawn(refused: Callable[..., str]) -> None:
    assert "names no picture file" in refused("models", "sheet", "--out", "there")
    assert "is a file" in refused("models", "sheet", "--out", f"{__file__}/sheet.png")


def test_an_evaluation_needs_a_judge_and_prompts(refused: Callable[..., str]) -> None:
    assert "holds no judge" in refused("evaluate", "--limit", "1", "--judge", "no/judge")
    assert "cannot be read (no such file or directory)" in refused("evaluate", "--prompts", "nowhere.jsonl")


def test_a_reader_that_has_gone_ends_the_program_quietly(here: Path) -> None:
    program = "from darkroom.cli import main; main(['models', 'show'])"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-uc", program], cwd=here, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


# --- what is drawn -----------------------------------------------------------------------------------------------


def test_a_dry_run_prints_the_recipe_and_draws_nothing(here: Path) -> None:
    done = call(here, "generate", "a fox", "--seed", "7", "--steps", "3", "--dry-run")
    assert done.returncode == 0, done.stderr
    [recipe] = json.loads(done.stdout)
    assert (recipe["seed"], recipe["steps"], recipe["prompt"]["text"]) == (7, 3, "a fox")
    assert list(here.iterdir()) == []


def test_paths_are_all_of_stdout_and_the_recipe_draws_the_picture_again(here: Path) -> None:
    done = call(here, "generate", "a fox, 3d", "--seed", "7-8", "--steps", "2", "--sheet", "--out", "drawn")
    assert done.returncode == 0, done.stderr
    paths = [here / line for line in done.stdout.splitlines()]
    assert len(paths) == 3 and all(path.is_file() for path in paths)
    again = call(here, "generate", "--recipe", str(paths[0]), "--out", "again", "--json")
    assert again.returncode == 0, again.stderr
    [picture] = json.loads(again.stdout)["pictures"]
    from PIL import Image

    with Image.open(paths[0]) as first, Image.open(here / picture["path"]) as second:
        assert first.tobytes() == second.tobytes()


def test_doctor_as_json(here: Path) -> None:
    done = call(here, "doctor", "--json")
    findings = json.loads(done.stdout)
    assert findings["model"]["fix"] == ""
    assert done.returncode == int(any(finding["fix"] for finding in findings.values()))
    assert list(here.iterdir()) == []
