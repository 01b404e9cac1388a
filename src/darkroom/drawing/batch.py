"""A batch file: its rows are read as they are needed, drawn together, saved one by one and noted in a journal.

A row is a request, or several (``count``, ``seed`` 0-7). What is wrong with a row is said with its line and ends that
row alone; the same command draws what is not in the journal of the folder, and nothing twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from darkroom.contracts.errors import BadInput, DarkroomError, Stopped, Unfinished, reason
from darkroom.contracts.files import check_folder
from darkroom.drawing.journal import Journal, Keys, opened
from darkroom.drawing.pace import Load
from darkroom.drawing.reading import read_prompt
from darkroom.drawing.results import Judging, Models, Wanted, opening_of, raise_fault, results
from darkroom.drawing.sheets import contact_sheets
from darkroom.drawing.speaker import Speaker, pictures
from darkroom.picture.inputs import Inputs
from darkroom.picture.write import write_new
from darkroom.requests.rows import BatchFile, Row
from darkroom.requests.spelling import Asked

NOTES_SHOWN = 8  # different ones; a program is told all


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a picture stands: the line of its row, which of that row's it is, and its key in the journal."""

    line: int
    number: int
    key: str


@dataclass
class _Told:
    """What a row has come to."""

    pictures: dict[int, dict[str, Any]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self, line: int) -> dict[str, Any]:
        """For a program."""
        made = [self.pictures[number] for number in sorted(self.pictures)]
        return {"line": line, "pictures": made, "errors": self.errors, "notes": self.notes}


def draw_batch(
    file: BatchFile,
    defaults: Asked,
    out: Path,
    *,
    judge: Path | None = None,
    inputs: Inputs | None = None,
    sheet: bool = False,
    as_json: bool = False,
    dry_run: bool = False,
) -> None:
    """Draws the rows of a batch file into a folder, or says what that would be.

    ``defaults`` hold for what a row does not tell. ``judge`` and ``inputs`` are as for ``draw``. A file that can be
    read twice is looked through before anything is drawn, so that all of it is counted and bad rows are said at once.
    Raises DarkroomError; once drawing has begun it is Unfinished, with the outcome of every row.
    """
    defaults.check()
    if not dry_run:
        check_folder(out)
        out.mkdir(parents=True, exist_ok=True)
    batch = _Batch(file, defaults, out, Judging(judge), inputs or Inputs(), Speaker(quiet=as_json))
    batch.models.opened(defaults.sample())  # a model that is not there is no row's fault
    with opened(out, dry=dry_run) as journal:
        if dry_run:
            batch.shown(journal)
        else:
            batch.drawn(journal, sheet=sheet)
    if batch.failed:
        rows = "1 row" if batch.failed == 1 else f"{batch.failed} rows"
        fix = "" if dry_run else "the same command tries them again: mend what can never be drawn first"
        raise Unfinished(f"{rows} of {file.name} failed", fix=fix, done={} if dry_run else batch.as_json())
    if as_json and not dry_run:
        print(json.dumps(batch.as_json()))


