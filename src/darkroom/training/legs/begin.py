"""What legs begin with: the data, a tokenizer, and the weights of the leg before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from darkroom.contracts.errors import BadInput
from darkroom.contracts.files import publish
from darkroom.data.imported import holds_pictures
from darkroom.data.scenes.captions import caption
from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.spec import ComposerConfig, scene_seed
from darkroom.data.stock import built
from darkroom.data.stock.built import Built
from darkroom.training.handover import (
    fingerprint,
    sources_of,
    weights_of,
)
from darkroom.training.legs.place import Place
from darkroom.training.loop import TrainConfig, Trainer
from darkroom.training.objective import Objective
from darkroom.wording.tokenizer import Tokenizer
from darkroom.wording.vocabulary import Concept, core

LONG = 48  # tokens captions are padded to where the composer does all it can


def data_of(place: Place) -> Built:
    if holds_pictures(place.data):
        rule = "holds pictures, and nobody says what is where in them"
        raise BadInput(f"{place.data}", rule, "train autoencoder and diffusion on it, a text encoder elsewhere")
    return built.load(place.data).to(place.composes_on)


def tokenizer_of(path: Path, scenes: ComposerConfig, given: Path | None, stream: str) -> Tokenizer:
    """The run's tokenizer: read back, taken from elsewhere, or trained on captions and all words of concepts."""
    if not path.exists() and given is not None:
        publish(given.read_bytes(), path)
    if not path.exists():
        captions = (caption(draw_scene(scene_seed(stream, 0xFFFF, i), scenes)) for i in range(100_000))
        tokenizer = Tokenizer.train([*captions, *(name for concept in core() for name in _names(concept))], 4096)
        publish(tokenizer.to_json().encode(), path)
    return Tokenizer.from_json(path.read_text(encoding="utf-8"))


def _names(concept: Concept) -> tuple[str, ...]:
    return (concept.word, concept.plural, concept.drawing, *concept.synonyms)


def rounded(tokenizer: Tokenizer) -> int:
    """Rows of the embedding: the tokenizer's, up to a multiple of 64."""
    return -(-len(tokenizer) // 64) * 64


def started(
    objective: Objective, config: TrainConfig, place: Place, start: Path | None, part: str, prefix: str, force: bool
) -> Trainer:
    """A trainer from zero, or from a hand-over's weights; what stands under ``prefix`` must all be in them."""
    sources = sources_of(place.data, start)
    if start is None:
        return Trainer(objective, config, place.out, force=force, sources=sources, group=place.group)
    weights = weights_of(start, part)
    origin = {part: fingerprint(weights)}
    trainer = Trainer(objective, config, place.out, force=force, origin=origin, sources=sources, group=place.group)
    heads: Mapping[str, Tensor] = {k: v for k, v in trainer.masters.masters.items() if not k.startswith(prefix)}
    trainer.start_from({**heads, **{f"{prefix}{name}": weight for name, weight in weights.items()}})
    return trainer
