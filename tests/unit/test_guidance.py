"""Wrappers around denoise: tasks in lockstep, classifier-free guidance, watching."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from darkroom.protocols import Call, Denoise, Level, Task
from darkroom.synthesis.guidance import LONG, guided, led_away, together, watched
from darkroom.synthesis.noise import RectifiedFlow, SeededNoise
from darkroom.synthesis.prediction import KINDS, PredictionKind, to_x0
from darkroom.synthesis.samplers import heun
from darkroom.synthesis.spacing import spaced
from tests.analytic import run

X = torch.linspace(-2, 2, 12).reshape(3, 4)
LEVEL = Level(0.5, 0.5, 0.5)


def asking(name: str, times: int, log: list[str] | None = None) -> Task[str]:
    """Asks one call ``times`` times, adds up the answers, and notes in ``log`` when it is closed early."""
    total = 0.0
    try:
        for i in range(times):
            (answer,) = yield [Call(name, {"i": float(i)})]
            total += answer.item()
    except GeneratorExit:
        if log is not None:
            log.append(f"{name} closed")
        raise
    return f"{name} {total:g}"


def network(name: str, factor: float) -> Denoise:
    """A denoiser of one call whose answer is ``factor * x``, by way of :func:`evaluate`."""

    def denoise(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
        (output,) = yield [Call(name, {"x": x, "factor": factor})]
        return output

    return denoise


def evaluate(calls: list[Call]) -> list[Tensor]:
    answers = []
    for call in calls:
        x, factor = call.inputs["x"], call.inputs["factor"]
        assert isinstance(x, Tensor)
        answers.append(torch.tanh(factor * x))
    return answers


def forbidden(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
    raise AssertionError("must not be asked")
    yield []


# -- together ------------------------------------------------------------------------------------------------------


def test_tasks_of_different_lengths_share_their_passes_and_keep_their_answers() -> None:
    passes: list[list[str]] = []

    def answer(calls: list[Call]) -> list[Tensor]:
        passes.append([call.network for call in calls])
        size = {"a": 1.0, "b": 10.0, "c": 100.0}
        return [torch.tensor(size[call.network] * (1 + float(call.inputs["i"]))) for call in calls]

    results = run(together(asking("a", 1), asking("b", 3), asking("none", 0), asking("c", 2)), answer)
    assert results == ("a 1", "b 60", "none 0", "c 300")
    assert passes == [["a", "b", "c"], ["b", "c"], ["b"]]


def test_a_task_may_ask_for_several_calls_or_none_at_a_time() -> None:
    def several() -> Task[list[float]]:
        nothing = yield []
        two = yield [Call("a", {"i": 1.0}), Call("a", {"i": 2.0})]
        return [answer.item() for answer in nothing + two]

    def answer(calls: list[Call]) -> list[Tensor]:
        return [torch.tensor(call.inputs["i"]) for call in calls]

    assert run(together(several(), several()), answer) == ([1.0, 2.0], [1.0, 2.0])
    assert run(together(), answer) == ()


def test_nested_lockstep_is_lockstep() -> None:
    task = together(together(asking("a", 2), asking("b", 1)), together(asking("c", 2)))
    assert [call.network for call in next(task)] == ["a", "b", "c"]
    assert [call.network for call in task.send([torch.tensor(1.0)] * 3)] == ["a", "c"]


def test_an_error_in_one_task_closes_the_others() -> None:
    log: list[str] = []

    def failing() -> Task[str]:
        yield [Call("bad", {})]
        raise RuntimeError("out of ink")

    one, other = asking("a", 2, log), asking("b", 2, log)  # held, so that it is not garbage collection that closes
    task = together(one, failing(), other)
    next(task)
    with pytest.raises(RuntimeError, match="out of ink"):
        task.send([torch.tensor(0.0)] * 3)
    assert log == ["a closed", "b closed"]


def test_an_error_thrown_in_reaches_the_waiting_tasks_and_only_those() -> None:
    seen: list[str] = []

    def noticing(name: str, times: int, again: bool) -> Task[str]:
        for _ in range(times):
            try:
                yield [Call(name, {})]
            except MemoryError:
                seen.append(name)
                if not again:
                    raise
                yield [Call(f"{name} again", {})]
        return name

    task = together(noticing("done", 1, True), noticing("a", 2, True), noticing("b", 2, True))
    next(task)
    task.send([torch.tensor(0.0)] * 3)
    assert [call.network for call in task.throw(MemoryError())] == ["a again", "b again"]
    with pytest.raises(StopIteration) as stop:
        task.send([torch.tensor(0.0)] * 2)
    assert stop.value.value == ("done", "a", "b") and seen == ["a", "b"]

    seen.clear()
    task = together(noticing("a", 2, False), noticing("b", 2, True))
    next(task)
    with pytest.raises(MemoryError):
        task.throw(MemoryError())
    assert seen == ["a"]


def test_closing_closes_every_task() -> None:
    log: list[str] = []
    one, other = asking("a", 2, log), asking("b", 2, log)
    task = together(one, other)
    next(task)
    task.close()
    assert log == ["a closed", "b closed"]


@pytest.mark.parametrize("count", [1, 3])
def test_a_wrong_number_of_answers_is_refused(count: int) -> None:
    task = together(asking("a", 1), asking("b", 1))
    next(task)
    with pytest.raises(ValueError, match=f"2 calls were answered with {count}"):
        task.send([torch.tensor(0.0)] * count)


# -- guided --------------------------------------------------------------------------------------------------------


def test_guidance_is_the_line_through_both_estimates() -> None:
    positive, negative = network("net", 0.7), network("net", 0.2)
    plus, minus = (run(denoise(X, LEVEL), evaluate) for denoise in (positive, negative))
    for scale in (0.0, 0.5, 2.0, 7.5, -1.0):
        out = run(guided(positive, negative, scale)(X, LEVEL), evaluate)
        torch.testing.assert_close(out, (1 - scale) * minus + scale * plus, rtol=0, atol=1e-5)
    assert torch.equal(run(guided(positive, negative, 0.0)(X, LEVEL), evaluate), minus)


def test_both_evaluations_are_asked_for_at_once() -> None:
    task = guided(network("positive", 0.7), network("negative", 0.2), 3.0)(X, LEVEL)
    assert [call.network for call in next(task)] == ["positive", "negative"]


def test_scale_one_is_plain_bit_for_bit_and_asks_the_positive_only() -> None:
    plain, levels = network("net", 0.7), spaced(RectifiedFlow(), 6)
    with_guidance = run(heun(guided(plain, forbidden, 1.0), X, levels, SeededNoise(0)), evaluate)
    assert torch.equal(with_guidance, run(heun(plain, X, levels, SeededNoise(0)), evaluate))


@pytest.mark.parametrize(("t", "acts"), [(0.19, False), (0.2, True), (0.5, True), (0.7, True), (0.71, False)])
def test_guidance_acts_within_its_interval_ends_included(t: float, acts: bool) -> None:
    positive = network("net", 0.7)
    level = RectifiedFlow().level(t)
    denoise = guided(positive, network("net", 0.2) if acts else forbidden, 3.0, interval=(0.2, 0.7))
    assert len(next(denoise(X, level))) == (2 if acts else 1)
    out, plain = run(denoise(X, level), evaluate), run(positive(X, level), evaluate)
    assert torch.equal(out, plain) is not acts


@pytest.mark.parametrize("kind", KINDS)
def test_guiding_x0_is_guiding_the_networks_output(kind: PredictionKind) -> None:
    # the paper's eq. 6 combines eps; in x0 space it must not matter what the network predicts
    level = Level(0.4, 0.8, 0.7)
    outputs = {"plus": torch.sin(X).double(), "minus": torch.cos(3 * X).double()}

    def denoise(name: str) -> Denoise:
        def one(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
            (output,) = yield [Call(name, {})]
            return to_x0(kind, output, x, level)

        return one

    x = X.double()
    out = run(guided(denoise("plus"), denoise("minus"), 4.0)(x, level), lambda cs: [outputs[c.network] for c in cs])
    combined = outputs["minus"] + 4.0 * (outputs["plus"] - outputs["minus"])
    torch.testing.assert_close(out, to_x0(kind, combined, x, level), rtol=0, atol=1e-12)


def test_guidance_nests() -> None:
    inner = guided(network("net", 0.7), network("net", 0.2), 2.0)
    task = guided(inner, network("net", 0.1), 3.0)
    assert len(next(task(X, LEVEL))) == 3
    inside, minus = run(inner(X, LEVEL), evaluate), run(network("net", 0.1)(X, LEVEL), evaluate)
    assert torch.equal(run(task(X, LEVEL), evaluate), minus + 3.0 * (inside - minus))


@pytest.mark.parametrize("interval", [(-0.1, 0.5), (0.5, 1.1), (0.6, 0.5), (float("nan"), 1.0)])
def test_impossible_intervals_are_refused(interval: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="guidance interval"):
        guided(forbidden, forbidden, 2.0, interval)


# -- watched -------------------------------------------------------------------------------------------------------


def test_watching_sees_every_estimate_and_changes_nothing() -> None:
    seen: list[tuple[Level, Tensor]] = []
    plain, levels = network("net", 0.7), spaced(RectifiedFlow(), 4)
    watching = watched(plain, lambda level, x0: seen.append((level, x0)))
    out = run(heun(watching, X, levels, SeededNoise(0)), evaluate)
    assert torch.equal(out, run(heun(plain, X, levels, SeededNoise(0)), evaluate))
    assert [level.t for level, _ in seen] == [1.0, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25]
    assert torch.equal(seen[0][1], torch.tanh(0.7 * X))
    assert run(watching(X, LEVEL), evaluate) is seen[-1][1]


def test_a_watcher_can_cancel() -> None:
    def cancel(level: Level, x0: Tensor) -> None:
        raise InterruptedError("cancelled")

    with pytest.raises(InterruptedError, match="cancelled"):
        run(watched(network("net", 0.7), cancel)(X, LEVEL), evaluate)


# -- a flow map's negative -----------------------------------------------------------------------------------------

LED, NOTHING, UNWANTED = network("net", 0.9), network("net", 0.3), network("net", 0.6)


def test_a_negative_leads_away_from_what_it_names() -> None:
    out = run(led_away(LED, NOTHING, UNWANTED, 3.0)(X, LEVEL), evaluate)
    led, nothing, unwanted = (run(denoise(X, LEVEL), evaluate) for denoise in (LED, NOTHING, UNWANTED))
    assert torch.equal(out, led + 2.0 * (nothing - unwanted))


def test_at_one_level_it_is_guidance_against_the_negative() -> None:
    positive = network("net", 0.8)
    inside = guided(positive, NOTHING, 3.0)  # what a flow map has learnt to answer by itself
    torch.testing.assert_close(
        run(led_away(inside, NOTHING, UNWANTED, 3.0)(X, LEVEL), evaluate),
        run(guided(positive, UNWANTED, 3.0)(X, LEVEL), evaluate),
    )


def test_a_negative_that_says_nothing_changes_nothing() -> None:
    out = run(led_away(LED, NOTHING, NOTHING, 3.0)(X, LEVEL), evaluate)
    assert torch.equal(out, run(LED(X, LEVEL), evaluate))
    assert torch.equal(run(led_away(LED, forbidden, forbidden, 1.0)(X, LEVEL), evaluate), out)


@pytest.mark.parametrize(
    ("start", "end", "share"), [(1.0, 0.5, 0.8), (0.8, 0.6, 1.0), (0.5, 0.0, 0.8), (1.0, 0.95, 0.0), (1.0, 0.0, 0.8)]
)
def test_over_a_step_it_acts_for_the_share_of_its_interval(start: float, end: float, share: float) -> None:
    now, after = RectifiedFlow().level(start), RectifiedFlow().level(end)
    denoise = led_away(LED, NOTHING if share else forbidden, UNWANTED if share else forbidden, 3.0, (0.1, 0.9))
    led, nothing, unwanted = (run(denoise(X, now), evaluate) for denoise in (LED, NOTHING, UNWANTED))
    torch.testing.assert_close(run(denoise(X, now, after), evaluate), led + 2.0 * LONG * share * (nothing - unwanted))
