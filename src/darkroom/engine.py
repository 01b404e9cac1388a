"""Many pictures: a step-level scheduler over the same tasks that :func:`darkroom.generate.run` drives one by one.

Every running task waits for the answers to some calls. Each round takes the call whose turn it is, the oldest waiting
one where nobody says otherwise, gathers up to a slot's worth of waiting calls with the same batch key, and evaluates
them in one pass, as far as memory allows; a task goes on when all its calls are answered. So requests of different
steps, samplers and guidance share passes, join at any step and leave when done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Generic

import torch
from torch import Tensor

from darkroom.machine.passes import Passes
from darkroom.nn.slots import SLOTS, slot_for
from darkroom.protocols import Call, T, Task

Evaluate = Callable[[Sequence[Call]], list[Tensor]]


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """How task ``index`` ended: a result, or the error that it alone caused."""

    index: int
    result: T | None = None
    error: Exception | None = None


@dataclass(slots=True, eq=False)
class _Running(Generic[T]):
    """A task and its pending calls; ``answers`` fills up as passes are evaluated."""

    index: int
    task: Task[T]
    calls: list[Call] = field(default_factory=list)
    answers: list[Tensor | None] = field(default_factory=list)
    missing: int = 0


_Entry = tuple[_Running[T], int]  # one waiting call: whose, and which of its calls


class Engine(Generic[T]):
    """Drives tasks together, all of a list by :meth:`run`, or those that come by :meth:`begin` and :meth:`round`."""

    def __init__(
        self,
        evaluate: Evaluate,
        width: int = 32,
        *,
        turn: Callable[[int], float] = lambda index: 0.0,
        passes: Passes | None = None,
        stays: bool = False,
    ) -> None:
        """At most ``width`` tasks of :meth:`run` run at once, the others wait.

        ``turn`` says of a task, by its index, how early its calls are evaluated: lowest first, and the oldest waiting
        of equals. ``passes`` measures them, so that no more calls share one than find room in memory; None: it is
        never more than a slot's worth, and nothing is measured. ``stays``: a network that was asked is asked
        on while any task waits for it; for networks that have to be read anew when another one was at work.
        """
        self._evaluate, self._width, self._turn, self._passes, self._stays = evaluate, width, turn, passes, stays
        self._running: list[_Running[T]] = []
        self._at_work: str | None = None

    def __len__(self) -> int:
        """How many tasks are running."""
        return len(self._running)

    def run(self, tasks: Iterable[Task[T]]) -> Iterator[Outcome[T]]:
        """Yields the outcome of each task as it ends; an error ends only the task that caused it."""
        waiting = enumerate(tasks)
        exhausted = False
        while True:
            while not exhausted and len(self) < self._width:
                entry = next(waiting, None)
                if entry is None:
                    exhausted = True
                    break
                yield from self.begin(*entry)
            if not self._running:
                if exhausted:
                    return
                continue
            yield from self.round()

    def begin(self, index: int, task: Task[T]) -> Iterator[Outcome[T]]:
        """Takes in a task, up to its first calls; yields its outcome where it has none."""
        one = _Running(index, task)
        yield from self._go_on(one, lambda: next(one.task))

    def drop(self, index: int) -> None:
        """Ends a running task without an outcome; the others go on."""
        for one in [one for one in self._running if one.index == index]:
            self._running.remove(one)
            one.task.close()

    def ended(self, tasks: Iterable[Task[T]]) -> list[T | Exception]:
        """What each task came to, or the error that ended it, in the order of the tasks."""
        outcomes = sorted(self.run(tasks), key=lambda outcome: outcome.index)
        return [outcome.error if outcome.error is not None else outcome.result for outcome in outcomes]  # type: ignore[misc]

    def round(self) -> Iterator[Outcome[T]]:
        """One evaluation, for the waiting call whose turn it is and its like; yields the outcomes of what it ends."""
        waiting = sorted(self._running, key=lambda one: self._turn(one.index))  # stable: the oldest first
        pending = [(one, i) for one in waiting for i, answer in enumerate(one.answers) if answer is None]
        again = (_call(entry) for entry in pending if self._stays and _call(entry).network == self._at_work)
        first = next(again, _call(pending[0]))
        self._at_work = first.network
        alike = [entry for entry in pending if _call(entry).batch_key == first.batch_key]
        members = alike[: self._most(first)]
        failed: set[int] = set()
        for entry, answer in self._answers(members):
            one, i = entry
            if one.index in failed:
                continue  # an earlier call of this pass failed: the task has ended, or asks for something else by now
            if isinstance(answer, Exception):
                failed.add(one.index)
                error = answer
                yield from self._go_on(one, lambda one=one, error=error: one.task.throw(error))  # type: ignore[misc]
                continue
            one.answers[i] = answer
            one.missing -= 1
        ready = {one.index: one for one, _ in members if one.index not in failed and one.missing == 0}
        for one in ready.values():
            answers = [answer for answer in one.answers if answer is not None]
            yield from self._go_on(one, lambda one=one, answers=answers: one.task.send(answers))  # type: ignore[misc]

    def _most(self, call: Call) -> int:
        """How many calls like one may share a pass: a slot that finds room, for the others of it are filled up."""
        room = None if self._passes is None else self._passes.most(call.batch_key)
        return SLOTS[-1] if room is None else max(slot for slot in SLOTS if slot <= max(1, room))

    def _answers(
        self, members: list[tuple[_Running[T], int]]
    ) -> list[tuple[tuple[_Running[T], int], Tensor | Exception]]:
        """Evaluates members together; when that fails, halves, so that only the cause fails (out of memory too)."""
        try:
            with torch.inference_mode(), self._measured(members):
                return list(zip(members, self._evaluate([_call(entry) for entry in members]), strict=True))
        except Exception as error:
            if len(members) == 1:
                return [(members[0], error)]
        half = len(members) // 2
        return [*self._answers(members[:half]), *self._answers(members[half:])]

    def _measured(self, members: Sequence[_Entry[T]]) -> AbstractContextManager[None]:
        if self._passes is None:
            return nullcontext()
        return self._passes.measured(_call(members[0]).batch_key, slot_for(len(members)))

    def _go_on(self, one: _Running[T], resume: Callable[[], list[Call]]) -> Iterator[Outcome[T]]:
        """Takes a task to its next calls or to its end; a task that goes on joins the end of the line."""
        if one in self._running:
            self._running.remove(one)
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
            self._running.append(one)


def _call(entry: _Entry[T]) -> Call:
    one, i = entry
    return one.calls[i]
