"""Pictures that are decoded and encoded in tiles, which overlap and pass into each other.

What an autoencoder needs grows with the pixels it is given at once, to several gigabytes for a large picture; of a tile
it needs little. All tiles of a picture are equally large, so that they share passes. Within an overlap each counts less
the nearer its edge is (linear ramps), so that there is no seam. It is not quite the same picture: norms and attention
of an autoencoder look at all that they are given, and see a tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from darkroom.protocols import Call, Latent, LatentCodec, Pixels, Task

OVERLAP = 1 / 4  # of a tile's side, with each neighbour, at least

Spans = list[tuple[int, int]]  # where tiles begin and end along a side


class NamingCodec(LatentCodec, Protocol):
    """A codec that says what its calls are named."""

    ENCODER: str
    DECODER: str


@dataclass(frozen=True)
class TiledCodec:
    """A codec asked in tiles of ``tile`` pixels a side; a picture that is no larger is asked as one."""

    codec: NamingCodec
    tile: int

    def shape(self, width: int, height: int) -> tuple[int, int, int]:
        """(channels, height, width) of the latent of a picture."""
        return self.codec.shape(width, height)

    def encode(self, pixels: Pixels) -> Task[Latent]:
        """sRGB in [0, 1] to a latent, fp32."""
        factor = self._factor
        cells = [spans(side // factor, self.tile // factor) for side in pixels.shape[1:]]
        return (yield from self._asked(self.codec.ENCODER, pixels, cells, factor, 1))

    def decode(self, latent: Latent) -> Task[Pixels]:
        """A latent to sRGB in [0, 1], fp32."""
        factor = self._factor
        cells = [spans(side, self.tile // factor) for side in latent.shape[1:]]
        return (yield from self._asked(self.codec.DECODER, latent, cells, 1, factor))

    def evaluate(self, calls: Sequence[Call]) -> list[Tensor]:
        """As the codec does."""
        return self.codec.evaluate(calls)

    @property
    def _factor(self) -> int:
        """Pixels a side of a cell."""
        return self.tile // self.codec.shape(self.tile, self.tile)[1]

    def _asked(self, network: str, x: Tensor, cells: list[Spans], before: int, after: int) -> Task[Tensor]:
        """What a network makes of x, tile by tile; a cell has ``before`` numbers a side in x, ``after`` in that."""
        rows, columns = cells
        places = [(row, column) for row in rows for column in columns]
        made = yield [
            Call(network, {"x": x[:, before * top : before * end, before * left : before * right].contiguous()})
            for (top, end), (left, right) in places
        ]
        if len(places) == 1:
            return made[0]
        down, across = (ramps([(after * a, after * b) for a, b in side]) for side in cells)
        counts = [high[:, None] * wide for high in down for wide in across]
        whole = made[0].new_zeros(len(made[0]), after * rows[-1][1], after * columns[-1][1])
        for ((top, end), (left, right)), tile, count in zip(places, made, counts, strict=True):
            whole[:, after * top : after * end, after * left : after * right] += tile * count
        return whole


def spans(side: int, tile: int) -> Spans:
    """Where tiles along a side begin and end: equally long, evenly spread, overlapping by ``OVERLAP`` or more."""
    if side <= tile:
        return [(0, side)]
    step = tile - int(tile * OVERLAP)
    count = -(-(side - tile) // step) + 1
    begins = [round(n * (side - tile) / (count - 1)) for n in range(count)]
    return [(begin, begin + tile) for begin in begins]


def ramps(side: Spans) -> list[Float[Tensor, " tile"]]:
    """How much each tile counts along a side: 1 in its middle, less the nearer the edge of an overlap; 1 in all."""
    raw = []
    for n, (begin, end) in enumerate(side):
        at = torch.arange(begin, end) + 0.5
        counts = torch.ones(end - begin)
        if n > 0:
            counts = counts.minimum((at - begin) / (side[n - 1][1] - begin))
        if n + 1 < len(side):
            counts = counts.minimum((end - at) / (end - side[n + 1][0]))
        raw.append(counts)
    whole = torch.zeros(side[-1][1])
    for (begin, end), counts in zip(side, raw, strict=True):
        whole[begin:end] += counts
    return [counts / whole[begin:end] for (begin, end), counts in zip(side, raw, strict=True)]
