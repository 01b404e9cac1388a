"""Many pictures: a step-level scheduler over the same tasks that :func:`darkroom.generate.run` drives one by one.

Every running task waits for the answers to some calls. Each round takes the call whose turn it is, the oldest waiting
one where nobody says otherwise, gathers up to a slot's worth of waiting calls with the same batch key, and evaluates
them in one pass, as far as memory allows; a task goes on when all its calls are answered. So requests of different
steps, samplers and guidance share passes, join at any step and leave when done.

Where much waits, a few passes are under way at once, each in a thread with its share of the cores: two passes of one
core each take less time than two after the other on both, whose cores wait for each other at every operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Generic

import torch
from torch import Tensor

from darkroom.machine.passes import Passes
from darkroom.nn.slots import SLOTS, slot_for
from darkroom.protocols import Call, T, Task

Evaluate = Callable[[Sequence[Call]], list[Tensor]]
WORTH = 4  # rows of a pass, from which it is worth a thread of its own


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """How task ``index`` ended: a result, or the error that it alone caused."""

    index: int
    result: T | None = None
    error: Exception | None = None


@dataclass(slots=True, eq=False)
class _Running(Generic[T]):
    """A task and its pending calls, until all are answered; ``waiting`` are those that no pass has asked yet."""

    index: int
    task: Task[T]
    calls: list[Call] = field(default_factory=list)
    answers: dict[int, Tensor] = field(default_factory=dict)
    waiting: list[int] = field(default_factory=list)


_Entry = tuple[_Running[T], int]  # one waiting call: whose, and which of its calls
_Answer = tuple[_Entry[T], Tensor | Exception]  # of one call, or why it has none


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
        lanes: int = 1,
        large: Callable[[Call], bool] = lambda call: False,
    ) -> None:
        """At most ``width`` tasks of :meth:`run` run at once, the others wait.

        ``turn`` says of a task, by its index, how early its calls are evaluated: lowest first, and the oldest waiting
        of equals. ``passes`` measures them, so that no more calls share one than find room in memory; None: it is
        never more than a slot's worth, and nothing is measured. ``stays``: a network that was asked is asked
        on while any task waits for it; for networks that have to be read anew when another one was at work.
        ``lanes`` passes are under way at once where that is quicker, with torch's threads shared among them; those of
        ``large`` networks never are, which keep all cores busy and take much memory.
        """
        self._evaluate, self._width, self._turn, self._passes, self._stays = evaluate, width, turn, passes, stays
        self._large, self._threads = large, torch.get_num_threads()
        self._lanes = min(lanes, self._threads)
        self._pool = ThreadPoolExecutor(self._lanes)  # its threads begin with the first pass that needs one
        self._under_way: list[Future[list[_Answer[T]]]] = []
        self._running: list[_Running[T]] = []
        self._at_work: str | None = None

    def __len__(self) -> int:
        """How many tasks are running."""
        return len(self._running)

    def run(self, tasks: Iterable[Task[T]]) -> Iterator[Outcome[T]]:
        """Yields the outcome of each task as it ends; an error ends only the task that caused it."""
        waiting = enumerate(tasks)
        exhausted = False
        try:
            while self._running or not exhausted:
                while not exhausted and len(self) < self._width:
                    entry = next(waiting, None)
                    if entry is None:
                        exhausted = True
                        break
                    yield from self.begin(*entry)
                if self._running:
                    yield from self.round()
        finally:
            wait(self._under_way)  # some, where nobody wants what is left
            self._share(among=1)

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
        """One pass for the waiting calls whose turn it is and their like, or several at once until the first of them
        is done; yields the outcomes of what ends."""
        while members := self._next():
            for one, i in members:
                one.waiting.remove(i)
            if not self._under_way and self._by_itself(members):
                yield from self._delivered(self._answers(members))
                return
            self._share(among=self._lanes)
            self._under_way.append(self._pool.submit(self._in_a_lane, members))
        done = wait(self._under_way, return_when=FIRST_COMPLETED).done
        self._under_way = [one for one in self._under_way if one not in done]
        if not self._under_way:
            self._share(among=1)
        for one_pass in done:
            yield from self._delivered(one_pass.result())

    def _next(self) -> list[_Entry[T]]:
        """The calls of the next pass; none where nothing waits, or what does has to wait for what is under way."""
        waiting = sorted(self._running, key=lambda one: self._turn(one.index))  # stable: the oldest first
        pending = [(one, i) for one in waiting for i in one.waiting]
        if not pending or len(self._under_way) >= self._lanes:
            return []
        again = (_call(entry) for entry in pending if self._stays and _call(entry).network == self._at_work)
        first = next(again, _call(pending[0]))
        alike = [entry for entry in pending if _call(entry).batch_key == first.batch_key]
        most = self._most(first)
        if len(alike) == len(pending) >= WORTH * self._lanes:
            most = min(most, slot_for(min(SLOTS[-1], -(-len(alike) // self._lanes))))  # the other lanes have some, too
        members = alike[:most]
        if self._under_way and self._alone(members):
            return []
        self._at_work = first.network
        return members

    def _by_itself(self, members: list[_Entry[T]]) -> bool:
        """Whether a pass has all cores to itself: because it has to, or what waits is not worth two."""
        rows = len(members) + sum(len(one.waiting) for one in self._running)
        return rows < WORTH * self._lanes or self._alone(members)

    def _alone(self, members: list[_Entry[T]]) -> bool:
        """Whether a pass has to be the only one under way: its network wants that, or it is measured."""
        first, rows = _call(members[0]), slot_for(len(members))
        known = self._passes is None or self._passes.knows(first.batch_key, rows)
        return self._lanes == 1 or self._large(first) or not known

    def _delivered(self, answers: Iterable[_Answer[T]]) -> Iterator[Outcome[T]]:
        """Hands answers to those who asked; tasks go on whose calls are all answered."""
        answered: dict[int, _Running[T]] = {}
        for (one, i), answer in answers:
            if one not in self._running:
                continue  # it was dropped, or another of its calls failed: it ended, or asks for something else by now
            if isinstance(answer, Exception):
                answered.pop(one.index, None)
                yield from self._go_on(one, lambda one=one, error=answer: one.task.throw(error))  # type: ignore[misc]
                continue
            one.answers[i] = answer
            answered[one.index] = one
        for one in answered.values():
            if len(one.answers) == len(one.calls) and one in self._running:
                found = [one.answers[i] for i in range(len(one.calls))]
                yield from self._go_on(one, lambda one=one, found=found: one.task.send(found))  # type: ignore[misc]

    def _most(self, call: Call) -> int:
        """How many calls like one may share a pass: a slot that finds room, for the others of it are filled up."""
        room = None if self._passes is None else self._passes.most(call.batch_key)
        return SLOTS[-1] if room is None else max(slot for slot in SLOTS if slot <= max(1, room // self._lanes))

    def _in_a_lane(self, members: list[_Entry[T]]) -> list[_Answer[T]]:
        self._share(among=self._lanes)
        return self._answers(members)

    def _share(self, among: int) -> None:
        """Has this thread's operations run on its share of the cores."""
        threads = self._threads // among
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)

    def _answers(self, members: list[_Entry[T]]) -> list[_Answer[T]]:
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
        """Takes a task to its next calls or to its end; a task that goes on joins the end of the line, as another one:
        answers to what it asked before are for nobody."""
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
            self._running.append(_Running(one.index, one.task, calls, {}, list(range(len(calls)))))


def _call(entry: _Entry[T]) -> Call:
    one, i = entry
    return one.calls[i]
