"""How a file appears: whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

from darkroom.contracts import faults
from darkroom.contracts.errors import CannotWrite, NoSpace

PART_PREFIX, PART_SUFFIX = ".darkroom-", ".part"
FULL = {errno.ENOSPC, errno.EDQUOT}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}


def publish(data: bytes, path: str | Path, *, replace: bool = True) -> Path:
    """Put ``data`` under ``path``: written to a temporary file beside it, synced, then renamed.

    With ``replace=False`` a file already there is kept and FileExistsError raised, also when another process got
    there first. Any other fault leaves no file behind and is one :class:`CannotWrite`.
    """
    path = Path(path)
    part = path.parent / f"{PART_PREFIX}{secrets.token_hex(8)}{PART_SUFFIX}"
    try:
        faults.at("publish")
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_synced(part, data)
        placed = _place(part, path) if replace else _place_new(part, path)
        sync_folder(path.parent)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _said(error, path) from error
    finally:
        with suppress(OSError, ValueError):
            part.unlink(missing_ok=True)
    if not placed:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    return path


def file_sha256(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal, however large it is."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def append(line: bytes, path: str | Path) -> None:
    """Add a line to the end of a file, synced. Of one that cannot be written whole nothing is left, and CannotWrite is
    raised; what a kill leaves is a last line without its end."""
    path = Path(path)
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0))
        try:
            before = os.fstat(file).st_size
            try:
                rest = memoryview(line)
                while rest:
                    rest = rest[os.write(file, rest) :]
                os.fsync(file)
            except OSError:
                os.ftruncate(file, before)
                raise
        finally:
            os.close(file)
    except OSError as error:
        raise _said(error, path) from error


def check_folder(folder: str | Path) -> None:
    """Refuses a folder that files cannot be put into, before there are any; makes none. Raises CannotWrite."""
    folder = Path(folder)
    fix = "choose another folder"
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not there.is_dir():
            raise CannotWrite(f"{there}", "is a file, and pictures need a folder", fix)
        if not os.access(there, os.W_OK | os.X_OK):
            raise CannotWrite(f"{there}", "cannot be written into", fix)
    except (OSError, ValueError) as error:  # too long a name; a NUL in it
        raise _said(error, folder) from error


def sweep(folder: str | Path, *, older_than_s: float = 3600.0) -> list[Path]:
    """Remove temporary files a killed process left; young ones may belong to a living process and stay."""
    swept = []
    for part in sorted(Path(folder).glob(f"{PART_PREFIX}*{PART_SUFFIX}")):
        with suppress(FileNotFoundError):  # its owner was quicker
            if time.time() - part.stat().st_mtime >= older_than_s:
                part.unlink()
                swept.append(part)
    return swept


def _write_synced(part: Path, data: bytes) -> None:
    file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
    finally:
        os.close(file)


def _place(part: Path, path: Path) -> bool:
    os.replace(part, path)
    return True


def _place_new(part: Path, path: Path) -> bool:
    """Give the file its name if the name is free, in one step where the file system has hard links."""
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return not os.path.lexists(path) and _place(part, path)
    return True


def sync_folder(folder: Path) -> None:
    """A rename is on the disk only when its folder is."""
    if os.name == "nt":
        return  # folders cannot be opened there
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # some network file systems have no folder sync
            raise
    finally:
        os.close(file)


def _said(error: OSError | ValueError, path: Path) -> CannotWrite:
    number = error.errno if isinstance(error, OSError) else None
    name = str(path).replace("\0", "?")
    if number in FULL:
        return NoSpace(name, "could not be written because the disk is full", "free some space and try again")
    if number == errno.EIO:
        return CannotWrite(name, "could not be written because the disk failed", "check the disk and try again")
    reason = os.strerror(number).lower() if number else str(error)
    return CannotWrite(name, f"could not be written ({reason})", "choose another folder or name")
