"""Where a leg reads and writes, on which device, and with which other processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from darkroom.contracts.errors import BadInput, shown
from darkroom.data.ahead import Ahead
from darkroom.machine.threads import cores
from darkroom.training.distributed import ALONE, Group, joined
from darkroom.training.limits import within

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where a leg reads and writes: built data, run folder, device; and the processes that train it together."""

    data: Path
    out: Path
    device: torch.device
    workers: int = 0  # processes that compose scenes ahead; 0: this one composes them, on its device
    group: Group = ALONE

    def __post_init__(self) -> None:
        within("workers", self.workers, 0, 4 * cores())

    @property
    def composes_on(self) -> torch.device:
        """Where scenes are painted."""
        return self.device if self.workers == 0 else torch.device("cpu")

    def ahead(self, make: Callable[[int, int], T], join: Callable[[Sequence[T]], T], batch: int) -> Ahead[T] | None:
        """Other processes that make this one's share of each ``batch``; None where there are none."""
        if self.workers == 0:
            return None

        def after(first: int, count: int) -> int:
            return self.group.after(first, count, batch)

        return Ahead(make, join, self.workers, pinned=self.device.type == "cuda", after=after)


def device_named(name: str | None) -> torch.device:
    """The device to train on; None takes a GPU where there is one."""
    gpus = ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))] if torch.cuda.is_available() else []
    name = name or ("cuda" if gpus else "cpu")
    if name == "cuda" and not gpus:
        raise BadInput("device 'cuda'", "is not there: PyTorch finds no GPU", "give --device cpu")
    if name not in ("cpu", *gpus):
        raise BadInput(f"device {shown(name)}", f"is none of {', '.join(('cpu', *(gpus or ['cuda'])))}", "name one")
    return torch.device(name)


def place_named(data: Path, out: Path, device: str | None, workers: int | None = 0) -> Place:
    """A place; ``workers`` None is none beside a CPU, and all of its share of the cores but two beside a GPU.

    Where ``torchrun`` started this process, it is one of a group, and of the GPUs each process takes its own.
    """
    found = device_named(device)
    if found.type == "cuda" and found.index is None and (number := os.environ.get("LOCAL_RANK")) is not None:
        found = device_named(f"cuda:{number}")
        torch.cuda.set_device(found)
    if workers is None:
        each = cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # of the processes on this machine
        workers = max(0, each - 2) if found.type == "cuda" else 0
    return Place(data, out, found, workers, joined(found))
