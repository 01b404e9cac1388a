"""A model of ours as a folder that anybody can read: plain numbers under plain names, and what is known of them.

Weights ship in 8 bits (``nn/storage.py``); here they leave as what the networks compute with. Our classes are no
diffusers classes, so other programs read the weights and the settings; ``darkroom models import`` reads all of it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

import darkroom
from darkroom.checkpoints import ours
from darkroom.checkpoints.folder import CONFIG, INDEX, SETTINGS
from darkroom.contracts.card import IMAGE, UPSCALER, Card
from darkroom.contracts.errors import BadInput
from darkroom.contracts.files import file_sha256
from darkroom.contracts.steering import Lora
from darkroom.control.adapters import layers_of
from darkroom.control.lora import read_lora
from darkroom.exporting.merging import merged_own
from darkroom.exporting.writing import DTYPES, Say, in_format, write_json, write_readme, write_weights
from darkroom.latent.codec import AutoencoderCodec
from darkroom.model import Model, load
from darkroom.prompt.encoders import SentenceEncoder
from darkroom.refine.upscale import NetworkUpscaler
from darkroom.synthesis.diffusion import DiffusionSynthesizer

USUAL = "bf16"  # what its networks compute in


def write_own(folder: Path, card: Card, stage: Path, dtype: str | None, loras: Sequence[Lora], say: Say) -> None:
    """Fills a folder with a model of ours. ``dtype`` None: bf16, with which it draws the same pixels.

    Raises DarkroomError for a model that is damaged, or a LoRA that is not this model's; OSError.
    """
    kind = dtype or USUAL
    model = load(str(folder), torch.float32)
    parts = networks_of(model)
    weights = {component: dict(network.state_dict()) for component, network in parts.items()}
    for component, worn in _worn(parts, loras).items():
        weights[component] = merged_own(weights[component], worn)
    index: dict[str, Any] = {"_class_name": ours.PIPELINE, "_darkroom_version": darkroom.__version__}
    hashes = {}
    for component, tensors in weights.items():
        place = ours.PLACES[component]
        say(f"writing {place.part}")
        path = stage / place.part / place.file
        write_weights(in_format(tensors, DTYPES[kind], f"{card.name} {component}"), path, _about(card, component))
        write_json({"_class_name": place.network, **card.configs[component]}, path.with_name(CONFIG))
        index[place.part] = [ours.LIBRARY, place.network]
        hashes[f"{place.part}/{place.file}"] = file_sha256(path)
    _write_words(model, stage)
    defaults = card.defaults.model_dump(mode="json")
    scheduler = {"_class_name": ours.SCHEDULER, "prediction_type": "flow", **defaults}
    write_json(scheduler, stage / "scheduler" / SETTINGS["scheduler"])
    index |= {ours.TOKENIZER: [ours.LIBRARY, "Tokenizer"], "scheduler": [ours.LIBRARY, ours.SCHEDULER]}
    write_json(index, stage / INDEX)
    card = _with_adapters(card, loras)
    told = json.loads(card.to_json())
    origin = {"name": card.name, "model_hash": model.card.model_hash, "dtype": kind, "files": hashes}
    write_json({**{name: told[name] for name in ours.TOLD}, "exported": origin}, stage / ours.ABOUT)
    for licence in sorted(folder.glob(ours.LICENCES)):
        shutil.copyfile(licence, stage / licence.name)
    front = {"license": card.licence.lower(), "library_name": "darkroom", "pipeline_tag": "text-to-image"}
    write_readme(front, _read_me(card, kind), stage / "README.md")


def networks_of(model: Model) -> dict[str, nn.Module]:
    """The networks of a model of ours, by component."""
    assert isinstance(model.encoder, SentenceEncoder) and isinstance(model.codec, AutoencoderCodec)
    assert isinstance(model.synthesizer, DiffusionSynthesizer)
    found: dict[str, nn.Module] = {
        "text": model.encoder.network,
        "denoiser": model.synthesizer.network,
        "autoencoder": model.codec.network,
    }
    if isinstance(model.upscaler, NetworkUpscaler):
        found[UPSCALER] = model.upscaler.network
    if model.image is not None:
        found[IMAGE] = model.image.network
    return found


def _worn(parts: Mapping[str, nn.Module], loras: Sequence[Lora]) -> dict[str, list[tuple[Any, float]]]:
    """The branches of LoRAs beside each network, and how strongly each acts."""
    layers = {component: layers_of(parts[component]) for component in ("text", "denoiser")}
    found: dict[str, list[tuple[Any, float]]] = {}
    for asked in loras:
        path = Path(asked.file)
        if not path.is_file():
            raise BadInput(f"the LoRA {asked.file}", "is not there", "give a safetensors file")
        for component, branches in read_lora(path, layers).branches.items():
            found.setdefault(component, []).append((branches, asked.scale))
    return found


def _write_words(model: Model, stage: Path) -> None:
    assert isinstance(model.encoder, SentenceEncoder)
    words = model.encoder.tokenizer.to_json()
    (stage / ours.TOKENIZER).mkdir()
    (stage / ours.TOKENIZER / ours.TOKENS).write_text(words, encoding="utf-8")


def _with_adapters(card: Card, loras: Sequence[Lora]) -> Card:
    """The card, whose description says what is in the weights besides."""
    if not loras:
        return card
    some = ", ".join(f"{Path(one.file).name} at {one.scale:g}" for one in loras)
    described = f"{card.description}\nIn its weights besides: {some}.".strip()
    return Card.checked({**dict(card), "description": described, "scores": {}})  # measured without


def _thanks(card: Card) -> list[str]:
    return sorted({source.attribution for leg in card.training for source in leg.sources if source.attribution})


def _about(card: Card, component: str) -> dict[str, str]:
    """What a file of weights says of itself, in the words of ModelSpec; the pictures it learnt from, in ours."""
    width, height = card.defaults.drawn
    dates = sorted(leg.date.isoformat() for leg in card.training)
    return {
        "architecture": f"darkroom/{component}",
        "title": f"{card.name} {component}",
        "description": " ".join(card.description.split())[:1000],
        "license": card.licence,
        "date": dates[-1] if dates else "",
        "resolution": f"{width}x{height}",
        "darkroom.attribution": "; ".join(_thanks(card)),
    }


def _read_me(card: Card, kind: str) -> str:
    d = card.defaults
    lines = [f"# {card.name}", "", card.description, ""]
    lines += [
        f"Drawn with {d.steps} steps of {d.sampler}, guidance {d.guidance:g}, at {d.width}x{d.height} pixels.",
        "",
    ]
    lines += ["## What it cannot draw", "", *(f"- {limit}" for limit in card.limits), ""] if card.limits else []
    lines += ["## How to draw with it", "", "```", "pip install darkroom-studio", "darkroom models import FOLDER"]
    lines += ['darkroom generate "a red fox" --model FOLDER_NAME', "```", "", "## How to read it", ""]
    lines += [f"Each part is a folder: its weights are a safetensors file ({kind}), its settings a `config.json`."]
    lines += ["The networks are those of `darkroom.nn`; `darkroom.json` holds the rest of the model's card.", ""]
    lines += ["## Licence and thanks", "", f"{card.licence}.", "", *(f"- {line}" for line in _thanks(card))]
    return "\n".join(lines).rstrip() + "\n"
