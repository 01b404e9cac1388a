"""A tiny model with random weights: every part real, nothing trained, quick to build."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from darkroom.cards import with_file, write_card
from darkroom.contracts.card import Card, Defaults, FileEntry
from darkroom.latent.codec import AutoencoderCodec
from darkroom.model import Model, assembled
from darkroom.nn import autoencoder, dit, text, upscaler
from darkroom.nn.beside import tower
from darkroom.refine.upscale import NetworkUpscaler
from darkroom.synthesis.diffusion import DiffusionSynthesizer
from darkroom.wording.tokenizer import Tokenizer

WORDS = "a red fox in the snow, two blue cats and one green tree on a white background, 3d cartoon flat"


def tiny_model(
    seed: int = 0,
    dtype: torch.dtype = torch.bfloat16,
    *,
    with_upscaler: bool = True,
    flow_map: tuple[float, float] | None = None,
    with_tower: bool = False,
) -> Model:
    """A model whose layers that start at zero are random too, so that every input counts."""
    torch.manual_seed(seed)
    tokenizer = Tokenizer.train([WORDS] * 3, 512)
    networks = (
        text.TextEncoder(text.nano()),
        autoencoder.Autoencoder(autoencoder.nano()),
        dit.Denoiser(replace(dit.sized("nano", channels=4), flow_map=flow_map)),
        upscaler.Upscaler(upscaler.nano()),
        tower.ImageTower(tower.nano()),
    )
    with torch.no_grad():
        for network in networks:
            for parameter in network.parameters():
                if not parameter.any():
                    parameter.normal_(std=0.05)
            network.to(dtype)
    card = Card(
        name="tiny",
        family="diffusion",
        licence="CC0-1.0",
        defaults=Defaults(width=64, height=64, steps=4, sampler="euler", guidance=3.0),
        styles=("3d", "cartoon"),
        files={"seed": FileEntry(path="seed", sha256=f"{seed:064x}", bytes=1)},
    )
    encoder, codec, denoiser, larger, seeing = networks
    optional = larger if with_upscaler else None, seeing if with_tower else None
    return assembled(card, tokenizer, encoder, codec, denoiser, *optional)


def saved(model: Model, folder: Path) -> Path:
    """The model written as a model folder that ``darkroom.load`` opens."""
    folder.mkdir(parents=True, exist_ok=True)
    assert isinstance(model.synthesizer, DiffusionSynthesizer) and isinstance(model.codec, AutoencoderCodec)
    networks = {
        "text": model.encoder.network,
        "autoencoder": model.codec.network,
        "denoiser": model.synthesizer.network,
    }
    if isinstance(model.upscaler, NetworkUpscaler):
        networks["upscaler"] = model.upscaler.network
    if model.image is not None:
        networks["image"] = model.image.network
    card = model.card.model_copy(update={"files": {}, "configs": {}})
    for component, network in networks.items():
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, folder / f"{component}.safetensors")
        card = with_file(card, folder, component, f"{component}.safetensors")
    (folder / "tokenizer.json").write_text(model.encoder.tokenizer.to_json(), encoding="utf-8")
    card = with_file(card, folder, "tokenizer", "tokenizer.json")
    configs = {component: json.loads(json.dumps(asdict(network.config))) for component, network in networks.items()}
    write_card(folder, card.model_copy(update={"configs": configs}))
    return folder
