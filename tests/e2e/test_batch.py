"""A batch file as a user draws it: alone equals together, stopped goes on, bad rows stay behind."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkroom.cli.run import main
from darkroom.model import Model
from darkroom.picture.metadata import read_recipe
from darkroom.picture.read import read
from tests import program
from tests.tiny import saved, tiny_model

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["pytest", "tests.tiny", "darkroom.cli.run", "darkroom.drawing.batch"])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(saved(tiny_model(), tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ran(*arguments: str) -> int:
    """The exit code of ``darkroom generate``."""
    return program.ran("generate", *arguments)


def outcome(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and what a program is told."""
    capsys.readouterr()
    code = ran(*arguments, "--json")
    return code, json.loads(capsys.readouterr().out)


def journal(out: Path | str = "out") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(out) / "journal.jsonl").read_text().splitlines()[1:]]


def table(*rows: str) -> None:
    Path("rows.csv").write_text("\n".join(["prompt,seed,steps,sampler,size", *rows]) + "\n")


def test_a_row_alone_is_the_row_in_the_batch_bit_for_bit(model: str) -> None:
    table("a red fox,3,2,heun,64", "two blue cats,4,3,euler,96", "a {red|blue|green} tree,5,1,euler-a,64x80")
    assert ran("--batch", "rows.csv", "--model", model, "--out", "out") == 0
    alone = [
        ("a red fox", "--seed", "3", "--steps", "2", "--sampler", "heun", "--size", "64"),
        ("two blue cats", "--seed", "4", "--steps", "3", "--sampler", "euler", "--size", "96"),
        ("a {red|blue|green} tree", "--seed", "5", "--steps", "1", "--sampler", "euler-a", "--size", "64x80"),
    ]
    for number, arguments in enumerate(alone):
        assert ran(*arguments, "--model", model, "--out", f"alone{number}") == 0
        [one] = Path(f"alone{number}").glob("*.png")
        again = Path("out") / one.name
        assert np.array_equal(read(one), read(again)) and read_recipe(one) == read_recipe(again)


