"""The loss that tells a picture's own caption from others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def pair_loss(
    logits: Float[Tensor, "b t"], captions: Sequence[str], own: Sequence[str], true: Bool[Tensor, " b"] | None = None
) -> Tensor:
    """Pairwise sigmoid loss (arXiv:2303.15343, eq. 1), for each picture of a batch.

    ``captions`` are the t sentences, the first b of them the pictures' ``own``; those after them fit no picture, and a
    sentence that reads like a picture's own is not counted against it. ``true`` is false for pictures that do not show
    what their own caption says; None: all do.
    """
    count, device = len(own), logits.device
    numbers = {caption: i for i, caption in enumerate(captions)}
    keys = torch.tensor([numbers[caption] for caption in captions], device=device)
    rows = torch.tensor([numbers[caption] for caption in own], device=device)
    diagonal = torch.eye(count, logits.shape[1], dtype=torch.bool, device=device)
    counted = diagonal | (rows[:, None] != keys[None, :])
    shown = diagonal if true is None else diagonal & true[:, None]
    sign = 2 * shown.float() - 1
    return -(F.logsigmoid(sign * logits) * counted).sum() / count
