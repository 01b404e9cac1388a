"""Batch files: a request a row, as CSV or JSONL, read line by line.

A fault of a row is that row's; a fault of the header, or of the keys of the first object, is the file's. A file of any
size is read in linear time and in the memory of one row.
"""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from darkroom.contracts.errors import BadFile, BadInput, reason, shown
from darkroom.requests.spelling import TEXTS, named, names

STDIN = "-"
MAX_ROW = 4_000_000  # bytes; two prompts of full length, every character escaped, are below a tenth
_DELIMITERS = ",;\t"  # the one that is most in a header; spreadsheets write any of them
_BESIDE = ("init_image", "mask", "lora", "control", "image_prompt", "embedding", "vae")  # files, from the batch file on
DEEPEST = 2  # values within values: regions are a list of objects
_NAMING = ("file", "network", "map")  # and what holds them in objects


@dataclass(frozen=True, slots=True)
class Row:
    """What a row tells, by the names of fields, or what is wrong with it; ``line`` is where it begins, from 1."""

    line: int
    told: dict[str, Any] | BadInput


class BatchFile:
    """A batch file by its path, or "-": JSONL on standard input, which like a pipe cannot be read ``twice``."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = "standard input" if path == STDIN else path
        self.twice = path != STDIN and not (os.path.exists(path) and stat.S_ISFIFO(os.stat(path).st_mode))

    def check(self) -> None:
        """Raises DarkroomError for a file that cannot be read, or whose names are unknown."""
        if self.twice:
            next(self.rows(), None)

    def rows(self) -> Iterator[Row]:
        """The rows in their order; blank lines are none.

        Raises BadFile where it cannot be read, and BadInput, before the first row, for names that are not known.
        """
        try:
            with self._opened() as file:
                lines = _Lines(file)
                try:
                    first = lines.first()
                    read = _objects if self._is_jsonl(first) else _table
                    yield from (self._beside(row) for row in read(lines, self.name))
                except _Broken as broken:
                    raise BadInput(f"{self.name} line {broken.line}", broken.rule, broken.fix) from None
        except OSError as error:
            raise BadFile(self.name, f"cannot be read ({reason(error)})", "give a CSV or JSONL file") from None
        except ValueError as error:
            if isinstance(error, BadInput):
                raise
            raise BadFile(shown(self.path), f"cannot be read ({error})", "give a CSV or JSONL file") from None

    def _opened(self) -> AbstractContextManager[BinaryIO]:
        return nullcontext(sys.stdin.buffer) if self.path == STDIN else open(self.path, "rb")

    def _is_jsonl(self, first: str) -> bool:
        ending = Path(self.path).suffix.lower()
        if ending in (".csv", ".tsv"):
            return False
        return self.path == STDIN or ending in (".jsonl", ".ndjson") or first.lstrip()[:1] in ("{", "[")

    def _beside(self, row: Row) -> Row:
        """A row whose file names are as good from here as from where the file lies."""
        folder = Path("" if self.path == STDIN else self.path).parent
        if isinstance(row.told, BadInput):
            return row
        files = {name: row.told[name] for name in _BESIDE if row.told.get(name)}
        return Row(row.line, row.told | {name: _in_folder(folder, value, name) for name, value in files.items()})


def _in_folder(folder: Path, told: Any, field: str) -> Any:
    """A file's name as it is from here, or several; of a control both, of an object those in it. What is none stays,
    and is refused later."""
    if isinstance(told, list):
        return [_in_folder(folder, one, field) for one in told]
    if isinstance(told, dict):
        return {key: _in_folder(folder, one, key) if key in _NAMING else one for key, one in told.items()}
    if not isinstance(told, str):
        return told
    names = [name.strip() for name in told.split("=", 1)] if field == "control" else [told]
    return "=".join(name and str(folder / name) for name in names)


class _Broken(ValueError):
    """What is wrong with the bytes of a row."""

    def __init__(self, line: int, rule: str, fix: str) -> None:
        super().__init__(line, rule, fix)
        self.line, self.rule, self.fix = line, rule, fix


class _Lines:
    """The lines of a file as text, counted; no more than MAX_ROW bytes between two calls of :meth:`begin`."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.number, self.room = file, 0, MAX_ROW
        self._kept: str | None = None

    def __iter__(self) -> _Lines:
        return self

    def begin(self) -> int:
        """A new row begins: its line."""
        self.room = MAX_ROW
        return self.number + 1

    def first(self) -> str:
        """The first line that is not blank, which stays to be read."""
        for text in self:
            if text.strip():
                self._kept = text
                self.number -= 1
                return text
        raise _Broken(1, "is the end: there are no rows", "write one request a line")

    def __next__(self) -> str:
        if self._kept is not None:
            self.number += 1
            kept, self._kept = self._kept, None
            return kept
        data = self.file.readline(self.room + 1)
        if not data:
            raise StopIteration
        self.number += 1
        self.room -= len(data)
        if self.room < 0:
            while data and not data.endswith(b"\n"):
                data = self.file.readline(MAX_ROW)
            raise _Broken(self.number, f"makes a row of more than {MAX_ROW:,} bytes", "shorten it")
        if self.number == 1:
            if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
                raise _Broken(1, "begins a file in UTF-16", "save it as UTF-8")
            data = data.removeprefix(b"\xef\xbb\xbf")
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _Broken(self.number, f"is no UTF-8 text (byte {error.start + 1})", "save it as UTF-8") from None


