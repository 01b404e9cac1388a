"""Words that were learnt (textual inversion, arXiv:2208.01618): vectors that stand where those of tokens would.

In a call they are numbers from the size of the vocabulary on. While it is evaluated, what the table of tokens says of
such a place is one of their vectors; the table is not touched, and the network sees an ordinary token's number there,
which is none that it looks for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import get_ident
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

ORDINARY = 0  # the number of a token that is neither start nor end


@contextmanager
def taught(
    network: Any, ids: Int[Tensor, "texts tokens"], vectors: Sequence[Float[Tensor, "_ width"]]
) -> Iterator[Int[Tensor, "texts tokens"]]:
    """Within, the network knows the words that ``ids`` hold; it is to be asked about the numbers that are given.

    Args:
        network: a transformers text network.
        ids: numbers of tokens; from the vocabulary's size on those of words, counted through all ``vectors``.
        vectors: of each file of words, one for each of its tokens.
    """
    known = ids < network.config.vocab_size
    if not vectors:
        yield ids
        return
    table: nn.Module = network.get_input_embeddings()
    words, bound_by = torch.cat([one.to(ids.device) for one in vectors]), get_ident()
    at = (ids - network.config.vocab_size).clamp(min=0)

    def put(_: nn.Module, __: Any, made: Tensor) -> Tensor | None:
        if get_ident() != bound_by:
            return None  # another thread asks the same network, which does not know them
        return torch.where(known[..., None], made, words.to(made)[at])

    hook = table.register_forward_hook(put)
    try:
        yield torch.where(known, ids, ORDINARY)
    finally:
        hook.remove()
