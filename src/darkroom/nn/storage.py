"""Weights as they ship: large matrices as int8 with one scale a row, everything else in bf16.

int8 is for storage only (its kernels are slower than bf16 on CPU): weights are unpacked when a model is opened.
Rounding to 127 steps of a row's largest weight moves a weight by .4 % of that at most; the sheet is made with it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = ".scale"  # suffix of a packed matrix's row scales
SMALLEST = 4096  # elements below which packing saves nothing worth having


def packed(tensors: Mapping[str, Tensor], *, kernels: bool = False) -> dict[str, Tensor]:
    """Tensors for a file; ``kernels`` packs convolutions too, a scale for each output channel.

    Raises ValueError when a name ends like a scale's.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith(SCALE):
            raise ValueError(f"tensor {name} ends in {SCALE!r}, which names scales; rename it")
        if (tensor.ndim == 2 or (kernels and tensor.ndim == 4)) and tensor.numel() >= SMALLEST:
            wide = tensor.float().flatten(1)
            scale = wide.abs().amax(1).clamp_min(1e-12) / 127  # (rows,)
            found[name] = (wide / scale[:, None]).round().to(torch.int8).view(tensor.shape)
            found[name + SCALE] = scale
        else:
            found[name] = tensor.bfloat16().contiguous()
    return found


def unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file in fp32, whichever of them are packed."""
    return {
        name: tensor.float() * _rows(tensors[name + SCALE], tensor) if tensor.dtype == torch.int8 else tensor.float()
        for name, tensor in tensors.items()
        if not (name.endswith(SCALE) and tensors.get(name.removesuffix(SCALE), tensor).dtype == torch.int8)
    }


def _rows(scale: Tensor, tensor: Tensor) -> Tensor:
    """Row scales, shaped to multiply a tensor."""
    return scale.view(-1, *(1 for _ in range(tensor.ndim - 1)))
