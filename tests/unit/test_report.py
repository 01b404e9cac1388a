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
from darkroom.evaluation.accuracy import evaluated
from darkroom.evaluation.baselines import copies
from darkroom.evaluation.calibration import OVERALL, calibrate
from darkroom.evaluation.measuring import reported
from darkroom.evaluation.prompts import PromptRow
from darkroom.judge.expect import Expectation, Wanted, expected_of
from darkroom.judge.judge import Judge, Trust, load_judge
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
    for heading in ("Scores", "How far the judge can be trusted", "Score by steps", "Cost", "Distance from real",
                    "Best cases", "Worst cases", "Nearest training scenes", "The fixed sheet"):  # fmt: skip
        assert f"<h2>{heading}" in page
    assert page.count("<td class=n>0.97") >= 3 and page.count("<td class=n>0.02") >= 3
    assert page.count("data:image/webp") >= 4 and "what the judge sees" in page and "not presence: cat" in page
    assert "real scenes through its autoencoder" in page and "the nearest training scene" in page


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


def test_calibration_counts_every_kind_on_scenes_of_its_own(judge: Judge, stock: Built) -> None:
    told: list[int] = []
    found = calibrate(judge, stock, 60, told.append)
    assert found.scenes == told[-1] >= 50
    assert {
        OVERALL,
        "group: wearing",
        "group: long",
        "group: word",
        "letters",
        "presence",
        "one",
        "style",
        "ground",
        "light",
    } <= set(found.trust)
    assert not found.spoilt  # what it never saw cannot be spoilt for it
    assert found.trust["presence"].ceiling < 0.2  # random weights see nothing
