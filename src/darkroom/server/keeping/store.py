"""Jobs in SQLite: the JobStore protocol, and the queue as people ask for it."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from darkroom.contracts.errors import DarkroomError, shown
from darkroom.contracts.job import MOST_LOSSES, Event, Finished, Job, Priority
from darkroom.contracts.request import CHOSEN_SEEDS, Request
from darkroom.server.keeping.database import Database
from darkroom.server.keeping.gallery import add_picture
from darkroom.server.keeping.line import Line
from darkroom.server.keeping.rows import COLUMNS, IN_LINE, Conflict, cannot, event_of, is_paused, job_of, read, tell

POISON = "poison"


class Full(DarkroomError):
    """The queue takes nothing more for now."""

    code = "queue_full"


class SqliteStore:
    """The jobs of a data folder; any number of processes may hold it open."""

    def __init__(self, path: Path, *, most_queued: int = 10_000, most_queued_each: int = 1_000) -> None:
        """``most_queued`` jobs may wait at once, ``most_queued_each`` of one owner."""
        self.database = Database(path)
        self.line = Line(self.database)
        self.most_queued, self.most_queued_each = most_queued, most_queued_each

    # ---- whoever asks for pictures

    def submit(
        self, requests: Sequence[Request], *, owner: str = "local", key: str | None = None, priority: Priority = 0
    ) -> list[Job]:
        """Keeps requests as queued jobs, all or none. Raises Full, or BadInput for a key that had other requests."""
        told = [request.to_json() for request in requests]
        digest = sha256("\n".join(told).encode()).hexdigest()
        seen = self.database.reading()
        if key is None or _submitted(seen, owner, key, digest) is None:
            self._check_room(seen, owner, len(requests))  # whoever is refused does not wait for those who write
        with self.database.writing() as db:
            if key is not None and (known := _submitted(db, owner, key, digest)) is not None:
                return [job_of(db, job) for job in known]
            self._check_room(db, owner, len(requests))
            now, ids = time.time(), []
            for request in requests:
                ids.append(secrets.token_hex(8))
                values = (ids[-1], owner, _seeded(request).to_json(), priority, now)
                db.execute(
                    "INSERT INTO jobs (id, owner, request, priority, created, place) VALUES (?, ?, ?, ?, ?, "
                    "(SELECT coalesce(max(number), 0) + 1 FROM jobs))",
                    values,
                )
                tell(db, Event(job=ids[-1], kind="queued"))
            if key is not None:
                db.execute("INSERT INTO submissions VALUES (?, ?, ?, ?, ?)", (owner, key, digest, json.dumps(ids), now))
            return [job_of(db, job) for job in ids]

    def _check_room(self, db: sqlite3.Connection, owner: str, more: int) -> None:
        counts = dict(db.execute("SELECT owner, count(*) FROM jobs WHERE state = 'queued' GROUP BY owner").fetchall())
        for there, most, whose in (
            (sum(counts.values()), self.most_queued, "the queue"),
            (counts.get(owner, 0), self.most_queued_each, "your queue"),
        ):
            if there + more > most:
                raise Full(whose, f"holds {there} jobs and takes {most} at most", "wait until some have ended")

    def get(self, job: str) -> Job:
        """The job of that id. Raises NoJob."""
        return job_of(self.database.reading(), job)

    def listed(
        self, *, owner: str | None = None, states: Sequence[str] = (), before: str | None = None, most: int = 100
    ) -> list[Job]:
        """Jobs, the newest first: of an owner (None: of all), in some states (none: in any), older than a job."""
        clauses, values = _whose(owner)
        if states:
            clauses.append(f"state IN ({', '.join('?' * len(states))})")
            values += states
        if before is not None:
            clauses.append("number < (SELECT number FROM jobs WHERE id = ?)")
            values.append(self.get(before).id)
        where = " AND ".join(clauses)
        query = f"SELECT {COLUMNS} FROM jobs WHERE {where} ORDER BY number DESC LIMIT ?"
        return [read(row) for row in self.database.reading().execute(query, (*values, most))]

    def cancel(self, job: str) -> Job:
        """Cancels a job that is not final; its worker notices between two steps. Raises NoJob, or BadInput."""
        with self.database.writing() as db:
            self._change(db, job, ("queued", "running"), "cancelled", "can only be cancelled before it ends")
            return job_of(db, job)

    def cancel_all(self, owner: str, *, queued_only: bool = False) -> list[Job]:
        """Cancels all of an owner's jobs that are not final."""
        states = ("queued",) if queued_only else ("queued", "running")
        with self.database.writing() as db:
            marks = ", ".join("?" * len(states))
            query = f"SELECT id FROM jobs WHERE owner = ? AND state IN ({marks}) ORDER BY number"
            ids = [row["id"] for row in db.execute(query, (owner, *states))]
            for job in ids:
                self._change(db, job, states, "cancelled", "")
            return [job_of(db, job) for job in ids]

    def retry(self, job: str) -> Job:
        """A new job with the request of one that failed or was cancelled. Raises NoJob, Full, or BadInput."""
        old = self.get(job)
        if old.state not in ("failed", "cancelled"):
            raise cannot(old, "can only be tried again once it failed or was cancelled")
        return self.submit([old.request], owner=old.owner, priority=old.priority)[0]

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        return dict(self.database.reading().execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())

    def tidy(self, *, ended: int = 2_000, keys_days: float = 7.0) -> None:
        """Forgets the steps of jobs, but for those that ``ended`` last, and idempotency keys after some days."""
        with self.database.writing(durable=False) as db:
            old = "SELECT id FROM jobs WHERE ended IS NOT NULL ORDER BY ended DESC LIMIT -1 OFFSET ?"
            db.execute(f"DELETE FROM events WHERE kind IN ('progress', 'preview') AND job IN ({old})", (ended,))
            db.execute("DELETE FROM submissions WHERE created < ?", (time.time() - keys_days * 86_400,))

    # ---- workers

    def claim(self, worker: str, most: int) -> list[Job]:
        """Gives the next jobs in line to a worker, owners in turn, so that it holds ``most`` at most; an owner of whom
        it holds none gets one beyond. A job that a worker died over is given alone."""
        if not self._may_claim(most):
            return []
        given = []
        with self.database.writing() as db:
            held = db.execute("SELECT owner, losses FROM jobs WHERE state = 'running' AND worker = ?", (worker,))
            holding = [(row["owner"], row["losses"]) for row in held]
            while not any(losses for _, losses in holding):
                job = self._next(db, [owner for owner, _ in holding], most)
                if job is None or (job.losses and holding):
                    break
                now = time.time()
                db.execute("UPDATE jobs SET state = 'running', worker = ?, started = ? WHERE id = ?",
                           (worker, now, job.id))  # fmt: skip
                db.execute("INSERT OR REPLACE INTO owners VALUES (?, ?)", (job.owner, now))
                tell(db, Event(job=job.id, kind="running"))
                holding.append((job.owner, job.losses))
                given.append(job_of(db, job.id))
        return given

    def _may_claim(self, most: int) -> bool:
        """Whether it is worth a transaction."""
        db = self.database.reading()
        waits = db.execute("SELECT 1 FROM jobs WHERE state = 'queued' LIMIT 1").fetchone()
        return most > 0 and waits is not None and not is_paused(db)

    def _next(self, db: sqlite3.Connection, holding: Sequence[str], most: int) -> Job | None:
        """The job whose turn it is: of the owner with fewest running, of those the one served longest ago."""
        running = dict(db.execute("SELECT owner, count(*) FROM jobs WHERE state = 'running' GROUP BY owner").fetchall())
        served = dict(db.execute("SELECT owner, served FROM owners").fetchall())
        waiting = [row["owner"] for row in db.execute("SELECT DISTINCT owner FROM jobs WHERE state = 'queued'")]
        if len(holding) >= most:
            waiting = [owner for owner in waiting if owner not in holding and len(holding) < 2 * most]
        if not waiting or is_paused(db):
            return None
        turn = min(waiting, key=lambda owner: (running.get(owner, 0), served.get(owner, 0.0), owner))
        query = f"SELECT {COLUMNS} FROM jobs WHERE owner = ? AND state = 'queued' {IN_LINE} LIMIT 1"
        return read(db.execute(query, (turn,)).fetchone())

    def held(self, worker: str) -> set[str]:
        """The jobs that a worker holds: what is not among them any more was cancelled, or taken from it."""
        query = "SELECT id FROM jobs WHERE state = 'running' AND worker = ?"
        return {row["id"] for row in self.database.reading().execute(query, (worker,))}

    def record(self, events: Sequence[Event]) -> None:
        """Keeps events for those who follow the jobs; the newest are lost where the machine goes down."""
        if events:
            with self.database.writing(durable=False) as db:
                for event in events:
                    tell(db, event)

    def events(
        self, *, after: int = 0, job: str | None = None, owner: str | None = None, most: int = 200
    ) -> list[tuple[int, Event]]:
        """Events with a number above ``after``, in order; of one job, of an owner's jobs, or of all."""
        clauses: list[str] = ["number > ?"]
        values: list[Any] = [after]
        if job is not None:
            clauses.append("job = ?")
            values.append(job)
        if owner is not None:
            clauses.append("job IN (SELECT id FROM jobs WHERE owner = ?)")
            values.append(owner)
        query = f"SELECT * FROM events WHERE {' AND '.join(clauses)} ORDER BY number LIMIT ?"
        rows = self.database.reading().execute(query, (*values, most))
        return [(row["number"], event_of(row)) for row in rows]

    def news(self, after: int, most: int = 1000) -> list[tuple[int, str, Event]]:
        """Events with a number above ``after``, in order, and whose jobs they are of."""
        of = "events JOIN jobs ON id = job WHERE events.number > ? ORDER BY events.number LIMIT ?"
        query = f"SELECT events.*, owner FROM {of}"
        rows = self.database.reading().execute(query, (after, most))
        return [(row["number"], row["owner"], event_of(row)) for row in rows]

    def newest_event(self) -> int:
        """The number of the newest event; 0: there was none."""
        row = self.database.reading().execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
        return 0 if row is None else int(row["seq"])

    def finish(self, job: str, *, worker: str, finished: Finished) -> Job:
        """Marks a job done, and keeps its picture in the gallery. Raises BadInput where the worker holds it no more."""
        with self.database.writing() as db:
            held = self._held(db, job, worker)
            values = (finished.picture, finished.sha256, job)
            self._change(db, job, ("running",), "done", "")
            db.execute("UPDATE jobs SET picture = ?, sha256 = ? WHERE id = ?", values)
            add_picture(db, held.owner, job, finished)
            return job_of(db, job)

    def fail(self, job: str, *, worker: str, error: str, message: str) -> Job:
        """Marks a job failed. Raises BadInput where the worker does not hold it any more."""
        with self.database.writing() as db:
            self._held(db, job, worker)
            self._change(db, job, ("running",), "failed", "", error, message)
            return job_of(db, job)

    def release(self, worker: str) -> list[Job]:
        """Puts the jobs that a worker gives back into the queue, where they were."""
        with self.database.writing() as db:
            return [self._back(db, job, 0) for job in self._of(db, worker)]

    def lose(self, worker: str) -> list[Job]:
        """Puts the jobs of a worker that died back into the queue; those that cost too many workers fail: poison."""
        found = []
        with self.database.writing() as db:
            for job in self._of(db, worker):
                if job_of(db, job).losses + 1 < MOST_LOSSES:
                    found.append(self._back(db, job, 1))
                    continue
                message = f"{MOST_LOSSES} workers died over it, one after the other; try a smaller picture"
                self._change(db, job, ("running",), "failed", "", POISON, message)
                db.execute("UPDATE jobs SET losses = losses + 1 WHERE id = ?", (job,))
                found.append(job_of(db, job))
        return found

    # ---- one job

    def _held(self, db: sqlite3.Connection, job: str, worker: str) -> Job:
        found = job_of(db, job)
        if found.state != "running" or found.worker != worker:
            raise cannot(found, f"is not held by the worker {worker}")
        return found

    def _of(self, db: sqlite3.Connection, worker: str) -> list[str]:
        query = "SELECT id FROM jobs WHERE state = 'running' AND worker = ? ORDER BY number"
        return [row["id"] for row in db.execute(query, (worker,))]

    def _back(self, db: sqlite3.Connection, job: str, lost: int) -> Job:
        db.execute("UPDATE jobs SET state = 'queued', worker = NULL, started = NULL, losses = losses + ? WHERE id = ?",
                   (lost, job))  # fmt: skip
        tell(db, Event(job=job, kind="queued"))
        return job_of(db, job)

    def _change(
        self,
        db: sqlite3.Connection,
        job: str,
        allowed: Sequence[str],
        state: Any,
        rule: str,
        error: str | None = None,
        message: str = "",
    ) -> None:
        """Ends a job in a state, from one that is allowed."""
        found = job_of(db, job)
        if found.state not in allowed:
            raise cannot(found, rule)
        db.execute("UPDATE jobs SET state = ?, ended = ?, worker = NULL, error = ?, message = ? WHERE id = ?",
                   (state, time.time(), error, message[:4000], job))  # fmt: skip
        tell(db, Event(job=job, kind=state, message=message[:4000]))


def _seeded(request: Request) -> Request:
    """The request with its seeds chosen: drawn again after a crash, it gives the same picture."""
    chosen = {} if request.seed is not None else {"seed": secrets.randbelow(CHOSEN_SEEDS)}
    if request.variation is not None and request.variation_seed is None:
        chosen["variation_seed"] = secrets.randbelow(CHOSEN_SEEDS)
    return request.model_copy(update=chosen)


def _submitted(db: sqlite3.Connection, owner: str, key: str, digest: str) -> list[str] | None:
    """The jobs of an idempotency key; None: it is new."""
    row = db.execute("SELECT digest, jobs FROM submissions WHERE owner = ? AND key = ?", (owner, key)).fetchone()
    if row is None:
        return None
    if row["digest"] != digest:
        raise Conflict(f"the Idempotency-Key {shown(key)}", "came with another request before", "give a new one")
    ids: list[str] = json.loads(row["jobs"])
    return ids


def _whose(owner: str | None) -> tuple[list[str], list[Any]]:
    return (["TRUE"], []) if owner is None else (["owner = ?"], [owner])
