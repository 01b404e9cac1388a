"""``darkroom evaluate``, and the judge in ``darkroom generate``, as commands: with a tiny model and a small judge."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from darkroom.cli import main
from darkroom.evaluation.calibration import OVERALL
from darkroom.judge.judge import CARD
from darkroom.model import load
from darkroom.picture.metadata import read_recipe
from tests.tiny import saved, tiny_model
from tests.unit.test_judge import small_judge

KINDS = (OVERALL, "presence", "one", "count", "colour", "binding", "relation", "style", "ground", "light", "camera")
PROMPTS = [
    {"prompt": "a red cat", "expect": {"objects": [{"concept": "cat", "colour": "red"}]}, "group": "colour"},
    {"prompt": "two dogs", "expect": {"objects": [{"concept": "dog", "count": 2}]}, "group": "count"},
    {"prompt": "a dog on a wombat", "expect": {"relations": [["dog", "on", "wombat"]]}},
]


@dataclass
class Ended:
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model's folder and a judge's."""
    folder = tmp_path_factory.mktemp("parts")
    judge = small_judge(folder / "judge")
    card = json.loads((judge / CARD).read_text())
    card["calibration"] = {kind: {"ceiling": 0.9, "floor": 0.1, "foil": 0.05} for kind in KINDS}
    (judge / CARD).write_text(json.dumps(card))
    return saved(tiny_model(), folder / "model"), judge


