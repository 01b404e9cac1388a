"""Streams of events: the store is looked at once for all who follow it, and each is told what concerns it.

Whoever reads slowly falls behind, and then goes through the store at its own pace: it costs the others nothing.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress

from starlette.concurrency import run_in_threadpool

from darkroom.contracts.errors import DarkroomError
from darkroom.contracts.job import FINAL, Event, Job
from darkroom.server.keeping.store import SqliteStore

LOOK_S = 0.03  # between looks for something new, while anybody follows
PING_S = 15.0  # after which a silent stream says that it is there
MOST = 200  # events that wait for a reader, before it has to look for itself

Numbered = tuple[int, Event]


class _Reader:
    """One who follows some jobs, or all of an owner's."""

    def __init__(self, jobs: Collection[str] | None, owner: str | None) -> None:
        self.jobs, self.owner = jobs, owner
        self.behind = True  # what came before has not been told
        self.waiting: deque[Numbered] = deque()
        self._news = asyncio.Event()

    def hear(self, owner: str, number: int, event: Event) -> None:
        """Notes an event, if it concerns this one."""
        if self.owner not in (None, owner) or (self.jobs is not None and event.job not in self.jobs):
            return
        self.behind = self.behind or len(self.waiting) >= MOST
        if self.behind:
            self.waiting.clear()
        else:
            self.waiting.append((number, event))
        self._news.set()

    def wake(self) -> None:
        """Has it look up, though nothing happened."""
        self._news.set()

    async def heard(self) -> bool:
        """Waits for an event, for a while; whether there is one."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), PING_S)
        self._news.clear()
        return bool(self.waiting) or self.behind


class Follower:
    """Tells those who follow what happens."""

    def __init__(self, store: SqliteStore, draining: Callable[[], bool] = lambda: False) -> None:
        """Once it is ``draining``, whoever waits is woken, so that streams can say so."""
        self.store, self.draining = store, draining
        self._readers: set[_Reader] = set()
        self._looking: asyncio.Task[None] | None = None
        self._began = asyncio.Event()

    async def events(self, *, after: int, owner: str | None, job: str | None) -> AsyncIterator[Numbered | None]:
        """Events with a number above ``after``, as they come, for ever; None now and then where there are none.

        Those of one job end with its last.
        """
        with self._reading(None if job is None else {job}, owner) as reader:
            await self._began.wait()
            while True:
                if reader.behind:
                    reader.behind = False
                    over = job is not None and (await run_in_threadpool(self.store.get, job)).final
                    while some := await run_in_threadpool(self.store.events, after=after, owner=owner, job=job):
                        for after, event in some:
                            yield after, event
                            if job is not None and event.kind in FINAL:
                                return
                    if over:
                        return
                while reader.waiting:
                    number, event = reader.waiting.popleft()
                    if number > after:
                        after = number
                        yield number, event
                        if job is not None and event.kind in FINAL:
                            return
                if not reader.behind and not await reader.heard():
                    yield None

    async def ends(self, jobs: Sequence[str], given_up: Callable[[list[Job]], bool]) -> list[Job]:
        """The jobs, once all have ended, or as they are when they are ``given_up``."""
        with self._reading(set(jobs), None) as reader:
            await self._began.wait()
            while True:
                reader.behind = False
                found = await run_in_threadpool(lambda: [self.store.get(job) for job in jobs])
                if all(job.final for job in found) or given_up(found):
                    return found
                while await reader.heard() and not reader.behind:
                    kinds = {event.kind for _, event in reader.waiting}
                    reader.waiting.clear()
                    if not kinds <= {"progress", "preview"}:
                        break

    @contextmanager
    def _reading(self, jobs: Collection[str] | None, owner: str | None) -> Iterator[_Reader]:
        reader = _Reader(jobs, owner)
        self._readers.add(reader)
        if self._looking is None or self._looking.done():
            self._began.clear()
            self._looking = asyncio.create_task(self._look())
        try:
            yield reader
        finally:
            self._readers.discard(reader)

    async def _look(self) -> None:
        """Tells what is new, while anybody follows."""
        seen = await run_in_threadpool(self.store.newest_event)
        self._began.set()
        woken = False
        while self._readers:
            if self.draining() and not woken:
                woken = True
                for reader in self._readers:
                    reader.wake()
            with suppress(DarkroomError, sqlite3.Error):  # a disk that fails for a moment: it is looked at again
                for number, owner, event in await run_in_threadpool(self.store.news, seen):
                    seen = number
                    for reader in self._readers:
                        reader.hear(owner, number, event)
            await asyncio.sleep(LOOK_S)
