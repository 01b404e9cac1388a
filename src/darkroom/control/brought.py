"""What people bring to a model of ours: LoRAs, and controls, which are LoRAs that also see a map.

Each is opened once and known by its hash from then on. Nothing of the model is changed by it: calls name what they are
made with, and pictures that are made with other things, or with none, are drawn at the same time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import torch
from torch import nn

from darkroom.contracts.card import Card
from darkroom.contracts.errors import BadInput
from darkroom.contracts.recipe import FileUse, Recipe
from darkroom.contracts.request import Request
from darkroom.control.adapters import Adapter, bound, check_kept, check_opened, layers_of
from darkroom.control.lora import read_lora
from darkroom.latent.codec import AutoencoderCodec
from darkroom.nn.public.features import use_of
from darkroom.prompt.encoders import SentenceEncoder
from darkroom.protocols import Call
from darkroom.synthesis.diffusion import DiffusionSynthesizer
from darkroom.synthesis.external.networks import dtypes_of

READ_ONCE = ".text_kv"  # layers that see words: they are asked before the steps, and a control acts in some of those


@dataclass
class Brought:
    """What was brought to a model of ours so far."""

    name: str  # of the model
    encoder: SentenceEncoder
    codec: AutoencoderCodec
    synthesizer: DiffusionSynthesizer
    dtype: torch.dtype
    adapters: dict[str, Adapter] = field(default_factory=dict)  # by the hashes of their files
    offload: bool = False  # all of it is in memory, always

    def lora(self, path: Path) -> str:
        """The hash of a LoRA, whose branches are at hand from now on."""
        return self._kept(read_lora(path, self._layers, self.dtype))

    def control(self, path: Path) -> str:
        """The hash of a control, whose branches, and what it sees by, are at hand from now on."""
        network = self.synthesizer.network
        layers = {name: weight for name, weight in layers_of(network).items() if not name.endswith(READ_ONCE)}
        sight = (network.config.width, network.config.channels * network.config.patch**2)
        adapter = read_lora(path, {"denoiser": layers}, self.dtype, sight)
        assert adapter.sight is not None
        self.synthesizer.sights[adapter.sha256] = adapter.sight.to(next(network.parameters()).device)
        return self._kept(adapter)

    def embedding(self, path: Path) -> NoReturn:
        """Raises BadInput: a model of ours reads words by their letters, and learns no others from a file."""
        self._refuse("embedding")

    def kept(self, asked: Request) -> None:
        """How weights are kept; None: in what they compute in. Raises BadInput where it is ``asked`` otherwise."""
        check_kept(asked, dtypes_of(self.dtype), offload=self.offload)

    def vae(self, path: Path) -> NoReturn:
        """Raises BadInput: our denoisers know the latents of one autoencoder."""
        self._refuse("vae")

    def refiner(self, folder: Path, card: Card) -> NoReturn:
        """Raises BadInput: none of ours was trained where little noise is left alone."""
        self._refuse("refiner")

    def word(self, use: FileUse) -> NoReturn:
        """Raises BadInput, likewise."""
        self._refuse("embedding")

    def _refuse(self, what: str) -> NoReturn:
        rule = f"is for public checkpoints, and {self.name} is a model of ours"
        raise BadInput(f"--{what}", rule, "leave it out, or draw with a public checkpoint (--model)")

    def _kept(self, adapter: Adapter) -> str:
        return self.adapters.setdefault(adapter.sha256, adapter).sha256

    @property
    def _networks(self) -> dict[str, tuple[str, nn.Module]]:
        """The networks that adapters can be beside: by a call's name of them, the part they are and the network."""
        text, denoiser = self.encoder, self.synthesizer
        parts = {text.NETWORK: ("text", text.network)}
        return {**parts, **dict.fromkeys((denoiser.TEXT, denoiser.NETWORK), ("denoiser", denoiser.network))}

    @property
    def _layers(self) -> dict[str, dict[str, torch.Tensor]]:
        return {part: layers_of(module) for part, module in self._networks.values()}

    def having(self, adapter: str) -> list[str]:
        """The networks that have branches of an adapter, by a call's name of them; none: it was not opened."""
        branches = self.adapters[adapter].branches if adapter in self.adapters else {}
        return [network for network, (part, _) in self._networks.items() if part in branches]

    @contextmanager
    def bound(self, calls: Sequence[Call]) -> Iterator[None]:
        """While it lasts, the network that these calls ask has the branches of the adapters that they carry."""
        if not calls[0].adapters:
            yield
            return
        part, module = self._networks[calls[0].network]
        branches = {name: self.adapters[use_of(name)].branches[part] for name in calls[0].adapters}
        with bound(module, calls, branches):
            yield

    def fitted(self, recipe: Recipe) -> tuple[SentenceEncoder, AutoencoderCodec]:
        """Text encoder and autoencoder of a recipe, which are the model's.

        Raises BadInput for a control that was not opened, and for what no model of ours takes.
        """
        for use in recipe.controls:
            check_opened(use, use.sha256 in self.synthesizer.sights, "control")
        if recipe.embeddings:
            self._refuse("embedding")
        if recipe.vae is not None:
            self._refuse("vae")
        return self.encoder, self.codec
