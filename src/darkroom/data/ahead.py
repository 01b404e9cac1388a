"""Batches made by other processes before they are asked for, where a machine has cores to spare.

A source is a pure function of sample numbers, so it may run anywhere and early: the batches are the very same.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Generic, TypeVar

import torch
import torch.multiprocessing

T = TypeVar("T")
CHUNK = 64  # samples one job makes: batches are joined from such chunks
STEPS = 3  # batches in the making

_make: Callable[[int, int], object] | None = None  # of this process, where it is a worker


class Ahead(Generic[T]):
    """``make(first, count)``, done by ``workers`` processes for the batch asked for and those that will follow it.

    Made before anything runs on a GPU: workers are forks of this process. ``join`` puts a batch's chunks together.
    """

    def __init__(self, make: Callable[[int, int], T], join: Callable[[Sequence[T]], T], workers: int) -> None:
        if workers < 1:
            raise ValueError(f"{workers} workers make nothing; give at least 1, or call the source itself")
        self._join = join
        self._jobs: dict[tuple[int, int], Future[T]] = {}
        context = torch.multiprocessing.get_context("fork")
        self._pool = ProcessPoolExecutor(workers, context, _begin, (make, os.getpid()))
        self._pool.submit(_nothing).result()  # forks them now

    def __call__(self, first: int, count: int) -> T:
        """The batch of samples first .. first + count - 1; an error of the source is raised here."""
        wanted = _chunks(first, count)
        coming = [job for step in range(1, STEPS) for job in _chunks(first + step * count, count)]
        for job in self._jobs.keys() - {*wanted, *coming}:  # the run went back, or the batch size changed
            self._jobs.pop(job).cancel()
        for job in (*wanted, *coming):
            if job not in self._jobs:
                self._jobs[job] = self._pool.submit(_work, *job)  # type: ignore[arg-type]
        return self._join([self._jobs.pop(job).result() for job in wanted])

    def close(self) -> None:
        """Ends the workers."""
        self._pool.shutdown(cancel_futures=True)


def _chunks(first: int, count: int) -> list[tuple[int, int]]:
    return [(first + at, min(CHUNK, count - at)) for at in range(0, count, CHUNK)]


def _begin(make: Callable[[int, int], object], parent: int) -> None:
    """What a worker does first: it takes the source, leaves Ctrl-C to its parent, and dies with it."""
    global _make
    _make = make
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _nothing() -> None:
    """What the first job of a pool does."""


def _work(first: int, count: int) -> object:
    assert _make is not None
    return _make(first, count)
