"""A user's folder of pictures and captions, read into one kind of row.

Three layouts; the first that is there decides where captions come from:

- ``metadata.jsonl`` or ``metadata.csv``, in the folder or further down: ``file_name`` (relative to that file) and
  ``text`` (or ``caption``), optionally ``licence``, ``attribution``, ``source``, ``style``. A picture without ``text``
  may have a ``name.txt``, so that a table can add licences to a folder of the next kind;
- ``name.txt`` beside ``name.jpg``; one without a picture is named as missing it;
- class folders: the caption is the name of the picture's folder, underscores read as spaces.

Nothing outside the folder is ever opened: file names from metadata are only looked up among the files found by
walking it, and links that lead out are refused. What is left out is named in ``FolderListing.problems``.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal

from darkroom.contracts.errors import BadInput, shown
from darkroom.contracts.ledger import LedgerRow
from darkroom.contracts.prompt import MAX_TEXT
from darkroom.data.filter import Kind, Problem, printable

Layout = Literal["metadata", "sidecar", "classes", "none"]
"""Where the captions of a folder come from; none: there are none."""

Progress = Callable[[str, int, int], None]
"""Called with a stage word ("list", "check"), the pictures done and the pictures in all."""

PICTURES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"})  # what picture/read.py opens
METADATA = frozenset({"metadata.jsonl", "metadata.csv"})
FOREIGN: dict[str, str] = {
    **dict.fromkeys((".tif", ".tiff", ".avif", ".heic", ".heif", ".jxl", ".psd", ".svg"), "save as PNG"),
    **dict.fromkeys((".tar", ".zip"), "unpack it here"),
    ".parquet": "export it as metadata.jsonl with file_name and text",
}
"""Files that hold pictures or captions but are not read here, and what to do with each."""

UNKNOWN = "unknown"  # the licence of a picture that names none
NAME_CHARACTERS = 200  # of ids and names in the ledger
PATH_CHARACTERS = 1000  # of paths in the ledger
METADATA_BYTES = 256 << 20  # 100,000 rows take about 30 MB
LINE_BYTES = 1 << 20
NO_CAPTIONS = frozenset({"readme", "licence", "license", "notice", "attribution"})  # text files about a folder
SKIPPED_FOLDERS = frozenset({"__MACOSX"})  # shadows that macOS adds to archives, under the pictures' own names

_LIMITS = {"text": MAX_TEXT, "licence": NAME_CHARACTERS, "attribution": 4000, "source": NAME_CHARACTERS, "style": 200}
_ALSO = {"licence": "license", "text": "caption"}  # other names of columns
_SPACES = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], " ")  # control characters mean nothing in a caption


@dataclass(frozen=True, slots=True)
class Example:
    """One picture with its words, whatever the folder's layout."""

    id: str  # the path within the folder, "/" between its parts
    path: Path
    caption: str  # one line; "" where there is none
    licence: str  # "unknown" where none is named
    attribution: str
    source: str  # the folder's name where the metadata name none
    style: str | None  # None: not named
    sha256: str  # of the file's bytes


@dataclass(frozen=True, slots=True)
class FolderListing:
    """What a folder holds, sorted by id, and what was left out of it or is not known."""

    examples: tuple[Example, ...]
    problems: tuple[Problem, ...]
    layout: Layout


@dataclass(frozen=True, slots=True)
class _Words:
    """What a folder says about one picture."""

    caption: str = ""
    licence: str = UNKNOWN
    attribution: str = ""
    source: str = ""
    style: str | None = None


class _Refused(Exception):
    """A row or a caption file that cannot be used: the parts of a problem that still lacks its path."""

    def __init__(self, kind: Kind, detail: str, fix: str) -> None:
        super().__init__(kind, detail, fix)
        self.kind, self.detail, self.fix = kind, detail, fix

    def at(self, path: str, line: int | None = None) -> Problem:
        where = "" if line is None else f"line {line}: "
        return Problem(self.kind, path, where + self.detail, self.fix)


