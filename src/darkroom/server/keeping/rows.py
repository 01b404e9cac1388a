"""Rows of the table of jobs, and what happens to them."""

from __future__ import annotations

import json
import sqlite3

from darkroom.contracts.errors import BadInput, DarkroomError, shown
from darkroom.contracts.job import Event, Job
from darkroom.contracts.request import Request

COLUMNS = ", ".join(name for name in Job.model_fields)
IN_LINE = "ORDER BY priority DESC, place"  # of one owner's jobs
PAUSED = "paused"


class NoJob(DarkroomError):
    """There is no job of that id."""

    code = "no_job"


class Conflict(BadInput):
    """A job's state does not allow it."""

    code = "conflict"


def job_of(db: sqlite3.Connection, job: str) -> Job:
    """The job of that id. Raises NoJob."""
    row = db.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (job,)).fetchone()
    if row is None:
        raise NoJob(f"the job {shown(job)}", "is not here", "see which there are: GET /api/jobs")
    return read(row)


def waiting(db: sqlite3.Connection, job: str) -> Job:
    """The job of that id, which waits. Raises NoJob, or Conflict where it waits no more."""
    found = job_of(db, job)
    if found.state != "queued":
        raise cannot(found, "waits no more")
    return found


def tell(db: sqlite3.Connection, event: Event) -> None:
    """Notes an event."""
    values = tuple(getattr(event, name) for name in Event.model_fields)
    names = ", ".join(Event.model_fields)
    db.execute(f"INSERT INTO events ({names}) VALUES ({', '.join('?' * len(values))})", values)


def is_paused(db: sqlite3.Connection) -> bool:
    """Whether no job is given to workers."""
    row = db.execute("SELECT value FROM settings WHERE name = ?", (PAUSED,)).fetchone()
    return row is not None and bool(json.loads(row["value"]))


def place_of(db: sqlite3.Connection, job: str) -> float:
    """Its place in the line."""
    return float(db.execute("SELECT place FROM jobs WHERE id = ?", (job,)).fetchone()["place"])


def cannot(job: Job, rule: str) -> Conflict:
    """The error of a job whose state does not allow something."""
    return Conflict(f"the job {job.id}, which is {job.state},", rule, "look at it anew: GET /api/jobs/" + job.id)


def read(row: sqlite3.Row) -> Job:
    """A job."""
    fields = {name: row[name] for name in row.keys()}  # noqa: SIM118 (a Row iterates over its values)
    return Job(**{**fields, "request": Request.from_json(row["request"])})


def event_of(row: sqlite3.Row) -> Event:
    """An event."""
    return Event(**{name: row[name] for name in Event.model_fields})
