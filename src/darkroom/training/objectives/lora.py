"""Training low-rank branches beside a denoiser's layers, and beside its text encoder's, by rectified flow.

The networks stay as they are: y = W x + up(down x), and only the branches are learned (LoRA, arXiv:2106.09685, eq. 3),
or with them how long each row of W + up down is (DoRA, arXiv:2402.09353, eq. 5).
"""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darkroom.contracts.files import publish
from darkroom.control.adapters import Branch, layers_of
from darkroom.data.imported import Imported
from darkroom.nn.attention import product
from darkroom.prompt.encoders import tokenised
from darkroom.training.objective import Parts
from darkroom.training.objectives.diffusion import DiffusionObjective, DiffusionTraining
from darkroom.training.objectives.latents import noised
from darkroom.training.objectives.text import WORDS

LORA = "lora"  # the hand-over's file, and the objective
UNLEARNED = ".into"  # the widest layers: with branches there an adapter costs .31 of a picture, without .19
Variant = Literal["lora", "dora"]
LOOKS = "looks.jsonl"  # beside the previews
LOOKED_AT = 48  # pictures of a look
TIMES = (0.35, 0.6, 0.85)  # of a look: where forms and strokes are decided
WORSE = 0.01  # of the least loss on what was kept back: so much more, and it copies


class Beside(nn.Module):
    """A linear layer that stays, and the branch beside it; at first it changes nothing."""

    def __init__(self, layer: nn.Linear, rank: int, variant: Variant = "lora") -> None:
        super().__init__()
        self.layer = layer
        self.down = nn.Parameter(torch.randn(rank, layer.in_features) * layer.in_features**-0.5)
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank))
        self.stretch = nn.Parameter(torch.zeros(layer.out_features)) if variant == "dora" else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x) + F.linear(product(x, self.down), self.up)
        if self.stretch is None:
            return y
        weight = self.layer.weight.float()
        with torch.no_grad():  # a constant to the gradient (arXiv:2402.09353, section 4.3)
            relative = weight.norm(dim=1) / (weight + self.up.float() @ self.down.float()).norm(dim=1)
        return y * ((1 + self.stretch.float()) * relative).to(y.dtype)


def branched(module: DiffusionTraining, rank: int, variant: Variant = "lora") -> DiffusionTraining:
    """Puts branches beside the layers of denoiser and text encoder; all else of the module is no parameter any more."""
    freeze(module)
    for network in (module.denoiser, module.text):
        put_beside(network, rank, variant)
    return module


def put_beside(network: nn.Module, rank: int, variant: Variant = "lora", *, without: tuple[str, ...] = ()) -> None:
    """Puts branches beside a network's layers but the widest, and those whose names end in one of ``without``."""
    for path in (path for path in layers_of(network) if not path.endswith((UNLEARNED, *without))):
        name, _, last = path.rpartition(".")
        parent = network.get_submodule(name)
        layer = parent.get_submodule(last)
        assert isinstance(layer, nn.Linear)
        setattr(parent, last, Beside(layer, rank, variant))


def freeze(module: nn.Module) -> None:
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


def magnitudes_of(
    weights: Mapping[str, Tensor], beside: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, dict[str, Tensor]]:
    """How long the rows of each layer have become: part of the model, path of the layer, magnitudes; empty: of a LoRA.

    ``weights`` are a run's, and ``beside`` those of the networks that stayed, by their parts.
    """
    found: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, stretch in weights.items():
        if name.endswith(".stretch"):
            part, path = name.removesuffix(".stretch").split(".", 1)
            found[part][path] = beside[part][f"{path}.weight"].float().norm(dim=1) * (1 + stretch.float())
    return found


class LoraObjective(DiffusionObjective):
    """Rectified flow with branches as all that is learned; the oracle head has no part in it."""

    name = LORA

    def __init__(
        self,
        *rest: Any,
        own: Imported,
        kept: Imported | None,
        beside: Mapping[str, str],
        rank: int,
        variant: Variant = "lora",
        **more: Any,
    ) -> None:
        """``own`` are the pictures it learns from and ``kept`` others, kept back to tell when it learns those by heart.

        ``beside`` are fingerprints of the networks that stay, which no checkpoint holds; the rest is as for any
        denoiser.
        """
        super().__init__(*rest, **more)
        self.own, self.kept, self.beside, self.rank, self.variant = own, kept, dict(beside), rank, variant

    def config(self) -> dict[str, Any]:
        return {**super().config(), "beside": self.beside, "rank": self.rank, "variant": self.variant}

    def defaults(self) -> dict[str, Any]:
        return {**super().defaults(), "variant": "lora"}

    def parts(self) -> Parts:
        networks = {"denoiser": self.settings.network, "text": self.settings.text}
        return Parts({LORA: ""}, networks, {WORDS: self.teaching.tokenizer.to_json()})

    def preview(self, path: Path) -> None:
        """The sheet, and beside it a look at whether it learns by heart; says so once it does."""
        super().preview(path)
        if self.kept is None:
            return
        looks = path.with_name(LOOKS)
        lines = looks.read_text(encoding="utf-8").splitlines() if looks.exists() else []
        new = Look(int(path.stem), self.loss_on(self.own), self.loss_on(self.kept))
        before = [look for look in (Look(**json.loads(line)) for line in lines) if look.samples < new.samples]
        publish("".join(json.dumps(look._asdict()) + "\n" for look in (*before, new)).encode(), looks)
        if (best := copying([*before, new])) is not None and copying(before) is None:
            warnings.warn(
                f"since sample {best:,} it learns these very pictures and not what they have in common: it begins to "
                f"copy. Stop it here, or train it anew with --samples {best}",
                stacklevel=2,
            )

    def loss_on(self, pictures: Imported) -> float:
        """The loss on pictures at a few fixed times, the noise the same at every look."""
        count = min(LOOKED_AT, len(pictures.captions))
        tokens = tokenised(self.teaching.tokenizer, pictures.captions[:count], self.teaching.length).to(self.device)
        draw = torch.Generator().manual_seed(0)
        losses = []
        for time in TIMES:
            x0, noise = self.mixed((pictures.pixels[:count].float() / 255).to(self.device), draw)
            t = torch.full((count,), time, device=self.device)
            velocity = self.module(noised(x0, noise, t).to(self.denoiser.out.weight.dtype), t, *tokens)[0]
            losses.append((velocity.float() - (noise - x0)).square().mean())
        return round(torch.stack(losses).mean().item(), 5)


class Look(NamedTuple):
    """One look at a run: after how many samples, and the losses on what it learns from and on what was kept back."""

    samples: int
    seen: float
    kept: float


def copying(looks: Sequence[Look]) -> int | None:
    """The samples after which a run only learns its pictures by heart, where it has come that far.

    That is so where the loss on those kept back was over its least at two looks one after the other, by WORSE at the
    second, while that on those it learns from was under what it was then.
    """
    for at in range(2, len(looks)):
        best = min(looks[: at - 1], key=lambda look: look.kept)
        first, second = looks[at - 1 : at + 1]
        if first.kept > best.kept and second.kept > (1 + WORSE) * best.kept and second.seen < best.seen:
            return best.samples
    return None
