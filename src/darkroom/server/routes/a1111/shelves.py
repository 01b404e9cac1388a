"""What there is to draw with, in A1111's words, and the few options that can be set."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi import Request as Asking

from darkroom.cards import known_models, read_card
from darkroom.checkpoints.header import read_header
from darkroom.contracts.errors import BadFile, shown
from darkroom.picture.infotext import MODEL_HASH_CHARACTERS
from darkroom.server.admit import styles
from darkroom.server.brought import json_object
from darkroom.server.keeping.folders import Folders
from darkroom.server.routes.a1111.desk import AnyDesk
from darkroom.server.routes.a1111.files import UPSCALERS
from darkroom.server.routes.a1111.names import AUTOMATIC, SAMPLERS, SCHEDULERS, model_named, model_titles
from darkroom.server.routes.a1111.told import NOTES
from darkroom.server.studio import AnyStudio, Owner

router = APIRouter()


@router.get("/sd-models")
def models(owner: Owner) -> list[dict[str, Any]]:
    """The models there are; where they lie is nobody's business."""
    found = []
    for name, title in model_titles().items():
        digest = read_card(known_models()[name]).model_hash
        short = digest[:MODEL_HASH_CHARACTERS]
        found.append({"title": title, "model_name": name, "hash": short, "sha256": digest, "filename": name,
                      "config": None})  # fmt: skip
    return found


@router.get("/samplers")
def samplers(studio: AnyStudio, owner: Owner) -> list[dict[str, Any]]:
    """The samplers there are, by A1111's names where it has one."""
    names = studio.workers.offers().get("sampler", list(SAMPLERS))
    return [{"name": SAMPLERS.get(name, name), "aliases": [name], "options": {}} for name in names]


@router.get("/schedulers")
def schedulers(owner: Owner) -> list[dict[str, Any]]:
    """Where steps may lie."""
    names = {"automatic": AUTOMATIC, **SCHEDULERS}
    more = {"aliases": None, "default_rho": -1.0, "need_inner_model": False}
    return [{"name": name, "label": label, **more} for name, label in names.items()]


@router.get("/loras")
def loras(studio: AnyStudio, owner: Owner) -> list[dict[str, Any]]:
    """The adapters that are LoRAs, by the names that ``<lora:name:0.8>`` has for them."""
    folders = studio.settings.folders
    found = [(name, _lora(name, folders)) for name in folders.adapter_names()]
    return [
        {"name": name.rpartition(".")[0], "alias": name.rpartition(".")[0], "path": name, "metadata": metadata}
        for name, metadata in found
        if metadata is not None
    ]


def _lora(name: str, folders: Folders) -> dict[str, str] | None:
    """What a LoRA says of itself; None: it is none."""
    path = folders.adapter(name)
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    try:
        header = read_header(path)
    except BadFile:
        return None
    low = any(part in key for key in header.entries for part in ("lora_A", "lora_down", "lora.down"))
    return dict(header.metadata) if low else None


@router.get("/upscalers")
def upscalers(owner: Owner) -> list[dict[str, Any]]:
    """What enlarges pictures in extra-single-image."""
    return [{"name": name, "model_name": None, "model_path": None, "model_url": None, "scale": 4} for name in UPSCALERS]


@router.get("/latent-upscale-modes")
def latent_modes(owner: Owner) -> list[dict[str, Any]]:
    """None: the model's own upscaler enlarges."""
    return []


@router.get("/prompt-styles")
def prompt_styles(studio: AnyStudio, owner: Owner, desk: AnyDesk) -> list[dict[str, Any]]:
    """The styles that the chosen model may be asked for."""
    return [{"name": name, "prompt": "", "negative_prompt": ""} for name in styles(desk.model, studio)]


@router.get("/scripts")
def scripts(studio: AnyStudio, owner: Owner) -> dict[str, list[str]]:
    """What alwayson_scripts may name: ControlNet, where its networks are among the adapters."""
    named = ["controlnet"] if studio.settings.folders.adapter_names() else []
    return {"txt2img": named, "img2img": named}


@router.post("/refresh-checkpoints")
def refresh(owner: Owner) -> None:
    """Nothing needs it: models are looked for whenever they are listed."""


@router.get("/options")
def options(owner: Owner, desk: AnyDesk) -> dict[str, Any]:
    """The options that mean something here."""
    digest = read_card(known_models()[desk.model]).model_hash
    title = model_titles()[desk.model]
    told = {"sd_model_checkpoint": title, "sd_checkpoint_hash": digest}
    return {**told, "samples_format": "png", "sd_vae": AUTOMATIC, "CLIP_stop_at_last_layers": 1}


@router.post("/options")
async def set_options(asking: Asking, owner: Owner, desk: AnyDesk) -> dict[str, Any]:
    """Chooses the model that draws for you where a call names none, until the server stops."""
    notes = []
    for name, value in (await json_object(asking)).items():
        if name == "sd_model_checkpoint" and isinstance(value, str):
            desk.model = model_named(value[:300])
        else:
            notes.append(f"{shown(name)[1:-1]} changes nothing: it is not known here")
    return {NOTES: notes}
