"""Embeddings of time and of place."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


def sinusoids(
    t: Float[Tensor, " rows"], width: int, scale: float = 1000.0, fastest: float | None = None
) -> Float[Tensor, "rows width"]:
    """Sines and cosines of scaled times at geometrically spaced frequencies (arXiv:1706.03762, section 3.5), fp32.

    ``scale`` is the highest frequency; those above ``fastest`` are zero, None: none of them is.
    """
    half = width // 2
    rates = torch.exp(torch.arange(half, device=t.device, dtype=torch.float32) * (-math.log(10000.0) / half))
    angles = t.float()[:, None] * scale * rates
    waves = torch.cat([angles.cos(), angles.sin()], -1)
    return waves if fastest is None else waves * (scale * rates <= fastest).repeat(2)


class TimeEmbedding(nn.Module):
    """Time in [0, 1] to a vector: sinusoids through a two-layer perceptron; other numbers with another ``scale``."""

    def __init__(
        self,
        width: int,
        frequencies: int = 128,
        scale: float = 1000.0,
        fastest: float | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.frequencies, self.scale, self.fastest = frequencies, scale, fastest
        self.layers = nn.Sequential(nn.Linear(frequencies, width), nn.SiLU(), nn.Linear(width, width, bias))

    def forward(self, t: Float[Tensor, " rows"]) -> Float[Tensor, "rows width"]:
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        return self.layers(sinusoids(t, self.frequencies, self.scale, self.fastest).to(first.weight.dtype))

    def silence(self) -> None:
        """Makes it say nothing until it is trained."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        if last.bias is not None:
            nn.init.zeros_(last.bias)


def centred_positions(height: int, width: int) -> Float[Tensor, "tokens 2"]:
    """Row and column of each token, counted from the picture's centre, so that any size shares one middle."""
    rows = torch.arange(height, dtype=torch.float32) - (height - 1) / 2
    columns = torch.arange(width, dtype=torch.float32) - (width - 1) / 2
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)


def rotary_table(
    positions: Float[Tensor, "tokens 2"], head: int, base: float = 100.0
) -> tuple[Float[Tensor, "tokens half"], Float[Tensor, "tokens half"]]:
    """Cosines and sines for 2-D rotary embedding: half of a head's pairs turn with the row, half with the column.

    Axial form of RoPE (arXiv:2104.09864) as in arXiv:2403.13298; ``base`` is small: pictures are few tokens wide.
    """
    quarter = head // 4
    rates = base ** (-torch.arange(quarter, dtype=torch.float32) / quarter)
    angles = torch.cat([positions[:, :1] * rates, positions[:, 1:] * rates], -1)  # (tokens, head / 2)
    return angles.cos(), angles.sin()


def rotate(x: Float[Tensor, "... tokens head"], cos: Tensor, sin: Tensor) -> Float[Tensor, "... tokens head"]:
    """Turns the pairs (x[i], x[i + head/2]) by each token's angles."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)
