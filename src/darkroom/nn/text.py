"""The text encoder: tokens and their spelling to vectors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from darkroom.nn.attention import SwiGLU, attend, hidden_width, split_heads
from darkroom.nn.norm import RMSNorm


@dataclass(frozen=True)
class TextConfig:
    """``spelling`` is how many bytes of a word the character network sees."""

    vocabulary: int = 4096
    width: int = 288
    depth: int = 5
    head: int = 48
    positions: int = 48
    spelling: int = 12
    spelling_width: int = 96


def nano() -> TextConfig:
    """A toy for tests."""
    return TextConfig(vocabulary=512, width=32, depth=1, head=16, spelling_width=8)


class SpellingNet(nn.Module):
    """The bytes of a word to a vector: embedding, one convolution, the maximum over positions (arXiv:1508.06615)."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(257, 32, padding_idx=0)
        self.conv = nn.Conv1d(32, width, 3, padding=1)
        self.out = nn.Linear(width, out, bias=False)

    def forward(self, characters: Int[Tensor, "b n spelling"]) -> Float[Tensor, "b n out"]:
        batch, tokens, _ = characters.shape
        x = self.embed(characters.flatten(0, 1)).transpose(1, 2)  # (B N, 32, spelling)
        x = self.conv(x).relu().amax(-1)  # (B N, width)
        return self.out(x).unflatten(0, (batch, tokens))


class TextBlock(nn.Module):
    """Pre-norm self-attention and SwiGLU."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        width = config.width
        self.head = config.head
        self.norm_attention, self.norm_feed = RMSNorm(width), RMSNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.feed = SwiGLU(width, hidden_width(width))

    def forward(self, x: Float[Tensor, "b n d"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        q, k, v = (split_heads(part, self.head) for part in self.qkv(self.norm_attention(x)).chunk(3, -1))
        x = x + self.out(attend(q, k, v, mask))
        return x + self.feed(self.norm_feed(x))


class TextEncoder(nn.Module):
    """Vectors of every token; the pooled vector is the mean over real tokens (row by row, see the architecture)."""

    def __init__(self, config: TextConfig | None = None) -> None:
        super().__init__()
        self.config = config or TextConfig()
        c = self.config
        self.embed = nn.Embedding(c.vocabulary, c.width)
        self.place = nn.Parameter(torch.randn(c.positions, c.width) * 0.02)
        self.spelling = SpellingNet(c.spelling_width, c.width)
        self.blocks = nn.ModuleList(TextBlock(c) for _ in range(c.depth))
        self.norm = RMSNorm(c.width)
        nn.init.normal_(self.embed.weight, std=0.02)

    def forward(
        self, ids: Int[Tensor, "b n"], characters: Int[Tensor, "b n spelling"], mask: Bool[Tensor, "b n"]
    ) -> Float[Tensor, "b n d"]:
        """``mask`` is true on real tokens."""
        x = self.embed(ids) + self.place[: ids.shape[1]] + self.spelling(characters)  # (B, N, D)
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)


def pooled(tokens: Float[Tensor, "b n d"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b d"]:
    """Mean over real tokens."""
    kept = tokens * mask[..., None]
    return kept.sum(1) / mask.sum(1, keepdim=True)
