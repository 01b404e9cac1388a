"""Training the latent denoiser, with its text encoder, by rectified flow.

x = (1 - t) x0 + t noise, and the network learns the velocity noise - x0 (arXiv:2209.03003; arXiv:2403.03206 eq. 13).
An oracle head on an early block learns which concept covers each patch and how much of it, which the composer knows:
representation alignment (arXiv:2410.06940) with the truth in place of a foreign network.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from darkroom.contracts.card import Card, Defaults
from darkroom.contracts.prompt import Prompt
from darkroom.contracts.request import Request
from darkroom.data.ahead import Ahead, mapped
from darkroom.data.imported import ImportedPictures
from darkroom.data.loader import Scenes
from darkroom.data.scenes.compose import PATCHES, Composed
from darkroom.engine import Engine
from darkroom.generate import asked
from darkroom.model import assembled
from darkroom.nn.autoencoder import Autoencoder
from darkroom.nn.config import defaults_of
from darkroom.nn.dit import Denoiser, DenoiserConfig
from darkroom.nn.text import TextConfig, TextEncoder, pooled
from darkroom.picture.image import Image
from darkroom.picture.sheet import contact_sheet
from darkroom.picture.write import write
from darkroom.prompt.encoders import TokenBatch, tokenised
from darkroom.training.compiled import compiled
from darkroom.training.objective import Objective, Parts
from darkroom.training.objectives.text import WORDS
from darkroom.wording.tokenizer import Tokenizer
from darkroom.wording.vocabulary import core

Pictures = Scenes | ImportedPictures  # captioned pictures by sample number
IGNORED = -100  # a concept younger than the run; cross_entropy's word for it
SHOWN = 8  # pictures of a preview
DEFAULTS = Defaults(width=128, height=128, steps=12, sampler="dpmpp-2m", guidance=3.5)  # of a model of such a run
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


class Taught(NamedTuple):
    """Pictures as a step takes them: what they show, their captions read, and what covers each patch."""

    composed: Composed
    tokens: TokenBatch


class Teaching:
    """Pictures with their captions read, by sample number: what can be made ahead."""

    def __init__(
        self, pictures: Pictures, tokenizer: Tokenizer, length: int, dtype: torch.dtype = torch.float32
    ) -> None:
        """Captions are padded to ``length`` tokens; ``dtype`` is the pictures': the codec's is half the size."""
        self.pictures, self.tokenizer, self.length, self.dtype = pictures, tokenizer, length, dtype

    def __call__(self, first: int, count: int) -> Taught:
        """Samples first .. first + count - 1."""
        batch = self.pictures(first, count)
        composed = batch.composed._replace(pixels=batch.composed.pixels.to(self.dtype))
        return Taught(composed, tokenised(self.tokenizer, batch.captions, self.length))


class DiffusionObjective(Objective):
    """Rectified flow on latents of pictures; see the module's first lines."""

    name = "diffusion"

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
        self.module: DiffusionTraining = module
        self.settings, self.teaching, self.ahead = config, teaching, ahead
        self.autoencoder = autoencoder.eval().requires_grad_(False)
        self.total = total
        self._forward: Callable[..., Any] | None = None if compiled else module

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.module.denoiser.out.weight.device

    def config(self) -> dict[str, Any]:
        told = {"tokenizer": self.teaching.tokenizer.sha256, "composer": self.teaching.pictures.settings()}
        return {**asdict(self.settings), **told}

    def defaults(self) -> dict[str, Any]:
        return {**defaults_of(self.settings), "composer": self.teaching.pictures.defaults()}

    def parts(self) -> Parts:
        networks = {"denoiser": self.settings.network, "text": self.settings.text}
        weights = {"denoiser": "denoiser.", "text": "text.", "oracle": "oracle."}
        return Parts(weights, networks, {WORDS: self.teaching.tokenizer.to_json()})

    def close(self) -> None:
        if self.ahead is not None:
            self.ahead.close()

    def loss(self, first: int, count: int, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        settings = self.settings
        batch = (self.ahead or self.teaching)(first, count)
        composed, tokens = mapped(lambda tensor: tensor.to(self.device, non_blocking=True), batch)
        dropped = torch.rand(count, generator=generator) < settings.caption_drop
        ids, characters, mask = self._said(tokens, dropped.to(self.device))
        t = self._times(count, generator)
        x0 = self._latents(composed.pixels)
        noise = torch.randn(x0.shape, generator=generator).to(x0.device)
        dtype = self.module.denoiser.out.weight.dtype
        t = t.to(x0.device)
        level = t[:, None, None, None]
        x = ((1 - level) * x0 + level * noise).to(dtype)
        if self._forward is None:
            self._forward = compiled(self.module, x, t, ids, characters, mask)
        velocity, concept, coverage = self._forward(x, t, ids, characters, mask)
        error = (velocity.float() - (noise - x0)).square().mean((1, 2, 3))  # (B,)
        loss = error.mean()
        metrics = {"flow": _pair(error), **_by_time(error.detach(), t)}
        if settings.oracle and first < settings.oracle_until * self.total:
            ground = concept.shape[-1] - 1
            truth = composed.concept.flatten(1)
            truth = torch.where(truth >= ground, IGNORED, torch.where(truth < 0, ground, truth))
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

    def _said(self, tokens: TokenBatch, dropped: Tensor) -> TokenBatch:
        """The captions, but for those dropped, which say nothing."""
        nothing = tokenised(self.teaching.tokenizer, [""], self.teaching.length).to(dropped.device)
        pairs = zip(nothing, tokens, strict=True)
        return TokenBatch(*(torch.where(dropped.view(-1, *[1] * (b.ndim - 1)), a, b) for a, b in pairs))

    def _latents(self, pixels: Tensor) -> Tensor:
        dtype = next(self.autoencoder.parameters()).dtype
        with torch.no_grad():
            return self.autoencoder.encode(pixels.to(dtype, memory_format=torch.channels_last)).float().contiguous()

    def preview(self, path: Path) -> None:
        """What the run's first captions look like now, drawn as a model of it would draw them."""
        captions = self.teaching.pictures(0, SHOWN).captions
        card = Card(name="preview", family="diffusion", licence="unknown", defaults=DEFAULTS)
        text, autoencoder = copy.deepcopy(self.module.text).cpu(), copy.deepcopy(self.autoencoder).cpu()
        denoiser = copy.deepcopy(self.module.denoiser).cpu()  # drawing is on the CPU
        model = assembled(card, self.teaching.tokenizer, text, autoencoder, denoiser)
        tasks = (asked(Request(prompt=Prompt(text=said), seed=i), model) for i, said in enumerate(captions))
        drawn = Engine[Image](model.evaluate).ended(tasks)
        grey = np.full((DEFAULTS.height, DEFAULTS.width, 3), 128, np.uint8)  # numbers that overflowed
        pictures = [image.pixels if isinstance(image, Image) else grey for image in drawn]
        write(contact_sheet(pictures, captions, columns=4), path)


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
