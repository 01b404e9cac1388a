"""Several processes that train one run together, as ``torchrun`` starts them (data parallel).

A step's batch is made of micro-batches (``accumulate`` of them). One process computes their gradients one after
another; several share them out and add the gradients up, so the step is the same: to the last bit where two CPU
processes take one micro-batch each, to the order of a sum elsewhere. Muon's matrices are shared out as well, each
turned by one process only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from darkroom.contracts.errors import BadInput

PATIENCE = timedelta(days=1)  # one process may wait for room on the disk while the others wait for it


@dataclass(frozen=True)
class Group:
    """This process among those of a run, ``rank`` of ``size``; the first one leads: it alone writes and reports."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"  # where messages between them lie

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, count: int) -> range:
        """This process's of ``count`` micro-batches."""
        each = count // self.size
        return range(self.rank * each, (self.rank + 1) * each)

    def after(self, first: int, count: int, batch: int) -> int:
        """The first sample of the micro-batch of ``count`` that this process takes after the one at ``first``."""
        step, each = first // batch, batch // self.size
        following = first + count
        return following if following < step * batch + (self.rank + 1) * each else (step + 1) * batch + self.rank * each

    def sums(self, *values: float) -> list[float]:
        """Sums of numbers over the processes."""
        if self.size == 1:
            return [float(value) for value in values]
        told = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(told)
        found: list[float] = told.tolist()
        return found

    def any(self, *flags: bool) -> list[bool]:
        """Of each flag, whether it is up in one process at least."""
        return [total > 0 for total in self.sums(*(float(flag) for flag in flags))]

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Makes each tensor the sum of it over the processes, in one message."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        _filled(tensors, flat)

    def spread(self, owned: Sequence[Sequence[Tensor]]) -> None:
        """Copies the tensors that each process owns (in the order of ranks) into all the others."""
        if self.size == 1:
            return
        for owner, tensors in enumerate(owned):
            if tensors:
                flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
                dist.broadcast(flat, owner)
                if owner != self.rank:
                    _filled(tensors, flat)

    def gathered(self, found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """What each process found."""
        if self.size == 1:
            return [found]
        everyone: list[Any] = [None] * self.size
        dist.all_gather_object(everyone, dict(found))
        return everyone


ALONE = Group()


def joined(device: torch.device) -> Group:
    """The group that ``torchrun`` started this process in, or this process alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ALONE
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    return Group(dist.get_rank(), size, str(device))


def check_shared(accumulate: int, group: Group) -> None:
    """Refuses a number of micro-batches that cannot be shared out evenly."""
    if accumulate % group.size:
        rule = f"cannot be shared out evenly among {group.size} processes"
        raise BadInput(f"accumulate {accumulate}", rule, f"give --accumulate {group.size}")


def shared_out(costs: Mapping[str, float], size: int) -> dict[str, int]:
    """Which process does each task, so that all have about as much to do: the dearest first, to whoever has least."""
    load = [0.0] * size
    found = {}
    for name in sorted(costs, key=lambda name: (-costs[name], name)):
        found[name] = load.index(min(load))
        load[found[name]] += costs[name]
    return found


def _filled(tensors: Sequence[Tensor], flat: Tensor) -> None:
    start = 0
    for tensor in tensors:
        tensor.copy_(flat[start : start + tensor.numel()].view(tensor.shape))
        start += tensor.numel()