def read_folder(folder: str | Path, progress: Progress | None = None) -> FolderListing:
    """Every picture of a folder, sorted by id. Raises BadInput only when there is no such folder."""
    root = _root(Path(folder))
    files, problems = _walk(root)
    tables = [name for name in files if PurePosixPath(name).name in METADATA]
    pictures = [name for name in files if _suffix(name) in PICTURES]
    texts = {name[: -len(".txt")]: name for name in files if _suffix(name) == ".txt"}
    sidecars = {name: texts[stem] for name in pictures if (stem := name[: -len(_suffix(name))]) in texts}
    layout = _layout(tables, sidecars, pictures)
    if layout == "sidecar":
        problems += _strays(texts, {*files, *(problem.path for problem in problems)})
    rows, refused = _listed(root, tables, set(files))
    problems += refused
    examples = []
    for done, name in enumerate(pictures, start=1):
        try:
            words = _words(root, name, rows.get(name, _Words()), sidecars.get(name), layout)
        except _Refused as refusal:
            problems.append(refusal.at(sidecars.get(name, name)))
            continue
        try:
            examples.append(_example(root, name, words))
        except OSError as error:
            problems.append(Problem("unreadable", name, error.strerror or str(error), "make it readable"))
        if progress:
            progress("list", done, len(pictures))
    for example in examples:
        if example.licence == UNKNOWN:
            fix = "name it in the licence column of metadata.jsonl or metadata.csv"
            problems.append(Problem("licence", example.id, "no licence is named", fix))
    if not pictures:
        fix = f"give a folder with {', '.join(sorted(PICTURES))} files"
        problems.append(Problem("empty", ".", "no picture found", fix))
    return FolderListing(tuple(examples), tuple(problems), layout)


def ledger_of(examples: Iterable[Example]) -> list[LedgerRow]:
    """The ledger of these pictures, in their order. An id too long for a ledger ends in the picture's sha256."""
    rows = []
    for example in examples:
        fits = len(example.id) <= NAME_CHARACTERS
        name = example.caption or PurePosixPath(example.id).stem
        row = LedgerRow(
            id=example.id if fits else f"{example.id[: NAME_CHARACTERS - 65]}~{example.sha256}",
            name=name if len(name) <= NAME_CHARACTERS else name[: NAME_CHARACTERS - 1] + "…",
            source=example.source,
            style=example.style or "",
            licence=example.licence,
            attribution=example.attribution,
            upstream_path=example.id,
            sha256=example.sha256,
        )
        rows.append(row)
    return rows


def _root(folder: Path) -> Path:
    if folder.is_dir():
        return folder.resolve()
    rule = "is not a folder" if folder.exists() else "does not exist"
    raise BadInput(f"folder {shown(str(folder))}", rule, "give a folder of pictures")


def _layout(tables: list[str], sidecars: Mapping[str, str], pictures: list[str]) -> Layout:
    if tables:
        return "metadata"
    if sidecars:
        return "sidecar"
    return "classes" if any("/" in name for name in pictures) else "none"


def _strays(texts: Mapping[str, str], names: set[str]) -> list[Problem]:
    """A problem for each caption file that lies beside nothing of its name; ``texts`` are their names by stem."""
    others = {name[: -len(_suffix(name))] for name in names if _suffix(name) not in ("", ".txt")}
    fix = "add the picture or delete the caption"
    return [
        Problem("missing", name, "is a caption without a picture of its name", fix)
        for stem, name in texts.items()
        if stem not in others and PurePosixPath(stem).name.lower() not in NO_CAPTIONS
    ]


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


# The walk: what is there


