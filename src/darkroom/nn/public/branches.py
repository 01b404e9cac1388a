"""Side branches of a network's layers, bound for one evaluation: how adapters act without touching its weights.

A LoRA (arXiv:2106.09685) adds to what a layer makes of x a detour of few dimensions, up(down(x)), times a scale. A call
names the adapters it is made with and has their scales among its inputs, so calls with other adapters, and with none,
go through the same network at the same time as far as anybody can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import get_ident
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from darkroom.nn.slots import one_by_one
from darkroom.protocols import Call


@dataclass(frozen=True, slots=True)
class Branch:
    """A detour beside one layer: into few dimensions, and back, as matrices or as kernels; ``scale`` as trained."""

    down: Tensor  # (rank, in, ...)
    up: Tensor  # (out, rank, ...)
    scale: float


# The branches of one adapter in one network, by the names of its layers.
Branches = Mapping[str, Branch]


@dataclass(frozen=True)
class Wearing:
    """The adapters of one network that are at hand, by their hashes."""

    at_hand: dict[str, Branches] = field(default_factory=dict)

    def answers(self, network: nn.Module, calls: Sequence[Call], ask: Callable[..., Tensor]) -> list[Tensor]:
        """What the network answers to calls, each with its adapters bound."""
        found = []
        for call in calls:
            bare, worn = self.plain(call)
            with bound(network, worn):
                found += one_by_one(network, [bare], ask)
        return found

    def plain(self, call: Call) -> tuple[Call, list[tuple[Branches, float]]]:
        """A call without the adapters that are branches here, and what is to be bound while it is evaluated."""
        mine = {name: f"scale of {name}" for name in call.adapters if name in self.at_hand}
        if not mine:
            return call, []
        inputs = {name: value for name, value in call.inputs.items() if name not in mine.values()}
        others = tuple(name for name in call.adapters if name not in mine)
        worn = [(self.at_hand[name], float(call.inputs[scale])) for name, scale in mine.items()]
        return Call(call.network, inputs, others), worn


@contextmanager
def bound(network: nn.Module, worn: Sequence[tuple[Branches, float]]) -> Iterator[None]:
    """While it lasts, the network's layers have these branches, each with its scale; afterwards none."""
    hooks = []
    try:
        for branches, scale in worn:
            for name, branch in branches.items():
                hooks.append(network.get_submodule(name).register_forward_hook(_beside(branch, scale)))
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _beside(branch: Branch, scale: float) -> Any:
    bound_by = get_ident()

    def add(layer: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> Tensor | None:
        if get_ident() != bound_by:
            return None  # another thread asks the same network: that is not its adapter
        x = given[0]
        down, up = branch.down.to(x), branch.up.to(x)
        return made + scale * branch.scale * _detour(layer, x, down, up)

    return add


def _detour(layer: nn.Module, x: Tensor, down: Tensor, up: Tensor) -> Tensor:
    if isinstance(layer, nn.Conv2d):
        assert not isinstance(layer.padding, str)
        return F.conv2d(F.conv2d(x, down, None, layer.stride, layer.padding, layer.dilation), up)
    return F.linear(F.linear(x, down.flatten(1)), up.flatten(1))


def fits(layer: nn.Module, branch: Branch) -> bool:
    """Whether a branch leads from what a layer takes to what it makes."""
    down, up = tuple(branch.down.shape), tuple(branch.up.shape)
    if isinstance(layer, nn.Conv2d):
        into, out = layer.in_channels, layer.out_channels
        kernel = down[2:] == tuple(layer.kernel_size) and up[2:] == (1, 1)
        return kernel and down[1] == into and up[:2] == (out, down[0]) and layer.groups == 1
    if isinstance(layer, nn.Linear):
        flat = down[2:] in ((), (1, 1)) and up[2:] in ((), (1, 1))
        return flat and down[1] == layer.in_features and up[:2] == (layer.out_features, down[0])
    return False
