"""Sentences to the tensors the text encoder reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from darkroom.nn.slots import column
from darkroom.nn.text import pooled
from darkroom.protocols import Call, Conditioning, Task
from darkroom.wording.tokenizer import BUCKETS, Tokenizer, Tokens


class TokenBatch(NamedTuple):
    """Token ids, the spelling of each token's word, and which tokens are real."""

    ids: Int[Tensor, "b n"]
    characters: Int[Tensor, "b n spelling"]
    mask: Bool[Tensor, "b n"]

    def to(self, device: torch.device) -> TokenBatch:
        """The batch on another device."""
        return TokenBatch(*(part.to(device) for part in self))


def batched(tokens: Sequence[Tokens]) -> TokenBatch:
    """Stacks tokenised texts of one padded length."""
    ids = torch.tensor([t.ids for t in tokens])
    characters = torch.tensor([t.characters for t in tokens])
    lengths = torch.tensor([t.length for t in tokens])
    return TokenBatch(ids, characters, torch.arange(ids.shape[1]) < lengths[:, None])


def tokenised(tokenizer: Tokenizer, texts: Sequence[str], length: int) -> TokenBatch:
    """Texts padded (and, beyond it, cut) to one length: for training, where captions are made to fit."""
    return batched([tokenizer.tokens(text, buckets=(length,)) for text in texts])


class SentenceEncoder:
    """Our text encoder behind the ``TextEncoder`` protocol: one call a sentence."""

    NETWORK = "text"

    def __init__(self, tokenizer: Tokenizer, network: nn.Module) -> None:
        self.tokenizer, self.network = tokenizer, network

    @property
    def limit(self) -> int:
        """Tokens a sentence may have, start and end included."""
        return BUCKETS[-1]

    def encode(self, sentence: str) -> Task[Conditioning]:
        """One sentence to vectors, padded to the smallest text bucket that holds it."""
        batch = batched([self.tokenizer.tokens(sentence)])
        [packed] = yield [
            Call(self.NETWORK, {"ids": batch.ids[0], "characters": batch.characters[0], "mask": batch.mask[0]})
        ]
        return Conditioning(tokens=packed[:-1], mask=batch.mask[0], pooled=packed[-1])

    def evaluate(self, calls: Sequence[Call]) -> list[Tensor]:
        """Each sentence's token vectors with the pooled vector as a last row, (tokens + 1, width)."""
        ids, characters, mask = (column(calls, name) for name in ("ids", "characters", "mask"))
        device = next(self.network.parameters()).device
        tokens = self.network(ids.to(device), characters.to(device), mask.to(device))
        rows = zip(tokens.split(1), mask.to(device).split(1), strict=True)
        # Pooled one row at a time: bit-identity.
        packed = [torch.cat([row[0], pooled(row, real)]) for row, real in rows]
        return packed[: len(calls)]
