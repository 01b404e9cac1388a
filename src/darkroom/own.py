"""A model folder of our own, opened: files checked against its card, networks filled; and what prompts go through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import nn

from darkroom.cards import CARD
from darkroom.contracts.card import IMAGE, OWN, UPSCALER, Card
from darkroom.contracts.errors import BadFile, reason, shown
from darkroom.nn.autoencoder import Autoencoder, AutoencoderConfig
from darkroom.nn.beside.tower import ImageTower, TowerConfig
from darkroom.nn.config import read_config
from darkroom.nn.dit import Denoiser, DenoiserConfig
from darkroom.nn.storage import unpacked
from darkroom.nn.text import TextConfig, TextEncoder
from darkroom.nn.upscaler import Upscaler, UpscalerConfig
from darkroom.prompt.encoders import SentenceEncoder
from darkroom.protocols import Network
from darkroom.synthesis.diffusion import DiffusionSynthesizer
from darkroom.wording.tokenizer import Tokenizer, TokenizerError

NETWORKS: dict[str, tuple[Any, Callable[[Any], nn.Module]]] = {
    "text": (TextConfig, TextEncoder),
    "autoencoder": (AutoencoderConfig, Autoencoder),
    "denoiser": (DenoiserConfig, Denoiser),
    UPSCALER: (UpscalerConfig, Upscaler),
    IMAGE: (TowerConfig, ImageTower),
}
"""The networks of a model of ours, by component: their settings, and what is made of them."""


@dataclass(frozen=True)
class Guide:
    """What another model's pictures can be led away from: a text encoder and a denoiser, whose calls have names of
    their own."""

    encoder: SentenceEncoder
    synthesizer: DiffusionSynthesizer

    @classmethod
    def of(cls, tokenizer: Tokenizer, text: nn.Module, denoiser: nn.Module, role: str = "") -> Guide:
        """``role`` sets its calls apart from those of another model."""
        assert isinstance(denoiser, Denoiser)
        return cls(SentenceEncoder(tokenizer, text.eval(), role), DiffusionSynthesizer(denoiser.eval(), role))

    @property
    def networks(self) -> dict[str, Network]:
        """Who evaluates its calls, by their names."""
        text, denoiser = self.encoder, self.synthesizer
        return {text.NETWORK: text, denoiser.TEXT: denoiser, denoiser.NETWORK: denoiser}


def networks_of(
    folder: Path, card: Card, components: Sequence[str], dtype: torch.dtype
) -> tuple[Tokenizer, dict[str, Any]]:
    """The tokenizer of a model folder, and some of its networks. Raises BadFile."""
    if card.family != OWN:
        rule = f"names the family {shown(card.family)}, which this version does not know"
        raise BadFile(f"{folder / CARD}", rule, "take another model, or update darkroom")
    files = {component: _verified(folder, card, component) for component in card.files}
    try:
        tokenizer = Tokenizer.from_json(files["tokenizer"])
        networks = {}
        for component in components:
            config, network = NETWORKS[component]
            networks[component] = network(read_config(config, card.configs[component]))
    except KeyError as error:
        raise BadFile(f"{folder / CARD}", f"names no {error.args[0]}", "take a complete model folder") from error
    except (TokenizerError, ValueError, TypeError) as error:
        raise BadFile(f"{folder}", f"cannot be opened ({error})", "take a complete model folder") from error
    for component, network in networks.items():
        _fill(network, files[component], folder / card.files[component].path)
        network.to(dtype)
    return tokenizer, networks


def _verified(folder: Path, card: Card, component: str) -> bytes:
    """The bytes of one of the card's files, checked against its sha256."""
    entry = card.files[component]
    path = folder / entry.path
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadFile(f"{path}", f"cannot be read ({reason(error)})", "install the model again") from error
    if sha256(data).hexdigest() != entry.sha256:
        raise BadFile(f"{path}", "is damaged: its sha256 is not the card's", "install the model again")
    return data


def _fill(network: nn.Module, data: bytes, path: Path) -> None:
    """Loads weights into a network; every tensor must be there, of the right shape, and finite."""
    try:
        tensors = unpacked(load_tensors(data))
    except (SafetensorError, KeyError) as error:
        raise BadFile(f"{path}", f"is not a sound safetensors file ({error})", "install the model again") from error
    expected = network.state_dict()
    for name, tensor in expected.items():
        if name not in tensors or tensors[name].shape != tensor.shape:
            raise BadFile(
                f"{path}", f"holds no tensor {name} of shape {tuple(tensor.shape)}", "install the model again"
            )
        if not torch.isfinite(tensors[name]).all():
            raise BadFile(f"{path}", f"holds numbers that are not finite in {name}", "install the model again")
    network.load_state_dict({name: tensors[name] for name in expected})
