"""One SQLite file: its schema, how it grows from version to version, and transactions upon it.

The log is written ahead (WAL), so that readers never wait. What was acknowledged is synced to the disk before
(``synchronous=FULL``); progress is not, which saves some milliseconds a step: it lies in the same log, so a later
synced transaction brings it along, and a crash loses the newest of it at most.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from darkroom.contracts import faults
from darkroom.contracts.errors import BadFile, CannotWrite, DarkroomError, NoSpace

WAIT_S = 20.0  # for another process that writes; a transaction takes milliseconds
FAULT = "store.commit"

# Each list is one transaction that takes the file to the next version; none of them is ever changed.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE jobs (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            owner TEXT NOT NULL,
            request TEXT NOT NULL,
            state TEXT NOT NULL DEFAULT 'queued',
            priority INTEGER NOT NULL DEFAULT 0,
            place REAL NOT NULL,
            created REAL NOT NULL,
            started REAL,
            ended REAL,
            losses INTEGER NOT NULL DEFAULT 0,
            worker TEXT,
            picture TEXT,
            sha256 TEXT,
            error TEXT,
            message TEXT NOT NULL DEFAULT '')""",
        "CREATE INDEX jobs_in_line ON jobs (owner, priority DESC, place) WHERE state = 'queued'",
        "CREATE INDEX jobs_held ON jobs (worker, owner) WHERE state = 'running'",
        "CREATE INDEX jobs_of ON jobs (owner, number)",
        "CREATE INDEX jobs_by_end ON jobs (ended) WHERE ended IS NOT NULL",
        """CREATE TABLE submissions (
            owner TEXT NOT NULL, key TEXT NOT NULL, digest TEXT NOT NULL, jobs TEXT NOT NULL,
            created REAL NOT NULL, PRIMARY KEY (owner, key)) WITHOUT ROWID""",
        "CREATE TABLE owners (owner TEXT PRIMARY KEY, served REAL NOT NULL) WITHOUT ROWID",
        """CREATE TABLE events (
            number INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT NOT NULL, kind TEXT NOT NULL, stage TEXT,
            step INTEGER NOT NULL, steps INTEGER NOT NULL, preview BLOB, message TEXT NOT NULL)""",
        "CREATE INDEX events_of ON events (job, number)",
        "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE workers (
            name TEXT PRIMARY KEY, pid INTEGER NOT NULL, beat REAL NOT NULL, offers TEXT NOT NULL DEFAULT '{}')
            WITHOUT ROWID""",
        """CREATE TABLE pictures (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            owner TEXT NOT NULL,
            job TEXT,
            created REAL NOT NULL,
            width INTEGER NOT NULL,
            height INTEGER NOT NULL,
            prompt TEXT NOT NULL,
            recipe TEXT NOT NULL,
            thumbnail BLOB NOT NULL,
            favourite INTEGER NOT NULL DEFAULT 0,
            board TEXT NOT NULL DEFAULT '',
            trashed REAL,
            UNIQUE (owner, name))""",
        "CREATE INDEX pictures_of ON pictures (owner, number)",
    ),
)


class Database:
    """A file of version ``len(MIGRATIONS)``; older ones are brought up to it, newer ones refused."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._own = threading.local()  # a connection belongs to its thread
        self._turn = threading.Lock()  # SQLite has whoever waits look again ever more seldom; threads take turns
        path.parent.mkdir(parents=True, exist_ok=True)
        with _plain(path):
            connection = self._opened(durable=True)
            _grown(connection, path)

    def reading(self) -> sqlite3.Connection:
        """A connection to read with."""
        return self._opened(durable=False)

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction; an error undoes it. Raises NoSpace or CannotWrite where the disk does not take it."""
        with self._turn, _plain(self.path):
            connection = self._opened(durable)
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                faults.at(FAULT)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def version(self) -> int:
        """A number that is another once any process has written (SQLite's data_version): quick to ask."""
        return int(self.reading().execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        """Closes this thread's connections."""
        for connection in self._kept().values():
            connection.close()
        self._kept().clear()

    def _kept(self) -> dict[bool, sqlite3.Connection]:
        if not hasattr(self._own, "connections"):
            self._own.connections = {}
        kept: dict[bool, sqlite3.Connection] = self._own.connections
        return kept

    def _opened(self, durable: bool) -> sqlite3.Connection:
        kept = self._kept()
        if durable not in kept:
            connection = sqlite3.connect(self.path, timeout=WAIT_S, isolation_level=None)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            kept[durable] = connection
        return kept[durable]


def _grown(connection: sqlite3.Connection, path: Path) -> None:
    """Takes the file to the newest version, a transaction a version."""
    while True:
        connection.execute("BEGIN IMMEDIATE")
        try:
            [version] = connection.execute("PRAGMA user_version").fetchone()
            if version > len(MIGRATIONS):
                rule = f"is of version {version}, and this darkroom knows {len(MIGRATIONS)}"
                raise BadFile(f"{path}", rule, "update darkroom, or give another --data folder")
            if version == len(MIGRATIONS):
                return
            for statement in MIGRATIONS[version]:
                faults.at("store.migration")
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


@contextmanager
def _plain(path: Path) -> Iterator[None]:
    """SQLite's errors, in our words."""
    try:
        yield
    except DarkroomError:
        raise
    except (sqlite3.Error, OSError) as error:
        if "full" in str(error) or getattr(error, "errno", None) in (28, 122):
            raise NoSpace(f"{path}", "takes nothing more because the disk is full", "free some space") from error
        if "not a database" in str(error) or "malformed" in str(error):
            raise BadFile(f"{path}", f"is damaged ({error})", "move it away, or put a backup in its place") from error
        raise CannotWrite(f"{path}", f"cannot be used ({error})", "see who else uses it, and the disk") from error
