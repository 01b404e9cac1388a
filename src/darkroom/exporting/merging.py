"""Adapters within weights: W + s B A in place of W, so that a picture needs no adapter any more (arXiv:2106.09685).

While pictures are drawn adapters stay beside the weights; merging is for a model that leaves. All that is added to a
layer is of its weights as they were, so the order of adapters does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from darkroom.control.adapters import Branch as OwnBranch
from darkroom.nn.public.branches import Branch


def merged_own(
    weights: Mapping[str, Tensor], worn: Sequence[tuple[Mapping[str, OwnBranch], float]]
) -> dict[str, Tensor]:
    """The weights of a network of ours, by name, with LoRAs and DoRAs in them, each as strongly as its number says.

    A layer's (outer, inner) weight W becomes W + s (g W + up down), its bias b + s g b, with g the gain of a DoRA
    (arXiv:2402.09353, eq. 5). In fp32.
    """
    found = dict(weights)
    for branches, scale in worn:
        for layer, branch in branches.items():
            weight = weights[f"{layer}.weight"].float()
            added = branch.up.float() @ branch.down.float()
            if branch.gain is not None:
                gain = branch.gain.float()
                added = added + gain[:, None] * weight
                if (bias := weights.get(f"{layer}.bias")) is not None:
                    found[f"{layer}.bias"] = found[f"{layer}.bias"].float() + scale * gain * bias.float()
            found[f"{layer}.weight"] = found[f"{layer}.weight"].float() + scale * added
    return found


def merged(weights: Mapping[str, Tensor], worn: Sequence[tuple[Mapping[str, Branch], float]]) -> dict[str, Tensor]:
    """The weights of a public network, by name, with LoRAs in them, each as strongly as its number says. In fp32.

    A convolution (out, in, h, w) gets the one kernel that its two of few channels are.
    """
    found = dict(weights)
    for branches, scale in worn:
        for layer, branch in branches.items():
            weight = found[f"{layer}.weight"].float()
            down, up = branch.down.float(), branch.up.float()
            added = torch.einsum("or,ri->oi", up.flatten(1), down.flatten(1)).view(weight.shape)
            found[f"{layer}.weight"] = weight + scale * branch.scale * added
    return found
