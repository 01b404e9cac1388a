"""From hand-overs of training legs to a model folder with its card."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from darkroom.contracts.card import Card, Defaults
from darkroom.data.scenes.captions import GROUND_TEMPLATES, NUMBERS, PLAIN_TEMPLATES, RELATION_PHRASES, STYLE_TEMPLATES
from darkroom.data.scenes.spec import GROUNDS
from darkroom.model import read_card, with_file, write_card
from darkroom.nn.storage import packed
from darkroom.training.legs import WORDS, leg_of
from darkroom.wording.vocabulary import COLOURS, core, everyday


def pack(autoencoder: Path, base: Path, out: Path, name: str, words_from: Path | None) -> Path:
    """Writes a model folder; ``words_from`` is a card whose words (description, limits, licence ...) are kept."""
    legs = {"autoencoder": leg_of(autoencoder), "base": leg_of(base)}
    scenes = legs["base"]["config"]["composer"]
    card = read_card(words_from.parent) if words_from is not None else _plain(name)
    out.mkdir(parents=True, exist_ok=True)
    for component, folder in (("autoencoder", autoencoder), ("text", base), ("denoiser", base)):
        save_file(packed(load_file(folder / f"{component}.safetensors")), out / f"{component}.safetensors")
        card = with_file(card, out, component, f"{component}.safetensors")
    shutil.copyfile(base / WORDS, out / WORDS)
    card = with_file(card, out, "tokenizer", WORDS)
    networks = {**legs["base"]["networks"], **legs["autoencoder"]["networks"]}
    concepts = everyday() if scenes["vocabulary"] == "everyday" else core()
    card = card.model_copy(
        update={
            "name": name,
            "configs": networks,
            "styles": tuple(scenes["styles"]),
            "vocabulary": tuple(concept.word for concept in concepts),
            "words": caption_words(scenes["vocabulary"]),
        }
    )
    write_card(out, card)
    return out


def caption_words(vocabulary: str) -> tuple[str, ...]:
    """Every word that captions over a vocabulary can hold."""
    concepts = everyday() if vocabulary == "everyday" else core()
    names = [n for c in concepts for n in (c.word, c.plural, *c.synonyms)]
    phrases = [t for ts in (*STYLE_TEMPLATES.values(), *RELATION_PHRASES.values()) for t in ts]
    plain = ["a an small little large big gradient to plain", *NUMBERS.values(), *COLOURS, *GROUNDS]
    text = re.sub(r"{\w+}", "", " ".join([*names, *phrases, *GROUND_TEMPLATES, *PLAIN_TEMPLATES, *plain]))
    return tuple(sorted({word.strip(",").lower() for word in text.split()} - {""}))


def _plain(name: str) -> Card:
    """A card for a model of one's own."""
    defaults = Defaults(width=128, height=128, steps=12, sampler="dpmpp-2m", guidance=3.5)
    return Card(name=name, family="diffusion", licence="unknown", description="A model of your own.", defaults=defaults)
