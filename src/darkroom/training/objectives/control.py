"""Training a control: low-rank branches beside a denoiser, and a matrix by which it sees a map's latent.

Both begin as nothing, as the zero convolutions of ControlNet do (arXiv:2302.05543, section 3.1); the map's latent joins
the first tokens, and the branches (arXiv:2106.09685) let the layers make use of it. The words' keys and values have no
branches: they are read once a picture, while a map may act in a part of the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darkroom.control.brought import READ_ONCE
from darkroom.data.ahead import Ahead, mapped
from darkroom.data.loader import Scenes
from darkroom.data.scenes.conditions import control_map, seen_map
from darkroom.nn.autoencoder import Autoencoder
from darkroom.nn.dit import Denoiser, patches
from darkroom.nn.text import TextEncoder, pooled
from darkroom.picture.sheet import contact_sheet
from darkroom.picture.write import write
from darkroom.prompt.encoders import TokenBatch, tokenised
from darkroom.training.compiled import compiled
from darkroom.training.objective import Parts
from darkroom.training.objectives.diffusion import DEFAULTS, DiffusionObjectiveConfig, DiffusionTraining, drawn_times
from darkroom.training.objectives.latents import (
    SHOWN,
    LatentObjective,
    Pictures,
    Taught,
    Teaching,
    by_time,
    noised,
    summed,
)
from darkroom.training.objectives.lora import freeze, put_beside
from darkroom.wording.tokenizer import Tokenizer

STEPS, GUIDANCE = 12, DEFAULTS.guidance  # of a preview
CONTROL = "control"  # the hand-over's file, and the objective


class MapTeaching(Teaching):
    """Captioned pictures with their maps of one kind, by sample number: what can be made ahead."""

    def __init__(self, pictures: Pictures, tokenizer: Tokenizer, length: int, dtype: torch.dtype, kind: str) -> None:
        super().__init__(pictures, tokenizer, length, dtype)
        self.kind = kind

    def __call__(self, first: int, count: int) -> Taught:
        """Samples first .. first + count - 1."""
        batch = self.pictures(first, count)
        pixels = batch.composed.pixels
        if isinstance(self.pictures, Scenes):
            composer = self.pictures.composer
            pairs = zip(batch.scenes, pixels, strict=True)
            maps = [control_map(self.kind, scene, one, composer) for scene, one in pairs]
        else:
            maps = [seen_map(self.kind, one, first + i) for i, one in enumerate(pixels)]
        composed = batch.composed._replace(pixels=pixels.to(self.dtype))
        tokens = tokenised(self.tokenizer, batch.captions, self.length)
        return Taught(composed, tokens, torch.stack(maps).to(self.dtype))


class ControlTraining(nn.Module):
    """Denoiser and text encoder as they are, branches beside the denoiser's layers, and what it sees a map by."""

    def __init__(self, module: DiffusionTraining, rank: int) -> None:
        super().__init__()
        freeze(module)
        self.denoiser, self.text = module.denoiser, module.text
        put_beside(self.denoiser, rank, without=(READ_ONCE,))
        config = self.denoiser.config
        self.sight = nn.Parameter(torch.zeros(config.width, config.channels * config.patch**2))

    def forward(self, x: Tensor, cells: Tensor, t: Tensor, ids: Tensor, characters: Tensor, mask: Tensor) -> Tensor:
        """Velocity (B, C, H, W) of x, given the latents of maps."""
        tokens = self.text(ids, characters, mask)
        condition = self.denoiser.condition(t, pooled(tokens, mask))
        velocity, _ = self.denoiser(x, condition, self.denoiser.text_keys(tokens), mask, seen=self.seen(cells))
        return velocity

    def seen(self, cells: Tensor) -> Tensor:
        """What is added to the first tokens (B, N, width)."""
        return F.linear(patches(cells, self.denoiser.config.patch), self.sight)


class ControlObjective(LatentObjective):
    """Rectified flow given maps, with a control as all that is learned."""

    name = CONTROL
    DEFAULTS = DEFAULTS

    def __init__(
        self,
        module: ControlTraining,
        config: DiffusionObjectiveConfig,
        teaching: MapTeaching,
        autoencoder: Autoencoder,
        *,
        beside: Mapping[str, str],
        rank: int,
        compiled: bool = False,
        ahead: Ahead[Taught] | None = None,
    ) -> None:
        """``beside`` are fingerprints of the networks that stay, which no checkpoint holds; the rest is as for any
        denoiser."""
        super().__init__(config, teaching, autoencoder, ahead)
        self.module: ControlTraining = module
        self.settings, self.maps, self.beside, self.rank = config, teaching, dict(beside), rank
        self._forward: Callable[..., Any] | None = None if compiled else module

    @property
    def denoiser(self) -> Denoiser:
        return self.module.denoiser

    @property
    def text(self) -> TextEncoder:
        return self.module.text

    def config(self) -> dict[str, Any]:
        return {**super().config(), "beside": self.beside, "rank": self.rank, "kind": self.maps.kind}

    def parts(self) -> Parts:
        return replace(super().parts(), weights={CONTROL: ""})

    def loss(self, first: int, count: int, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        taught = self.taught(first, count, generator)
        assert taught.maps is not None
        t = drawn_times(self.settings, count, generator).to(self.device)
        x0, noise = self.mixed(taught.composed.pixels, generator)
        x, cells = noised(x0, noise, t).to(self.denoiser.out.weight.dtype), self._cells(taught.maps)
        if self._forward is None:
            self._forward = compiled(self.module, x, cells, t, *taught.tokens)
        velocity = self._forward(x, cells, t, *taught.tokens)
        error = (velocity.float() - (noise - x0)).square().mean((1, 2, 3))
        return error.mean(), {"flow": summed(error), **by_time(error.detach(), t)}

    def _cells(self, maps: Tensor) -> Tensor:
        """The latents of maps."""
        with torch.no_grad():
            return self.autoencoder.encode(maps.to(memory_format=torch.channels_last)).contiguous()

    def preview(self, path: Path) -> None:
        """Maps, what is drawn along them now, and the pictures they are of."""
        taught: Taught = mapped(lambda tensor: tensor.to(self.device), self.maps(0, SHOWN))
        assert taught.maps is not None
        cells = self._cells(taught.maps)
        nothing = TokenBatch(*(part.expand(SHOWN, *part.shape[1:]) for part in self.nothing()))
        x = torch.randn(cells.shape, generator=torch.Generator().manual_seed(0)).to(self.device)
        times = [1 - i / STEPS for i in range(STEPS + 1)]
        for now, then in pairwise(times):  # Euler's rule, with guidance
            t = torch.full((SHOWN,), now, device=self.device)
            said, unsaid = (self.module(x.to(cells), cells, t, *words).float() for words in (taught.tokens, nothing))
            x = x + (then - now) * (unsaid + GUIDANCE * (said - unsaid))
        rows = (taught.maps.float(), self.autoencoder.decode(x.to(cells)).float(), taught.composed.pixels.float())
        pictures = [
            (one.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy() for row in rows for one in row
        ]
        captions = [what for what in ("map", "drawn", "picture") for _ in range(SHOWN)]
        write(contact_sheet(pictures, captions, columns=SHOWN), path)
