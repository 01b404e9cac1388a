"""The detector behind the judge: a convolutional network that says what stands where in a picture.

One map of a picture, a cell for every 8 x 8 pixels: at each cell whether something has its middle there, what it is,
which colour it was painted, its box, whether something stands before it (in the manner of arXiv:1904.07850, with one
heat map for all concepts). Beside it the facts of the whole picture, the letters of a word read from left to right, and
a vector to be compared with those of sentences (matching.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

SIDE = 128  # pixels a side of what it looks at: drawings, as scenes are rendered
CELL = 8  # pixels a side of a cell of its map
CELLS = SIDE // CELL
SIDES = (128, 192, 96)
"""Pixels a side of what it learns to see: pictures as they are, nearer for what is small in them or stands close to
another thing, and from farther away for what fills them."""
SPAN = (20, 128)  # pixels a side that a thing has where it is learned


@dataclass(frozen=True)
class DetectorConfig:
    """Widths at 1/4, 1/8 and 1/16 of the side, and residual blocks at each."""

    concepts: int = 357
    colours: int = 12  # its own, and the colour words
    letters: int = 27  # none, and A to Z
    whole: Mapping[str, int] = field(default_factory=dict)  # facts of the whole picture: name and number of values
    shared: int = 128  # width of the vectors that pictures and sentences are compared by
    widths: tuple[int, int, int] = (64, 144, 256)
    blocks: tuple[int, int, int] = (2, 3, 2)


def nano(whole: Mapping[str, int] | None = None, concepts: int = 357) -> DetectorConfig:
    """A toy for tests."""
    return DetectorConfig(concepts, whole=whole or {}, shared=16, widths=(16, 16, 24), blocks=(1, 1, 1))


class Seen(NamedTuple):
    """What the detector says of a batch; maps have a cell for every 8 pixels."""

    heat: Float[Tensor, "b h w"]  # logit: the middle of something lies here
    concept: Float[Tensor, "b concepts h w"]  # logits
    colour: Float[Tensor, "b colours h w"]  # logits; the first is the thing's own colours
    box: Float[Tensor, "b 4 h w"]  # how far left, up, right and down it reaches from the cell's middle, in sides
    covered: Float[Tensor, "b h w"]  # logit: something stands before it
    letters: Float[Tensor, "b w letters"]  # logits of the letters in each column; the first is none
    whole: Float[Tensor, "b values"]  # logits of the facts of the whole picture, one fact after the other
    vector: Float[Tensor, "b shared"]  # of the whole picture, where things stand included


class Normal(nn.Module):
    """Group normalisation over groups of eight channels (arXiv:1803.08494)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.groups = width // 8
        self.gain = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x, self.groups, self.gain, self.shift)


class Residual(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x))))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Normal(width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            Normal(width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Detector(nn.Module):
    """Pixels to :class:`Seen`."""

    def __init__(self, config: DetectorConfig | None = None) -> None:
        super().__init__()
        self.config = config or DetectorConfig()
        c = self.config
        quarter, eighth, sixteenth = c.widths

        def stage(before: int, width: int, blocks: int) -> nn.Sequential:
            down = nn.Conv2d(before, width, 3, stride=2, padding=1)
            return nn.Sequential(down, *(Residual(width) for _ in range(blocks)))

        self.quarter = nn.Sequential(
            nn.PixelUnshuffle(4), nn.Conv2d(48, quarter, 3, padding=1), *(Residual(quarter) for _ in range(c.blocks[0]))
        )
        self.eighth = stage(quarter, eighth, c.blocks[1])
        self.sixteenth = stage(eighth, sixteenth, c.blocks[2])
        self.around = nn.Conv2d(sixteenth, eighth, 1)  # what lies around, back on the finer map
        self.joined = nn.Sequential(Residual(eighth), Normal(eighth), nn.SiLU())
        self.where = nn.Conv2d(eighth, 6, 3, padding=1)  # heat, covered, box
        self.what = nn.Conv2d(eighth, c.concepts + c.colours, 1)
        self.letters = nn.Conv2d(eighth, c.letters + 1, (3, 1), padding=(1, 0))  # and how much each row counts
        self.whole = nn.Linear(sixteenth + eighth, sum(c.whole.values()))
        self.vector = nn.Linear(4 * sixteenth + eighth, c.shared)
        assert self.where.bias is not None
        with torch.no_grad():
            self.where.bias[0] = -4.0  # most cells are the middle of nothing

    def forward(self, pixels: Float[Tensor, "b 3 high wide"]) -> Seen:
        """What is in sRGB pixels in [0, 1]; the sides are multiples of 32."""
        c = self.config
        far, both = self._maps(pixels)
        where = self.where(both)
        concept, colour = self.what(both).split((c.concepts, c.colours), 1)
        read = self.letters(both)
        rows = read[:, -1:].float().softmax(2).to(read.dtype)
        letters = (read[:, :-1] * rows).sum(2).transpose(1, 2)  # (B, w, letters)
        quarters = F.adaptive_avg_pool2d(far, 2)
        return Seen(
            where[:, 0],
            concept,
            colour,
            F.softplus(where[:, 2:]),
            where[:, 1],
            letters,
            self.whole(_pooled(far, both)),
            self.vector(torch.cat([quarters.flatten(1), both.mean((2, 3))], 1)),
        )

    def gist(self, pixels: Float[Tensor, "b 3 high wide"]) -> Float[Tensor, "b width"]:
        """The vector that the facts of the whole picture are read from."""
        return _pooled(*self._maps(pixels))

    def _maps(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(B, sixteenth, h / 2, w / 2) and (B, eighth, h, w)."""
        near = self.eighth(self.quarter(pixels * 2 - 1))
        far = self.sixteenth(near)
        return far, self.joined(near + F.interpolate(self.around(far), scale_factor=2.0, mode="nearest"))

    def facts(self, whole: Float[Tensor, "b values"]) -> dict[str, Tensor]:
        """The logits of each fact of the whole picture, (B, values of it)."""
        sizes = self.config.whole
        return dict(zip(sizes, whole.split(list(sizes.values()), 1), strict=True))


def _pooled(far: Tensor, both: Tensor) -> Tensor:
    return torch.cat([far.mean((2, 3)), both.mean((2, 3))], 1)
