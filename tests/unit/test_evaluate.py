"""Prompt sets, and scores that are never without the judge's own rows."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from darkroom.contracts.errors import BadFile, BadInput, DarkroomError
from darkroom.data.split import TURNED, pair_held_out, template_held_out
from darkroom.evaluation import prompts
from darkroom.evaluation.accuracy import AT_ONCE, Outcome, Score, as_json, evaluated, scores, table_lines
from darkroom.evaluation.calibration import OVERALL
from darkroom.evaluation.prompts import SETS, PromptRow, own_prompts, prompt_set
from darkroom.judge.expect import Expectation, Related, Wanted
from darkroom.judge.judge import Judge, Trust, load_judge
from darkroom.judge.verdict import Fact
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
    assert found == {"dev": "c8152c998d5e0d22", "test": "048b5ecde9ad210f"}


def test_a_set_is_written_from_its_seeds() -> None:
    work = "from darkroom.evaluation.prompts import written; print(*(row.prompt for row in written('dev')), sep='\\n')"
    once, again = (
        subprocess.run([sys.executable, "-c", work], stdout=subprocess.PIPE, text=True, check=True).stdout for _ in "12"
    )
    assert once == again and len(once.splitlines()) == 500


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
        ("not json\n", "line 1 of .* is no prompt"),
        ('{"prompt": "a"}\n{"expect": {}}\n', "line 2 of .* is no prompt"),
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
    taught = prompt != "a wombat"
    facts = tuple(Fact(kind, kind, answer) for kind, answer in answers)  # type: ignore[arg-type]
    return Outcome(prompt, group, seen, taught, seed, facts, f"{prompt}/{seed}")


OUTCOMES = [
    outcome("two cats", 1, ("presence", "yes"), ("count", "yes")),
    outcome("two cats", 2, ("presence", "yes"), ("count", "no")),
    outcome("a dog", 1, ("presence", "no"), group="single object", seen=False),
    outcome("a dog", 2, ("presence", "no"), group="single object", seen=False),
    outcome("a wombat", 1, ("unknown", "cannot tell"), ("presence", "yes"), group="single object"),
    outcome("a wombat", 2, ("unknown", "cannot tell"), ("presence", "yes"), group="single object"),
]


def test_overall_is_the_share_of_pictures_with_all_facts_right() -> None:
    tables = scores(OUTCOMES, TRUST)
    overall = tables["overall"]
    assert overall["all"].value == pytest.approx((0.5 + 0 + 1) / 3) and overall["all"].prompts == 3
    assert overall["seen pairs"].value == pytest.approx(0.75) and overall["held-out pairs"].value == 0
    assert overall["things it was taught"].value == pytest.approx(0.25) and overall["others"].value == 1
    assert tables["group"]["single object"].value == pytest.approx(0.5)
    assert tables["fact"]["presence"].value == pytest.approx(2 / 3) and tables["fact"]["count"].value == 0.5
    assert "unknown" not in tables["fact"]


def test_what_the_judge_cannot_tell_is_left_out_not_wrong() -> None:
    dumb = outcome("a yak", 1, ("unknown", "cannot tell"))
    assert scores([*OUTCOMES, dumb], TRUST) == scores(OUTCOMES, TRUST)
    with pytest.raises(DarkroomError, match='give prompts an "expect"'):
        scores([dumb], TRUST)


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
    score = scores(many, TRUST)["fact"]["presence"]
    assert score.low < score.value == 0.75 < score.high
    assert 0.07 < score.value - score.low < 0.13  # 1.96 sqrt(.75 * .25 / 80) = .095: prompts, not pictures, are drawn
    assert scores(many, TRUST)["fact"]["presence"] == score


def test_no_score_is_printed_without_the_judges_own_rows() -> None:
    trust = next(field for field in fields(Score) if field.name == "trust")
    with pytest.raises(TypeError, match="trust"):
        Score(0.5, 0.4, 0.6, 10)  # type: ignore[call-arg]
    assert trust.type == "Trust"
    tables = scores(OUTCOMES, TRUST)
    assert all("ceiling 0.97  floor 0.02  foil 0.03" in line for line in table_lines(tables))
    rows = [row for table in as_json(tables).values() for row in table.values()]
    assert rows and all(row["trust"] == {"ceiling": 0.97, "floor": 0.02, "foil": 0.03} for row in rows)


def test_a_fact_the_judge_was_never_tried_on_has_no_score() -> None:
    with pytest.raises(DarkroomError, match="not calibrated for letters"):
        scores([outcome("a sign", 1, ("letters", "yes"))], TRUST)


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
    assert seen[-1] == (10, 10)


def test_a_stopped_run_goes_on_and_draws_nothing_twice(judge: Judge, tmp_path: Path) -> None:
    model, lots = tiny_model(), []
    whole = evaluated(model, judge, rows(10), (1, 2))
    evaluated(model, judge, rows(10)[:4], (1, 2), tmp_path)
    kept = tmp_path / "outcomes.jsonl"
    kept.write_text(kept.read_text() + '{"prompt": "half a li')  # as a kill leaves it
    again = evaluated(model, judge, rows(10), (1, 2), tmp_path, lambda done, of: lots.append(done))
    assert again == whole
    assert lots[0] == min(20, 8 + AT_ONCE)
    assert evaluated(model, judge, rows(10), (1, 2), tmp_path) == whole


def test_outcomes_of_another_judge_are_not_mixed(judge: Judge, tmp_path: Path) -> None:
    evaluated(tiny_model(), judge, rows(1), (1,), tmp_path)
    other = replace(judge, sha256="another")
    with pytest.raises(BadInput, match="holds outcomes of another model or judge"):
        evaluated(tiny_model(), other, rows(1), (1,), tmp_path)
    torch.manual_seed(0)
