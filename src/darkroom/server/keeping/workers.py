"""What is known of the workers: who they are, when they last gave a sign of life, what they can do."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from darkroom.server.keeping.database import Database


@dataclass(frozen=True)
class Seen:
    """A worker: its process, its last sign of life in seconds since 1970, and what it offers."""

    pid: int
    beat: float
    offers: dict[str, Any]


class Workers:
    """The workers of a data folder, by their names."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def enlist(self, name: str, pid: int, offers: dict[str, Any]) -> None:
        """Notes a worker that is ready."""
        with self.database.writing(durable=False) as db:
            db.execute(
                "INSERT OR REPLACE INTO workers VALUES (?, ?, ?, ?)", (name, pid, time.time(), json.dumps(offers))
            )

    def beat(self, name: str) -> None:
        """Notes a sign of life."""
        with self.database.writing(durable=False) as db:
            db.execute("UPDATE workers SET beat = ? WHERE name = ?", (time.time(), name))

    def dismiss(self, name: str) -> None:
        """Forgets a worker."""
        with self.database.writing(durable=False) as db:
            db.execute("DELETE FROM workers WHERE name = ?", (name,))

    def all(self) -> dict[str, Seen]:
        """Those there are."""
        rows = self.database.reading().execute("SELECT * FROM workers")
        return {row["name"]: Seen(row["pid"], row["beat"], json.loads(row["offers"])) for row in rows}

    def offers(self) -> dict[str, Any]:
        """What a worker that is ready offers; empty: none is."""
        return next((seen.offers for seen in self.all().values() if seen.offers), {})
