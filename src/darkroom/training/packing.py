"""From hand-overs of training legs to a model folder with its card."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from safetensors.torch import save

from darkroom.cards import CARD, read_card, with_file, write_card
from darkroom.contracts.card import IMAGE, UPSCALER, Card, DataSource, Defaults, Leg
from darkroom.contracts.errors import BadInput
from darkroom.contracts.files import publish
from darkroom.data.scenes.captions import caption
from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.spec import ComposerConfig, scene_seed
from darkroom.nn.autoencoder import AutoencoderConfig
from darkroom.nn.beside.tower import TowerConfig
from darkroom.nn.config import read_config
from darkroom.nn.dit import DenoiserConfig
from darkroom.nn.storage import packed
from darkroom.nn.text import TextConfig
from darkroom.nn.upscaler import UpscalerConfig
from darkroom.synthesis.samplers import FLOW_MAP
from darkroom.training.handover import fingerprint, leg_of, network_of, weights_of
from darkroom.training.objectives import flowmap
from darkroom.training.objectives.diffusion import DEFAULTS
from darkroom.training.objectives.text import WORDS
from darkroom.wording.parse import words_of

HOW = ("guidance_method", "guidance_rescale", "guidance_interval")  # what a flow map has within, the plain way
CAPTIONS = 4000  # drawn to learn the words that are no names: the rarest way to say something comes in 1 of 400


def pack(
    autoencoder: Path, base: Path, out: Path, name: str, words_from: Path | None, *, upscaler: Path | None = None
) -> Path:
    """Writes a model folder, its card last; ``words_from`` is a card whose words (description, limits ...) are kept.

    ``upscaler`` None: the model draws at its own size only.

    Raises BadInput where ``base`` is no hand-over of a diffusion leg, or was trained with another autoencoder. Nothing
    is written before all is read and made.
    """
    leg = leg_of(base)
    if "config" not in leg:
        raise BadInput(f"{base}", "is a model already", "give the hand-over of a diffusion leg")
    network_of(base, "denoiser", DenoiserConfig)
    network_of(base, "text", TextConfig)
    network_of(autoencoder, "autoencoder", AutoencoderConfig)
    weights = {part: weights_of(base, part) for part in ("text", "denoiser")}
    weights["autoencoder"] = weights_of(autoencoder, "autoencoder")
    trained_with = leg.get("origin", {}).get("autoencoder")
    if trained_with not in (None, fingerprint(weights["autoencoder"])):
        rule = f"is not the autoencoder that {base} was trained with"
        raise BadInput(f"{autoencoder}", rule, "give the folder that its leg was given")
    networks = leg["networks"] | {"autoencoder": leg_of(autoencoder)["networks"]["autoencoder"]}
    legs = [*trained(autoencoder), *trained(base)]
    if upscaler is not None:
        networks[UPSCALER] = asdict(network_of(upscaler, UPSCALER, UpscalerConfig))
        weights[UPSCALER] = weights_of(upscaler, UPSCALER)
        larger = trained(upscaler)
        legs += larger
    card = read_card(words_from.parent) if words_from is not None else plain_card(name, 1 if upscaler is None else 2)
    if not card.training:
        each_once = tuple(leg for i, leg in enumerate(legs) if leg not in legs[:i])
        card = card.model_copy(update={"training": each_once})
    elif upscaler is not None:  # which the card's words may not know yet
        news = [one for one in larger if one not in card.training]
        card = card.model_copy(update={"training": (*card.training, *news)})
    defaults = card.defaults if upscaler is not None else card.defaults.enlarged(1)
    defaults = fitting(defaults, network_of(base, "denoiser", DenoiserConfig))
    told = {"name": name, "configs": networks, "defaults": defaults, **learnt(leg["config"]["composer"])}
    card = Card.from_json(card.model_copy(update=told).to_json())  # refuses what could not be read again
    files = {part: (f"{part}.safetensors", save(packed(tensors))) for part, tensors in weights.items()}
    files["tokenizer"] = (WORDS, (base / WORDS).read_bytes())
    for part, (path, data) in files.items():
        publish(data, out / path)
        card = with_file(card, out, part, path)
    write_card(out, card)
    return out


def with_tower(model: Path, tower: Path, out: Path, name: str) -> Path:
    """Writes a model folder: ``model`` with the image tower of a hand-over in it; all else byte for byte as it was.

    Raises BadInput where the tower was trained beside another model. Nothing is written before all is read.
    """
    network_of(tower, IMAGE, TowerConfig)
    leg, weights = leg_of(tower), weights_of(tower, IMAGE)
    for part in ("text", "denoiser"):
        if leg["origin"].get(part) != fingerprint(weights_of(model, part)):
            raise BadInput(f"{tower}", f"was trained beside another {part} than {model}'s", "give the model it is for")
    card = read_card(model)
    kept = {part: entry for part, entry in card.files.items() if part != IMAGE}
    beside = [path.name for path in model.glob("LICENSE*") if path.is_file()]
    data = {path: (model / path).read_bytes() for path in (*beside, *(entry.path for entry in kept.values()))}
    legs = (*card.training, *(leg for leg in trained(tower) if leg not in card.training))
    told = {"name": name, "configs": card.configs | {IMAGE: leg["networks"][IMAGE]}, "files": kept, "training": legs}
    card = Card.from_json(card.model_copy(update=told).to_json())
    for path, bytes_ in (data | {f"{IMAGE}.safetensors": save(packed(weights, kernels=True))}).items():
        publish(bytes_, out / path)
    write_card(out, with_file(card, out, IMAGE, f"{IMAGE}.safetensors"))
    return out


def trained(folder: Path) -> tuple[Leg, ...]:
    """What a card says of a hand-over's training, or what the card of a model folder says; () before legs had dates."""
    if (folder / CARD).exists():
        return read_card(folder).training
    leg = leg_of(folder)
    if "date" not in leg:
        return ()
    date = datetime.date.fromisoformat(leg["date"])
    return (Leg(what=leg["name"], samples=leg["samples"], date=date, sources=tuple(map(_source, leg["sources"]))),)


