"""A request on its way to a picture, and what is told about it meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol

from pydantic import Field

from darkroom.contracts.contract import Contract, Name, Number, Sha256, Text, Whole
from darkroom.contracts.request import Request

State = Literal["queued", "running", "done", "failed", "cancelled"]
Kind = Literal["queued", "running", "progress", "preview", "done", "failed", "cancelled"]
Stage = Literal["interpret", "latent", "synthesise", "refine"]

FINAL: tuple[State, ...] = ("done", "failed", "cancelled")
MOST_LOSSES = 3  # workers that may die over a job before it is taken for the cause
MAX_PRIORITY = 9
Moment = Annotated[Number, Field(ge=0, le=1e12)]  # seconds since 1970
Priority = Annotated[Whole, Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY)]


class Job(Contract):
    """A request and its state. done, failed and cancelled are final."""

    id: Name = Field(description="The job's id.")
    request: Request = Field(description="What was asked for.")
    owner: Name = Field("local", description="Whose it is: the name of a key, or local.")
    state: State = Field("queued", description="Where it is.")
    priority: Priority = Field(0, description="Before those of the same owner with a lower one.")
    created: Moment = Field(description="When it was submitted, in seconds since 1970.")
    started: Moment | None = Field(None, description="When a worker last took it up. None: none did.")
    ended: Moment | None = Field(None, description="When it ended. None: it has not.")
    losses: Annotated[Whole, Field(ge=0, le=1000, description="How often a worker died over it.")] = 0
    worker: Name | None = Field(None, description="The worker that holds it. None: no worker does.")
    picture: Name | None = Field(None, description="Name of the finished file. None: not done.")
    sha256: Sha256 | None = Field(None, description="SHA-256 of the finished file. None: not done.")
    error: Name | None = Field(None, description="Code of the failure, such as no_space. None: not failed.")
    message: Text = Field("", max_length=4000, description="The failure in one sentence.")

    @property
    def final(self) -> bool:
        """Whether nothing more can happen to it."""
        return self.state in FINAL


class Event(Contract):
    """Something that happened to a job."""

    job: Name = Field(description="The job's id.")
    kind: Kind = Field(description="What happened.")
    stage: Stage | None = Field(None, description="The stage at work. None: the event belongs to no stage.")
    step: Annotated[Whole, Field(ge=0, le=1_000_000, description="Steps of the stage that are done.")] = 0
    steps: Annotated[Whole, Field(ge=0, le=1_000_000, description="Steps of the stage in all; 0: not known.")] = 0
    preview: bytes | None = Field(None, description="A preview as an encoded picture. None: the event brings none.")
    message: Text = Field("", max_length=4000, description="The event in one sentence.")


class Finished(Contract):
    """A picture that a worker has put in its place, and what the gallery shall know of it."""

    picture: Name = Field(description="Name of the file.")
    sha256: Sha256 = Field(description="SHA-256 of the file.")
    width: Annotated[Whole, Field(ge=1, le=65_535, description="Pixels.")]
    height: Annotated[Whole, Field(ge=1, le=65_535, description="Pixels.")]
    recipe: Text = Field(description="Its recipe, as JSON.")
    prompt: Text = Field("", description="What was drawn.")
    thumbnail: bytes = Field(description="A small WebP of it.")


class JobStore(Protocol):
    """Keeps jobs. What it has acknowledged survives a crash; each call is one transaction.

    A call that names a job there is none of, and one that its state does not allow, raise a DarkroomError.
    """

    def submit(
        self, requests: Sequence[Request], *, owner: str = "local", key: str | None = None, priority: int = 0
    ) -> list[Job]:
        """Keep requests as queued jobs, all or none. An owner's same idempotency key gives the same jobs; None: always
        new ones."""
        ...

    def get(self, job: str) -> Job:
        """The job of that id."""
        ...

    def claim(self, worker: str, most: int) -> list[Job]:
        """Give the next queued jobs to a worker, which alone holds them then, so that it holds ``most`` at most.

        Owners take turns. A job that a worker died over is run alone.
        """
        ...

    def record(self, events: Sequence[Event]) -> None:
        """Keep events for those who follow the jobs."""
        ...

    def events(
        self, *, after: int = 0, job: str | None = None, owner: str | None = None, most: int = 200
    ) -> list[tuple[int, Event]]:
        """Events with a number above ``after``, in order; of one job, of an owner's jobs, or of all."""
        ...

    def finish(self, job: str, *, worker: str, finished: Finished) -> Job:
        """Mark a job done by the worker that holds it, and keep its picture in the gallery."""
        ...

    def fail(self, job: str, *, worker: str, error: str, message: str) -> Job:
        """Mark a job failed by the worker that holds it."""
        ...

    def release(self, worker: str) -> list[Job]:
        """Put the jobs that a worker gives back into the queue: it ends in good order."""
        ...

    def lose(self, worker: str) -> list[Job]:
        """Put the jobs of a worker that died back into the queue; those that cost too many workers fail: poison."""
        ...

    def cancel(self, job: str) -> Job:
        """Cancel a job that is not final."""
        ...
