"""Exponential moving averages of weights with a power-function profile."""

from __future__ import annotations

import torch
from torch import Tensor


class PowerEMA:
    """Average whose memory grows with training: beta(t) = (1 - 1/t)^(gamma + 1) (EDM2, arXiv:2312.02696, eq. 127).

    ``gamma`` 16.97 gives a relative width of .05: the average spans about the last tenth of the leg.
    """

    def __init__(self, masters: dict[str, Tensor], gamma: float = 16.97) -> None:
        self.gamma = gamma
        self.average = {name: tensor.detach().clone() for name, tensor in masters.items()}

    @torch.no_grad()
    def update(self, masters: dict[str, Tensor], step: int) -> None:
        """Takes the masters after step ``step`` of the leg (from 1) into the average."""
        beta = (1 - 1 / step) ** (self.gamma + 1)
        torch._foreach_lerp_(list(self.average.values()), [masters[name] for name in self.average], 1 - beta)

    @torch.no_grad()
    def restore(self, average: dict[str, Tensor]) -> None:
        """Takes an average back from a checkpoint."""
        for name, tensor in self.average.items():
            tensor.copy_(average[name])