def _source(told: Mapping[str, Any]) -> DataSource:
    return DataSource(**told)


def learnt(composer: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Styles, concepts and words of a leg's pictures, for a card, from what it says of them in ``leg.json``.

    Words are those of the concepts and of many drawn captions; those of single photos' captions are left out.
    """
    if "pictures" in composer:  # a folder's own
        return {"styles": (), "vocabulary": (), "words": tuple(composer["words"])}
    known = {field.name for field in fields(ComposerConfig)}  # a leg of an earlier version may have had others
    settings = {name: value for name, value in composer.items() if name in known}
    scenes = read_config(ComposerConfig, {**settings, "kinds": _without_photos(composer["kinds"])})
    drawn = (caption(draw_scene(scene_seed("preview", 0, i), scenes)) for i in range(CAPTIONS))
    names = (name for concept in scenes.concepts for name in (concept.word, concept.plural, *concept.synonyms))
    words = {word for text in (*drawn, *names) for word in words_of(text)}
    vocabulary = tuple(concept.word for concept in scenes.concepts)
    return {"styles": tuple(scenes.styles), "vocabulary": vocabulary, "words": tuple(sorted(words))}


def _without_photos(kinds: Mapping[str, float]) -> dict[str, float]:
    return {kind: share for kind, share in kinds.items() if kind != "photo"}


def fitting(given: Defaults, network: DenoiserConfig) -> Defaults:
    """A card's defaults for this denoiser: a flow map takes its own few steps, and no other can."""
    if (given.sampler == FLOW_MAP) == (network.flow_map is not None):
        return given
    own = DEFAULTS if network.flow_map is None else flowmap.DEFAULTS
    plain = {name: Defaults.model_fields[name].default for name in HOW if network.flow_map is not None}
    return given.model_copy(update={"steps": own.steps, "sampler": own.sampler, **plain})


def plain_card(name: str, upscale: int = 1) -> Card:
    """A card for a model of one's own, whose pictures are finished at ``upscale`` times the size of its drawings."""
    said = "A model of your own."
    defaults = DEFAULTS.enlarged(upscale)
    return Card(name=name, family="diffusion", licence="unknown", description=said, defaults=defaults)
