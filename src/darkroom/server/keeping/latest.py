"""How far a job is, for who asks now and then and does not follow its events."""

from __future__ import annotations

from dataclasses import dataclass

from darkroom.server.keeping.database import Database


@dataclass(frozen=True)
class Latest:
    """The newest of a job: steps that are done, of how many (0: none yet), and the newest preview, an encoded picture;
    None: there is none."""

    step: int = 0
    steps: int = 0
    preview: bytes | None = None

    @property
    def share(self) -> float:
        """How much of it is done, 0 to 1."""
        return self.step / self.steps if self.steps else 0.0


def latest(database: Database, job: str) -> Latest:
    """The newest of a job, while it is drawn."""
    db = database.reading()
    of_drawing = "job = ? AND stage IN ('synthesise', 'refine')"
    query = f"SELECT stage, step, steps FROM events WHERE {of_drawing} ORDER BY number DESC LIMIT 1"
    row = db.execute(query, (job,)).fetchone()
    if row is None:
        return Latest()
    query = "SELECT preview FROM events WHERE job = ? AND preview IS NOT NULL ORDER BY number DESC LIMIT 1"
    seen = db.execute(query, (job,)).fetchone()
    step, steps = (row["step"], row["steps"]) if row["stage"] == "synthesise" else (1, 1)
    return Latest(step, steps, None if seen is None else bytes(seen["preview"]))
