"""From hand-overs of training legs to a model folder with its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from safetensors.torch import save

from darkroom.contracts.card import Card
from darkroom.contracts.errors import BadInput
from darkroom.contracts.files import publish
from darkroom.data.loader import words_of
from darkroom.data.scenes.captions import caption
from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.spec import ComposerConfig, scene_seed
from darkroom.model import read_card, with_file, write_card
from darkroom.nn.config import read_config
from darkroom.nn.storage import packed
from darkroom.training.handover import fingerprint, leg_of, weights_of
from darkroom.training.objectives.diffusion import DEFAULTS
from darkroom.training.objectives.text import WORDS

CAPTIONS = 4000  # drawn to learn the words that are no names: the rarest way to say something comes in 1 of 400


def pack(autoencoder: Path, base: Path, out: Path, name: str, words_from: Path | None) -> Path:
    """Writes a model folder; ``words_from`` is a card whose words (description, limits, licence ...) are kept.

    Raises BadInput where the denoiser was trained with another autoencoder.
    """
    weights = {part: weights_of(base, part) for part in ("text", "denoiser")}
    weights["autoencoder"] = weights_of(autoencoder, "autoencoder")
    leg = leg_of(base)
    if "config" not in leg:
        raise BadInput(f"{base}", "is a model already", "give the hand-over of a diffusion leg")
    trained_with = leg.get("origin", {}).get("autoencoder")
    if trained_with not in (None, fingerprint(weights["autoencoder"])):
        rule = f"is not the autoencoder that {base} was trained with"
        raise BadInput(f"{autoencoder}", rule, "give the folder that its leg was given")
    card = read_card(words_from.parent) if words_from is not None else _plain(name)
    for part, tensors in weights.items():
        publish(save(packed(tensors)), out / f"{part}.safetensors")
        card = with_file(card, out, part, f"{part}.safetensors")
    publish((base / WORDS).read_bytes(), out / WORDS)
    card = with_file(card, out, "tokenizer", WORDS)
    networks = leg["networks"] | {"autoencoder": leg_of(autoencoder)["networks"]["autoencoder"]}
    told = {"name": name, "configs": networks, **learnt(leg["config"]["composer"])}
    write_card(out, card.model_copy(update=told))
    return out


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


def _plain(name: str) -> Card:
    """A card for a model of one's own."""
    return Card(name=name, family="diffusion", licence="unknown", description="A model of your own.", defaults=DEFAULTS)
