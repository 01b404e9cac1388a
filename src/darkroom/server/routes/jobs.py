"""Jobs: asked for, looked at, followed, cancelled."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from darkroom.contracts.contract import Contract, Number, Whole
from darkroom.contracts.errors import BadInput
from darkroom.contracts.job import Event, Job, Priority, State
from darkroom.contracts.request import MAX_SEED, Request, expand
from darkroom.server.admit import admitted
from darkroom.server.keeping.rows import NoJob
from darkroom.server.studio import AnyStudio, Owner, Studio

router = APIRouter(prefix="/api", tags=["jobs"])
MOST_AT_ONCE = 100  # jobs of one call

IdempotencyKey = Annotated[str | None, Header(max_length=200)]
After = Annotated[int, Query(ge=0, le=2**62)]


class Shown(Job):
    """A job, and where it stands."""

    position: Annotated[Whole, Field(ge=0)] | None = Field(None, description="Jobs before it. None: it does not wait.")
    ready_in: Annotated[Number, Field(ge=0)] | None = Field(
        None, description="Seconds until it is done, as it looks. None: nobody knows."
    )


class Several(Contract):
    """A request for several pictures: one job each."""

    request: Request = Field(description="What they have in common.")
    count: Annotated[Whole, Field(ge=1, le=MOST_AT_ONCE, description="Pictures, from its seed upwards.")] = 1
    priority: Priority = Field(0, description="Before jobs of yours with a lower one.")


def shown(jobs: list[Job], studio: Studio) -> list[Shown]:
    """Jobs with where they stand."""
    waiting = [job.id for job in jobs if job.state == "queued"]
    places = studio.store.line.positions(waiting) if waiting else {}
    pace = studio.store.line.pace() if places and not studio.store.line.paused() else None
    found = []
    for job in jobs:
        place = places.get(job.id)
        ready = None if place is None or pace is None else (place + 1) * pace
        found.append(Shown(**dict(job), position=place, ready_in=ready))
    return found


def owned(job: str, owner: str, studio: Studio) -> Job:
    """A job of one's own; that of another is none."""
    found = studio.store.get(job)
    if found.owner != owner:
        raise NoJob(f"the job {job!r}", "is not here", "see which there are: GET /api/jobs")
    return found


@router.post("/jobs", status_code=201)
def submit(request: Request, studio: AnyStudio, owner: Owner, idempotency_key: IdempotencyKey = None) -> Shown:
    """Asks for a picture. The same Idempotency-Key gives the same job."""
    return _submitted([request], 0, studio, owner, idempotency_key)[0]


@router.post("/jobs/several", status_code=201)
def submit_several(
    several: Several, studio: AnyStudio, owner: Owner, idempotency_key: IdempotencyKey = None
) -> list[Shown]:
    """Asks for several pictures, all or none: of one request, from its seed upwards."""
    first = several.request.seed
    if first is None:
        requests = [several.request] * several.count
    elif first + several.count - 1 > MAX_SEED:
        raise BadInput(f"{several.count} seeds from {first} on", f"go beyond {MAX_SEED}", "begin lower")
    else:
        requests = expand(several.request, range(first, first + several.count))
    return _submitted(requests, several.priority, studio, owner, idempotency_key)


def _submitted(requests: list[Request], priority: Priority, studio: Studio, owner: str, key: str | None) -> list[Shown]:
    return shown(admitted(requests, studio, owner, key, priority), studio)


@router.get("/jobs")
def listed(
    studio: AnyStudio,
    owner: Owner,
    state: Annotated[list[State] | None, Query()] = None,
    before: Annotated[str | None, Query(max_length=100)] = None,
    most: Annotated[int, Query(ge=1, le=500)] = 100,
) -> list[Shown]:
    """Your jobs, the newest first."""
    return shown(studio.store.listed(owner=owner, states=state or [], before=before, most=most), studio)


@router.get("/jobs/{job}")
def one(job: str, studio: AnyStudio, owner: Owner) -> Shown:
    """A job."""
    return shown([owned(job, owner, studio)], studio)[0]


@router.post("/jobs/{job}/cancel")
def cancel(job: str, studio: AnyStudio, owner: Owner) -> Shown:
    """Cancels a job; one that runs ends between two steps."""
    owned(job, owner, studio)
    return shown([studio.store.cancel(job)], studio)[0]


@router.post("/jobs/{job}/retry", status_code=201)
def retry(job: str, studio: AnyStudio, owner: Owner) -> Shown:
    """Asks again for what failed or was cancelled: a new job."""
    studio.check_open()
    owned(job, owner, studio)
    return shown([studio.store.retry(job)], studio)[0]


@router.get("/jobs/{job}/events")
async def follow_one(
    job: str, studio: AnyStudio, owner: Owner, after: After = 0, last_event_id: Annotated[str, Header()] = ""
) -> StreamingResponse:
    """What happens to a job, from its beginning or after an event (Last-Event-ID): server-sent events."""
    await run_in_threadpool(owned, job, owner, studio)
    return _stream(studio, _resumed(after, last_event_id), owner, job)


@router.get("/events")
async def follow_all(
    studio: AnyStudio, owner: Owner, after: After | None = None, last_event_id: Annotated[str, Header()] = ""
) -> StreamingResponse:
    """What happens to all of your jobs, from now on or after an event: server-sent events."""
    newest = await run_in_threadpool(studio.store.newest_event) if after is None else after
    return _stream(studio, _resumed(newest, last_event_id), owner, None)


def _resumed(after: int, last_event_id: str) -> int:
    return (
        int(last_event_id) if last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 19 else after
    )


def _stream(studio: Studio, after: int, owner: str, job: str | None) -> StreamingResponse:
    async def lines() -> AsyncIterator[bytes]:
        yield b": here\n\n"
        told = False
        async for entry in studio.follower.events(after=after, owner=None if job else owner, job=job):
            if studio.draining and not told:  # what runs may still end; then the stream does, and is asked for again
                told = True
                yield b"event: draining\ndata: {}\n\n"
            yield b": still here\n\n" if entry is None else sse(*entry)

    return StreamingResponse(lines(), media_type="text/event-stream")


def sse(number: int, event: Event) -> bytes:
    """An event as server-sent: its preview is a data URL's worth of base64."""
    told = event.model_dump(mode="json", exclude={"preview"}, exclude_defaults=True)
    if event.preview is not None:
        told["preview"] = base64.b64encode(event.preview).decode()
    return format_sse_event(data_str=json.dumps(told), event=event.kind, id=str(number))
