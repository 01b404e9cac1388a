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
from darkroom.wording.cutting import parts_of
from darkroom.wording.syntax import Sentence
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
    """Our text encoder behind the ``TextEncoder`` protocol: a call for each chunk, for long ones several."""

    def __init__(self, tokenizer: Tokenizer, network: nn.Module, role: str = "") -> None:
        """``role`` sets its calls apart from those of another model's networks."""
        self.tokenizer, self.network, self.NETWORK = tokenizer, network, f"{role}text"

    @property
    def limit(self) -> int:
        """Tokens a sentence may have, start and end included."""
        return BUCKETS[-1]

    def length(self, text: str) -> int:
        """Tokens of a text, start and end included."""
        return self.tokenizer.tokens(text).length

    def encode(self, chunks: Sequence[Sentence]) -> Task[Conditioning]:
        """Sentences to vectors, each padded to the smallest text bucket that holds it; what is pooled is their mean."""
        parts, _ = self.parts(chunks)
        read = [self.tokenizer.tokens(part.text, weigh=part.weight if part.runs else None) for part in parts]
        rows = [batched([tokens]) for tokens in read]
        packed = yield [
            Call(self.NETWORK, {"ids": ids[0], "characters": spelling[0], "mask": mask[0]})
            for ids, spelling, mask in rows
        ]
        weights = None
        if any(tokens.weights for tokens in read):
            weights = torch.tensor([w for tokens in read for w in tokens.weights or [1.0] * len(tokens.ids)])
        if len(packed) == 1:
            return Conditioning(packed[0][:-1], rows[0].mask[0], packed[0][-1], weights)
        joined = torch.cat([one[:-1] for one in packed])
        mask = torch.cat([row.mask[0] for row in rows])
        return Conditioning(joined, mask, torch.stack([one[-1] for one in packed]).mean(0), weights)

    def parts(self, chunks: Sequence[Sentence]) -> tuple[list[Sentence], tuple[str, ...]]:
        """The chunks, cut where they are longer than the network reads at once, and the words that are too many."""
        return parts_of(chunks, lambda text: len(self.tokenizer.encode(text)), self.limit)

    def evaluate(self, calls: Sequence[Call]) -> list[Tensor]:
        """Each sentence's token vectors with the pooled vector as a last row, (tokens + 1, width)."""
        ids, characters, mask = (column(calls, name) for name in ("ids", "characters", "mask"))
        device = next(self.network.parameters()).device
        tokens = self.network(ids.to(device), characters.to(device), mask.to(device))
        rows = zip(tokens.split(1), mask.to(device).split(1), strict=True)
        # Pooled one row at a time: bit-identity.
        packed = [torch.cat([row[0], pooled(row, real)]) for row, real in rows]
        return packed[: len(calls)]
