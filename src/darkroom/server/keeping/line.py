"""The queue's order: who is next, what comes before what, how long it takes."""

from __future__ import annotations

import json
from collections.abc import Iterable

from darkroom.contracts.errors import BadInput, shown
from darkroom.contracts.job import Job, Priority
from darkroom.server.keeping.database import Database
from darkroom.server.keeping.rows import IN_LINE, PAUSED, is_paused, job_of, place_of, waiting


class Line:
    """The jobs that wait, as their owners order them."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def pause(self, paused: bool = True) -> None:
        """Stops giving jobs to workers, or goes on with it; what runs runs to its end."""
        with self.database.writing() as db:
            db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (PAUSED, json.dumps(paused)))

    def paused(self) -> bool:
        """Whether no job is given to workers."""
        return is_paused(self.database.reading())

    def move(self, job: str, *, before: str | None = None) -> Job:
        """Puts a queued job before another of the same owner and priority; None: before all of them.

        Raises NoJob, or BadInput for one that waits no more.
        """
        with self.database.writing() as db:
            moved = waiting(db, job)
            if before is not None:
                other = waiting(db, before)
                if (other.owner, other.priority) != (moved.owner, moved.priority):
                    rule = "has another owner or priority"
                    raise BadInput(f"the job {shown(before)}", rule, "give it the same priority first")
            line = f"SELECT id, place FROM jobs WHERE owner = ? AND priority = ? AND state = 'queued' {IN_LINE}"
            places = [tuple(row) for row in db.execute(line, (moved.owner, moved.priority)) if row["id"] != job]
            at = next((i for i, (other, _) in enumerate(places) if other == before), 0)
            order = [other for other, _ in places]
            order.insert(at, job)
            kept = sorted([place for _, place in places] + [place_of(db, job)])
            db.executemany("UPDATE jobs SET place = ? WHERE id = ?", list(zip(kept, order, strict=True)))
            return job_of(db, job)

    def prioritise(self, job: str, priority: Priority) -> Job:
        """Gives a queued job another priority. Raises NoJob, or BadInput for one that waits no more."""
        with self.database.writing() as db:
            waiting(db, job)
            db.execute("UPDATE jobs SET priority = ? WHERE id = ?", (priority, job))
            return job_of(db, job)

    def positions(self, jobs: Iterable[str]) -> dict[str, int]:
        """How many jobs are before each that waits, taking turns among owners; others are left out."""
        db = self.database.reading()
        lines: dict[str, list[str]] = {}
        for row in db.execute(f"SELECT owner, id FROM jobs WHERE state = 'queued' {IN_LINE}"):
            lines.setdefault(row["owner"], []).append(row["id"])
        wanted, found = set(jobs), {}
        for owner, line in lines.items():
            others = [len(other) for name, other in lines.items() if name != owner]
            for at, job in enumerate(line):
                if job in wanted:
                    found[job] = at + sum(min(count, at) for count in others)
        return found

    def pace(self, last: int = 20) -> float | None:
        """Seconds from one finished picture to the next while any is drawn, of the newest; None: too few were."""
        query = "SELECT started, ended FROM jobs WHERE state = 'done' ORDER BY ended DESC LIMIT ?"
        rows = sorted(tuple(row) for row in self.database.reading().execute(query, (last,)))
        if len(rows) < 2:
            return None
        busy, until = 0.0, 0.0
        for started, ended in rows:  # what overlaps counts once, and what lies between does not count
            busy += max(0.0, ended - max(started, until))
            until = max(until, ended)
        return float(busy / len(rows))
