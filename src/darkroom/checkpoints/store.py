"""The model store, a folder of model folders: how one more of them appears, whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from darkroom.cards import EMBEDDED, known_models, store
from darkroom.contracts.errors import BadInput, CannotWrite, NoSpace, reason, shown
from darkroom.contracts.files import FULL, PART_PREFIX, PART_SUFFIX, sync_folder

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
READ = 1 << 22  # bytes hashed in one go
OLD_S = 86_400.0  # after which nobody is still filling a folder


def check_name(name: str) -> str:
    """The name of a model to be taken in. Raises BadInput for one that is taken, or could be a path."""
    if not _NAME.fullmatch(name) or name.endswith((PART_SUFFIX, ".")):
        rule = "is not letters, digits, dots, dashes and underscores, at most 64, with a letter or digit first"
        raise BadInput(f"the model's name {shown(name)}", rule, "give one with --name")
    if name in known_models() or name == "default" or (store() / name).exists():
        fix = f"give another with --name, or remove that one first: darkroom models remove {name}"
        raise BadInput(f"the model's name {shown(name)}", "is taken", fix)
    return name


def name_of(path: Path) -> str:
    """A name for what lies under a path: its own, in letters that a name may have."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.resolve().stem if path.is_file() else path.resolve().name)
    return name.strip("-._")[:64] or "imported"


@contextmanager
def staged(name: str) -> Iterator[Path]:
    """A new folder beside the store's others, which gets its name when the block ends well and goes when it does not.

    Raises CannotWrite where it cannot be made, filled or named.
    """
    fix = "choose another store (DARKROOM_MODELS), and import it again"
    with appearing(store() / name, fix) as part:
        yield part
        check_name(name)  # nobody was quicker


@contextmanager
def appearing(folder: Path, fix: str) -> Iterator[Path]:
    """A folder that becomes ``folder``, which may be there if it is empty, when the block ends well, and goes when it
    does not. Raises CannotWrite where it cannot be made, filled or named; ``fix`` says what to do about it."""
    root = folder.parent
    part = root / f"{PART_PREFIX}{secrets.token_hex(8)}{PART_SUFFIX}"
    try:
        for left in root.glob(f"{PART_PREFIX}*{PART_SUFFIX}"):  # by a process that was killed
            if left.is_dir() and time.time() - left.stat().st_mtime > OLD_S:
                shutil.rmtree(left, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        if folder.is_dir():
            folder.rmdir()  # fails where it is not empty
        os.rename(part, folder)
        sync_folder(root)
    except OSError as error:
        if error.errno in FULL:
            rule = "could not be written because the disk is full"
            raise NoSpace(f"{folder}", rule, "free some space and try again") from error
        raise CannotWrite(f"{folder}", f"could not be written ({reason(error)})", fix) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def place(source: Path, target: Path, *, copy: bool) -> bool:
    """Puts a file into the store: a second name for it where that can be and ``copy`` is not asked for, else a copy.

    Links are followed to the file itself. Returns whether it is a copy.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    source = source.resolve()
    if not copy:
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in {errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EACCES}:
                raise
        else:
            return False
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    return True


def digest(path: Path) -> str:
    """The sha256 of a file of any size."""
    made = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ):
            made.update(block)
    return made.hexdigest()


def remove(name: str) -> Path:
    """Takes a model out of the store, and returns where it was. Raises BadInput for one that is not in it."""
    folder = store() / name
    if not _NAME.fullmatch(name) or name not in known_models() or known_models()[name] != folder:
        if name in known_models() and known_models()[name] == EMBEDDED:
            raise BadInput(f"the model {shown(name)}", "is part of the package", "leave it there")
        raise BadInput(f"the model {shown(name)}", f"is not in the store {store()}", "see `darkroom models list`")
    gone = folder.with_name(f"{PART_PREFIX}{secrets.token_hex(8)}{PART_SUFFIX}")
    try:
        os.rename(folder, gone)  # all of it at once, whatever happens next
        shutil.rmtree(gone)
    except OSError as error:
        raise CannotWrite(f"{folder}", f"could not be removed ({reason(error)})", "remove it by hand") from error
    return folder
