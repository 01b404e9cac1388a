"""Training the latent denoiser, with its text encoder, by rectified flow.

x = (1 - t) x0 + t noise, and the network learns the velocity noise - x0 (arXiv:2209.03003; arXiv:2403.03206 eq. 13).
An oracle head on an early block learns which concept covers each patch and how much of it, which the composer knows:
representation alignment (arXiv:2410.06940) with the truth in place of a foreign network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from darkroom.contracts.card import Defaults
from darkroom.data.ahead import Ahead
from darkroom.data.scenes.compose import PATCHES
from darkroom.nn.autoencoder import Autoencoder
from darkroom.nn.dit import Denoiser, DenoiserConfig
from darkroom.nn.text import TextConfig, TextEncoder, pooled
from darkroom.training.compiled import compiled
from darkroom.training.objective import Parts
from darkroom.training.objectives.latents import LatentObjective, Taught, Teaching, by_time, noised, summed
from darkroom.wording.vocabulary import core

IGNORED = -100  # a concept younger than the run; cross_entropy's word for it
DEFAULTS = Defaults(width=128, height=128, steps=12, sampler="dpmpp-2m", guidance=3.5)  # of a model of such a run


@dataclass(frozen=True)
class DiffusionObjectiveConfig:
    """Shares and weights. ``uniform_share`` of the times are uniform, the rest logit-normal around ``time_mean``."""

    network: DenoiserConfig = field(default_factory=DenoiserConfig)
    text: TextConfig = field(default_factory=TextConfig)
    length: int = 32  # tokens a caption is padded to
    caption_drop: float = 0.1
    uniform_share: float = 0.25  # the caption decides where t > .95: those times must be trained too
    time_mean: float = 0.3
    time_deviation: float = 1.0
    concepts: int = 357  # that the oracle head tells apart; as many as there were before runs said so
    oracle: float = 0.2  # weight of the oracle head
    oracle_until: float = 0.65  # share of the run's samples after which it is off


class Oracle(nn.Module):
    """Reads concept and coverage of each patch off the tokens of an early block; training only."""

    def __init__(self, width: int, concepts: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, concepts + 2))

    def forward(self, tokens: Float[Tensor, "b n d"]) -> tuple[Float[Tensor, "b n concepts"], Float[Tensor, "b n"]]:
        """Logits of the concepts (the last one is ground) and of the coverage."""
        out = self.layers(tokens)
        return out[..., :-1], out[..., -1]


class DiffusionTraining(nn.Module):
    """Denoiser, text encoder and oracle head, as one forward pass that can be compiled."""

    def __init__(self, network: DenoiserConfig, text: TextConfig, concepts: int | None = None) -> None:
        """``concepts`` that the oracle head tells apart; None: those of the core vocabulary as it is today."""
        super().__init__()
        self.denoiser = Denoiser(network)
        self.text = TextEncoder(text)
        self.oracle = Oracle(network.width, len(core()) if concepts is None else concepts)
        self.tap = max(0, network.depth // 3)

    def forward(
        self, x: Tensor, t: Tensor, ids: Tensor, characters: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Velocity (B, C, H, W), concept logits (B, N, concepts + 1) and coverage logits (B, N)."""
        tokens = self.text(ids, characters, mask)
        condition = self.denoiser.condition(t, pooled(tokens, mask))
        velocity, tapped = self.denoiser(x, condition, self.denoiser.text_keys(tokens), mask, tap=self.tap)
        concept, coverage = self.oracle(tapped)
        return velocity, concept, coverage


class DiffusionObjective(LatentObjective):
    """Rectified flow on latents of pictures; see the module's first lines."""

    name = "diffusion"
    DEFAULTS = DEFAULTS

    def __init__(
        self,
        module: DiffusionTraining,
        config: DiffusionObjectiveConfig,
        teaching: Teaching,
        autoencoder: Autoencoder,
        *,
        total: int,
        compiled: bool = False,
        ahead: Ahead[Taught] | None = None,
    ) -> None:
        """``total`` is the run's samples: the oracle head is switched off by it.

        ``compiled`` compiles the network at its first step, where the machine can. ``ahead`` makes the batches of
        ``teaching`` in other processes; None: they are made when they are needed.
        """
        super().__init__(config, teaching, autoencoder, ahead)
        self.module: DiffusionTraining = module
        self.settings, self.total = config, total
        self._forward: Callable[..., Any] | None = None if compiled else module

    @property
    def denoiser(self) -> Denoiser:
        return self.module.denoiser

    @property
    def text(self) -> TextEncoder:
        return self.module.text

    def parts(self) -> Parts:
        parts = super().parts()
        return replace(parts, weights={**parts.weights, "oracle": "oracle."})

    def loss(self, first: int, count: int, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        settings = self.settings
        composed, tokens, *_ = self.taught(first, count, generator)
        t = drawn_times(settings, count, generator).to(self.device)
        x0, noise = self.mixed(composed.pixels, generator)
        x = noised(x0, noise, t).to(self.denoiser.out.weight.dtype)
        if self._forward is None:
            self._forward = compiled(self.module, x, t, *tokens)
        velocity, concept, coverage = self._forward(x, t, *tokens)
        error = (velocity.float() - (noise - x0)).square().mean((1, 2, 3))  # (B,)
        loss = error.mean()
        metrics = {"flow": summed(error), **by_time(error.detach(), t)}
        if settings.oracle and first < settings.oracle_until * self.total:
            ground = concept.shape[-1] - 1
            truth = composed.concept.flatten(1)
            truth = torch.where(truth >= ground, IGNORED, torch.where(truth < 0, ground, truth))
            named = F.cross_entropy(concept.float().flatten(0, 1), truth.flatten())
            covered = F.binary_cross_entropy_with_logits(coverage.float(), composed.coverage.flatten(1).clamp(0, 1))
            loss = loss + settings.oracle * (named + covered)
            metrics["oracle"] = summed(named[None])
        return loss, metrics


def drawn_times(settings: DiffusionObjectiveConfig, count: int, generator: torch.Generator) -> Tensor:
    """Logit-normal times (arXiv:2403.03206, section 3.1) with a share of uniform ones."""
    normal = torch.randn(count, generator=generator) * settings.time_deviation + settings.time_mean
    uniform = torch.rand(count, generator=generator)
    flat = torch.rand(count, generator=generator) < settings.uniform_share
    return torch.where(flat, uniform, normal.sigmoid())


assert PATCHES == 8  # the oracle's grid is the token grid of a 128 px picture
