"""Where in a checkpoint's files the tensors of a network stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# What old files call the autoencoder's attention, and what it is called now.
_RENAMED = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


@dataclass(frozen=True, slots=True)
class Source:
    """A tensor of a file, or a part of one.

    ``third``: which third of its rows it is, of three that stand in one; ``rows``: the first of its rows, and the one
    after the last; None: all of it. ``transposed``: it stands on its side. ``swapped``: its halves are the other way
    round.
    """

    name: str
    third: int | None = None
    transposed: bool = False
    rows: tuple[int, int] | None = None
    swapped: bool = False

    def shape(self, of_file: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of what is taken of a tensor of this shape."""
        if self.transposed:
            return of_file[::-1]
        if self.rows is not None:
            return (max(0, min(self.rows[1], of_file[0]) - self.rows[0]), *of_file[1:])
        return of_file if self.third is None else (of_file[0] // 3, *of_file[1:])

    def taken(self, tensor: Tensor) -> Tensor:
        """What is taken of the file's tensor."""
        if self.transposed:
            return tensor.T.contiguous()
        if self.rows is not None:
            return tensor[self.rows[0] : self.rows[1]]
        if self.swapped:
            return torch.cat(tensor.chunk(2)[::-1])
        return tensor if self.third is None else tensor.chunk(3)[self.third]


def by_own_names(network: Any, files: Sequence[str]) -> dict[str, Source]:
    """For each tensor of a network where it stands among files that have its names, today's or older ones.

    Tensors that are not there are left out.
    """
    there = {_todays(name): name for name in files}
    plain = {name.removeprefix("text_model."): name for name in files}
    own = network.state_dict()
    found = {name: there.get(name) or plain.get(name) for name in own}
    shared = found.get("shared.weight")  # one table under two names, of which files hold one
    if found.get("encoder.embed_tokens.weight", "") is None and shared is not None:
        found["encoder.embed_tokens.weight"] = shared
    return {name: Source(at) for name, at in found.items() if at is not None}


def _todays(name: str) -> str:
    if "attentions" in name:
        for old, new in _RENAMED.items():
            name = name.replace(old, new)
    return name


def same_shape(found: tuple[int, ...], asked: tuple[int, ...]) -> bool:
    """Equal shapes; a matrix may be written as a 1x1 convolution of the same numbers."""
    return found == asked or (found[len(asked) :] == (1, 1) and found[: len(asked)] == asked)