def _walk(root: Path) -> tuple[list[str], list[Problem]]:
    """Relative names of the ordinary files of a folder, sorted; hidden ones are passed over."""
    files: list[str] = []
    problems: list[Problem] = []
    folders = [""]  # a list and no recursion: a folder may be thousands deep
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(root / folder) as found:
                entries = [e for e in found if not e.name.startswith(".") and e.name not in SKIPPED_FOLDERS]
        except OSError as error:
            problems.append(Problem("unreadable", folder or ".", error.strerror or str(error), "make it readable"))
            continue
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if problem := _entry_problem(root, name, entry):
                problems.append(problem)
            elif entry.is_dir(follow_symlinks=False):
                folders.append(name)
            elif entry.is_file():
                files.append(name)
    return sorted(files), sorted(problems, key=lambda problem: problem.path)


def _entry_problem(root: Path, name: str, entry: os.DirEntry[str]) -> Problem | None:
    """Why an entry of a folder is not used; None for ordinary files and folders, and for links between them."""
    if printable(name) != name:
        return Problem("unreadable", printable(name), "its name holds control or undecodable characters", "rename it")
    if len(name) > PATH_CHARACTERS:
        return Problem("unreadable", name, f"its path is longer than {PATH_CHARACTERS} characters", "move it up")
    if entry.is_symlink():
        real = Path(os.path.realpath(entry.path))
        if not real.is_relative_to(root):
            return Problem("outside", name, "is a link out of the folder", "copy what it points to into the folder")
        if not real.exists():
            return Problem("missing", name, "is a link to nothing", "delete it")
        if real.is_dir():
            return None  # what it holds is found where it lies
    if not entry.is_dir(follow_symlinks=False) and not entry.is_file():
        return Problem("unreadable", name, "is not an ordinary file", "remove it")
    if (fix := FOREIGN.get(_suffix(name))) and entry.is_file():
        return Problem("format", name, f"{_suffix(name)} files are not read", fix)
    return None


def _example(root: Path, name: str, words: _Words) -> Example:
    path = root / name
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    source = words.source or printable(root.name)[:NAME_CHARACTERS] or "folder"
    return Example(name, path, words.caption, words.licence, words.attribution, source, words.style, digest)


# The words: captions and licences


def _words(root: Path, name: str, row: _Words, sidecar: str | None, layout: Layout) -> _Words:
    """What is said about a picture. Raises _Refused when its caption file cannot be used."""
    if row.caption:
        return row
    if sidecar:
        return replace(row, caption=_text_file(root / sidecar))
    if layout == "classes":
        return replace(row, caption=" ".join(PurePosixPath(name).parent.name.replace("_", " ").split()))
    return row


