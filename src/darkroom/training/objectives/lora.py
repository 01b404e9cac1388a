"""Training low-rank branches beside a denoiser's layers, and beside its text encoder's, by rectified flow.

The networks stay as they are: y = W x + up(down x), and only the branches are learned (LoRA, arXiv:2106.09685, eq. 3).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darkroom.control.adapters import Branch, layers_of
from darkroom.nn.attention import product
from darkroom.training.objective import Parts
from darkroom.training.objectives.diffusion import DiffusionObjective, DiffusionTraining
from darkroom.training.objectives.text import WORDS

LORA = "lora"  # the hand-over's file, and the objective
UNLEARNED = ".into"  # the widest layers: with branches there an adapter costs .31 of a picture, without .19


class Beside(nn.Module):
    """A linear layer that stays, and the branch beside it; at first it adds nothing."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.layer = layer
        self.down = nn.Parameter(torch.randn(rank, layer.in_features) * layer.in_features**-0.5)
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + F.linear(product(x, self.down), self.up)


def branched(module: DiffusionTraining, rank: int) -> DiffusionTraining:
    """Puts branches beside the layers of denoiser and text encoder; all else of the module is no parameter any more."""
    _freeze(module)
    for network in (module.denoiser, module.text):
        for path in (path for path in layers_of(network) if not path.endswith(UNLEARNED)):
            name, _, last = path.rpartition(".")
            parent = network.get_submodule(name)
            layer = parent.get_submodule(last)
            assert isinstance(layer, nn.Linear)
            setattr(parent, last, Beside(layer, rank))
    return module


def _freeze(module: nn.Module) -> None:
    """Makes buffers of a module's parameters: they move with it and are not trained."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, parameter.detach())


def branches_of(weights: Mapping[str, Tensor]) -> dict[str, dict[str, Branch]]:
    """The branches among a run's weights: part of the model, path of the layer, branch."""
    found: dict[str, dict[str, Branch]] = defaultdict(dict)
    for name, up in weights.items():
        if name.endswith(".up"):
            part, path = name.removesuffix(".up").split(".", 1)
            found[part][path] = Branch(weights[f"{part}.{path}.down"], up)
    return found


class LoraObjective(DiffusionObjective):
    """Rectified flow with branches as all that is learned; the oracle head has no part in it."""

    name = LORA

    def __init__(self, *rest: Any, beside: Mapping[str, str], rank: int, **more: Any) -> None:
        """``beside`` are fingerprints of the networks that stay, which no checkpoint holds; the rest is as for any
        denoiser."""
        super().__init__(*rest, **more)
        self.beside, self.rank = dict(beside), rank

    def config(self) -> dict[str, Any]:
        return {**super().config(), "beside": self.beside, "rank": self.rank}

    def parts(self) -> Parts:
        networks = {"denoiser": self.settings.network, "text": self.settings.text}
        return Parts({LORA: ""}, networks, {WORDS: self.teaching.tokenizer.to_json()})
