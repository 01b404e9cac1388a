"""Weights as they ship: large matrices as int8 with one scale a row, everything else in bf16.

int8 is for storage only (its kernels are slower than bf16 on CPU): weights are unpacked when a model is opened.
Rounding to 127 steps of a row's largest weight moves a weight by .4 % of that at most; the sheet is made with it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int8
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
            found[name], found[name + SCALE] = rows_packed(tensor)
        else:
            found[name] = tensor.bfloat16().contiguous()
    return found


def rows_packed(tensor: Float[Tensor, "rows ..."]) -> tuple[Int8[Tensor, "rows ..."], Float[Tensor, " rows"]]:
    """A matrix, or kernels, in int8, and the scale of each row (of kernels: of each output channel) in fp32."""
    wide = tensor.float().flatten(1)
    scale = wide.abs().amax(1).clamp_min(1e-12) / 127
    return (wide / scale[:, None]).round().to(torch.int8).view(tensor.shape), scale


def by_rows(scale: Float[Tensor, " rows"], tensor: Int8[Tensor, "rows ..."]) -> Float[Tensor, "rows ..."]:
    """The numbers of what :func:`rows_packed` packed, in fp32."""
    return tensor * scale.view(-1, *(1 for _ in range(tensor.ndim - 1)))


def unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file in fp32, whichever of them are packed."""
    return {
        name: by_rows(tensors[name + SCALE], tensor) if tensor.dtype == torch.int8 else tensor.float()
        for name, tensor in tensors.items()
        if not (name.endswith(SCALE) and tensors.get(name.removesuffix(SCALE), tensor).dtype == torch.int8)
    }
