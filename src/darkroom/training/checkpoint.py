"""Checkpoints that are all or nothing.

A checkpoint is written into a staged folder, every file's sha256 goes into a manifest that is written last, the folder
is synced and renamed. The loader takes the newest folder whose manifest verifies and names what it skipped.
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
from safetensors.torch import load_file, save
from torch import Tensor

MANIFEST = "manifest.json"
_STAGED = ".staged-"

Tensors = Mapping[str, Tensor]


class CheckpointError(ValueError):
    """No usable checkpoint, or one that cannot be written."""


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
    """Writes one checkpoint and prunes all but the newest ``keep``; raises CheckpointError and leaves nothing half-done.

    ``tensors`` maps file stems ("masters", "ema") to named tensors. Refuses non-finite tensors: what is not finite is
    never promoted to a checkpoint.
    """
    for stem, group in tensors.items():
        for name, tensor in group.items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise CheckpointError(f"{stem}/{name} holds non-finite values at step {step}; checkpoint not written")
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / name_of(step)
    staged = folder / f"{_STAGED}{name_of(step)}"
    _sweep(folder)
    try:
        staged.mkdir()
        files = {f"{stem}.safetensors": save({k: v.contiguous() for k, v in group.items()}) for stem, group in tensors.items()}
        files["state.json"] = json.dumps(state, indent=1, sort_keys=True).encode()
        for name, data in files.items():
            _write_synced(staged / name, data)
        digests = {name: sha256(data).hexdigest() for name, data in files.items()}
        _write_synced(staged / MANIFEST, json.dumps(digests, indent=1, sort_keys=True).encode())
        _sync_folder(staged)
        if final.exists():
            shutil.rmtree(final)
        os.replace(staged, final)
        _sync_folder(folder)
    except OSError as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise CheckpointError(
            f"cannot write the checkpoint of step {step} to {folder} ({error.strerror or error}); "
            "free some space and resume: the last checkpoint is intact"
        ) from error
    for old in _steps(folder)[:-keep]:
        shutil.rmtree(folder / old, ignore_errors=True)
    return final


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
        digests: dict[str, str] = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path / MANIFEST} is missing or damaged") from error
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
        if name == "state.json":
            state = json.loads(data)
            continue
        try:
            tensors[file.stem] = load_file(file)
        except SafetensorError as error:
            raise CheckpointError(f"{file} is damaged: {error}") from error
    return Checkpoint(path, tensors, state)


def _steps(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.glob("step-*") if p.is_dir())


def _sweep(folder: Path) -> None:
    """Removes what an interrupted write left behind."""
    for left in folder.glob(f"{_STAGED}*"):
        shutil.rmtree(left, ignore_errors=True)


def _write_synced(path: Path, data: bytes) -> None:
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
