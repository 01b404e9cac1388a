"""How well a sentence fits a picture: both as vectors of one space (arXiv:2303.15343)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from darkroom.nn.text import TextConfig, TextEncoder, pooled


def reader_config(vocabulary: int) -> TextConfig:
    """The sentence's side of the judge: small enough to ship beside a detector."""
    return TextConfig(vocabulary, width=128, depth=2, head=32, spelling_width=48)


class Matching(nn.Module):
    """Sentences to vectors, and how well they fit those of pictures."""

    def __init__(self, config: TextConfig, shared: int) -> None:
        super().__init__()
        self.reader = TextEncoder(config)
        self.out = nn.Linear(config.width, shared)
        self.temperature = nn.Parameter(torch.tensor(10.0).log())
        self.bias = nn.Parameter(torch.tensor(-10.0))

    def forward(
        self, ids: Int[Tensor, "t n"], characters: Int[Tensor, "t n spelling"], mask: Bool[Tensor, "t n"]
    ) -> Float[Tensor, "t shared"]:
        """Vectors of sentences; ``mask`` is true on real tokens."""
        return self.out(pooled(self.reader(ids, characters, mask), mask))

    def fit(self, pictures: Float[Tensor, "p shared"], sentences: Float[Tensor, "t shared"]) -> Float[Tensor, "p t"]:
        """The logit of each sentence being each picture's, in fp32."""
        near = F.normalize(pictures.float(), dim=-1) @ F.normalize(sentences.float(), dim=-1).T
        return self.temperature.float().exp() * near + self.bias.float()
