"""Checkpoints that are all or nothing.

A checkpoint is written into a staged folder, every file's sha256 goes into a manifest that is written last, the folder
is synced and renamed. The loader takes the newest folder whose manifest verifies and names what it skipped. A folder
that is replaced stays readable under a set-aside name until the new one stands in its place.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from darkroom.contracts import faults
from darkroom.contracts.files import FULL

MANIFEST = "manifest.json"
STATE = "state.json"
_STAGED, _ASIDE = ".staged-", ".aside-"

Tensors = Mapping[str, Tensor]


class CheckpointError(ValueError):
    """No usable checkpoint, or one that cannot be written."""


class NoRoom(CheckpointError):
    """The disk is full."""


@dataclass(frozen=True)
class Checkpoint:
    """What was read back: named groups of tensors and the state's JSON."""

    path: Path
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


def name_of(step: int) -> str:
    """Folder name of a step's checkpoint; sorts by step."""
    return f"step-{step:09d}"


def write(folder: Path, step: int, tensors: Mapping[str, Tensors], state: Mapping[str, Any], keep: int = 2) -> Path:
    """Writes one checkpoint and prunes all but the newest ``keep``; all of it or none, with a CheckpointError.

    ``tensors`` maps file stems ("masters", "ema") to named tensors. Refuses non-finite tensors: what is not finite is
    never promoted to a checkpoint.
    """
    for stem, group in tensors.items():
        for name, tensor in group.items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise CheckpointError(f"{stem}/{name} holds non-finite values at step {step}; checkpoint not written")
    files = {
        f"{stem}.safetensors": save({k: v.contiguous() for k, v in group.items()}) for stem, group in tensors.items()
    }
    files[STATE] = json.dumps(state, indent=1, sort_keys=True).encode()
    digests = {name: sha256(data).hexdigest() for name, data in files.items()}
    files[MANIFEST] = json.dumps(
        digests, indent=1, sort_keys=True
    ).encode()  # last: without it the rest is not a checkpoint
    try:
        replace_folder(folder / name_of(step), files)
    except OSError as error:
        kind = NoRoom if error.errno in FULL else CheckpointError
        raise kind(
            f"cannot write the checkpoint of step {step} to {folder} ({error.strerror or error}); "
            "free some space and resume: the last checkpoint is intact"
        ) from error
    older = [name for name in _steps(folder) if _step_of(name) <= step]  # newer ones are damaged: they do not count
    for old in older[:-keep]:
        shutil.rmtree(folder / old, ignore_errors=True)
    return folder / name_of(step)


def replace_folder(final: Path, files: Mapping[str, bytes]) -> None:
    """Puts a folder of just these files, written in this order, in the place of ``final``: all of it or none.

    Raises OSError, with what stood there before still standing.
    """
    parent = final.parent
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent)
    staged, aside = parent / f"{_STAGED}{final.name}", parent / f"{_ASIDE}{final.name}"
    try:
        staged.mkdir()
        for name, data in files.items():
            _write_synced(staged / name, data)
        _sync_folder(staged)
        faults.at("checkpoint.rename")
        if final.exists():
            os.replace(final, aside)
            faults.at("checkpoint.aside")
        os.replace(staged, final)
        faults.at("checkpoint.placed")
        _sync_folder(parent)
    finally:
        _sweep(parent)


def newest(folder: Path, warn: Callable[[str], None] = lambda _: None) -> Checkpoint | None:
    """The newest checkpoint that verifies; damaged ones are named through ``warn``. None when the folder holds none.

    Raises CheckpointError when there are checkpoints but every one is damaged.
    """
    steps = _steps(folder)
    for step in reversed(steps):
        try:
            return read(folder / step)
        except CheckpointError as error:
            warn(f"{error}; trying the one before")
    if steps:
        raise CheckpointError(f"every checkpoint in {folder} is damaged; start again in another folder")
    return None


def read(path: Path) -> Checkpoint:
    """Reads and verifies one checkpoint; the error names the damaged file."""
    try:
        digests = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path / MANIFEST} is missing or damaged") from error
    if not isinstance(digests, dict) or STATE not in digests:
        raise CheckpointError(f"{path / MANIFEST} is damaged: it does not list {STATE}")
    tensors: dict[str, dict[str, Tensor]] = {}
    state: dict[str, Any] = {}
    for name, digest in digests.items():
        file = path / name
        try:
            data = file.read_bytes()
        except OSError as error:
            raise CheckpointError(f"{file} is missing") from error
        if sha256(data).hexdigest() != digest:
            raise CheckpointError(f"{file} is damaged: its sha256 is not the manifest's")
        if name == STATE:
            state = json.loads(data)
            continue
        try:
            tensors[file.stem] = load(data)
        except SafetensorError as error:
            raise CheckpointError(f"{file} is damaged: {error}") from error
    return Checkpoint(path, tensors, state)


def _steps(folder: Path) -> list[str]:
    """Names of the folders that may hold a checkpoint, oldest first; one set aside comes before its successor."""
    found = [p.name for mark in ("", _ASIDE) for p in folder.glob(f"{mark}step-{'[0-9]' * 9}") if p.is_dir()]
    return sorted(found, key=lambda name: (name.removeprefix(_ASIDE), not name.startswith(_ASIDE)))


def _step_of(name: str) -> int:
    return int(name.removeprefix(_ASIDE).removeprefix("step-"))


def _sweep(folder: Path) -> None:
    """Removes what an interrupted write left behind, and puts back what it had set aside."""
    for left in folder.glob(f"{_STAGED}*"):
        shutil.rmtree(left, ignore_errors=True)
    for aside in folder.glob(f"{_ASIDE}*"):
        final = folder / aside.name.removeprefix(_ASIDE)
        if final.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            os.replace(aside, final)


def _write_synced(path: Path, data: bytes) -> None:
    faults.at("checkpoint.file")
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