@pytest.fixture
def call(
    parts: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ended]:
    """Calls the program in an empty folder that holds mine.jsonl."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("darkroom.cli.run.share_cores", lambda: None)
    Path("mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PROMPTS))
    model, judge = parts

    def call(verb: str, *arguments: str, own: bool = True) -> Ended:
        named = ["--model", str(model), "--judge", str(judge)] if own else []
        code = 0
        try:
            main([verb, *arguments, *named])
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return call


# --- evaluate ----------------------------------------------------------------------------------------------------


def test_json_has_scores_intervals_calibration_and_what_is_unknown(call: Callable[..., Ended]) -> None:
    said = call("evaluate", "--prompts", "mine.jsonl", "--json")
    assert said.code == 0, said.err
    told = json.loads(said.out)
    whose = {"model", "model_hash", "judge", "settings"}
    assert set(told) == whose | {"overall", "group", "fact", "calibration", "unknown"}
    every = told["overall"]["all"]
    assert every["low"] <= every["value"] <= every["high"] and every["prompts"] == 2 and every["unknown"] == 1
    assert every["trust"] == {"ceiling": 0.9, "floor": 0.1, "foil": 0.05}
    assert set(told["group"]) == {"colour", "count"} and {"presence", "colour", "count"} <= set(told["fact"])
    assert set(told["calibration"]) == set(KINDS) and told["unknown"] == {"wombat": 1}
    lines = said.err.splitlines()
    assert lines[0] == "unknown to the judge, and not scored: wombat (in 1 of 3 prompts)"
    assert lines[-1] == "judged 12 of 12"


def test_a_model_is_measured_as_it_is_asked_to_draw(call: Callable[..., Ended], parts: tuple[Path, Path]) -> None:
    said = call("evaluate", "--prompts", "mine.jsonl", "--limit", "1", "--steps", "2", "--guidance", "1", "--json")
    assert json.loads(said.out)["settings"] == {"steps": 2, "guidance": 1.0}
    unknown = call("evaluate", "--prompts", "mine.jsonl", "--sampler", "eular")
    assert unknown.code != 0 and "did you mean" in unknown.err and "judged" not in unknown.err
    both = call("evaluate", "--prompts", "mine.jsonl", "--steps", "2", "--report", "--out", "kept")
    assert both.code != 0 and "--steps and --report" in both.err
    model = load(str(parts[0]))
    led = call(
        "evaluate", "--prompts", "mine.jsonl", "--limit", "1", "--guide", str(parts[0]), "--out", "led", "--json"
    )
    assert json.loads(led.out)["settings"]["guide"]["model_hash"] == model.card.model_hash
    about = call("evaluate", "--calibration", "--steps", "2", own=False)
    assert about.code != 0 and "--steps is about a model" in about.err


def test_text_has_a_line_for_each_score_and_only_those_on_stdout(call: Callable[..., Ended]) -> None:
    said = call("evaluate", "--prompts", "mine.jsonl", "--limit", "2", "--out", "kept")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert len(lines) >= 4 and all("ceiling 0.90  floor 0.10  foil 0.05" in line for line in lines)
    assert len({line.index("prompts") for line in lines}) == 1
    assert "judged 8 of 8" in said.err and len(list(Path("kept/pictures").glob("*.webp"))) == 8
    again = call("evaluate", "--prompts", "mine.jsonl", "--out", "kept")  # goes on: the third prompt is new
    assert again.code == 0 and again.err.splitlines()[-1] == "judged 12 of 12"
    assert len(Path("kept/outcomes.jsonl").read_text().splitlines()) == 13
    kept = Path("kept/outcomes.jsonl")
    kept.write_text(kept.read_text().replace('{"prompt": "two', "{two", 1))
    damaged = call("evaluate", "--prompts", "mine.jsonl", "--out", "kept")
    assert damaged.code == 1 and re.search(r"^error: line \d+ of kept/outcomes.jsonl is damaged", damaged.err, re.M)


def test_a_report_is_written_beside_the_pictures(call: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom.evaluation.sheet.PROMPTS", ("a cat", "a dog"))
    said = call("evaluate", "--prompts", "mine.jsonl", "--out", "kept", "--report", "--json")
    assert said.code == 0, said.err
    json.loads(said.out)
    assert "kept/report.html" in said.err
    page = Path("kept/report.html").read_text()
    points = re.findall(r"<title>(\d+): [\d.]+, ceiling 0.90, floor 0.10", page)
    assert points == ["1", "2", "4", "8", "16"] and "it needs built data" in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--prompts", "none.jsonl"), ("none.jsonl", "cannot be read")),
        (("--limit", "0"), ("limit 0", "take 1 or more")),
        (("--limit=-3",), ("limit -3",)),
        (("--report",), ("--report", "--out")),
        (("--data", "d"), ("--data", "--report")),
        (("--count", "5"), ("--count", "--calibration")),
        (("--style", "3d"), ("--style", "--calibration")),
        (("--strict",), ("--strict", "--calibration")),
        (("--set", "train"), ("'train'", "dev, test")),
        (("--set", "dev", "--prompts", "unknown.jsonl"), ("wombat, yak", "asks only for what the judge knows")),
        (("--prompts", "letters.jsonl"), ("no calibration for letters",)),
        (("--prompts", "amiss.jsonl"), ("line 2 of amiss.jsonl", "count 0")),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_drawn(
    call: Callable[..., Ended], arguments: tuple[str, ...], words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darkroom.evaluation.command.evaluated", lambda *_: pytest.fail("it drew"))
    Path("unknown.jsonl").write_text(
        '{"prompt": "x", "expect": {"objects": [{"concept": "wombat"}, {"concept": "yak"}]}}'
    )
    Path("letters.jsonl").write_text('{"prompt": "a sign", "expect": {"letters": "GO"}}')
    Path("amiss.jsonl").write_text(
        '{"prompt": "a cat"}\n{"prompt": "x", "expect": {"objects": [{"concept": "cat", "count": 0}]}}'
    )
    said = call("evaluate", *arguments)
    *_, last = said.err.splitlines()
    assert said.code in (1, 2) and said.out == "" and last.startswith("error: ")
    assert [word for word in words if word not in last] == [], last


@pytest.mark.parametrize("flag", [("--limit", "3"), ("--report",), ("--out", "x"), ("--set", "test"), ("--model", "m")])
def test_calibration_takes_no_flag_of_a_model(call: Callable[..., Ended], flag: tuple[str, ...]) -> None:
    said = call("evaluate", "--calibration", *flag, own=False)
    assert said.code == 2 and said.err.startswith(f"error: {flag[0]} is about a model")


# --- generate ----------------------------------------------------------------------------------------------------


def test_a_picture_is_verified_chosen_and_drawn_again(call: Callable[..., Ended], parts: tuple[Path, Path]) -> None:
    said = call("generate", "a red cat and a wombat", "--seed", "3", "--best-of", "2", "--retry", "1", "--json")
    assert said.code == 0, said.err
    [entry] = json.loads(said.out)["pictures"]
    verdict = entry["recipe"]["verdict"]
    assert (verdict["seed"], verdict["best_of"], verdict["retry"]) == (3, 2, 1) and 2 <= verdict["tried"] <= 3
    assert {fact["kind"] for fact in verdict["facts"]} == {"presence", "one", "colour", "unknown"}
    assert entry["holds"] is False
    again = call("generate", "--recipe", entry["path"], "--out", "again", "--model", str(parts[0]), own=False)
    assert again.code == 0, again.err
    first, second = Path(entry["path"]), Path(again.out.strip())
    assert read_recipe(first).seed == read_recipe(second).seed and "note" not in again.err


def test_a_verdict_is_said_in_words(call: Callable[..., Ended]) -> None:
    said = call("generate", "a red cat", "--seed", "3", "--verify")
    assert said.code == 0 and len(said.out.splitlines()) == 1
    assert re.search(r"^verdict +does not hold   cat: (no|cannot tell)", said.err, re.M)
    plain = call("generate", "a red cat", "--seed", "3")
    assert plain.code == 2 and "--judge has nothing to judge" in plain.err
    absent = call("generate", "a red cat", "--verify", "--judge", "nowhere", own=False)
    assert absent.code == 1 and "nowhere holds no judge" in absent.err and "--judge" in absent.err


def test_a_recipe_from_elsewhere_is_drawn_as_here_and_says_so(
    call: Callable[..., Ended], parts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from darkroom.generate import picture, run

    model = load(str(parts[0]))
    recipe = read_recipe(
        Path(call("generate", "a cat", "--seed", "3", "--model", str(parts[0]), own=False).out.strip())
    )
    elsewhere = recipe.environment.model_copy(update={"torch": "1.0", "threads": 9})
    moved = recipe.model_copy(update={"environment": elsewhere, "darkroom": "0.0.1"})
    run(picture(moved, model), model.evaluate).save(Path("moved.png"))
    said = call("generate", "--recipe", "moved.png", "--out", "again", "--json", "--model", str(parts[0]), own=False)
    assert said.code == 0
    [entry] = json.loads(said.out)["pictures"]
    assert entry["recipe"]["environment"] == json.loads(recipe.to_json())["environment"] and entry["holds"] is None
    assert entry["recipe"]["darkroom"] == recipe.darkroom
    [note] = said.err.splitlines()
    assert "torch 1.0" in note and "threads 9" in note and "darkroom 0.0.1" in note and "device" not in note
