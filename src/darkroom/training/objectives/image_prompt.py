"""Training an image tower: what it makes of a reference picture stands beside the words of a denoiser's caption.

Denoiser and text encoder stay as they are. At first the tower learns with the text encoder alone: to make of a picture
what that makes of the words for what is kept of it, which the composer knows (in the manner of arXiv:2103.00020, with
the vectors themselves for targets: they are what the denoiser can read). That costs no pass of the denoiser. Then it
learns by rectified flow, too (arXiv:2308.06721, eq. 3 and 6): from captions that mostly leave unsaid what is kept, so
that the picture must tell it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from darkroom.contracts.card import IMAGE
from darkroom.contracts.steering import KEEPS
from darkroom.data.ahead import Ahead, mapped
from darkroom.data.references import References
from darkroom.nn.autoencoder import FACTOR, Autoencoder
from darkroom.nn.beside.tower import SEEN, ImageTower, TowerConfig
from darkroom.nn.dit import Denoiser
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
    Seen,
    Taught,
    Teaching,
    by_time,
    noised,
    summed,
)
from darkroom.training.objectives.lora import freeze

IMAGE_PROMPT = "image-prompt"
STEPS, GUIDANCE = 12, DEFAULTS.guidance  # of a preview
FEW = 12  # tokens that the words for what is kept are padded to


@dataclass(frozen=True)
class ReadingConfig:
    """How a tower learns. ``alone`` is the share of the samples from which it learns with the text encoder alone."""

    alone: float = 0.5
    words: float = 0.1  # weight of that lesson afterwards, beside the flow's


class ReferenceTeaching(Teaching):
    """Captioned scenes with a reference picture each, by sample number: what can be made ahead."""

    def __init__(self, taught: Teaching, references: References) -> None:
        super().__init__(taught.pictures, taught.tokenizer, taught.length, taught.dtype)
        self.references = references

    def __call__(self, first: int, count: int) -> Taught:
        """Samples first .. first + count - 1."""
        batch = self.references(first, count)
        composed = batch.scenes.composed
        tokens = tokenised(self.tokenizer, batch.captions, self.length)
        words = tokenised(self.tokenizer, batch.said, FEW)
        seen = batch.references
        if seen.shape[-1] != SEEN:
            seen = F.interpolate(seen, (SEEN, SEEN), mode="bilinear", antialias=True)
        read = Seen(seen.to(self.dtype), torch.tensor(batch.keeps), words)
        return Taught(composed._replace(pixels=composed.pixels.to(self.dtype)), tokens, seen=read)


class ImagePromptTraining(nn.Module):
    """Denoiser and text encoder as they are, and a tower whose vectors stand beside those of the words."""

    def __init__(self, module: DiffusionTraining, tower: TowerConfig) -> None:
        super().__init__()
        freeze(module)
        self.denoiser, self.text = module.denoiser, module.text
        self.tower = ImageTower(tower)

    def forward(
        self, x: Tensor, pixels: Tensor, keeps: Tensor, t: Tensor, ids: Tensor, characters: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Velocity (B, C, H, W) of x, given reference pictures, and what the tower made of those."""
        seen = self.tower(pixels, keeps)
        return self.velocity(x, t, self.text(ids, characters, mask), mask, seen), seen

    def velocity(self, x: Tensor, t: Tensor, words: Tensor, mask: Tensor, seen: Tensor | None) -> Tensor:
        """The denoiser's, given vectors of words, and beside them of pictures; None: of none."""
        if seen is not None:
            words = torch.cat([words, seen], 1)
            mask = torch.cat([mask, mask.new_ones(seen.shape[:2])], 1)
        condition = self.denoiser.condition(t, pooled(words, mask))
        velocity, _ = self.denoiser(x, condition, self.denoiser.text_keys(words), mask)
        return velocity


