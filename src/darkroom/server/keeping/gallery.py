"""The finished pictures of a data folder: found again, kept on boards, thrown away and taken back."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from darkroom.contracts.contract import Contract, Name, Sha256, Text, Whole
from darkroom.contracts.errors import BadInput, DarkroomError, shown
from darkroom.contracts.job import Finished, Moment
from darkroom.server.keeping.database import Database

MAX_WORDS = 20  # of a search
LONGEST_BOARD = 100


class NoPicture(DarkroomError):
    """There is no picture of that name."""

    code = "no_picture"


class Kept(Contract):
    """A picture of the gallery."""

    name: Name = Field(description="Name of its file.")
    sha256: Sha256 = Field(description="SHA-256 of its file.")
    owner: Name = Field(description="Whose it is.")
    job: Name | None = Field(None, description="The job that drew it. None: it was brought along.")
    created: Moment = Field(description="When it was finished, in seconds since 1970.")
    width: Annotated[Whole, Field(ge=1, description="Pixels.")]
    height: Annotated[Whole, Field(ge=1, description="Pixels.")]
    prompt: Text = Field(description="What was drawn.")
    favourite: bool = Field(False, description="Whether it is one of the favourites.")
    board: Text = Field("", max_length=LONGEST_BOARD, description="The board it is on. Empty: on none.")
    trashed: Moment | None = Field(None, description="When it was thrown away. None: it was not.")


_COLUMNS = ", ".join(Kept.model_fields)


def add_picture(db: sqlite3.Connection, owner: str, job: str | None, finished: Finished) -> None:
    """Keeps a picture, within a transaction; one that its owner has already is taken out of the trash."""
    values = (finished.picture, finished.sha256, owner, job, time.time(), finished.width, finished.height)
    db.execute(
        "INSERT INTO pictures (name, sha256, owner, job, created, width, height, prompt, recipe, thumbnail) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (owner, name) DO UPDATE SET trashed = NULL",
        (*values, finished.prompt, finished.recipe, finished.thumbnail),
    )


class Gallery:
    """The pictures of a data folder. A name that its owner has no picture of raises NoPicture."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def get(self, owner: str | None, name: str) -> Kept:
        """The picture of that name; ``owner`` None: anybody's."""
        return _read(self._row(owner, name, _COLUMNS))

    def recipe(self, owner: str | None, name: str) -> str:
        """Its recipe, as JSON."""
        return str(self._row(owner, name, "recipe")["recipe"])

    def thumbnail(self, owner: str | None, name: str) -> bytes:
        """A small WebP of it."""
        return bytes(self._row(owner, name, "thumbnail")["thumbnail"])

    def listed(
        self,
        owner: str | None,
        *,
        words: str = "",
        board: str | None = None,
        favourites: bool = False,
        trashed: bool = False,
        before: str | None = None,
        most: int = 60,
    ) -> list[Kept]:
        """Pictures, the newest first: those whose prompts hold all words, on a board (None: on any), the favourites
        alone, or those in the trash; older than the picture ``before``."""
        clauses = ["trashed IS NOT NULL" if trashed else "trashed IS NULL"]
        values: list[Any] = []
        if owner is not None:
            clauses.append("owner = ?")
            values.append(owner)
        for word in words.split()[:MAX_WORDS]:
            clauses.append(r"prompt LIKE ? ESCAPE '\'")
            values.append("%" + "".join("\\" + letter if letter in "%_\\" else letter for letter in word) + "%")
        if board is not None:
            clauses.append("board = ?")
            values.append(board)
        if favourites:
            clauses.append("favourite = 1")
        if before is not None:
            clauses.append("number < ?")
            values.append(self._row(owner, before, "number")["number"])
        query = f"SELECT {_COLUMNS} FROM pictures WHERE {' AND '.join(clauses)} ORDER BY number DESC LIMIT ?"
        return [_read(row) for row in self.database.reading().execute(query, (*values, most))]

    def boards(self, owner: str | None) -> dict[str, int]:
        """The boards there are, and how many pictures each holds."""
        whose, values = ("", ()) if owner is None else ("owner = ? AND", (owner,))
        query = f"SELECT board, count(*) FROM pictures WHERE {whose} trashed IS NULL AND board != '' GROUP BY board"
        return dict(self.database.reading().execute(query, values).fetchall())

    def change(self, owner: str, names: Sequence[str], **values: Any) -> list[Kept]:
        """Gives pictures another ``favourite``, ``board`` or ``trashed`` (True, False), all or none."""
        told = dict(values)
        if "trashed" in told:
            told["trashed"] = time.time() if told["trashed"] else None
        if len(str(told.get("board", ""))) > LONGEST_BOARD:
            raise BadInput(f"the board {shown(told['board'])}", f"has more than {LONGEST_BOARD} letters", "shorten it")
        if unknown := told.keys() - {"favourite", "board", "trashed"}:
            raise ValueError(f"{unknown} of a picture does not change")
        marks = ", ".join(f"{name} = ?" for name in told)
        with self.database.writing() as db:
            for name in names:
                done = db.execute(
                    f"UPDATE pictures SET {marks} WHERE owner = ? AND name = ?", (*told.values(), owner, name)
                )
                if not done.rowcount:
                    raise _missing(name)
        return [self.get(owner, name) for name in names]

    def emptied(self, owner: str, *, older_than: float | None = None) -> list[str]:
        """Forgets what is in an owner's trash, all of it or what was thrown away before a time; the names of files that
        nobody's gallery holds any more."""
        with self.database.writing() as db:
            query = "SELECT name FROM pictures WHERE owner = ? AND trashed <= ?"
            names = [row["name"] for row in db.execute(query, (owner, older_than or time.time()))]
            gone = []
            for name in names:
                db.execute("DELETE FROM pictures WHERE owner = ? AND name = ?", (owner, name))
                if db.execute("SELECT 1 FROM pictures WHERE name = ?", (name,)).fetchone() is None:
                    gone.append(name)
            return gone

    def _row(self, owner: str | None, name: str, columns: str) -> sqlite3.Row:
        whose, values = ("", (name,)) if owner is None else ("AND owner = ?", (name, owner))
        query = f"SELECT {columns} FROM pictures WHERE name = ? {whose} LIMIT 1"
        row: sqlite3.Row | None = self.database.reading().execute(query, values).fetchone()
        if row is None:
            raise _missing(name)
        return row


def _missing(name: str) -> NoPicture:
    return NoPicture(f"the picture {shown(name)}", "is not in the gallery", "see which there are: GET /api/pictures")


def _read(row: sqlite3.Row) -> Kept:
    fields = {name: row[name] for name in Kept.model_fields}
    return Kept(**{**fields, "favourite": bool(fields["favourite"])})
