"""What objectives share that teach a denoiser: captioned pictures as latents, noise, what is handed over and shown."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from darkroom.contracts.card import Card, Defaults
from darkroom.contracts.prompt import Prompt, escaped
from darkroom.contracts.request import Request
from darkroom.data.ahead import Ahead, mapped
from darkroom.data.imported import ImportedPictures
from darkroom.data.loader import Scenes
from darkroom.data.scenes.compose import Composed
from darkroom.engine import Engine
from darkroom.generate import asked
from darkroom.model import assembled
from darkroom.nn.autoencoder import Autoencoder
from darkroom.nn.config import defaults_of
from darkroom.nn.dit import Denoiser, DenoiserConfig
from darkroom.nn.text import TextConfig, TextEncoder
from darkroom.picture.image import Image
from darkroom.picture.sheet import contact_sheet
from darkroom.picture.write import write
from darkroom.prompt.encoders import TokenBatch, tokenised
from darkroom.training.objective import Objective, Parts
from darkroom.training.objectives.text import WORDS
from darkroom.wording.tokenizer import Tokenizer

Pictures = Scenes | ImportedPictures  # captioned pictures by sample number
SHOWN = 8  # pictures of a preview
BINS = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)  # times between which the loss is logged apart


class Seen(NamedTuple):
    """Reference pictures, SEEN a side, what is kept of each, and that in words."""

    pixels: Tensor
    keeps: Tensor
    words: TokenBatch


class Taught(NamedTuple):
    """Pictures as a step takes them: what they show, their captions read, and their control maps or reference pictures;
    None: there are none."""

    composed: Composed
    tokens: TokenBatch
    maps: Tensor | None = None
    seen: Seen | None = None


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


@runtime_checkable
class LatentSettings(Protocol):
    """What of an objective's settings the shared part reads."""

    @property
    def network(self) -> DenoiserConfig: ...
    @property
    def text(self) -> TextConfig: ...
    @property
    def caption_drop(self) -> float: ...


class LatentObjective(Objective):
    """A denoiser taught on noised latents of captioned pictures."""

    DEFAULTS: ClassVar[Defaults]  # of a model of such a run

    def __init__(
        self,
        settings: LatentSettings,
        teaching: Teaching,
        autoencoder: Autoencoder,
        ahead: Ahead[Taught] | None = None,
    ) -> None:
        """``ahead`` makes the batches of ``teaching`` in other processes; None: they are made when they are needed."""

        self.shared, self.teaching, self.ahead = settings, teaching, ahead
        self.autoencoder = autoencoder.eval().requires_grad_(False)

    @property
    @abstractmethod
    def denoiser(self) -> Denoiser: ...

    @property
    @abstractmethod
    def text(self) -> TextEncoder: ...

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.denoiser.out.weight.device

    def config(self) -> dict[str, Any]:
        told = {"tokenizer": self.teaching.tokenizer.sha256, "composer": self.teaching.pictures.settings()}
        return {**asdict(self.shared), **told}  # type: ignore[call-overload]

    def defaults(self) -> dict[str, Any]:
        return {**defaults_of(self.shared), "composer": self.teaching.pictures.defaults()}

    def parts(self) -> Parts:
        networks = {"denoiser": self.shared.network, "text": self.shared.text}
        return Parts({"denoiser": "denoiser.", "text": "text."}, networks, {WORDS: self.teaching.tokenizer.to_json()})

    def close(self) -> None:
        if self.ahead is not None:
            self.ahead.close()

    def taught(self, first: int, count: int, generator: torch.Generator) -> Taught:
        """A step's pictures and captions on the device, some of the captions dropped: they say nothing."""
        made = (self.ahead or self.teaching)(first, count)
        batch: Taught = mapped(lambda tensor: tensor.to(self.device, non_blocking=True), made)
        dropped = torch.rand(count, generator=generator) < self.shared.caption_drop
        pairs = zip(self.nothing(), batch.tokens, strict=True)
        said = (torch.where(dropped.to(b.device).view(-1, *[1] * (b.ndim - 1)), a, b) for a, b in pairs)
        return batch._replace(tokens=TokenBatch(*said))

    def nothing(self) -> TokenBatch:
        """The caption that says nothing, one row."""
        return tokenised(self.teaching.tokenizer, [""], self.teaching.length).to(self.device)

    def mixed(self, pixels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Latents of pictures, and noise to mix them with, fp32."""
        dtype = next(self.autoencoder.parameters()).dtype
        with torch.no_grad():
            x0 = self.autoencoder.encode(pixels.to(dtype, memory_format=torch.channels_last)).float().contiguous()
        return x0, torch.randn(x0.shape, generator=generator).to(x0.device)

    def preview(self, path: Path) -> None:
        """What the run's first captions look like now, drawn as a model of it would draw them."""
        captions = self.teaching.pictures(0, SHOWN).captions
        networks = (self.text, self.autoencoder, self.denoiser)
        write(drawn_sheet(captions, self.teaching.tokenizer, *networks, self.DEFAULTS), path)


def drawn_sheet(
    captions: Sequence[str],
    tokenizer: Tokenizer,
    text: TextEncoder,
    autoencoder: Autoencoder,
    denoiser: Denoiser,
    defaults: Defaults,
) -> np.ndarray:
    """A sheet of what networks in training draw of captions, each with the seed of its place, as a model would."""
    card = Card(name="preview", family="diffusion", licence="unknown", defaults=defaults)
    text, autoencoder = copy.deepcopy(text).cpu(), copy.deepcopy(autoencoder).cpu()  # drawing is on the CPU
    model = assembled(card, tokenizer, text, autoencoder, copy.deepcopy(denoiser).cpu())
    tasks = (asked(Request(prompt=Prompt(text=escaped(said[:1000])), seed=i), model) for i, said in enumerate(captions))
    drawn = Engine[Image](model.evaluate).ended(tasks)
    grey = np.full((defaults.height, defaults.width, 3), 128, np.uint8)  # numbers that overflowed
    pictures = [image.pixels if isinstance(image, Image) else grey for image in drawn]
    return contact_sheet(pictures, captions, columns=4)


def noised(x0: Tensor, noise: Tensor, t: Float[Tensor, " b"]) -> Tensor:
    """x = (1 - t) x0 + t noise, with a time for each row."""
    level = t[:, None, None, None]
    return (1 - level) * x0 + level * noise


def summed(values: Tensor) -> Tensor:
    """(sum, count) of values, for the log."""
    values = values.detach()
    return torch.stack([values.sum(), values.new_tensor(float(values.numel()))])


def by_time(error: Tensor, t: Tensor) -> Mapping[str, Tensor]:
    """The loss between the times of BINS, for the log."""
    found = {}
    for low, high in pairwise(BINS):
        inside = (t >= low) & (t < high if high < 1 else t <= high)
        found[f"t {low:g}-{high:g}"] = torch.stack([(error * inside).sum(), inside.sum().float()])
    return found
