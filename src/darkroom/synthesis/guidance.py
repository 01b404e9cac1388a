"""Wrappers ``denoise -> denoise``: guidance, what is kept, watching. Networks and samplers know nothing of either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar, overload

import torch
from jaxtyping import Bool
from torch import Tensor

from darkroom.protocols import Call, Denoise, Latent, Level, T, Task
from darkroom.synthesis.combine import Combine, classifier_free

U = TypeVar("U")

# Of a negative's strength, over a step instead of at one level: small steps feel what those before did, a long one does
# not. Measured by eye on steps of a quarter: at 1 things dissolve, at .25 little is to be seen.
LONG = 0.5


def relayed(task: Task[T], change: Callable[[Call], Call]) -> Task[T]:
    """A task whose calls are changed on their way out; its answers are handed on."""
    try:
        calls = next(task)
        while True:
            try:
                answers = yield [change(call) for call in calls]
            except Exception as error:  # of an evaluation: the task may have an answer to it
                calls = task.throw(error)
            else:
                calls = task.send(answers)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        task.close()


@overload
def together(one: Task[T], other: Task[U], /) -> Task[tuple[T, U]]: ...
@overload
def together(*tasks: Task[T]) -> Task[tuple[T, ...]]: ...
def together(*tasks: Task[Any]) -> Task[tuple[Any, ...]]:
    """Runs unstarted tasks in lockstep as one task, whose pending calls are theirs put one after the other.

    Tasks may finish at different times. Returns their results in the order of the tasks.

    An error of one task closes the others and is raised. An error thrown in (an evaluation failed) left the calls of
    every waiting task unanswered, so each of them is thrown it, in order: one that handles it goes on with what it
    yields next, the first that does not ends all of them. Closing closes them all.

    Raises:
        ValueError: the number of answers is not the number of calls.
    """
    results: dict[int, Any] = {}
    waiting: dict[int, list[Call]] = {}

    def advance(index: int, resume: Callable[[], list[Call]]) -> None:
        try:
            waiting[index] = resume()
        except StopIteration as stop:
            waiting.pop(index, None)
            results[index] = stop.value

    try:
        for index, task in enumerate(tasks):
            advance(index, task.__next__)
        while waiting:
            calls = [call for pending in waiting.values() for call in pending]
            try:
                answers = yield calls
            except Exception as error:
                for index in list(waiting):
                    advance(index, partial(tasks[index].throw, error))
                continue
            if len(answers) != len(calls):
                raise ValueError(f"{len(calls)} calls were answered with {len(answers)} tensors")
            first = 0
            for index, pending in list(waiting.items()):
                advance(index, partial(tasks[index].send, answers[first : first + len(pending)]))
                first += len(pending)
        return tuple(results[index] for index in range(len(tasks)))
    finally:
        for task in tasks:
            task.close()


def guided(
    positive: Denoise,
    negative: Denoise,
    scale: float,
    interval: tuple[float, float] = (0.0, 1.0),
    combine: Combine | None = None,
) -> Denoise:
    """Classifier-free guidance (arXiv:2207.12598 eq. 6): x0 = negative + scale * (positive - negative).

    The paper combines eps; for fixed x every kind of output is affine in x0, so combining x0 is the same thing and is
    defined at alpha = 0. (The paper's w is scale - 1.) Both evaluations are asked for at once.

    Args:
        positive: the estimate given the prompt.
        negative: the estimate given the negative prompt, or nothing.
        scale: 1 is no guidance: only ``positive`` is asked, and its answer is returned bit for bit.
        interval: the times (lowest, highest), both included, between which guidance acts; outside it only
            ``positive`` is asked (arXiv:2404.07724; it states the interval in sigma). The default is always.
        combine: another way to make one estimate of both; None is the rule above.

    Raises:
        ValueError: the interval is not within 0 to 1 or is the wrong way round.
    """
    lowest, highest = interval
    if not 0.0 <= lowest <= highest <= 1.0:
        raise ValueError(f"guidance interval {interval} is not 0 <= lowest <= highest <= 1; try (0.0, 1.0)")
    one = combine or classifier_free(scale)

    def denoise(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
        if scale == 1.0 or not lowest <= level.t <= highest:
            return (yield from positive(x, level, toward))
        plus, minus = yield from together(positive(x, level, toward), negative(x, level, toward))
        return one(plus, minus, x[: len(plus)], level)  # what rides on x is no part of the estimate

    return denoise


def led_away(
    led: Denoise, nothing: Denoise, negative: Denoise, scale: float, interval: tuple[float, float] = (0.0, 1.0)
) -> Denoise:
    """A negative prompt for a network that has guidance within: x0 = led + s * (nothing - negative), s = scale - 1.

    What is ``led`` is nothing + scale * (positive - nothing), so at one level the sum is exactly what :func:`guided`
    makes of positive and negative. Over a step mean velocities do not add up so: s is scaled by the share of its times
    that lie in the interval, and by LONG. A negative that says nothing changes nothing.

    Args:
        led: the estimate given the prompt, guided by ``scale``.
        nothing: the estimate given the empty sentence, not guided.
        negative: the estimate given the negative prompt, not guided.
        scale: 1 is no guidance: only ``led`` is asked.
        interval: the times between which guidance acts, as for :func:`guided`.
    """
    lowest, highest = interval

    def share(level: Level, toward: Level | None) -> float:
        if toward is None or toward.t == level.t:
            return float(lowest <= level.t <= highest)
        return LONG * max(0.0, min(highest, level.t) - max(lowest, toward.t)) / (level.t - toward.t)

    def denoise(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
        strength = (scale - 1.0) * share(level, toward)
        if strength == 0.0:
            return (yield from led(x, level, toward))
        answers = yield from together(led(x, level, toward), nothing(x, level, toward), negative(x, level, toward))
        wanted, empty, unwanted = answers
        return wanted + strength * (empty - unwanted)

    return denoise


def switched(parts: Sequence[tuple[float, Denoise]]) -> Denoise:
    """The last of the denoisers whose time has come: each has a time t from which on, towards 0, it is asked.

    ``parts`` are in the order of falling times; before the first time the first is asked.
    """
    if len(parts) == 1:
        return parts[0][1]

    def denoise(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
        now = [one for since, one in parts if level.t <= since] or [parts[0][1]]
        return (yield from now[-1](x, level, toward))

    return denoise


def without_riders(denoise: Denoise, channels: int) -> Denoise:
    """The estimate of a network that knows nothing of what rides on x, whose own channels are the first so many."""

    def denoise_(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
        return (yield from denoise(x[:channels], level, toward))

    return denoise_


def kept(denoise: Denoise, known: Latent, drawn: Bool[Tensor, "1 height width"]) -> Denoise:
    """The estimate where something is drawn, and what is ``known`` elsewhere, bit for bit.

    x follows: from alpha * known + sigma * noise a sampler that is told x0 = known goes on to known, by the same path
    as a picture that was noised so (the replacement of arXiv:2011.13456, appendix I.2, on estimates).
    """

    def denoise_(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
        x0 = yield from denoise(x, level, toward)
        return torch.where(drawn, x0, known.to(x0))

    return denoise_


def watched(denoise: Denoise, on_x0: Callable[[Level, Tensor], None]) -> Denoise:
    """Calls ``on_x0(level, x0)`` after each estimate, for previews and progress, and returns the estimate unchanged.

    ``on_x0`` is given the very tensor the sampler goes on with and must not write to it; what it raises ends the task,
    which is how to cancel from a preview.
    """

    def watching(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
        x0 = yield from denoise(x, level, toward)
        on_x0(level, x0)
        return x0

    return watching
