"""Products over (rows, tokens, width) whose rows keep their bits in any company.

A matrix product adds up a wide inner side in parts, and how they are cut depends on how many rows there are: on
processors with units for bf16 matrices from more than 512 on, in fp32 on two threads from 1,024. So while nothing is
learned, such products are done for one row at a time, as they are for a picture alone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

WIDEST = 512  # inner width up to which a row has the same bits in any company, on every processor tried


def product(x: Float[Tensor, "rows tokens inner"], weight: Float[Tensor, "outer inner"]) -> Tensor:
    """x times the weight's transpose, (rows, tokens, outer)."""
    if len(x) == 1 or x.shape[-1] <= WIDEST or torch.is_grad_enabled():
        return F.linear(x, weight)
    return torch.cat([F.linear(row, weight) for row in x.split(1)])


class TokenLinear(nn.Linear):
    """A linear layer without bias over tokens."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__(inner, outer, bias=False)

    def forward(self, x: Float[Tensor, "rows tokens inner"]) -> Tensor:
        return product(x, self.weight)
