"""Many pictures: a step-level scheduler over the same tasks that :func:`darkroom.generate.run` drives one by one.

Every running task waits for the answers to some calls. Each round takes the oldest waiting call, gathers up to a slot's
worth of waiting calls with the same batch key, and evaluates them in one pass; a task goes on when all its calls are
answered. So requests of different steps, samplers and guidance share passes, join at any step and leave when done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic

import torch
from torch import Tensor

from darkroom.nn.slots import SLOTS
from darkroom.protocols import Call, T, Task

Evaluate = Callable[[Sequence[Call]], list[Tensor]]


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """How task ``index`` ended: a result, or the error that it alone caused."""

    index: int
    result: T | None = None
    error: Exception | None = None


@dataclass(slots=True)
class _Running(Generic[T]):
    """A task and its pending calls; ``answers`` fills up as passes are evaluated."""

    index: int
    task: Task[T]
    calls: list[Call] = field(default_factory=list)
    answers: list[Tensor | None] = field(default_factory=list)
    missing: int = 0


_Entry = tuple[_Running[T], int]  # one waiting call: whose, and which of its calls


class Engine(Generic[T]):
    """Drives tasks together; at most ``width`` of them run at once, the others wait their turn.

    ``stays``: a network that was asked is asked on while any task waits for it, and not the oldest call first; for
    networks that have to be read anew when another one was at work.
    """

    def __init__(self, evaluate: Evaluate, width: int = 32, *, stays: bool = False) -> None:
        self._evaluate, self._width, self._stays = evaluate, width, stays
        self._at_work: str | None = None

    def run(self, tasks: Iterable[Task[T]]) -> Iterator[Outcome[T]]:
        """Yields the outcome of each task as it ends; an error ends only the task that caused it."""
        waiting = enumerate(tasks)
        running: list[_Running[T]] = []
        exhausted = False
        while True:
            while not exhausted and len(running) < self._width:
                entry = next(waiting, None)
                if entry is None:
                    exhausted = True
                    break
                one = _Running(*entry)
                yield from self._go_on(one, running, lambda one=one: next(one.task))  # type: ignore[misc]
            if not running:
                if exhausted:
                    return
                continue
            yield from self._pass(running)

    def ended(self, tasks: Iterable[Task[T]]) -> list[T | Exception]:
        """What each task came to, or the error that ended it, in the order of the tasks."""
        outcomes = sorted(self.run(tasks), key=lambda outcome: outcome.index)
        return [outcome.error if outcome.error is not None else outcome.result for outcome in outcomes]  # type: ignore[misc]

    def _pass(self, running: list[_Running[T]]) -> Iterator[Outcome[T]]:
        """One evaluation for the oldest waiting call and its like."""
        pending = [(one, i) for one in running for i, answer in enumerate(one.answers) if answer is None]
        again = (entry for entry in pending if self._stays and _call(entry).network == self._at_work)
        key = _call(first := next(again, pending[0])).batch_key
        self._at_work = _call(first).network
        members = [entry for entry in pending if _call(entry).batch_key == key][: SLOTS[-1]]
        failed: set[int] = set()
        for entry, answer in self._answers(members):
            one, i = entry
            if one.index in failed:
                continue  # an earlier call of this pass failed: the task has ended, or asks for something else by now
            if isinstance(answer, Exception):
                failed.add(one.index)
                error = answer
                yield from self._go_on(one, running, lambda one=one, error=error: one.task.throw(error))  # type: ignore[misc]
                continue
            one.answers[i] = answer
            one.missing -= 1
        ready = {one.index: one for one, _ in members if one.index not in failed and one.missing == 0}
        for one in ready.values():
            answers = [answer for answer in one.answers if answer is not None]
            yield from self._go_on(one, running, lambda one=one, answers=answers: one.task.send(answers))  # type: ignore[misc]

    def _answers(
        self, members: list[tuple[_Running[T], int]]
    ) -> list[tuple[tuple[_Running[T], int], Tensor | Exception]]:
        """Evaluates members together; when that fails, halves, so that only the cause fails (out of memory too)."""
        try:
            with torch.inference_mode():
                return list(zip(members, self._evaluate([_call(entry) for entry in members]), strict=True))
        except Exception as error:
            if len(members) == 1:
                return [(members[0], error)]
        half = len(members) // 2
        return [*self._answers(members[:half]), *self._answers(members[half:])]

    def _go_on(
        self, one: _Running[T], running: list[_Running[T]], resume: Callable[[], list[Call]]
    ) -> Iterator[Outcome[T]]:
        """Takes a task to its next calls or to its end; a task that goes on joins the end of the line."""
        if one in running:
            running.remove(one)
        try:
            with torch.inference_mode():
                calls = resume()
                while not calls:
                    calls = one.task.send([])
        except StopIteration as done:
            yield Outcome(one.index, result=done.value)
        except Exception as error:
            yield Outcome(one.index, error=error)
        else:
            one.calls, one.answers, one.missing = calls, [None] * len(calls), len(calls)
            running.append(one)


def _call(entry: _Entry[T]) -> Call:
    one, i = entry
    return one.calls[i]
