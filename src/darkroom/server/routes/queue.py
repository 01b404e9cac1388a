"""The queue as people ask for it: paused, reordered, emptied."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from darkroom.contracts.contract import Contract, Name
from darkroom.contracts.job import Priority
from darkroom.server.routes.jobs import Shown, owned, shown
from darkroom.server.studio import AnyStudio, Owner

router = APIRouter(prefix="/api", tags=["queue"])


class Queue(Contract):
    """The queue of the server."""

    paused: bool = Field(description="Whether no job is begun.")
    counts: dict[str, int] = Field(description="Jobs in each state, of everybody.")
    seconds_a_picture: float | None = Field(description="From one picture to the next, of late. None: none was made.")
    ready: bool = Field(description="Whether there is a worker to draw.")


class Place(Contract):
    """Where in the queue a job shall stand."""

    before: Name | None = Field(None, description="The job it comes before. None: before all of its priority.")
    priority: Priority | None = Field(None, description="Its new priority. None: the one it has.")


@router.get("/queue")
def queue(studio: AnyStudio) -> Queue:
    """How the queue stands."""
    store = studio.store
    ready = bool(studio.workers.all())
    return Queue(paused=store.line.paused(), counts=store.counts(), seconds_a_picture=store.line.pace(), ready=ready)


@router.post("/queue/pause")
def pause(studio: AnyStudio, owner: Owner) -> Queue:
    """Begins no further job; what runs is finished."""
    studio.store.line.pause()
    return queue(studio)


@router.post("/queue/resume")
def resume(studio: AnyStudio, owner: Owner) -> Queue:
    """Goes on."""
    studio.store.line.pause(False)
    return queue(studio)


@router.post("/queue/cancel")
def cancel_mine(studio: AnyStudio, owner: Owner, waiting_only: Annotated[bool, Query()] = False) -> list[Shown]:
    """Cancels all of your jobs, or those that wait; nobody else's."""
    return shown(studio.store.cancel_all(owner, queued_only=waiting_only), studio)


@router.post("/jobs/{job}/move")
def move(job: str, place: Place, studio: AnyStudio, owner: Owner) -> Shown:
    """Gives a job that waits another place in the queue."""
    found = owned(job, owner, studio)
    if place.before is not None:
        owned(place.before, owner, studio)
    if place.priority is not None:
        found = studio.store.line.prioritise(job, place.priority)
    if place.before is not None or place.priority is None:
        found = studio.store.line.move(job, before=place.before)
    return shown([found], studio)[0]
