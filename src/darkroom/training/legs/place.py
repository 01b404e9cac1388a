"""Where a leg reads and writes, and on which device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from darkroom.contracts.errors import BadInput, shown
from darkroom.threads import cores
from darkroom.training.limits import within


@dataclass(frozen=True)
class Place:
    """Where a leg reads and writes: built data, run folder, device."""

    data: Path
    out: Path
    device: torch.device
    workers: int = 0  # processes that compose scenes ahead; 0: this one composes them, on its device

    def __post_init__(self) -> None:
        within("workers", self.workers, 0, 4 * cores())

    @property
    def composes_on(self) -> torch.device:
        """Where scenes are painted."""
        return self.device if self.workers == 0 else torch.device("cpu")


def device_named(name: str | None) -> torch.device:
    """The device to train on; None takes a GPU where there is one."""
    gpus = ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))] if torch.cuda.is_available() else []
    name = name or ("cuda" if gpus else "cpu")
    if name == "cuda" and not gpus:
        raise BadInput("device 'cuda'", "is not there: PyTorch finds no GPU", "give --device cpu")
    if name not in ("cpu", *gpus):
        raise BadInput(f"device {shown(name)}", f"is none of {', '.join(('cpu', *(gpus or ['cuda'])))}", "name one")
    return torch.device(name)


def place_named(data: Path, out: Path, device: str | None, workers: int | None) -> Place:
    """A place; ``workers`` None is none beside a CPU, and all cores but two beside a GPU."""
    found = device_named(device)
    if workers is None:
        workers = max(0, cores() - 2) if found.type == "cuda" else 0
    return Place(data, out, found, workers)
