"""The benchmark that compares how two judges rank models: its measures, and a run with tiny parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import ranking
from darkroom.evaluation.calibration import OVERALL, RANKING
from darkroom.evaluation.prompts import prompt_set
from darkroom.evaluation.scores import Score
from darkroom.judge.judge import CARD, Trust
from tests.tiny import saved, tiny_model
from tests.unit.test_judge import small_judge

KINDS = (
    OVERALL,
    RANKING,
    "presence",
    "one",
    "count",
    "colour",
    "binding",
    "relation",
    "style",
    "ground",
    "light",
    "camera",
)


def test_agreement_is_one_minus_one_or_between() -> None:
    up, down, level = [0.1, 0.2, 0.5, 0.7], [0.9, 0.5, 0.2, 0.1], [0.3] * 4
    assert ranking.spearman(up, up) == pytest.approx(1) and ranking.kendall(up, up) == pytest.approx(1)
    assert ranking.spearman(up, down) == pytest.approx(-1) and ranking.kendall(up, down) == pytest.approx(-1)
    assert ranking.spearman(up, level) is None and ranking.kendall(level, up) is None
    swapped = [0.1, 0.5, 0.2, 0.7]  # one pair of six the other way
    assert ranking.kendall(up, swapped) == pytest.approx(4 / 6) and ranking.spearman(up, swapped) == pytest.approx(0.8)
    assert ranking.ranks([0.2, 0.1, 0.2]).tolist() == [1.5, 0.0, 1.5]
    assert ranking.kendall(up, [0.1, 0.1, 0.5, 0.7]) == pytest.approx(5 / (6 * 5) ** 0.5)  # tau-b: one pair is level


def test_judges_agree_kind_by_kind() -> None:
    def row(overall: float, style: float) -> dict[str, Score]:
        return {
            kind: Score(v, v, v, 9, 0, Trust(1.0, 0.0, 0.0)) for kind, v in (("overall", overall), ("style", style))
        }

    first, second = [row(0.1, 0.3), row(0.5, 0.2)], [row(0.2, 0.1), row(0.3, 0.9)]
    assert ranking.agreement(first, second) == {
        "overall": {"spearman": pytest.approx(1), "kendall": pytest.approx(1)},
        "style": {"spearman": pytest.approx(-1), "kendall": pytest.approx(-1)},
    }


def test_the_variants_draw_different_pictures(tmp_path: Path) -> None:
    model = saved(tiny_model(), tmp_path / "model")
    rows = prompt_set("dev")[:1]
    drawn = {v.name: next(ranking.pictures(v, rows)).numpy().tobytes() for v in ranking.variants(str(model))}
    assert list(drawn) == ["as it is", "4 steps", "1 step", "no guidance", "melted"]
    assert len(set(drawn.values())) == 4  # four steps are this model's own


def test_two_judges_score_the_same_pictures_side_by_side(tmp_path: Path) -> None:
    model = saved(tiny_model(), tmp_path / "model")
    judge = small_judge(tmp_path / "judge")
    card = json.loads((judge / CARD).read_text())
    card["calibration"] = {kind: {"ceiling": 0.9, "floor": 0.1, "foil": 0.05} for kind in KINDS}
    (judge / CARD).write_text(json.dumps(card))
    said: list[str] = []
    asked = [str(judge), str(judge), "--prompts", "13"]
    ranking.main([*asked, "--model", str(model), "--json"], said.append)
    told = json.loads(said.pop())
    first, second = told["scores"]
    assert first == second and len(first) == 5 and set(told["agreement"]) == set(first["melted"])
    assert all(row["trust"]["ceiling"] == 0.9 for scores in first.values() for row in scores.values())
    ranking.main([*asked, "--models", str(model), str(model)], said.append)
    assert said[0] == "overall: Spearman -, Kendall -"  # the same model twice
    assert sum("ceiling 0.90  floor 0.10" in line for line in said) == 4 * len(told["agreement"])
