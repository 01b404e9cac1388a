"""Pictures that somebody waits for with an open connection: who hangs up wants them no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from typing import Any

import anyio
from fastapi import Request as Asking
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from darkroom.contracts.errors import BadInput, DarkroomError
from darkroom.contracts.job import Event, Job
from darkroom.contracts.recipe import Recipe
from darkroom.contracts.request import Request
from darkroom.picture.read import read
from darkroom.picture.write import encode
from darkroom.server.admit import admitted
from darkroom.server.studio import Draining, Studio

STATUS = {"bad_input": 422, "bad_file": 422, "no_space": 507}  # of a job that failed; else it is a fault of ours
CANCELLED = 410  # which no client takes for a reason to ask again


class HungUp(DarkroomError):
    """Nobody waits any more."""

    code = "hung_up"


class Awaited:
    """The jobs of one call. Those that came with an Idempotency-Key are not cancelled when it is cut off: who gives one
    means to ask again."""

    def __init__(self, requests: Iterable[Request], studio: Studio, owner: str, key: str | None) -> None:
        """Submits the requests, all or none. Raises DarkroomError."""
        self.studio, self.owner, self.kept = studio, owner, key is not None
        self.jobs = [job.id for job in admitted(list(requests), studio, owner, key)]

    async def ended(self, asking: Asking) -> list[Job]:
        """The jobs, once all have ended. Raises HungUp, and Draining where the server stops before."""
        ends = asyncio.create_task(self.studio.follower.ends(self.jobs, self._held_up))
        gone = asyncio.create_task(_gone(asking))
        try:
            await asyncio.wait({ends, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not ends.done():
                raise HungUp("the client", "has hung up")
            jobs = ends.result()
        finally:
            ends.cancel()
            gone.cancel()
            await self.leave()
        if not all(job.final for job in jobs):
            raise Draining("the server", "stops before the picture is done", "ask again in a moment")
        return jobs

    async def events(self) -> AsyncIterator[tuple[int, Event] | None]:
        """What happens to the jobs, each with its number, until all have ended; None now and then in between."""
        news: asyncio.Queue[tuple[int, Event] | BaseException | None] = asyncio.Queue(100)

        async def follow(index: int) -> None:
            try:
                async for entry in self.studio.follower.events(after=0, owner=None, job=self.jobs[index]):
                    await news.put(None if entry is None else (index, entry[1]))
            except Exception as error:
                await news.put(error)

        tasks = [asyncio.create_task(follow(index)) for index in range(len(self.jobs))]
        try:
            while not all(task.done() for task in tasks) or not news.empty():
                with suppress(TimeoutError):
                    entry = await asyncio.wait_for(news.get(), 0.2)
                    if isinstance(entry, BaseException):
                        raise entry
                    yield entry
        finally:
            for task in tasks:
                task.cancel()

    def _held_up(self, jobs: Sequence[Job]) -> bool:
        """Whether some of them wait, and are not begun any more."""
        return self.studio.draining and any(job.state == "queued" for job in jobs)

    async def leave(self) -> None:
        """Cancels what has not ended, even while the caller itself is cancelled."""
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(self._leave)

    def _leave(self) -> None:
        for job in () if self.kept else self.jobs:
            if not self.studio.store.get(job).final:
                with suppress(BadInput):  # it has ended meanwhile
                    self.studio.store.cancel(job)


class Stream(StreamingResponse):
    """Server-sent events of jobs that are awaited."""

    def __init__(self, lines: AsyncIterator[bytes], awaited: Awaited, headers: dict[str, str]) -> None:
        super().__init__(lines, media_type="text/event-stream", headers=headers)
        self.awaited = awaited

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self.awaited.leave()


async def _gone(asking: Asking) -> None:
    while (await asking.receive())["type"] != "http.disconnect":
        pass


def failure(jobs: Sequence[Job]) -> tuple[int, dict[str, Any]] | None:
    """Status, code and message of the first job that brought no picture; None: all did."""
    for job in jobs:
        if job.state == "cancelled":
            return CANCELLED, {"code": "cancelled", "message": f"the job {job.id} was cancelled"}
        if job.state == "failed":
            return STATUS.get(job.error or "", 500), {"code": job.error, "message": job.message}
    return None


def finished(name: str, owner: str, studio: Studio, format: str = "png", quality: int | None = None) -> bytes:
    """A picture of the gallery as a file, its recipe inside. ``quality`` is 1-100, for JPEG and WebP; None: the usual.

    Raises NoPicture where its owner has none of that name.
    """
    recipe = studio.gallery.recipe(owner, name)
    data = studio.settings.folders.picture(name).read_bytes()
    return data if format == "png" else encode(read(data), Recipe.from_json(recipe), format, quality=quality)
