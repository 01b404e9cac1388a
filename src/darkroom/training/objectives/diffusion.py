"""Training the latent denoiser, with its text encoder, by rectified flow.

x = (1 - t) x0 + t noise, and the network learns the velocity noise - x0 (arXiv:2209.03003; arXiv:2403.03206 eq. 13).
An oracle head on an early block learns which concept covers each patch and how much of it, which the composer knows:
representation alignment (arXiv:2410.06940) with the truth in place of a foreign network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from darkroom.data.loader import SceneBatch, Scenes
from darkroom.data.scenes.compose import PATCHES, Composed
from darkroom.nn.autoencoder import Autoencoder
from darkroom.nn.dit import Denoiser, DenoiserConfig
from darkroom.nn.text import TextConfig, TextEncoder, pooled
from darkroom.prompt.encoders import tokenised
from darkroom.training.compiled import compiled
from darkroom.training.objectives.text import composer_settings
from darkroom.wording.tokenizer import Tokenizer
from darkroom.wording.vocabulary import core

BINS = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)  # times between which the loss is logged apart


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
    oracle: float = 0.2  # weight of the oracle head
    oracle_until: float = 0.65  # share of the run's samples after which it is off


class Oracle(nn.Module):
    """Reads concept and coverage of each patch off the tokens of an early block; training only."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, len(core()) + 2))

    def forward(self, tokens: Float[Tensor, "b n d"]) -> tuple[Float[Tensor, "b n concepts"], Float[Tensor, "b n"]]:
        """Logits of the concepts (the last one is ground) and of the coverage."""
        out = self.layers(tokens)
        return out[..., :-1], out[..., -1]


class DiffusionTraining(nn.Module):
    """Denoiser, text encoder and oracle head, as one forward pass that can be compiled."""

    def __init__(self, network: DenoiserConfig, text: TextConfig) -> None:
        super().__init__()
        self.denoiser = Denoiser(network)
        self.text = TextEncoder(text)
        self.oracle = Oracle(network.width)
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


class DiffusionObjective:
    """Rectified flow on latents of composed scenes; see the module's first lines."""

    name = "diffusion"

    def __init__(
        self,
        module: DiffusionTraining,
        config: DiffusionObjectiveConfig,
        scenes: Scenes,
        tokenizer: Tokenizer,
        autoencoder: Autoencoder,
        *,
        total: int,
        compiled: bool = False,
        batches: Callable[[int, int], SceneBatch] | None = None,
        show: Callable[[DiffusionTraining, Path], None] | None = None,
    ) -> None:
        """``total`` is the run's samples (the oracle head is switched off by it); ``show`` None writes no previews.

        ``compiled`` compiles the network at its first step, where the machine can. ``batches`` gives the batches of
        ``scenes`` in another way (made ahead by other processes); None asks ``scenes`` itself.
        """
        self.module, self.settings, self.scenes, self.tokenizer = module, config, scenes, tokenizer
        self.batches = batches or scenes
        self.autoencoder = autoencoder.eval().requires_grad_(False)
        self.total = total
        self.show = show
        self._forward: Callable[..., Any] | None = None if compiled else module

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.module.denoiser.out.weight.device

    def config(self) -> dict[str, Any]:
        return {**asdict(self.settings), "tokenizer": self.tokenizer.sha256, "composer": composer_settings(self.scenes)}

    def loss(self, first: int, count: int, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        settings = self.settings
        batch = self.batches(first, count)
        composed = Composed(*(tensor.to(self.device) for tensor in batch.composed))
        dropped = torch.rand(count, generator=generator) < settings.caption_drop
        captions = ["" if drop else text for text, drop in zip(batch.captions, dropped.tolist(), strict=True)]
        t = self._times(count, generator)
        x0 = self._latents(composed.pixels)
        noise = torch.randn(x0.shape, generator=generator).to(x0.device)
        device, dtype = x0.device, self.module.denoiser.out.weight.dtype
        t = t.to(device)
        level = t[:, None, None, None]
        x = ((1 - level) * x0 + level * noise).to(dtype)
        ids, characters, mask = tokenised(self.tokenizer, captions, settings.length).to(device)
        if self._forward is None:
            self._forward = compiled(self.module, x, t, ids, characters, mask)
        velocity, concept, coverage = self._forward(x, t, ids, characters, mask)
        error = (velocity.float() - (noise - x0)).square().mean((1, 2, 3))  # (B,)
        loss = error.mean()
        metrics = {"flow": _pair(error), **_by_time(error.detach(), t)}
        if first < settings.oracle_until * self.total:
            truth = composed.concept.flatten(1)
            truth = torch.where(truth < 0, concept.shape[-1] - 1, truth)
            named = F.cross_entropy(concept.float().flatten(0, 1), truth.flatten())
            covered = F.binary_cross_entropy_with_logits(coverage.float(), composed.coverage.flatten(1).clamp(0, 1))
            loss = loss + settings.oracle * (named + covered)
            metrics["oracle"] = _pair(named[None])
        return loss, metrics

    def _times(self, count: int, generator: torch.Generator) -> Tensor:
        """Logit-normal times (arXiv:2403.03206, section 3.1) with a share of uniform ones."""
        normal = torch.randn(count, generator=generator) * self.settings.time_deviation + self.settings.time_mean
        uniform = torch.rand(count, generator=generator)
        flat = torch.rand(count, generator=generator) < self.settings.uniform_share
        return torch.where(flat, uniform, normal.sigmoid())

    def _latents(self, pixels: Tensor) -> Tensor:
        dtype = next(self.autoencoder.parameters()).dtype
        with torch.no_grad():
            return self.autoencoder.encode(pixels.to(dtype, memory_format=torch.channels_last)).float().contiguous()

    def preview(self, path: Path) -> None:
        if self.show is not None:
            self.show(self.module, path)

    def finish(self) -> Mapping[str, Tensor]:
        return {}


def _pair(values: Tensor) -> Tensor:
    """(sum, count) of values, for the log."""
    values = values.detach()
    return torch.stack([values.sum(), values.new_tensor(float(values.numel()))])


def _by_time(error: Tensor, t: Tensor) -> dict[str, Tensor]:
    """The loss between the times of BINS."""
    found = {}
    for low, high in pairwise(BINS):
        inside = (t >= low) & (t < high if high < 1 else t <= high)
        found[f"t {low:g}-{high:g}"] = torch.stack([(error * inside).sum(), inside.sum().float()])
    return found


assert PATCHES == 8  # the oracle's grid is the token grid of a 128 px picture