def test_bad_rows_are_said_and_stop_no_other(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    table("a red fox,3,1,euler,64", "a cat,x,1,euler,64", "a cat,4,1,eular,64", " ,4,1,euler,64", "a tree,5,1,euler,64")
    code, told = outcome(capsys, "--batch", "rows.csv", "--model", model, "--out", "out")
    assert code == 1 and told["error"].startswith("3 rows of rows.csv failed")
    assert [(row["line"], len(row["pictures"]), len(row["errors"])) for row in told["rows"]] == [
        (2, 1, 0), (3, 0, 1), (4, 0, 1), (5, 0, 1), (6, 1, 0)
    ]  # fmt: skip
    ran("--batch", "rows.csv", "--model", model, "--out", "out")
    err = capsys.readouterr().err
    assert "failed      rows.csv line 4: unknown sampler 'eular'; did you mean 'euler'?" in err
    assert err.count("line 3:") == 1 and "0 pictures, 0 evaluations; 2 more are drawn already" in err


def test_a_file_that_is_wrong_itself_is_refused_before_anything_is_there(model: str) -> None:
    Path("bad.csv").write_text("prompt,stepz\na,1\n")
    table("a,1,1,euler,64")
    for arguments in (
        ("--batch", "bad.csv"), ("--batch", "none.csv"), ("--batch", "rows.csv", "--steps", "0"),
        ("--batch", "rows.csv", "--recipe", "a.png"), ("--batch", "rows.csv", "--model", "none-such"),
    ):  # fmt: skip
        assert ran(*arguments, "--out", "out", *(() if "--model" in arguments else ("--model", model))) != 0
        assert not list(Path("out").glob("*.png")) and not (Path("out") / "journal.jsonl").exists()


def test_a_missing_mask_and_a_picture_that_fails_end_their_rows(
    model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [{"prompt": "a", "seed": 1, "init_image": "no.png"}, {"prompt": "b", "seed": 2}, {"prompt": "c", "seed": 3}]
    evaluate = Model.evaluate

    def fails(self: Model, calls: Any) -> Any:
        if any(call.network == "denoiser" and call.inputs["x"].shape[-1] > 8 for call in calls):
            raise RuntimeError("the network failed")
        return evaluate(self, calls)

    Path("rows.jsonl").write_text("\n".join(map(json.dumps, [*lines, {"prompt": "d", "seed": 4, "size": "96"}])))
    monkeypatch.setattr(Model, "evaluate", fails)
    asked = ("--batch", "rows.jsonl", "--model", model, "--out", "out", "--steps", "1")
    code, told = outcome(capsys, *asked)
    errors = [row["errors"] for row in told["rows"]]
    assert code == 1 and "no.png" in errors[0][0] and errors[1:] == [[], [], ["the network failed"]]
    monkeypatch.setattr(Model, "evaluate", evaluate)
    code, told = outcome(capsys, *asked)
    assert [[picture["new"] for picture in row["pictures"]] for row in told["rows"]] == [[], [False], [False], [True]]


def test_a_changed_row_is_drawn_anew_and_the_others_are_not(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--batch", "rows.csv", "--model", model, "--out", "out")
    table("a red fox,3,1,euler,64", "a cat,,1,euler,64", "a cat,,1,euler,64")
    assert ran(*asked) == 0
    before = journal()
    seeds = [line["seed"] for line in before]
    assert len(set(seeds)) == 3  # two rows alike are two pictures
    table("a blue cat,,1,euler,64", "a red fox,3,2,euler,64", "a cat,,1,euler,64", "a cat,,1,euler,64")
    code, told = outcome(capsys, *asked)
    assert code == 0
    assert [[picture["new"] for picture in row["pictures"]] for row in told["rows"]] == [
        [True],
        [True],
        [False],
        [False],
    ]
    assert journal()[:3] == before and len(journal()) == 5
    (Path("out") / before[0]["picture"]).unlink()
    table("a red fox,3,1,euler,64")
    code, told = outcome(capsys, *asked)
    assert told["rows"][0]["pictures"][0]["new"]  # what is gone is drawn again


def test_seeds_nobody_gave_are_those_of_the_journal(model: str) -> None:
    asked = ("--batch", "rows.csv", "--model", model)
    table("a cat,,1,euler,64", "a fox,,1,euler,64")
    assert ran(*asked, "--out", "out") == 0
    first = {line["key"]: read(Path("out") / line["picture"]) for line in journal()}
    head, *lines = (Path("out") / "journal.jsonl").read_text().splitlines()
    (Path("out") / "journal.jsonl").write_text("\n".join([head, lines[0][:40]]))  # as a kill leaves it
    for picture in Path("out").glob("*.png"):
        picture.unlink()
    assert ran(*asked, "--out", "out") == 0
    again = {line["key"]: read(Path("out") / line["picture"]) for line in journal()}
    assert first.keys() == again.keys() and all(np.array_equal(first[key], again[key]) for key in first)


def test_a_folder_with_a_file_of_that_name_or_another_batch_in_it_is_refused(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from darkroom.drawing.journal import opened

    table("a cat,,1,euler,64")
    asked = ("--batch", "rows.csv", "--model", model, "--out")
    Path("mine").mkdir()
    (Path("mine") / "journal.jsonl").write_text('{"prompt": "mine"}\n')
    assert ran(*asked, "mine") == 2 and "is no journal of a batch" in capsys.readouterr().err
    assert (Path("mine") / "journal.jsonl").read_text() == '{"prompt": "mine"}\n'
    Path("held").mkdir()
    with opened(Path("held")):
        assert ran(*asked, "held") == 2 and "drawn into by another batch" in capsys.readouterr().err


def test_standard_input_and_a_dry_run(
    model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = b'{"prompt": "a fox", "seed": "0-2"}\n{"prompt": "a cat", "seed": "x"}\n'
    asked = ("--batch", "-", "--model", model, "--steps", "1", "--out", "out")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    assert ran(*asked, "--dry-run") == 1 and not Path("out").exists()
    out, err = capsys.readouterr()
    assert [recipe["seed"] for recipe in json.loads(out)] == [0, 1, 2] and "3 pictures, 3 evaluations" in err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    assert ran(*asked) == 1 and len(journal()) == 3


def test_sheets_are_bounded_and_in_the_order_of_the_rows(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    table(*(f"a cat,{seed},1,euler,64" for seed in reversed(range(50))))
    code, told = outcome(capsys, "--batch", "rows.csv", "--model", model, "--out", "out", "--sheet")
    assert code == 0 and told["sheets"] == ["out/sheet.png", "out/sheet-2.png"]
    assert read(told["sheets"][0]).shape[0] > 5 * read(told["sheets"][1]).shape[0]


def drawn(folder: str, model: str) -> None:
    """One process of a batch that takes its time."""
    os.chdir(folder)
    quick = Model.evaluate

    def slowly(self: Model, calls: Any) -> Any:
        time.sleep(0.002)
        return quick(self, calls)

    Model.evaluate = slowly  # type: ignore[method-assign]
    main(["generate", "--batch", "rows.csv", "--model", model, "--out", "out"])


def test_killed_anywhere_nothing_is_lost_and_nothing_twice_in_the_journal(model: str, tmp_path: Path) -> None:
    table(*(f"a {word} number {n},{'' if n % 2 else n},2,euler,64" for n, word in enumerate(["cat", "red fox"] * 12)))
    dice, kills = random.Random(3), 0
    while True:
        before = len(journal()) if (Path("out") / "journal.jsonl").exists() else 0
        process = PROCESSES.Process(target=drawn, args=(str(tmp_path), model))
        process.start()
        end = time.monotonic() + 60
        while process.is_alive() and (not Path("out/journal.jsonl").exists() or len(lines_of()) <= before + 1):
            assert time.monotonic() < end, "it hangs"
            time.sleep(0.001)
        time.sleep(dice.uniform(0, 0.05))
        if not process.is_alive() or kills == 4:
            process.join(120)
            break
        process.kill()
        process.join()
        kills += 1
    assert process.exitcode == 0 and kills >= 2
    keys = [line["key"] for line in journal()]
    assert len(keys) == len(set(keys)) == 24
    assert len({line["picture"] for line in journal()}) == 24
    assert len(list(Path("out").glob("*.png"))) <= 24 + kills  # a kill between a file and its line
    assert ran("--batch", "rows.csv", "--model", model, "--out", "whole") == 0
    given = {line["key"]: line["picture"] for line in journal("whole")}
    for line in journal():
        if line["key"] in given:
            assert np.array_equal(read(Path("out") / line["picture"]), read(Path("whole") / given[line["key"]]))
    assert len(given.keys() & set(keys)) == 12  # the rows with a seed; the others have seeds of their folder


def lines_of() -> list[str]:
    return Path("out/journal.jsonl").read_text().splitlines()
