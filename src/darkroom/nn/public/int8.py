"""Layers that keep their weights in int8, a scale for each output channel, and multiply by them in the format of x.

Half of bf16's memory for a network that is mostly such layers, a quarter of fp32's. The rounding is that of the weights
we ship (``nn/storage.py``): symmetric, to 127 steps of a channel's largest weight. Norms, embeddings and biases stay as
they are, and so do layers that make a channel of few numbers. A layer stays the ``nn.Linear`` or ``nn.Conv2d`` that it
was to whoever asks what it is.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from darkroom.nn.storage import by_rows

SCALE = "scale"  # the buffer of a layer's scales
FEWEST = 16  # weights of an output channel; of fewer its scale takes a quarter of what is saved


class Int8Linear(nn.Linear):
    """A linear layer whose ``weight`` is int8.

    Networks that look at the number format of a layer's weights, to give it x in that, find ``compute_dtype`` instead.
    """

    compute_dtype = torch.bfloat16

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out), in the format of x."""
        return F.linear(x, weight_of(self, x.dtype), self.bias)


class Int8Conv2d(nn.Conv2d):
    """A convolution whose ``weight`` is int8."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, height, width) to (batch, out, ...), in the format of x."""
        return self._conv_forward(x, weight_of(self, x.dtype), self.bias)


_PACKED: dict[type[nn.Module], Any] = {nn.Linear: Int8Linear, nn.Conv2d: Int8Conv2d}


def weight_of(layer: Any, dtype: torch.dtype) -> Float[Tensor, "out into ..."]:
    """What a layer multiplies by, in a number format: its weights times their scales."""
    return by_rows(layer.scale, layer.weight).to(dtype)


def in_int8(network: nn.Module) -> nn.Module:
    """The network, without memory for its weights, with layers that keep them in int8 where that saves memory.

    :func:`darkroom.synthesis.external.networks.fill` gives them their weights, packed one at a time.
    """
    for layer in network.modules():
        if type(layer) in _PACKED and isinstance(layer, nn.Linear | nn.Conv2d):
            weight = layer.weight
            if weight[0].numel() >= FEWEST:
                layer.__class__ = _PACKED[type(layer)]  # the rest of it stays: its bias, its strides, its name
                layer.weight = nn.Parameter(torch.empty_like(weight, dtype=torch.int8), requires_grad=False)
                layer.register_buffer(SCALE, torch.empty(weight.shape[0], device=weight.device))
    return network
