"""The journal of a folder of batches: what is drawn already, so that a batch goes on where it was stopped.

``journal.jsonl`` begins with a line of its own, which holds the number that seeds nobody gave are made of. Each picture
adds a line once it is saved: its key, its file, its seed. A line is synced before the next picture is begun, so that
a kill at any moment costs no more than the pictures that were being drawn.
"""

from __future__ import annotations

import json
import os
import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from darkroom.contracts.errors import BadInput, CannotWrite, reason
from darkroom.contracts.files import append, publish
from darkroom.contracts.recipe import Recipe
from darkroom.contracts.request import CHOSEN_SEEDS, Request

NAME = "journal.jsonl"
MAGIC = "darkroom batch journal"
_NO_PART = {"environment", "darkroom", "schema_version", "verdict"}  # of a picture's key: where and when it was drawn


class Journal:
    """The journal of a folder. ``seed`` is what seeds nobody gave are made of; ``drawn`` holds files by their keys."""

    def __init__(self, path: Path, seed: int, drawn: dict[str, Path]) -> None:
        self.path, self.seed, self.drawn = path, seed, drawn

    def add(self, key: str, picture: Path, seed: int) -> None:
        """Notes a picture that is saved. Raises CannotWrite, and notes nothing."""
        line = json.dumps({"key": key, "picture": picture.name, "seed": seed})
        append(line.encode() + b"\n", self.path)
        self.drawn[key] = picture


@contextmanager
def opened(folder: Path, *, dry: bool = False) -> Iterator[Journal]:
    """The journal of a folder, begun where there is none, and held: no other process draws into it meanwhile.

    ``dry`` begins and holds none. Raises BadInput for a file of that name that is no journal, or one that is held.
    """
    path = folder / NAME
    seed = secrets.randbelow(2**63)
    if not os.path.lexists(path):
        if dry:
            yield Journal(path, seed, {})
            return
        with suppress(FileExistsError):  # another process was quicker
            publish(json.dumps({"what": MAGIC, "seed": seed}).encode() + b"\n", path, replace=False)
    try:
        file = open(path, "rb" if dry else "r+b")  # noqa: SIM115 (closed below: faults in there are others)
    except OSError as error:
        raise CannotWrite(f"{path}", f"cannot be opened ({reason(error)})", "choose another --out") from error
    with file:
        if not dry and not _held(file.fileno()):
            raise BadInput(f"{folder}", "is drawn into by another batch", "wait for it, or choose another --out")
        lines = file.read().split(b"\n")
        head = _line(lines[0])
        number = head.get("seed")
        if head.get("what") != MAGIC or not isinstance(number, int):
            raise BadInput(f"{path}", "is no journal of a batch", "choose another --out")
        if not dry and lines[-1]:  # a kill cut the last line off
            file.truncate(file.tell() - len(lines[-1]))
        yield Journal(path, number, dict(_drawn(folder, lines[1:-1])))


def _drawn(folder: Path, lines: list[bytes]) -> Iterator[tuple[str, Path]]:
    """Keys and files of the lines that can be read, whose files are still there."""
    for line in lines:
        told = _line(line)
        key, name = told.get("key"), told.get("picture")
        if isinstance(key, str) and isinstance(name, str) and (folder / name).is_file():
            yield key, folder / name


def _line(line: bytes) -> dict[str, object]:
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _held(file: int) -> bool:
    """Takes the file for this process alone, until it is closed; False: another has it."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems have no locks
        return True
    return True


class Keys:
    """Seeds and keys of a batch's pictures, in their order: the same file gives the same ones again.

    A key tells all that decides a picture, and the how manieth it is of its like. A seed nobody gave follows from the
    journal's number and what was asked for, so that other rows may come and go.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._asked: Counter[str] = Counter()
        self._keys: Counter[str] = Counter()

    def seed(self, asked: str) -> int:
        """The seed of something asked for without one."""
        self._asked[digest(asked)] += 1
        return int(digest(f"{self._seed}/{asked}/{self._asked[digest(asked)]}")[:16], 16) % CHOSEN_SEEDS

    def key(self, request: Request, recipe: Recipe) -> str:
        """The key of a picture."""
        fields = json.loads(recipe.to_json()).items()  # without those not asked for: later versions know more of them
        told = {name: value for name, value in fields if name not in _NO_PART and value is not None}
        judged = {"verify": request.verify, "best_of": request.best_of, "retry": request.retry}
        key = digest(json.dumps([told, judged], sort_keys=True))
        self._keys[key] += 1
        return key if self._keys[key] == 1 else f"{key}/{self._keys[key]}"


def digest(text: str) -> str:
    """SHA-256 of a text, in hexadecimal."""
    return sha256(text.encode()).hexdigest()
