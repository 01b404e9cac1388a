"""Prompt sets, and scores that are never without the judge's own rows."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from darkroom.contracts.errors import BadFile, BadInput, DarkroomError
from darkroom.data.split import TURNED, pair_held_out, template_held_out
from darkroom.evaluation import prompts
from darkroom.evaluation.accuracy import AT_ONCE, Outcome, evaluated, picture_path
from darkroom.evaluation.calibration import OVERALL, RANKING
from darkroom.evaluation.progress import Progress
from darkroom.evaluation.prompts import SETS, PromptRow, own_prompts, prompt_set, spread
from darkroom.evaluation.scores import Score, as_json, check_scorable, curve, scores, table, table_lines, unknown_words
from darkroom.judge.expect import Expectation, Related, Wanted
from darkroom.judge.judge import Judge, Trust, load_judge
from darkroom.judge.verdict import Fact
from darkroom.picture.metadata import read_recipe
from tests.tiny import tiny_model
from tests.unit.test_judge import small_judge

TRUST = {kind: Trust(0.97, 0.02, 0.03) for kind in (OVERALL, "presence", "count", "colour", "style", "ground")}


# --- the sets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETS)
def test_a_set_has_its_500_prompts_and_every_group(name: str) -> None:
    rows = prompt_set(name)
    assert len(rows) == len({row.prompt for row in rows}) == 500
    groups = Counter(row.group for row in rows)
    assert set(groups) == {
        "single object", "count", "colour", "two objects", "relation", "wearing", "binding", "style", "ground", "light",
        "camera", "long", "paraphrase",
    }  # fmt: skip
    assert min(groups.values()) >= 20
    assert all(row.expected.objects and not row.expected.unknown for row in rows)


def test_the_locked_set_shares_no_prompt_with_the_other() -> None:
    dev, test = ({row.prompt for row in prompt_set(name)} for name in SETS)
    assert not dev & test


def parts(related: Related) -> list[tuple[str, str]]:
    """What each of two things is to the other; of wearing the split holds out who wears."""
    first = (related.first, related.relation)
    return [first] if related.relation == "wearing" else [first, (related.second, TURNED[related.relation])]


def test_held_out_prompts_show_held_out_pairs_and_the_others_none() -> None:
    for name in SETS:
        for row in prompt_set(name):
            coloured = [pair_held_out("colour", w.word, w.colour) for w in row.expected.objects if w.colour]
            related = [pair_held_out("relation", *pair) for r in row.expected.relations for pair in parts(r)]
            if row.seen:
                assert not any(coloured) and not any(related), row
            elif row.group != "style":
                assert all(coloured) and all(related) and (coloured or related), row


def test_the_sets_never_change() -> None:
    """Scores of two models compare only on the same prompts: a new set gets a new name."""
    folder = Path(prompts.__file__).parent / "sets"
    found = {name: hashlib.sha256((folder / f"{name}.jsonl").read_bytes()).hexdigest()[:16] for name in SETS}
    assert found == {"dev": "8df7b018e8fee679", "test": "c2fcb6c6a2cf5bdf"}


def test_a_set_is_written_from_its_seeds() -> None:
    work = "from darkroom.evaluation.prompts import written; print(*(row.prompt for row in written('dev')), sep='\\n')"
    once, again = (
        subprocess.run([sys.executable, "-c", work], stdout=subprocess.PIPE, text=True, check=True).stdout for _ in "12"
    )
    assert once == again and len(once.splitlines()) == 500


def test_every_prompt_has_a_foil_that_says_something_else() -> None:
    for name in SETS:
        rows = prompt_set(name)
        foiled = [row for row in rows if row.foil]
        assert len(foiled) > 0.95 * len(rows) and all(row.foil != row.prompt for row in foiled)


def test_an_unknown_set_is_refused() -> None:
    with pytest.raises(BadInput, match="'train' is not one of dev, test"):
        prompt_set("train")


def test_paraphrases_use_held_out_templates() -> None:
    from darkroom.data.scenes.captions import STYLE_TEMPLATES

    held = [t for templates in STYLE_TEMPLATES.values() for t in templates if template_held_out(t)]
    rows = [row for row in prompt_set("dev") if row.group == "paraphrase"]
    assert sum(any(all(part in row.prompt for part in t.split("{x}")) for t in held) for row in rows) >= len(rows) // 2


# --- anyone's own ------------------------------------------------------------------------------------------------


def test_own_prompts_are_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    told = {"objects": [{"concept": "kitten", "count": 2, "colour": "purple"}], "background": "snow", "light": "night"}
    path.write_text(json.dumps({"prompt": "two purple kittens", "expect": told}) + "\n\n" + '{"prompt": "a cat"}\n')
    two, cat = own_prompts(path)
    assert two.expected.objects == (Wanted("cat", 2, "purple"),)
    assert two.expected.whole == {"ground": "snow", "light": "night"}
    assert cat == PromptRow("a cat", Expectation())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json\n", "line 1 of .* is no JSON"),
        ("7\n", "line 1 of .* 7 is no JSON object"),
        ('{"prompt": "a"}\n{"expect": {}}\n', "line 2 of .* the prompt is missing"),
        ('{"prompt": "a"}\n\n{"prompt": " "}\n', "line 3 of .* the prompt is blank"),
        ('{"prompt": 7}\n', "line 1 of .* 7 is not text"),
        ('{"prompt": "a", "expects": {}}\n', "line 1 of .* unknown key 'expects'; did you mean 'expect'"),
        ('{"prompt": "a", "group": 1}\n', "line 1 of .* group, seen or foil is not what it should be"),
        ('{"prompt": "a", "expect": {"objects": [{"concept": "cat", "count": "two"}]}}\n', "line 1 of .* count 'two'"),
        ('{"prompt": "a", "expect": {"objects": [{"concept": "cat", "color": "red"}]}}\n', "line 1 of .* 'color'"),
        ('{"prompt": "a", "expect": {"style": "baroque"}}\n', "line 1 of .* 'baroque' is none the judge knows"),
        ("\n", "holds no prompt"),
    ],
)
def test_a_bad_prompt_file_says_which_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(text)
    with pytest.raises(BadFile, match=message):
        own_prompts(path)
    with pytest.raises(BadFile, match="cannot be read"):
        own_prompts(tmp_path / "none.jsonl")


# --- scores ------------------------------------------------------------------------------------------------------


def outcome(prompt: str, seed: int, *answers: tuple[str, str], group: str = "count", seen: bool = True) -> Outcome:
    taught = prompt != "a dog"
    facts = tuple(Fact(kind, kind, answer) for kind, answer in answers)  # type: ignore[arg-type]
    return Outcome(prompt, group, seen, taught, seed, facts, f"{prompt}/{seed}")


OUTCOMES = [
    outcome("two cats", 1, ("presence", "yes"), ("count", "yes")),
    outcome("two cats", 2, ("presence", "yes"), ("count", "no")),
    outcome("a dog", 1, ("presence", "no"), group="single object", seen=False),
    outcome("a dog", 2, ("presence", "no"), group="single object", seen=False),
    outcome("a cat and a wombat", 1, ("unknown", "cannot tell"), ("presence", "yes"), group="single object"),
    outcome("a cat and a wombat", 2, ("unknown", "cannot tell"), ("presence", "yes"), group="single object"),
]


def value(score: Score) -> float:
    return score.row()["value"]


def test_overall_is_the_share_of_pictures_with_all_facts_right() -> None:
    tables = scores(OUTCOMES, TRUST)
    overall = tables["overall"]
    assert value(overall["all"]) == pytest.approx((0.5 + 0) / 2) and overall["all"].prompts == 2
    assert value(overall["seen pairs"]) == 0.5 and value(overall["held-out pairs"]) == 0
    assert value(overall["things it was taught"]) == 0.5 and value(overall["others"]) == 0
    assert value(tables["group"]["count"]) == 0.5 and value(tables["group"]["single object"]) == 0
    assert value(tables["fact"]["presence"]) == pytest.approx(2 / 3) and value(tables["fact"]["count"]) == 0.5
    assert "unknown" not in tables["fact"]


def test_a_prompt_that_is_partly_unknown_is_neither_right_nor_wrong_and_said_to_be() -> None:
    tables = scores(OUTCOMES, TRUST)
    assert value(scores(OUTCOMES[:4], TRUST)["overall"]["all"]) == value(tables["overall"]["all"])
    assert (tables["overall"]["all"].unknown, tables["group"]["count"].unknown) == (1, 0)
    assert as_json(tables)["group"]["single object"]["unknown"] == 1
    assert ["(1 unknown)" in line for line in table_lines({"group": tables["group"]})] == [False, True]


def test_what_the_judge_cannot_tell_is_not_right() -> None:
    doubtful = [outcome("two cats", 1, ("presence", "yes"), ("count", "cannot tell"))]
    assert value(scores(doubtful, TRUST)["overall"]["all"]) == 0


def test_nothing_known_is_no_score() -> None:
    with pytest.raises(DarkroomError, match='give prompts an "expect"'):
        scores([outcome("a yak", 1, ("unknown", "cannot tell")), outcome("a nice day", 1)], TRUST)


def test_what_cannot_be_scored_is_said_before_anything_is_drawn() -> None:
    cat, sign = PromptRow("a cat", Expectation((Wanted("cat"),))), PromptRow("a sign", Expectation(letters="GO"))
    yak = PromptRow("a yak on a wombat", Expectation(unknown=("yak", "wombat")))
    check_scorable([cat, yak, PromptRow("nice", Expectation())], TRUST)
    with pytest.raises(BadInput, match=r"\(unknown: yak, wombat\).*give prompts"):
        check_scorable([yak], TRUST)
    with pytest.raises(BadInput, match="give prompts"):
        check_scorable([PromptRow("nice", Expectation())], TRUST)
    with pytest.raises(BadInput, match="no calibration for letters"):
        check_scorable([cat, sign], TRUST)
    with pytest.raises(BadInput, match=f"no calibration for {OVERALL}, presence"):
        check_scorable([cat], {})
    assert unknown_words([yak, cat, yak]) == {"yak": 2, "wombat": 2}


def test_a_group_has_the_ceiling_of_its_own_scenes() -> None:
    own = {**TRUST, "group: count": Trust(0.9, 0.0, 0.1)}
    assert scores(OUTCOMES, own)["group"]["count"].trust.ceiling == 0.9
    assert scores(OUTCOMES, own)["group"]["single object"].trust.ceiling == 0.97


def test_a_mended_expectation_is_judged_anew(judge: Judge, tmp_path: Path) -> None:
    model = tiny_model()
    first = evaluated(model, judge, [PromptRow("cats", Expectation((Wanted("cat", 2),)))], (1,), tmp_path)
    again = evaluated(model, judge, [PromptRow("cats", Expectation((Wanted("cat", 3),)))], (1,), tmp_path)
    assert first[0].facts != again[0].facts and first[0].key != again[0].key


def test_intervals_are_over_prompts_and_hold_the_score() -> None:
    many = [outcome(f"p{i}", s, ("presence", "yes" if i % 4 else "no")) for i in range(80) for s in range(4)]
    row = scores(many, TRUST)["fact"]["presence"].row()
    assert row["low"] < row["value"] == 0.75 < row["high"]
    assert 0.07 < row["value"] - row["low"] < 0.13  # 1.96 sqrt(.75 * .25 / 80) = .095: prompts, not pictures, are drawn
    assert scores(many, TRUST)["fact"]["presence"].row() == row


@pytest.mark.parametrize(
    ("answer", "count", "low", "high"), [("yes", 30, 0.9, 1.0), ("no", 30, 0.0, 0.1), ("yes", 1, 0, 1)]
)
def test_prompts_that_all_agree_are_not_certain(answer: Any, count: int, low: float, high: float) -> None:
    row = scores([outcome(f"p{i}", 0, ("presence", answer)) for i in range(count)], TRUST)["fact"]["presence"].row()
    assert (row["low"], row["high"]) == (pytest.approx(low), pytest.approx(high))


def test_no_score_is_shown_without_the_judges_own_rows() -> None:
    """The number is private to its module, and every way to show it shows ceiling and floor."""
    with pytest.raises(TypeError, match="trust"):
        Score(0.5, 0.4, 0.6, 10, 0)  # type: ignore[call-arg]
    public = {name for name in (*(f.name for f in fields(Score)), *vars(Score)) if not name.startswith("_")}
    assert public == {"prompts", "unknown", "trust", "row", "line", "headline", "cells"}
    elsewhere = [
        path.name
        for path in Path(prompts.__file__).parents[1].rglob("*.py")
        if path.name != "scores.py" and re.search(r"\._(value|low|high)\b", path.read_text())
    ]
    assert elsewhere == []
    score = Score(0.512, 0.4, 0.6, 10, 0, Trust(0.973, 0.021, 0.034))
    lines = table_lines({"overall": {"a name longer than any other": score, "b": score}})
    shown = [*lines, score.headline(), score.cells(), table("t", {"row": score}), curve({1: score, 2: score})]
    for text in shown:
        numbers = re.findall(r"(?<![\d.])0?\.(?:51|97|02)\d?|(?:51|97|2)\.\d%", text)
        assert {number.lstrip("0.")[:2].rstrip(".") for number in numbers} == {"51", "97", "2"}, text
    assert curve({1: score, 2: score}).count("ceiling 0.97, floor 0.02") == 2
    assert [line.index("0.512") for line in lines] == [30, 30]
    rows = [row for table in as_json({"overall": {"all": score}}).values() for row in table.values()]
    assert [row["trust"] for row in rows] == [{"ceiling": 0.973, "floor": 0.021, "foil": 0.034}]


def test_a_fact_the_judge_was_never_tried_on_has_no_score() -> None:
    with pytest.raises(DarkroomError, match="not calibrated for letters"):
        scores([outcome("a sign", 1, ("letters", "yes"))], TRUST)


def test_some_of_many_come_from_all_over() -> None:
    names = [f"{group}{i}" for group in "abcdefghij" for i in range(10)]
    assert {name[0] for name in spread(names, 13)} == set("abcdefghij") and len(spread(names, 13)) == 13
    assert spread(names, 60)[-1][0] == "j" and len(set(spread(names, 60))) == 60
    assert spread(names, 100) == spread(names, 1000) == names


# --- the run -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    return load_judge(small_judge(tmp_path_factory.mktemp("judge") / "judge"))


def rows(count: int) -> list[PromptRow]:
    return [PromptRow(f"{i} cats", Expectation((Wanted("cat", i),))) for i in range(1, count + 1)]


def test_every_prompt_is_drawn_with_every_seed_and_judged(judge: Judge, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = evaluated(tiny_model(), judge, rows(5), (7, 8), tmp_path / "out", lambda done, of: seen.append((done, of)))
    assert [(o.prompt, o.seed) for o in found] == [(f"{i} cats", s) for i in range(1, 6) for s in (7, 8)]
    assert {fact.kind for o in found for fact in o.facts} == {"presence", "one", "count"}
    assert seen == [(0, 10), (10, 10)]


def test_a_prompt_is_ranked_against_its_foil(judge: Judge) -> None:
    there, back = PromptRow("a cat", Expectation(), foil="a dog"), PromptRow("a dog", Expectation(), foil="a cat")
    model = tiny_model()
    found = evaluated(model, judge, [there, back, PromptRow("a cat", Expectation((Wanted("cat"),)))], (1, 2, 3, 4))
    assert {type(o.nearer) for o in found[:8]} == {bool} and {o.nearer for o in found[8:]} == {None}
    alike = evaluated(model, judge, [replace(there, foil="a cat")], (1, 2, 3, 4))
    assert not any(o.nearer for o in alike)  # of two that fit as well, none is nearer
    ranked = [replace(o, nearer=o.seed == 1) for o in OUTCOMES]
    assert value(scores(ranked, {**TRUST, RANKING: Trust(0.9, 0.5, None)})["fact"][RANKING]) == 0.5
    with pytest.raises(BadInput, match="holds no calibration for ranking"):
        check_scorable([PromptRow("a cat", Expectation((Wanted("cat"),)), foil="a dog")], TRUST)


def test_a_stopped_run_goes_on_and_draws_nothing_twice(judge: Judge, tmp_path: Path) -> None:
    model, lots = tiny_model(), []
    whole = evaluated(model, judge, rows(10), (1, 2))
    evaluated(model, judge, rows(10)[:4], (1, 2), tmp_path)
    kept = tmp_path / "outcomes.jsonl"
    kept.write_text(kept.read_text() + '{"prompt": "half a li')  # as a kill leaves it
    again = evaluated(model, judge, rows(10), (1, 2), tmp_path, lambda done, of: lots.append(done))
    assert again == whole
    assert lots == [8, min(20, 8 + AT_ONCE)]
    assert evaluated(model, judge, rows(10), (1, 2), tmp_path) == whole


def test_what_was_kept_of_other_prompts_does_not_count_as_done(judge: Judge, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    evaluated(tiny_model(), judge, rows(6)[3:], (1,), tmp_path)
    evaluated(tiny_model(), judge, rows(2), (1,), tmp_path, lambda done, of: told.append((done, of)))
    assert told == [(0, 2), (2, 2)]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda lines: [lines[0], lines[1][:40], *lines[2:]],
            "line 2 of .*jsonl is damaged.*delete that line",
        ),
        (lambda lines: [lines[0], '{"prompt": "a"}', *lines[2:]], "line 2 of .* is damaged"),
        (lambda lines: [*lines, "[]"], "line 4 of .* is damaged"),
        (lambda lines: ["{", *lines[1:]], "line 1 of .* is damaged.*delete the file"),
        (lambda lines: [], "line 1 of .* is damaged"),
    ],
)
def test_a_damaged_file_of_outcomes_is_named_with_its_line(
    judge: Judge, tmp_path: Path, damage: Callable[[list[str]], list[str]], message: str
) -> None:
    evaluated(tiny_model(), judge, rows(2), (1,), tmp_path)
    kept = tmp_path / "outcomes.jsonl"
    kept.write_text("".join(line + "\n" for line in damage(kept.read_text().splitlines())))
    with pytest.raises(BadFile, match=message):
        evaluated(tiny_model(), judge, rows(2), (1,), tmp_path)


def test_outcomes_of_another_judge_are_not_mixed(judge: Judge, tmp_path: Path) -> None:
    evaluated(tiny_model(), judge, rows(1), (1,), tmp_path)
    other = replace(judge, sha256="another")
    said = "holds outcomes of another model, judge or settings"
    with pytest.raises(BadInput, match=said):
        evaluated(tiny_model(), other, rows(1), (1,), tmp_path)
    with pytest.raises(BadInput, match=said):
        evaluated(tiny_model(), judge, rows(1), (1,), tmp_path, settings={"steps": 2})


def test_a_model_is_measured_with_other_settings(judge: Judge, tmp_path: Path) -> None:
    settings = {"steps": 2, "sampler": "heun", "guidance_interval": (0.2, 0.8)}
    evaluated(tiny_model(), judge, rows(1), (1,), tmp_path, settings=settings)
    recipe = read_recipe(picture_path(tmp_path, rows(1)[0].prompt, 1))
    assert (recipe.steps, recipe.sampler, recipe.guidance_interval) == (2, "heun", (0.2, 0.8))
    seen: list[int] = []
    evaluated(tiny_model(), judge, rows(1), (1,), tmp_path, lambda done, of: seen.append(done), settings)
    assert seen == [1]  # all of it was done


# --- progress ----------------------------------------------------------------------------------------------------


def test_progress_says_now_and_then_how_long_it_will_take(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.0, 5.0, 20.0, 25.0, 80.0, 90.0])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    progress = Progress("judged", every_s=15)
    for done in (1000, 1010, 1040, 1050, 1160, 1200):  # 2 a second; the first 1000 are an earlier run's
        progress(done, 1200)
    assert capsys.readouterr().err.splitlines() == [
        "judged 1,040 of 1,200, 80 s left", "judged 1,160 of 1,200, 20 s left", "judged 1,200 of 1,200"
    ]  # fmt: skip
