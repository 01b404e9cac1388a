"""Networks that lie in their files until they are asked, and go back there when another one is.

A text encoder of gigabytes is asked once a picture, a denoiser in every step, an autoencoder at the end. Where memory
is short, only the one at work has its weights; the others are layers without (on PyTorch's ``meta`` device), whose
shapes can still be read. What they are given is what they had, bit for bit: it comes from the same files.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn


@dataclass
class Shelf:
    """Where the networks of one checkpoint are. Not ``offload``: all of them are in memory, always."""

    offload: bool = False
    _fill: dict[nn.Module, Callable[[], None]] = field(default_factory=dict, repr=False)
    _out: set[nn.Module] = field(default_factory=set, repr=False)  # in memory

    def put(self, network: Any, fill: Callable[[], None]) -> Any:
        """Takes a network without weights, which ``fill`` gives it; returns it, filled where all of them are."""
        if self.offload:
            self._fill[network] = fill
        else:
            fill()
        return network

    def take(self, networks: Collection[Any]) -> None:
        """Sees to it that these networks have their weights, and no others of the shelf; none: all stays as it is.

        Raises what filling one raises; it then lies on the shelf as before.
        """
        if not networks:
            return
        for other in self._out - set(networks):
            _empty(other)
            self._out.discard(other)
        for network in networks:
            if network in self._fill and network not in self._out:
                self._fill[network]()
                self._out.add(network)


def _empty(network: nn.Module) -> None:
    """Takes a network's weights away."""
    state = network.state_dict()
    network.load_state_dict(
        {name: torch.empty_like(tensor, device="meta") for name, tensor in state.items()}, assign=True
    )
