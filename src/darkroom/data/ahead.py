"""Batches made by other processes before they are asked for, where a machine has cores to spare.

A source is a pure function of sample numbers, so it may run anywhere and early: the batches are the very same.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
import torch.multiprocessing
from torch import Tensor

T = TypeVar("T")
CHUNK = 64  # samples one job makes: batches are joined from such chunks
JOBS = 2  # for each worker, in the making: none waits while its last one is fetched

_make: Callable[[int, int], object] | None = None  # of this process, where it is a worker


class Ahead(Generic[T]):
    """``make(first, count)``, done by ``workers`` processes for the batch asked for and those that will follow it.

    Made before a network is on a GPU: workers are forks of this process, and use none. ``join`` puts a batch's chunks
    together, in a thread that does so for the next batch too; with ``pinned`` into memory that a GPU copies from
    without waiting.
    ``after(first, count)`` is where the batch begins that will be asked for after that one; None: behind its end.
    """

    def __init__(
        self,
        make: Callable[[int, int], T],
        join: Callable[[Sequence[T]], T],
        workers: int,
        *,
        pinned: bool = False,
        after: Callable[[int, int], int] | None = None,
    ) -> None:
        if workers < 1:
            raise ValueError(f"{workers} workers make nothing; give at least 1, or call the source itself")
        self._join, self._workers, self._pinned = join, workers, pinned
        self._after = after or (lambda first, count: first + count)
        self._jobs: dict[tuple[int, int], Future[_Folded]] = {}
        self._next: tuple[tuple[int, int], Future[T]] | None = None  # the batch being joined, and which it is
        context = torch.multiprocessing.get_context("fork")
        self._pool = ProcessPoolExecutor(workers, context, _begin, (make, os.getpid()))
        # Sent to the whole group, as terminals and timeouts do, a signal must not take the batches from under the last
        # steps: workers are born with both blocked (set by each for itself, one could come too early).
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        try:
            self._pool.submit(_nothing).result()  # forks them now
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._thread = ThreadPoolExecutor(1, "join")

    def __call__(self, first: int, count: int) -> T:
        """The batch of samples first .. first + count - 1; an error of the source is raised here."""
        now, then = (first, count), (self._after(first, count), count)
        firsts = [first]
        for _ in range(1 + -(-JOBS * self._workers // len(_chunks(first, count)))):  # the next, and all the jobs
            firsts.append(self._after(firsts[-1], count))
        wanted = [job for begin in firsts for job in _chunks(begin, count)]
        if self._next is None or self._next[0] != now:  # the run went back, or the batch size changed
            self._drop(set(wanted))
            self._ask(wanted)
            self._next = now, self._joining(*now)
        joined = self._next[1]
        self._ask(wanted[len(_chunks(first, count)) :])
        self._next = then, self._joining(*then)
        return joined.result()

    def close(self) -> None:
        """Ends the workers."""
        self._drop(set())
        for worker in list((self._pool._processes or {}).values()):
            worker.kill()  # what they make is wanted by no one, and to what else would end them they are deaf
        self._pool.shutdown(cancel_futures=True)
        self._thread.shutdown(cancel_futures=True)

    def _ask(self, jobs: Sequence[tuple[int, int]]) -> None:
        for job in jobs:
            if job not in self._jobs:
                self._jobs[job] = self._pool.submit(_work, *job)

    def _drop(self, wanted: set[tuple[int, int]]) -> None:
        """Forgets the batch being joined, and the jobs that are not wanted."""
        if self._next is not None and not self._next[1].cancel():
            self._next[1].exception()  # it takes its own chunks: waits for them
        self._next = None
        for job in self._jobs.keys() - wanted:
            self._jobs.pop(job).cancel()

    def _joining(self, first: int, count: int) -> Future[T]:
        chunks = [self._jobs.pop(job) for job in _chunks(first, count)]
        return self._thread.submit(self._joined, chunks)

    def _joined(self, chunks: Sequence[Future[_Folded]]) -> T:
        batch = self._join([_unfolded(chunk.result()) for chunk in chunks])
        return mapped(Tensor.pin_memory, batch) if self._pinned else batch


def mapped(change: Callable[[Any], Any], batch: Any, kind: type = Tensor) -> Any:
    """The same batch with ``change`` done to each of its tensors (or what is of ``kind``), in tuples and mappings."""
    if isinstance(batch, kind):
        return change(batch)
    if isinstance(batch, dict):
        return {name: mapped(change, value, kind) for name, value in batch.items()}
    if isinstance(batch, tuple):
        values = [mapped(change, value, kind) for value in batch]
        return type(batch)(*values) if hasattr(batch, "_fields") else tuple(values)
    return batch


@dataclass(frozen=True, slots=True)
class _Hole:
    """Where a tensor was: its place among the bytes, and what it was like."""

    start: int
    end: int
    shape: torch.Size
    dtype: torch.dtype


_Folded = tuple[Any, Tensor]  # a batch with holes for its tensors, and the bytes of them all


def _folded(batch: Any) -> _Folded:
    """A batch for its way between processes: as one tensor, for each one takes a file handle at both ends."""
    pieces: list[Tensor] = []
    size = 0

    def hole(tensor: Tensor) -> _Hole:
        nonlocal size
        data = tensor.contiguous().view(-1).view(torch.uint8)
        start, size = size, size + -(-len(data) // 8) * 8  # each begins where any type of number may
        pieces.extend((data, data.new_zeros(size - start - len(data))))
        return _Hole(start, start + len(data), tensor.shape, tensor.dtype)

    with_holes = mapped(hole, batch)
    return with_holes, torch.cat(pieces) if pieces else torch.empty(0)


def _unfolded(folded: _Folded) -> Any:
    with_holes, data = folded
    return mapped(lambda hole: data[hole.start : hole.end].view(hole.dtype).view(hole.shape), with_holes, _Hole)


def _chunks(first: int, count: int) -> list[tuple[int, int]]:
    return [(first + at, min(CHUNK, count - at)) for at in range(0, count, CHUNK)]


def _begin(make: Callable[[int, int], object], parent: int) -> None:
    """What a worker does first: it takes the source, and dies with its parent."""
    global _make
    _make = make
    torch.set_num_threads(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _nothing() -> None:
    """What the first job of a pool does."""


def _work(first: int, count: int) -> _Folded:
    assert _make is not None
    return _folded(_make(first, count))
