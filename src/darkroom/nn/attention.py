"""Attention and the feed-forward part every transformer here shares.

A matrix product adds up a wide inner side in parts, and how they are cut depends on how many rows there are: on
processors with units for bf16 matrices from more than 512 on, in fp32 on two threads from 1,024. So while nothing is
learned, such products are done for one row at a time, as they are for a picture alone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
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


def attend(
    q: Float[Tensor, "b heads n head"],
    k: Float[Tensor, "b heads m head"],
    v: Float[Tensor, "b heads m head"],
    mask: Bool[Tensor, "b m"] | Float[Tensor, "b m"] | None = None,
) -> Float[Tensor, "b n heads_x_head"]:
    """softmax(q k^T / sqrt(head)) v (arXiv:1706.03762, eq. 1), heads joined; ``mask`` None attends to every key.

    A mask is true on keys that are attended to; or it is the logarithm of how much each counts among them, which is
    added to their scores.

    Written out: on CPU explicit products are several times faster than the fused kernel at these sizes, and give the
    same bits for a row alone and in a batch.
    """
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (B, heads, N, M)
    if mask is not None and mask.is_floating_point():
        scores = scores + mask[:, None, None, :]
    elif mask is not None:
        scores = scores.masked_fill(~mask[:, None, None, :], float("-inf"))
    weights = torch.softmax(scores.float(), -1).to(v.dtype)
    return (weights @ v).transpose(1, 2).flatten(2)


def split_heads(x: Float[Tensor, "b n width"], head: int) -> Float[Tensor, "b heads n head"]:
    """Cuts the last axis into heads."""
    return x.unflatten(-1, (-1, head)).transpose(1, 2)


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x)) (arXiv:2002.05202, eq. 5)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.into = nn.Linear(width, 2 * hidden, bias=False)
        self.down = TokenLinear(hidden, width)

    def forward(self, x: Float[Tensor, "b n width"]) -> Float[Tensor, "b n width"]:
        gate, up = self.into(x).chunk(2, -1)
        return self.down(nn.functional.silu(gate) * up)


def hidden_width(width: int) -> int:
    """SwiGLU's inner width: 8/3 of the outer, on a multiple of 64."""
    return round(width * 8 / 3 / 64) * 64
