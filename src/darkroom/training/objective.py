"""What the loop and the hand-over know of what is trained: the surface of an objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Metrics = Mapping[str, Tensor]  # name -> (sum, count): averaged over the log interval


@dataclass(frozen=True)
class Parts:
    """What of an objective is handed over."""

    weights: Mapping[str, str]  # name of a file -> prefix of the weights that go into it
    networks: Mapping[str, Any]  # name -> its config
    texts: Mapping[str, str] = field(default_factory=dict)  # further files


class Objective(ABC):
    """What is trained and how: one per family, in ``training/objectives``."""

    name: str
    module: nn.Module  # every parameter of it is trained

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Resolved configuration, saved beside every checkpoint; a changed one is refused on resume."""

    def defaults(self) -> dict[str, Any]:
        """Defaults of :meth:`config` as ``defaults_of`` gives them, for runs from before a setting existed."""
        return {}

    @abstractmethod
    def loss(self, first: int, count: int, generator: torch.Generator) -> tuple[Tensor, Metrics]:
        """Loss over samples first .. first + count - 1; every draw comes from the CPU ``generator`` or the index.

        It should be a mean over samples: then a batch cut into micro-batches has the loss of the whole. Where it is one
        of the batch (pairs told apart, shares of energy), micro-batches have a slightly different one.
        """

    @abstractmethod
    def parts(self) -> Parts:
        """What is handed over."""

    def preview(self, path: Path) -> None:
        """Writes a sheet of what the module can do now (its averaged weights are in place), if there is one to see."""
        return

    def over(self) -> str | None:
        """Why the leg ends here though samples are left; None: it goes on. Asked before every step."""
        return None

    def finish(self) -> Mapping[str, Tensor]:
        """Buffers measured once at the end (latent statistics); called with the averaged weights in place."""
        return {}

    def close(self) -> None:
        """Ends what runs beside it."""
        return