# --- JSONL -------------------------------------------------------------------------------------------------------


def _objects(lines: _Lines, file: str) -> Iterator[Row]:
    """A JSON object a line."""
    first = True
    while True:
        line = lines.begin()
        try:
            text = next(lines, None)
            if text is None:
                return
            if not text.strip():
                continue
            row = Row(line, _object(text, file if first else None))
        except _Broken as broken:
            row = Row(line, BadInput("the line", broken.rule, broken.fix))
        first = False
        yield row


def _object(text: str, file: str | None) -> dict[str, Any] | BadInput:
    """What an object tells. An unknown key of the first one is the fault of the ``file``; None: it is a later one."""
    fix = 'write one object a line, such as {"prompt": "a red fox", "seed": 7}'
    if text.lstrip().startswith("["):
        return BadInput("the line", "holds a JSON array", fix)
    try:
        pairs = json.loads(text, object_pairs_hook=_Pairs, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        said = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        return BadInput("the line", f"is not valid JSON ({said.lower()})", fix)
    if not isinstance(pairs, _Pairs):
        return BadInput("the line", "is not a JSON object", fix)
    told: dict[str, Any] = {}
    try:
        for name, value in pairs:
            plain = named(name, "key", names())
            if plain in told:
                raise BadInput(f"the key {shown(name)}", "stands twice in one row", "give each once")
            told[plain] = _built(plain, value)
    except BadInput as error:
        if file is not None:
            raise BadInput(f"{file}:", str(error)) from None
        return error
    return told


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as it stands, keys that stand twice too."""


def _built(name: str, value: Any, depth: int = DEEPEST) -> Any:
    """A value with its objects as mappings."""
    if not isinstance(value, list):
        return value
    if not depth:
        raise BadInput(f"the key {shown(name)}", "holds lists within lists", "give a plain value")
    if isinstance(value, _Pairs):
        return {key: _built(name, one, depth - 1) for key, one in value}
    return [_built(name, one, depth - 1) for one in value]


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


# --- CSV ---------------------------------------------------------------------------------------------------------


def _table(lines: _Lines, file: str) -> Iterator[Row]:
    """CSV: the first line names the columns; a blank cell says nothing."""
    lines.begin()
    head = next(lines)
    delimiter = max(_DELIMITERS, key=lambda sign: head.count(sign))
    try:
        columns = _columns(next(csv.reader(io.StringIO(head), delimiter=delimiter)), file)
    except csv.Error as error:
        raise BadInput(f"{file}: the first line", f"names no columns ({error})", "name a field in each") from None
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line = lines.begin()
        try:
            cells = next(rows, None)
            if cells is None:
                return
            if not any(cell.strip() for cell in cells):
                continue
            told: dict[str, Any] | BadInput = _cells(cells, columns)
        except _Broken as broken:
            told = BadInput("the row", broken.rule, broken.fix)
        except csv.Error as error:
            told = BadInput("the row", f"is not sound CSV ({error})", 'write a quote within a quoted cell twice: ""')
        yield Row(line, told)


def _columns(head: list[str], file: str) -> list[str]:
    """The fields that the columns are of; "" is a column without a name."""
    columns: list[str] = []
    seen: set[str] = set()
    known = names()
    for name in head:
        try:
            plain = named(name, "column", known) if name.strip() else ""
        except BadInput as error:
            raise BadInput(f"{file}:", f"{error}. Its first line names the columns") from None
        if plain and plain in seen:
            raise BadInput(f"{file}: the column {shown(name.strip())}", "stands there twice", "give each once")
        seen.add(plain)
        columns.append(plain)
    return columns


def _cells(cells: list[str], columns: list[str]) -> dict[str, Any] | BadInput:
    if any(cell.strip() for cell in cells[len(columns) :]):
        rule = f"has {len(cells)} cells for {len(columns)} columns"
        return BadInput("the row", rule, "put texts with commas in quotes")
    told: dict[str, Any] = {}
    for name, cell in zip(columns, cells, strict=False):
        if not cell.strip():
            continue
        if not name:
            return BadInput(f"the cell {shown(cell)}", "stands in a column without a name", "name the column")
        told[name] = cell.replace("\r\n", "\n") if name in TEXTS else cell.strip()
    return told
