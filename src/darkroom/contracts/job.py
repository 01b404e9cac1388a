"""A request on its way to a picture, and what is told about it meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol

from pydantic import Field

from darkroom.contracts.contract import Contract, Name, Number, Sha256, Text, Whole
from darkroom.contracts.request import Request

State = Literal["queued", "running", "done", "failed", "cancelled"]
Kind = Literal["queued", "progress", "preview", "done", "failed"]
Stage = Literal["interpret", "latent", "synthesise", "refine"]


class Job(Contract):
    """A request and its state. done, failed and cancelled are final."""

    id: Name = Field(description="The job's id.")
    request: Request = Field(description="What was asked for.")
    state: State = Field("queued", description="Where it is.")
    created: Annotated[Number, Field(ge=0, le=1e12, description="When it was submitted, in seconds since 1970.")]
    attempts: Annotated[Whole, Field(ge=0, le=1000, description="How often a worker took it up.")] = 0
    worker: Name | None = Field(None, description="The worker that holds it. None: no worker does.")
    picture: Name | None = Field(None, description="Name of the finished file. None: not done.")
    sha256: Sha256 | None = Field(None, description="SHA-256 of the finished file. None: not done.")
    error: Name | None = Field(None, description="Code of the failure, such as no_space. None: not failed.")
    message: Text = Field("", max_length=4000, description="The failure in one sentence.")


class Event(Contract):
    """Something that happened to a job."""

    job: Name = Field(description="The job's id.")
    kind: Kind = Field(description="What happened.")
    stage: Stage | None = Field(None, description="The stage at work. None: the event belongs to no stage.")
    step: Annotated[Whole, Field(ge=0, le=1_000_000, description="Steps of the stage that are done.")] = 0
    steps: Annotated[Whole, Field(ge=0, le=1_000_000, description="Steps of the stage in all; 0: not known.")] = 0
    preview: bytes | None = Field(None, description="A preview as an encoded picture. None: the event brings none.")
    message: Text = Field("", max_length=4000, description="The event in one sentence.")


class JobStore(Protocol):
    """Keeps jobs. What it has acknowledged survives a crash; each call is one transaction."""

    def submit(self, request: Request, *, key: str | None = None) -> Job:
        """Keep a request as a queued job. The same idempotency key gives the same job; None: always a new one."""
        ...

    def get(self, job: str) -> Job | None:
        """The job of that id; None if there is none."""
        ...

    def claim(self, worker: str) -> Job | None:
        """Give the next queued job to a worker, which alone holds it then; None if none waits."""
        ...

    def record(self, event: Event) -> None:
        """Keep an event for those who follow the job; it also shows that the worker lives."""
        ...

    def events(self, job: str, *, after: int = 0) -> Sequence[tuple[int, Event]]:
        """The job's events with a number above ``after``, in order."""
        ...

    def finish(self, job: str, *, worker: str, picture: str, sha256: str) -> Job:
        """Mark a job done by the worker that holds it."""
        ...

    def fail(self, job: str, *, worker: str, error: str, message: str) -> Job:
        """Mark a job failed by the worker that holds it."""
        ...

    def release(self, job: str, *, worker: str) -> Job:
        """Put a held job back in the queue."""
        ...

    def cancel(self, job: str) -> Job:
        """Cancel a job that is not final."""
        ...
