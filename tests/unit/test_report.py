"""The report: one page that needs nothing beside it, with every score next to the judge's own rows."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from darkroom.data.loader import Scenes
from darkroom.data.scenes.captions import caption
from darkroom.data.scenes.spec import FULL
from darkroom.data.stock import built
from darkroom.data.stock.built import Built
from darkroom.evaluation.accuracy import Outcome, evaluated, picture_path
from darkroom.evaluation.baselines import copies
from darkroom.evaluation.calibration import OVERALL
from darkroom.evaluation.measuring import _compared, _steps, reported
from darkroom.evaluation.prompts import PromptRow
from darkroom.evaluation.report import CASES, _best, _cases, _faults, _worst
from darkroom.judge.expect import Expectation, Wanted, expected_of
from darkroom.judge.judge import Judge, Trust, load_judge
from darkroom.judge.verdict import Fact
from darkroom.wording.vocabulary import core
from tests.tiny import tiny_model
from tests.toys import sprite_table
from tests.unit.test_judge import small_judge

ROWS = [
    PromptRow(f"{n} <b>cats</b> & {n} dogs", Expectation((Wanted("cat", n), Wanted("dog", n))), "count", n % 2 == 0)
    for n in range(2, 6)
]


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    opened = load_judge(small_judge(tmp_path_factory.mktemp("judge") / "judge"))
    trust = {
        kind: Trust(0.97, 0.02, None if kind == OVERALL else 0.03) for kind in (OVERALL, "presence", "one", "count")
    }
    return replace(opened, calibration=trust)


@pytest.fixture(scope="module")
def stock() -> Built:
    words = [concept.word for concept in core()[:140]] + ["woman", "man", "sun hat", "pair of glasses"]
    return Built(sprite_table(tuple(FULL.styles), words=tuple(words)), None, (None,))


@pytest.fixture(scope="module")
def page(judge: Judge, stock: Built, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("run")
    model = tiny_model()
    patch = pytest.MonkeyPatch()
    patch.setattr("darkroom.evaluation.measuring.REAL", 8)
    patch.setattr("darkroom.evaluation.measuring.EVALUATIONS", (1, 2))
    patch.setattr("darkroom.evaluation.baselines.COPIED", 50)
    patch.setattr("darkroom.evaluation.baselines.RECONSTRUCTED", 0.02)
    patch.setattr(built, "load", lambda folder: stock)
    patch.setattr("darkroom.evaluation.measuring.draw_sheet", lambda model, path: _sheet(path))
    try:
        outcomes = evaluated(model, judge, ROWS, (1, 2), out)
        return reported(model, judge, ROWS, outcomes, out, Path("data"), "my own").html()
    finally:
        patch.undo()


def _sheet(path: Path) -> Path:
    path.write_bytes(b"\x89PNG sheet")
    return path


def test_the_page_needs_nothing_beside_it(page: str) -> None:
    assert not re.search(r"(src|href)=(?!'data:)", page) and "http" not in page and "@import" not in page
    assert "<script" not in page


def test_the_page_is_well_formed_and_quotes_what_people_wrote(page: str) -> None:
    open_tags: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag in ("table", "svg", "figure", "div", "main", "h2", "p"):
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            if tag in ("table", "svg", "figure", "div", "main", "h2", "p"):
                assert open_tags.pop() == tag

    Checker().feed(page)
    assert open_tags == []
    assert "<b>cats" not in page and "&lt;b&gt;cats&lt;/b&gt; &amp; 2 dogs" in page


def test_every_part_is_there(page: str) -> None:
    for heading in ("Scores", "How far the judge can be trusted", "Score by evaluations", "Cost", "Distance from real",
                    "Best cases", "Worst cases", "Nearest training scenes", "The fixed sheet"):  # fmt: skip
        assert f"<h2>{heading}" in page
    assert page.count("<td class=n>0.97") >= 3 and page.count("<td class=n>0.02") >= 3
    assert page.count("data:image/webp") >= 4 and "what the judge sees" in page and "not there: cat" in page
    assert "real scenes through its autoencoder" in page and "the nearest training scene" in page


def test_of_what_is_not_there_nothing_more_is_said() -> None:
    facts = [("presence", "red fox", "no"), ("colour", "purple red fox", "no"), ("presence", "cat", "yes")]
    facts += [("one", "1 cat", "no"), ("relation", "red fox above cat", "no"), ("style", "3d", "no")]
    told = _faults(Outcome("a fox", "colour", True, True, 1, tuple(Fact(*fact) for fact in facts), "a fox/1"))
    assert told == ["not there: red fox", "wrong: one 1 cat, style 3d"]
    assert _faults(Outcome("a fox", "colour", True, True, 1, (Fact("presence", "red fox", "yes"),), "a fox/1")) == []


def test_every_score_and_every_point_of_the_curve_stands_beside_the_judges_own_rows(page: str) -> None:
    head, rest = page.split("<h2>Scores", 1)
    assert re.search(r"(\d+\.\d)%</p>.*97.0% \(ceiling\).* 2.0% \(floor\)", head)
    rows = re.findall(r"<tr class=score>(.*?)(?=<tr|</tbody)", rest)
    names = [re.match("<th>([^<]*)", row).group(1) for row in rows]  # type: ignore[union-attr]
    assert {"all", "presence", "count", "the nearest training scene"} <= set(names)
    for row in rows:
        cells = re.findall(r"<td class=n>([\d.-]+)", row)
        assert len(cells) == 5 and cells[2:4] == ["0.97", "0.02"], row
    drawn = rest.split("<h2>Score by evaluations")[1].split("<h2>")[0]
    points = re.findall(r"<g class=point>(.*?)</g>", drawn)
    assert [re.search(r"(\d+): ", point).group(1) for point in points] == ["1", "2"]  # type: ignore[union-attr]
    assert all("ceiling 0.97, floor 0.02" in point and point.count("<line") == 2 for point in points)
    assert drawn.count("<circle") == len(points)


def test_other_real_scenes_stand_beside_every_distance(page: str) -> None:
    table = page.split("<h2>Distance from real")[1].split("<h2>")[0]
    rows = {
        name: numbers for name, *numbers in (re.findall(r"<t[hd][^>]*>([^<]+)", row) for row in table.split("<tr>")[2:])
    }
    assert len(rows) == 6
    for space in ("what the judge sees", "latents", "colours and edges, no network"):
        own, floor = (float(rows[name][0]) for name in (space, f"{space}: other real scenes (floor)"))
        assert own > floor > 0, space  # a model of random weights is farther off


@pytest.mark.parametrize(
    ("sampler", "steps"),
    [("euler", {1: 1, 2: 2, 4: 4, 8: 8, 16: 16}), ("heun", {1: 1, 3: 2, 7: 4, 15: 8})],
)
def test_the_curve_counts_evaluations_not_steps(sampler: str, steps: dict[int, int]) -> None:
    assert _steps(sampler) == steps


def case(prompt: str, group: str, seed: int, wrong: int) -> Outcome:
    facts = tuple(Fact("presence", f"{i}", "no" if i < wrong else "yes") for i in range(3))
    return Outcome(prompt, group, True, True, seed, facts, f"{prompt}/{seed}")


def test_best_cases_come_from_every_group_and_the_worst_come_first() -> None:
    right = [case(f"{group}{i}", group, seed, 0) for group in "abc" for i in range(9) for seed in (1, 2)]
    assert [o.prompt for o in _best(right)[:4]] == ["a0", "b0", "c0", "a1"]
    assert len(_best(right)) == 27
    mixed = [case("fair", "a", 1, 1), case("bad", "a", 1, 1), case("bad", "a", 2, 3), case("poor", "a", 1, 2)]
    assert [(o.prompt, o.seed) for o in _worst([*right, *mixed])] == [("bad", 2), ("poor", 1), ("fair", 1)]


def test_only_the_pictures_that_are_shown_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pictures").mkdir()
    outcomes = [case(f"p{i}", "a", 1, 1) for i in range(40)]
    for o in outcomes:
        picture_path(tmp_path, o.prompt, 1).write_bytes(b"webp")
    read: list[Path] = []
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or b"webp")
    assert _cases(outcomes, tmp_path).count("<img") == len(read) == CASES


def test_a_run_whose_pictures_are_gone_says_it_could_not_compare(judge: Judge, stock: Built, tmp_path: Path) -> None:
    assert _compared(tiny_model(), judge, [case("a cat", "a", 1, 0)], tmp_path, stock) == ({}, [])


def test_the_copying_model_copies_what_was_asked_for(judge: Judge, stock: Built) -> None:
    from darkroom.evaluation.baselines import _nearest

    scenes = Scenes(stock.composer(), stock.everything()).specs(0, 200)
    assert _nearest([caption(scenes[i]) + "!" for i in (7, 150, 3)], scenes) == [7, 150, 3]
    rows = [PromptRow(caption(scene), expected_of(scene)) for scene in scenes[:40:4] if scene.objects]
    patch = pytest.MonkeyPatch()
    patch.setattr("darkroom.evaluation.baselines.COPIED", 200)
    with patch.context():
        found = copies(judge, rows, stock)
    assert [(o.prompt, len(o.facts) > 0) for o in found] == [(row.prompt, True) for row in rows]
