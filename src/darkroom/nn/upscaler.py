"""The upscaler: a picture at twice the size, by a plain stack of 3 x 3 convolutions over a bicubic enlargement.

While it is trained each convolution is a sum of branches, which learns better than one kernel does and costs nothing
afterwards: all of them are linear, so they fold exactly into one kernel (RepVGG, arXiv:2101.03697, section 3.3; the
branches are those of the edge-oriented block, Zhang, Zeng and Zhang, ACM Multimedia 2021, section 3.2). They are folded
in every training step, too: a step then costs what the plain stack's does (arXiv:2204.00826). No branch has a bias but
the sum: a bias under a kernel's zero border would not fold.

Four times is twice, two times: one network of one size to train, to ship and to trust, whose second pass sees what its
training also held, clean drawings of half the size. A network of its own for four would save half of the time.

No normalisation and no attention: a pixel depends on those within ``reach`` of it, so tiles that overlap by as much
have no seams.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

SCALE = 2  # the side of what comes out, over the side of what goes in
SLOPE = 0.1  # of the activation below zero: what is darker than its surroundings must get through as well
BICUBIC = 3  # pixels the bicubic enlargement looks to each side, rounded up
EDGES = (
    ((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0)),
    ((1.0, 2.0, 1.0), (0.0, 0.0, 0.0), (-1.0, -2.0, -1.0)),
    ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0)),
)
"""Sobel's two kernels and Laplace's."""


@dataclass(frozen=True)
class UpscalerConfig:
    """Channels, and 3 x 3 convolutions between the first and the last."""

    width: int = 48
    depth: int = 10
    expand: int = 2  # channels of the widening branch over its inputs, while training

    @property
    def reach(self) -> int:
        """Pixels, of what goes in, that something can be away and still be felt."""
        return max(self.depth + 2, BICUBIC)

    @property
    def channels(self) -> list[tuple[int, int]]:
        """Inputs and outputs of each convolution; the last gives the colours of the pixels that one becomes."""
        sides = [3, *[self.width] * (self.depth + 1), 3 * SCALE**2]
        return list(pairwise(sides))


def nano() -> UpscalerConfig:
    """A toy for tests."""
    return UpscalerConfig(width=8, depth=2)


class Doubling(nn.Module):
    """What the stack does, whatever its convolutions are made of."""

    config: UpscalerConfig
    layers: nn.ModuleList

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 2*h 2*w"]:
        """sRGB in [0, 1] at twice the size, in the format of ``pixels``; about [0, 1], not clamped.

        Only the residual is computed in the weights' format: eight bits of a picture are more than bf16 holds.
        """
        x = (pixels - 0.5).to(next(self.parameters()).dtype)
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), SLOPE, inplace=not torch.is_grad_enabled())  # (B, width, H, W)
        residual = F.pixel_shuffle(self.layers[-1](x), SCALE)  # (B, 3, 2H, 2W)
        return bicubic(pixels) + residual.to(pixels.dtype)


class Upscaler(Doubling):
    """The folded network: what ships."""

    def __init__(self, config: UpscalerConfig | None = None) -> None:
        super().__init__()
        self.config = config or UpscalerConfig()
        self.layers = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in self.config.channels)


class BranchedUpscaler(Doubling):
    """The network as it is trained."""

    def __init__(self, config: UpscalerConfig | None = None) -> None:
        super().__init__()
        self.config = config or UpscalerConfig()
        self.layers = nn.ModuleList(BranchedConv(i, o, self.config.expand) for i, o in self.config.channels)
        with torch.no_grad():  # it begins near the bicubic enlargement
            for parameter in self.layers[-1].parameters():
                parameter.mul_(0.1)

    def folded(self) -> Upscaler:
        """The same function with one kernel a layer, in the same number format."""
        network = Upscaler(self.config).to(next(self.parameters()))
        weights: dict[str, Tensor] = {}
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, BranchedConv)
            weights |= {f"layers.{number}.weight": layer.kernel(), f"layers.{number}.bias": layer.bias}
        network.load_state_dict(weights)
        return network


class BranchedConv(nn.Module):
    """A 3 x 3 convolution as the sum of a plain one, one after a widening, three of edges, and the identity."""

    edges: Tensor

    def __init__(self, inputs: int, outputs: int, expand: int) -> None:
        super().__init__()
        wide = expand * max(inputs, outputs)
        self.inputs, self.outputs = inputs, outputs
        # Layers, and never called: an optimiser is to see them as what they are.
        self.plain = _drawn(nn.Conv2d(inputs, outputs, 3, bias=False), 0.5)
        self.widen = _drawn(nn.Conv2d(inputs, wide, 1, bias=False), 1.0)
        self.narrow = _drawn(nn.Conv2d(wide, outputs, 3, bias=False), 0.5)
        self.mix = _drawn(nn.Conv2d(inputs, len(EDGES) * outputs, 1, bias=False), 1.0)
        self.strength = nn.Parameter(torch.randn(len(EDGES), outputs) * 0.05)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("edges", torch.tensor(EDGES), persistent=False)

    def kernel(self) -> Float[Tensor, "outputs inputs 3 3"]:
        """All branches as one kernel, in the parameters' format, summed in fp32 or finer."""
        dtype = self.plain.weight.dtype
        fine = torch.promote_types(dtype, torch.float32)
        widened = torch.einsum("owyx,wi->oiyx", self.narrow.weight.to(fine), self.widen.weight[:, :, 0, 0].to(fine))
        mix = self.mix.weight.to(fine).view(len(EDGES), self.outputs, self.inputs)
        mixed = self.strength.to(fine)[:, :, None] * mix
        kernel = self.plain.weight.to(fine) + widened + torch.einsum("eoi,eyx->oiyx", mixed, self.edges.to(fine))
        if self.inputs == self.outputs:
            middle = torch.zeros(3, 3, dtype=fine, device=kernel.device)
            middle[1, 1] = 1
            kernel = kernel + torch.eye(self.inputs, dtype=fine, device=kernel.device)[:, :, None, None] * middle
        return kernel.to(dtype)

    def forward(self, x: Float[Tensor, "b inputs h w"]) -> Float[Tensor, "b outputs h w"]:
        return F.conv2d(x, self.kernel(), self.bias, padding=1)


def bicubic(pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 2*h 2*w"]:
    """Twice the size by Keys' cubic with a = -1/2 (IEEE TASSP 29(6), 1981), edges repeated."""
    return F.interpolate(pixels, scale_factor=SCALE, mode="bicubic", antialias=True)


def _drawn(layer: nn.Conv2d, gain: float) -> nn.Conv2d:
    """The layer with normal weights whose sums over the inputs keep ``gain`` of their size."""
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    return layer
