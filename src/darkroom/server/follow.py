"""Streams of events: every reader goes through the store at its own pace, so that a slow one costs nobody anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from starlette.concurrency import run_in_threadpool

from darkroom.contracts.job import Event, Job
from darkroom.server.keeping.store import SqliteStore

LOOK_S = 0.03  # between looks for something new, while anybody waits
PING_S = 15.0  # after which a silent stream says that it is there


class Follower:
    """Wakes those who wait for events; looks at the store once for all of them."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self._news = asyncio.Condition()
        self._newest, self._waiting = 0, 0
        self._looking: asyncio.Task[None] | None = None

    async def events(
        self, *, after: int, owner: str | None, job: str | None
    ) -> AsyncIterator[tuple[int, Event] | None]:
        """Events with a number above ``after``, as they come, for ever; None now and then where there are none.

        Those of one job end with its last.
        """
        while True:
            some = await run_in_threadpool(self.store.events, after=after, owner=owner, job=job)
            for number, event in some:
                after = number
                yield number, event
                if job is not None and event.kind in ("done", "failed", "cancelled"):
                    return
            if not some:
                if job is not None and (await run_in_threadpool(self.store.get, job)).final:
                    if not await run_in_threadpool(self.store.events, after=after, job=job):
                        return  # its last event was among those that were seen before
                elif not await self._news_after(after):
                    yield None

    async def ends(self, jobs: Sequence[str], given_up: Callable[[list[Job]], bool]) -> list[Job]:
        """The jobs, once all have ended, or as they are when they are ``given_up``."""
        while True:
            newest = await run_in_threadpool(self.store.newest_event)
            found = await run_in_threadpool(lambda: [self.store.get(job) for job in jobs])
            if all(job.final for job in found) or given_up(found):
                return found
            await self._news_after(newest)

    async def _news_after(self, number: int) -> bool:
        """Waits until there is an event of a higher number, for a while; whether there is one."""
        self._waiting += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            async with self._news:
                await asyncio.wait_for(self._news.wait_for(lambda: self._newest > number), PING_S)
            return True
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1

    async def _look(self) -> None:
        while self._waiting:
            newest = await run_in_threadpool(self.store.newest_event)
            if newest > self._newest:
                async with self._news:
                    self._newest = newest
                    self._news.notify_all()
            await asyncio.sleep(LOOK_S)