def _text_file(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(4 * MAX_TEXT + 1)  # UTF-8 takes four bytes a character at most
    except OSError as error:
        raise _Refused("unreadable", error.strerror or str(error), "make it readable") from None
    if len(data) > 4 * MAX_TEXT:
        raise _too_long("text")
    try:
        return _clean("text", data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise _Refused("metadata", "is not UTF-8 text", "save it as UTF-8") from None


def _clean(field: str, text: str) -> str:
    """Text on one line, within the limit of its field."""
    text = " ".join(text.translate(_SPACES).split())
    if len(text) > _LIMITS[field]:
        raise _too_long(field)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _Refused("metadata", f"{field} is not UTF-8 text", "save the file as UTF-8") from None
    return text


def _too_long(field: str) -> _Refused:
    return _Refused("metadata", f"{field} is longer than {_LIMITS[field]} characters", "shorten it")


def _listed(root: Path, tables: list[str], files: set[str]) -> tuple[dict[str, _Words], list[Problem]]:
    """What the metadata files say about each picture, and their rows that cannot be used."""
    rows: dict[str, _Words] = {}
    problems = []
    for table in tables:
        read = _json_rows if table.endswith(".jsonl") else _csv_rows
        try:
            if (root / table).stat().st_size > METADATA_BYTES:
                raise _Refused("metadata", f"is larger than {METADATA_BYTES >> 20} MiB", "split it over subfolders")
            for line, row in read(root / table):
                try:
                    if isinstance(row, _Refused):
                        raise row
                    name, words = _target(table, row.get("file_name"), files), _row(row)
                    if name in rows:
                        raise _Refused("metadata", f"{shown(name)} is listed again; the first row counts", "remove one")
                    rows[name] = words
                except _Refused as refusal:
                    problems.append(refusal.at(table, line))
        except _Refused as refusal:
            problems.append(refusal.at(table))
        except OSError as error:
            problems.append(Problem("unreadable", table, error.strerror or str(error), "make it readable"))
    return rows, problems


def _target(table: str, name: object, files: set[str]) -> str:
    """The picture a row is about; only files that the walk found can be it."""
    if not isinstance(name, str) or not name:
        raise _Refused("metadata", f"file_name is {shown(name)}", "give the picture's path beside this file")
    target = str(PurePosixPath(table).parent / name)
    if target in files:
        if _suffix(target) not in PICTURES:
            raise _Refused("format", f"{shown(name)} is not a picture", f"name one of {', '.join(sorted(PICTURES))}")
        return target
    path = PureWindowsPath(name)  # knows both kinds of slash, and drives
    if path.anchor or ".." in path.parts:
        fix = "copy the picture into the folder and name it from there"
        raise _Refused("outside", f"file_name {shown(name)} leads out of the folder", fix)
    fix = 'correct the name ("/" between folders, upper and lower case as in the folder) or add the picture'
    raise _Refused("missing", f"file_name {shown(name)} is not in the folder", fix)


def _row(row: Mapping[str, object]) -> _Words:
    values = {}
    for field in _LIMITS:
        value = row.get(field)
        if value is None and field in _ALSO:
            value = row.get(_ALSO[field])
        if not isinstance(value, (str, type(None))):
            raise _Refused("metadata", f"{field} is {shown(value)}, not text", "put it in quotes")
        values[field] = _clean(field, value or "")
    licence = values["licence"]
    if not licence or licence.lower() == UNKNOWN:
        licence = UNKNOWN
    return _Words(values["text"], licence, values["attribution"], values["source"], values["style"] or None)


def _json_rows(path: Path) -> Iterator[tuple[int, Mapping[str, object] | _Refused]]:
    """Line numbers and rows of JSON lines; a line that cannot be read is refused, the rest goes on."""
    with open(path, "rb") as lines:
        number = 0
        while line := lines.readline(LINE_BYTES + 1):
            number += 1
            if len(line) > LINE_BYTES:
                yield number, _Refused("metadata", f"longer than {LINE_BYTES} bytes; the rest is not read", "cut it")
                return
            try:
                text = line.decode("utf-8-sig")
                row = json.loads(text) if text.strip() else None
            except (ValueError, RecursionError) as error:
                detail = f"is not JSON ({type(error).__name__})"
                yield number, _Refused("metadata", detail, 'write {"file_name": "a.jpg", "text": "a red fox"}')
                continue
            if isinstance(row, dict):
                yield number, row
            elif text.strip():
                yield number, _Refused("metadata", "is not an object", 'write {"file_name": "a.jpg", "text": "…"}')


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, object] | _Refused]]:
    """Line numbers and rows of a table; UTF-8 with or without BOM, any line ends, quotes as in RFC 4180."""
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, strict=True)
        header: list[str] | None = None
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield reader.line_num, _Refused("metadata", str(error), 'write a " inside quotes twice')
                continue
            if not cells:
                continue  # an empty line
            if header is None:
                header = [cell.strip() for cell in cells]
                if "file_name" not in header:
                    detail = f"the first line is {shown(','.join(header))}, without file_name"
                    yield 1, _Refused("metadata", detail, "begin with file_name,text and save as UTF-8 with commas")
                    return
            elif len(cells) == len(header):
                yield reader.line_num, dict(zip(header, cells, strict=True))
            else:
                detail = f"has {len(cells)} columns, the first line {len(header)}"
                yield reader.line_num, _Refused("metadata", detail, "put captions that hold commas in quotes")
