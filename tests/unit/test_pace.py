"""How long the rest takes: a rate that follows, of work that counts what pictures cost."""

from __future__ import annotations

import re
import sys

import pytest

from darkroom.contracts.request import Request
from darkroom.drawing.pace import FIRST_S, WINDOW_S, Load, Pace, evaluation_work, in_words, load_of
from darkroom.drawing.speaker import Speaker, Watched
from darkroom.generate import Moment
from tests.tiny import tiny_model

MODEL = tiny_model()


def load(**asked: object) -> Load:
    request = Request.checked({"prompt": "a fox", "seed": 1, **asked})
    return load_of(request, MODEL.resolve(request), MODEL.card)


def test_work_counts_what_a_picture_costs() -> None:
    plain = load(steps=10, guidance=1.0)
    assert (plain.pictures, plain.evaluations) == (1, 10)
    assert load(steps=10, guidance=1.0, sampler="heun").evaluations == 19
    refined = plain.work - 10
    assert load(steps=10, guidance=3.0).work == pytest.approx(20 + refined)
    larger = load(steps=10, guidance=1.0, width=128, height=128, upscale=1)
    assert larger.work == pytest.approx(4 * plain.work)
    assert load(steps=10, guidance=1.0, width=128, height=128, upscale=2).work == pytest.approx(10 + 4 * refined)
    assert load(steps=10, guidance=1.0, best_of=3).work == pytest.approx(3 * plain.work)


def test_time_left_is_right_at_an_even_rate_whatever_single_pictures_cost() -> None:
    pace, at, costs = Pace(0.0), 0.0, [1.0, 20.0, 3.0] * 40
    for number, cost in enumerate(costs):
        at += cost / 4
        pace.advance(cost, at)
        left = pace.left_s(sum(costs), at)
        if at < FIRST_S:
            assert left is None
        else:
            assert left == pytest.approx(sum(costs[number + 1 :]) / 4)


def test_the_rate_is_that_of_late_and_remembers_little() -> None:
    pace, at = Pace(0.0), 0.0
    for _ in range(5000):
        at += 0.1
        pace.advance(1, at)
    for _ in range(2000):  # something else runs beside it now
        at += 0.4
        pace.advance(1, at)
    assert pace.left_s(pace.done + 100, at) == pytest.approx(40)
    assert len(pace._points) < 2 * WINDOW_S / 0.1


def test_a_rate_of_slow_pictures_is_of_more_than_one() -> None:
    pace = Pace(0.0)
    for number in range(1, 5):
        pace.advance(10, 1000.0 * number)
    assert pace.left_s(80, 4000.0) == pytest.approx(4000)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "5 s"), (31, "30 s"), (57, "55 s"), (58, "1 min"), (89, "1 min"), (3569, "59 min"), (3600, "1 h"),
        (7900, "2 h 10 min"), (7200, "2 h"), (86_000, "23 h 50 min"), (100_000, "28 h"), (300_000, "3 days"),
    ],
)  # fmt: skip
def test_times_are_said_as_roughly_as_they_are_known(seconds: float, said: str) -> None:
    assert in_words(seconds) == said


def watched(say: Speaker, evaluations: int) -> Watched:
    one = Load(1, evaluations, 2.0 * evaluations + 1)
    return say.watch(one, 2.0)


def test_pictures_that_fail_or_cost_otherwise_leave_sums_that_add_up() -> None:
    say = Speaker(quiet=True)
    say.begins(Load(4, 40, 84.0))
    pictures = [watched(say, 10) for _ in range(4)]
    told = (10, 3, 12, 0)  # one fails after three, one asks more than was thought, one tells nothing
    for picture, count in zip(pictures, told, strict=True):
        for step in range(count):
            picture.moment(Moment("synthesise", step, 10))
        picture.moment(Moment("refine", 0, 1))
    for number, picture in enumerate(pictures):
        picture.ended(drawn=number != 1)
    assert say.all is not None
    assert (say.done.pictures, say.failures) == (3, 1)
    assert say.done.evaluations == say.all.evaluations == 10 + 3 + 12 + 10
    assert say.progress(over=True).startswith("█" * 12 + " 3 of 4 pictures, 1 failed")


def test_where_nobody_looks_lines_are_few_and_plain(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    say = Speaker(quiet=False)
    say.begins(Load(4, 400, 804.0))
    for picture in [watched(say, 100) for _ in range(4)]:
        for step in range(100):
            clock[0] += 0.25
            picture.moment(Moment("synthesise", step, 100))
        picture.ended(drawn=True)
    say.ends()
    err = capsys.readouterr().err
    assert "\r" not in err and "\x1b" not in err
    lines = err.splitlines()
    assert len(lines) == 11 and all(line.startswith("synthesise  ") for line in lines)
    assert re.search(r"0 of 4 pictures  about 2 min left  40/400 evaluations$", lines[0])
    assert lines[-1].endswith("4 of 4 pictures  2 min  400/400 evaluations")


def test_a_line_that_is_rewritten_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    say = Speaker(quiet=False)
    say.begins(Load(40_000, 400_000, 840_000.0))
    watched(say, 10).moment(Moment("synthesise", 1, 10))
    shown = [part for part in re.split(r"\r|\x1b\[K", capsys.readouterr().err) if part]
    assert shown and max(map(len, shown)) <= 39


def test_how_many_there_are_may_be_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    say = Speaker(quiet=False)
    say.begins(None)
    one = watched(say, 1)
    one.moment(Moment("synthesise", 1, 1))
    one.ended(drawn=True)
    say.ends()
    assert re.search(r"^synthesise  1 picture  \d\.\d s  1 evaluations\n$", capsys.readouterr().err)


def test_evaluations_of_a_larger_drawing_weigh_more() -> None:
    small, large = (MODEL.resolve(Request(prompt="a", width=s, height=s, upscale=1)) for s in (64, 128))
    assert evaluation_work(large, MODEL.card) == 4 * evaluation_work(small, MODEL.card)