class ImagePromptObjective(LatentObjective):
    """Words, then rectified flow, with the tower as all that is learned; see the module's first lines."""

    name = IMAGE_PROMPT
    DEFAULTS = DEFAULTS

    def __init__(
        self,
        module: ImagePromptTraining,
        config: DiffusionObjectiveConfig,
        reading: ReadingConfig,
        teaching: ReferenceTeaching,
        autoencoder: Autoencoder,
        *,
        beside: Mapping[str, str],
        total: int,
        compiled: bool = False,
        ahead: Ahead[Taught] | None = None,
    ) -> None:
        """``beside`` are fingerprints of the networks that stay, which no checkpoint holds; ``total`` is the run's
        samples; the rest is as for any denoiser."""
        super().__init__(config, teaching, autoencoder, ahead)
        module.tower.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.module: ImagePromptTraining = module
        self.settings, self.reading, self.references = config, reading, teaching
        self.beside, self.total = dict(beside), total
        self._forward: Callable[..., Any] | None = None if compiled else module

    @property
    def denoiser(self) -> Denoiser:
        return self.module.denoiser

    @property
    def text(self) -> TextEncoder:
        return self.module.text

    def config(self) -> dict[str, Any]:
        told = {"beside": self.beside, "reading": asdict(self.reading), "tower": asdict(self.module.tower.config)}
        return {**super().config(), **told}

    def parts(self) -> Parts:
        return replace(super().parts(), weights={IMAGE: "tower."}, networks={IMAGE: self.module.tower.config})

    def loss(self, first: int, count: int, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        taught = self.taught(first, count, generator)
        assert taught.seen is not None
        pixels, keeps, words = taught.seen
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        if first < self.reading.alone * self.total:
            error = self._read_wrong(self.module.tower(pixels, keeps), words)
            return error.mean(), self._by_kept(error, keeps)
        t = drawn_times(self.settings, count, generator).to(self.device)
        x0, noise = self.mixed(taught.composed.pixels, generator)
        x = noised(x0, noise, t).to(self.denoiser.out.weight.dtype)
        if self._forward is None:
            self._forward = compiled(self.module, x, pixels, keeps, t, *taught.tokens)
        velocity, seen = self._forward(x, pixels, keeps, t, *taught.tokens)
        flow = (velocity.float() - (noise - x0)).square().mean((1, 2, 3))
        error = self._read_wrong(seen, words)
        metrics = {"flow": summed(flow), **by_time(flow.detach(), t), **self._by_kept(error, keeps)}
        return flow.mean() + self.reading.words * error.mean(), metrics

    def _read_wrong(self, seen: Float[Tensor, "b tokens text"], words: TokenBatch) -> Float[Tensor, " b"]:
        """How far what was seen is from what the words come to: mean square, of that of words."""
        with torch.no_grad():
            read = spread_over(self.text(*words).float(), words.mask, seen.shape[1])
        return (seen.float() - read).square().mean((1, 2)) / read.square().mean()

    def _by_kept(self, error: Tensor, keeps: Tensor) -> Mapping[str, Tensor]:
        told = error.detach()
        return {
            f"{keep} words": torch.stack([(told * (keeps == i)).sum(), (keeps == i).sum().float()])
            for i, keep in enumerate(KEEPS)
        }

    def preview(self, path: Path) -> None:
        """References, what is drawn after them now and without them, and the pictures of the captions."""
        taught: Taught = mapped(lambda tensor: tensor.to(self.device), self.references(0, SHOWN))
        assert taught.seen is not None
        pixels, keeps, _ = taught.seen
        seen = self.module.tower(pixels.to(self.denoiser.out.weight.dtype), keeps)
        side = taught.composed.pixels.shape[-1] // FACTOR
        drawn = [self._drawn(taught.tokens, one, side) for one in (seen, None)]
        rows = (pixels, *drawn, taught.composed.pixels)
        pictures = [
            (one.float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy() for row in rows for one in row
        ]
        captions = [what for what in ("reference", "drawn with", "without", "picture") for _ in range(SHOWN)]
        write(contact_sheet(pictures, captions, columns=SHOWN), path)

    def _drawn(self, tokens: TokenBatch, seen: Tensor | None, side: int) -> Tensor:
        """Pictures of captions, ``side`` cells a side, by Euler's rule with guidance, beside vectors of pictures; None:
        beside none."""
        said, mask = self.text(*tokens), tokens.mask
        nothing = TokenBatch(*(part.expand(len(mask), *part.shape[1:]) for part in self.nothing()))
        unsaid = self.text(*nothing)
        shape = (len(mask), self.denoiser.config.channels, side, side)
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(self.device)
        times = [1 - i / STEPS for i in range(STEPS + 1)]
        for now, then in pairwise(times):
            t, at = torch.full((len(mask),), now, device=self.device), x.to(said.dtype)
            plus = self.module.velocity(at, t, said, mask, seen).float()
            minus = self.module.velocity(at, t, unsaid, nothing.mask, None).float()
            x = x + (then - now) * (minus + GUIDANCE * (plus - minus))
        return self.autoencoder.decode(x.to(next(self.autoencoder.parameters()).dtype)).float()


def spread_over(
    words: Float[Tensor, "b n text"], mask: Bool[Tensor, "b n"], count: int
) -> Float[Tensor, "b count text"]:
    """The real tokens of a sentence on so many places, in their order: of few words some stand twice, of many the last
    are left out. To a denoiser, which attends to all of them and knows no places, it is the same sentence."""
    real = mask.sum(1, keepdim=True)  # (B, 1)
    places = torch.arange(count, device=words.device)[None]
    rows = torch.where(real >= count, places, places * real // count)
    return words.gather(1, rows[..., None].expand(-1, -1, words.shape[-1]))
