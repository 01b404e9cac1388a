"""The image tower: a picture to a few vectors that a denoiser reads as it reads those of words.

Convolutions see the picture at a quarter, an eighth and a sixteenth of its side. A few learned queries then look at the
cells of the last stage, and at the mean and the spread of every stage's channels, which tell strokes and textures
wherever they are (the statistics of arXiv:1703.06868, section 5). There are queries of their own for each thing that
can be kept of a picture. Learned queries that look once are Flamingo's resampler (arXiv:2204.14198, section 3.1.1) made
small; what they look at is trained from zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from darkroom.nn.attention import SwiGLU, attend, hidden_width, split_heads
from darkroom.nn.detector import Residual
from darkroom.nn.norm import RMSNorm

SEEN = 128  # pixels a side of what it looks at
CELLS = (SEEN // 16) ** 2


@dataclass(frozen=True)
class TowerConfig:
    """Widths at 1/4, 1/8 and 1/16 of the side, and residual blocks at each; ``width`` is that of the queries."""

    text_width: int = 288  # of the vectors that it makes
    tokens: int = 4  # of each picture, for each thing that is kept of it
    keeps: int = 2  # things that can be kept of it
    widths: tuple[int, int, int] = (48, 96, 144)
    blocks: tuple[int, int, int] = (1, 1, 1)
    width: int = 192
    head: int = 48


def nano(text_width: int = 32) -> TowerConfig:
    """A toy for tests."""
    return TowerConfig(text_width, tokens=2, widths=(8, 8, 16), width=32, head=16)


class ImageTower(nn.Module):
    """Pixels, and what is to be kept of them, to vectors in the place of a text encoder's."""

    def __init__(self, config: TowerConfig | None = None) -> None:
        super().__init__()
        self.config = config or TowerConfig()
        c = self.config
        first, second, third = c.widths
        stem = (nn.PixelUnshuffle(4), nn.Conv2d(48, first, 3, padding=1))
        self.quarter = nn.Sequential(*stem, *(Residual(first) for _ in range(c.blocks[0])))
        self.eighth = _stage(first, second, c.blocks[1])
        self.sixteenth = _stage(second, third, c.blocks[2])
        self.cells = nn.Linear(third, c.width)
        self.place = nn.Parameter(torch.randn(CELLS, c.width) * 0.02)
        self.spread = nn.ModuleList(nn.Linear(2 * width, c.width) for width in c.widths)
        self.queries = nn.Parameter(torch.randn(c.keeps, c.tokens, c.width) * 0.5)
        self.norm_seen, self.norm_query, self.norm_feed = (RMSNorm(c.width) for _ in range(3))
        self.q, self.joined = (nn.Linear(c.width, c.width, bias=False) for _ in range(2))
        self.kv = nn.Linear(c.width, 2 * c.width, bias=False)
        self.feed = SwiGLU(c.width, hidden_width(c.width))
        self.norm = RMSNorm(c.width)
        self.out = nn.Linear(c.width, c.text_width)

    def forward(
        self, pixels: Float[Tensor, "b 3 high wide"], keeps: Int[Tensor, " b"]
    ) -> Float[Tensor, "b tokens text"]:
        """Vectors of sRGB pixels in [0, 1], SEEN a side; ``keeps`` is what is kept of each, by its number."""
        head = self.config.head
        near = self.quarter(pixels * 2 - 1)
        middle = self.eighth(near)
        far = self.sixteenth(middle)
        cells = self.cells(far.flatten(2).transpose(1, 2)) + self.place  # (B, CELLS, width)
        stages = zip(self.spread, (near, middle, far), strict=True)
        told = torch.stack([layer(_statistics(stage)) for layer, stage in stages], 1)  # (B, 3, width)
        seen = self.norm_seen(torch.cat([cells, told], 1))
        x = self.queries[keeps]  # (B, tokens, width)
        k, v = (split_heads(part, head) for part in self.kv(seen).chunk(2, -1))
        x = x + self.joined(attend(split_heads(self.q(self.norm_query(x)), head), k, v))
        x = x + self.feed(self.norm_feed(x))
        return self.out(self.norm(x))


def _stage(before: int, width: int, blocks: int) -> nn.Sequential:
    down = nn.Conv2d(before, width, 3, stride=2, padding=1)
    return nn.Sequential(down, *(Residual(width) for _ in range(blocks)))


def _statistics(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b two_c"]:
    """Mean and standard deviation of each channel over the picture."""
    flat = x.float().flatten(2)
    spread = (flat.var(-1, correction=0) + 1e-6).sqrt()
    return torch.cat([flat.mean(-1), spread], -1).to(x.dtype)