class _Batch:
    """One go at a batch file."""

    def __init__(
        self, file: BatchFile, defaults: Asked, out: Path, judging: Judging, inputs: Inputs, say: Speaker
    ) -> None:
        self.file, self.defaults, self.out, self.say = file, defaults, out, say
        self.judging, self.inputs, self.models = judging, inputs, Models()
        self.rows: dict[int, _Told] = {}
        self.sheets: list[Path] = []
        self._notes: set[str] = set()

    @property
    def failed(self) -> int:
        """Rows of which something could not be made."""
        return sum(bool(row.errors) for row in self.rows.values())

    def as_json(self) -> dict[str, Any]:
        """For a program: every row's outcome."""
        rows = [self.rows[line].as_json(line) for line in sorted(self.rows)]
        return {"rows": rows, "sheets": [str(sheet) for sheet in self.sheets]}

    def shown(self, journal: Journal) -> None:
        """Prints the recipes that would be drawn, and says how many they are; draws nothing."""
        total, already = Load(), 0
        first = True
        for one in self._wanted(journal):
            if one.what.key in journal.drawn:
                already += 1
                continue
            total.add(one.load(self.models.opened(one.request)))
            recipe = json.dumps(json.loads(one.recipe.to_json()), indent=1, ensure_ascii=False)
            print("[" if first else ",", recipe, sep="\n")
            first = False
        print("[]" if first else "]")
        self._counted(total, already)

    def drawn(self, journal: Journal, *, sheet: bool) -> None:
        """Draws what is not in the journal yet."""
        total = self._looked_through(journal) if self.file.twice else None
        self.say.begins(total)
        try:
            for _, some in groupby(self._missing(journal), key=lambda one: opening_of(one.request)):
                self._draw(some, journal)
            self.say.ends()
            if sheet:
                self._sheets(journal)
        except KeyboardInterrupt:
            self.say.clear()
            done = f"{pictures(self.say.done.pictures)} kept, and the same command goes on from there"
            raise Stopped("stopped", fix=done, done=self.as_json()) from None
        except (DarkroomError, OSError) as error:  # what cannot be written now could not be for the next one either
            if isinstance(error, BrokenPipeError) or not self.rows:
                raise
            raise Unfinished(reason(error), done=self.as_json()) from error

    def _looked_through(self, journal: Journal) -> Load:
        """What is to be drawn; says what is wrong with rows, and what the user should know of others."""
        total, already = Load(), 0
        for one in self._wanted(journal):
            if one.what.key in journal.drawn:
                already += 1
                continue
            total.add(one.load(self.models.opened(one.request)))
            self._note(one)
        self._counted(total, already)
        return total

    def _counted(self, total: Load, already: int) -> None:
        found = f"{pictures(total.pictures)}, {total.evaluations} evaluations"
        there = f"; {already} more {'is' if already == 1 else 'are'} drawn already" if already else ""
        self.say.line("batch", f"{self.file.name}: {found}{there}")

    def _missing(self, journal: Journal) -> Iterator[Wanted[_Place]]:
        """The pictures to draw; those drawn already are noted as they are."""
        for one in self._wanted(journal):
            if (path := journal.drawn.get(one.what.key)) is not None:
                self._row(one.what.line).pictures[one.what.number] = _picture(path, one.recipe.seed, new=False)
                continue
            if not self.file.twice:
                self._note(one)
            yield one

    def _wanted(self, journal: Journal) -> Iterator[Wanted[_Place]]:
        """The pictures of all rows, in order: the same ones each time, seeds nobody gave too."""
        keys = Keys(journal.seed)
        for row in self.file.rows():
            try:
                asked = self._asked(row)
                requests = asked.requests(keys.seed(_canonical(asked)) if asked.seed is None else 0)
                for number, request in enumerate(requests):
                    recipe = self.models.opened(request).resolve(request, self.inputs)
                    yield Wanted(request, recipe, _Place(row.line, number, keys.key(request, recipe)))
            except (DarkroomError, OSError) as error:
                if isinstance(error, BrokenPipeError):
                    raise
                self._fail(row.line, error)

    def _asked(self, row: Row) -> Asked:
        if isinstance(row.told, BadInput):
            raise row.told
        return self.defaults.but(row.told)

    def _draw(self, some: Iterator[Wanted[_Place]], journal: Journal) -> None:
        """Draws pictures of one model, saves each as it ends, and notes it."""
        first = next(some)
        model = self.models.opened(first.request)
        for one, result, watched in results(chain([first], some), model, self.judging, self.inputs, self.say):
            place = one.what
            if isinstance(result, Exception):
                raise_fault(result)
                self._fail(place.line, result)
                watched.ended(drawn=False)
                continue
            path = write_new(result.pixels, self.out, result.recipe)
            journal.add(place.key, path, one.recipe.seed)
            self._row(place.line).pictures[place.number] = _picture(path, one.recipe.seed, new=True)
            self.say.saved(path)
            self.say.judged(result.recipe)
            watched.ended(drawn=True)

    def _sheets(self, journal: Journal) -> None:
        """Contact sheets of all that is drawn, in the order of the rows, what was drawn before too."""
        told = [self.rows[line].pictures for line in sorted(self.rows)]
        paths = [Path(row[number]["path"]) for row in told for number in sorted(row)]
        self.sheets += contact_sheets(paths, self.out, self.say)

    def _row(self, line: int) -> _Told:
        return self.rows.setdefault(line, _Told())

    def _fail(self, line: int, error: Exception) -> None:
        """Says what is wrong with a row, once: a file that is read twice brings it twice."""
        said = reason(error)
        if said not in self._row(line).errors:
            self._row(line).errors.append(said)
            self.say.failed(f"{self.file.name} line {line}", said)

    def _note(self, one: Wanted[_Place]) -> None:
        """What the user should know of a picture; each thing is said of the first row only."""
        notes = read_prompt(self.models.opened(one.request), one.recipe).notes
        told = self._row(one.what.line).notes
        told += [note for note in notes if note not in told]
        for note in notes:
            if note not in self._notes and len(self._notes) < NOTES_SHOWN:
                self._notes.add(note)
                self.say.notes([f"{self.file.name} line {one.what.line}: {note}"])
                if len(self._notes) == NOTES_SHOWN:
                    self.say.notes(["further notes are left out; --json has them all"])


def _picture(path: Path, seed: int, *, new: bool) -> dict[str, Any]:
    return {"path": str(path), "seed": seed, "new": new}


def _canonical(asked: Asked) -> str:
    """What was asked for as one text, the same for the same things."""
    return json.dumps([dict(asked.fields), asked.count], sort_keys=True, default=str)
