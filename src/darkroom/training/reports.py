"""When a running leg is due to report, and what it tells."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field

import torch
from torch import Tensor

from darkroom.training.distributed import ALONE, Group
from darkroom.training.objective import Metrics


@dataclass
class Clock:
    """When something last happened, in seconds."""

    every: float
    last: float = field(default_factory=time.monotonic)

    def share(self) -> float:
        """Share of the time that is over."""
        return (time.monotonic() - self.last) / self.every if self.every else 1.0

    def left(self) -> float:
        """Seconds until it is due again."""
        return self.last + self.every - time.monotonic()

    def due(self) -> bool:
        if time.monotonic() - self.last < self.every:
            return False
        self.last = time.monotonic()
        return True


class Interval:
    """What is gathered between two reports."""

    def __init__(self, samples: int) -> None:
        self.first, self.since = samples, time.monotonic()
        self.pairs: dict[str, list[Tensor]] = defaultdict(list)

    def add(self, metrics: Metrics, norm: float) -> None:
        for name, pair in {**metrics, "gradient norm": torch.tensor([norm, 1.0])}.items():
            self.pairs[name].append(pair.detach())

    def means(self, group: Group = ALONE) -> dict[str, float]:
        """Over all that the processes of the group have gathered."""
        sums = {
            name: torch.stack([p.float().cpu() for p in pairs]).sum(0).tolist() for name, pairs in self.pairs.items()
        }
        found: dict[str, tuple[float, float]] = {}
        for theirs in group.gathered(sums):
            for name, (total, count) in theirs.items():
                before = found.get(name, (0.0, 0.0))
                found[name] = before[0] + total, before[1] + count
        return {name: total / count for name, (total, count) in found.items() if count}

    def rate(self, samples: int) -> float:
        """Samples a second since the last report, steps that did not count included."""
        return (samples - self.first) / max(time.monotonic() - self.since, 1e-9)


@dataclass(frozen=True)
class Progress:
    """One report of a running leg."""

    samples: int
    total: int
    rate: float  # samples a second over the interval
    seconds_left: float
    metrics: dict[str, float]
