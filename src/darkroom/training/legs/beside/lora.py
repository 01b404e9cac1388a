"""An adapter of one's own pictures: a folder becomes training data, a leg beside a model, and a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import torch

from darkroom.cards import read_card
from darkroom.contracts.errors import BadInput, shown
from darkroom.contracts.prompt import Prompt, escaped
from darkroom.contracts.request import Request
from darkroom.control.lora import MAX_RANK, WRITTEN, Keys, write_lora
from darkroom.data.imported import Imported, ImportedPictures, Preserved, holds_pictures, imported, put, square
from darkroom.data.loader import joined
from darkroom.engine import Engine
from darkroom.generate import asked
from darkroom.model import load
from darkroom.picture.image import Image
from darkroom.training.handover import HANDOVER, sources_of, weights_of
from darkroom.training.legs.begin import LONG
from darkroom.training.legs.beside.staying import about, staying
from darkroom.training.legs.own import Length
from darkroom.training.legs.place import Place
from darkroom.training.limits import within
from darkroom.training.loop import TrainConfig, Trainer
from darkroom.training.objectives.latents import Teaching
from darkroom.training.objectives.lora import LORA, LoraObjective, Variant, branched, branches_of, magnitudes_of
from darkroom.training.objectives.text import WORDS
from darkroom.wording.tokenizer import Tokenizer

BRANCHES = Length(500, 2_000, 60_000)  # samples of an adapter where nobody says how many
FEW = 10  # pictures below which a LoRA mostly learns to copy them
KEPT = 8  # one in so many pictures is kept back, where there are no fewer than FEW
MOST_DRAWN = 1000  # pictures drawn before
PRIOR = "prior"  # their folder in the run's


def lora_leg(
    place: Place,
    config: TrainConfig,
    model: Path,
    *,
    rank: int,
    variant: Variant = "lora",
    trigger: str | None = None,
    prior: int = 0,
    compiled: bool = True,
    force: bool = False,
) -> Trainer:
    """A trainer of branches beside the networks of a model folder, on the pictures of ``place.data``.

    ``trigger`` is said at the end of every caption; None: captions stay as they are. Every other picture that it sees
    is one of ``prior`` pictures that the model drew before (:func:`drawn_before`); 0: none is.
    """
    within("rank", rank, 1, MAX_RANK)
    within("prior", prior, 0, MOST_DRAWN)
    beside = staying(model)
    tokenizer = Tokenizer.from_json((model / WORDS).read_text(encoding="utf-8"))
    told = imported(place.data)
    said = told if trigger is None else replace(told, captions=triggered(told.captions, trigger, tokenizer))
    pictures, kept = parted(said)
    source = ImportedPictures(pictures)
    if prior:
        source = Preserved(pictures, imported(drawn_before(told.captions, model, prior, place.out)))
    teaching = Teaching(source, tokenizer, LONG, getattr(torch, config.dtype))
    ahead = place.ahead(teaching, joined, config.batch)
    torch.manual_seed(config.seed)
    objective = LoraObjective(
        branched(beside.module, rank, variant).to(place.device),
        beside.settings(LONG),
        teaching,
        beside.codec.to(place.device, getattr(torch, config.dtype)),
        total=config.samples,
        compiled=compiled,
        ahead=ahead,
        own=pictures,
        kept=kept,
        beside=beside.origin,
        rank=rank,
        variant=variant,
    )
    sources = sources_of(place.data, model)
    return Trainer(objective, config, place.out, force=force, origin=beside.origin, sources=sources, group=place.group)


def parted(pictures: Imported) -> tuple[Imported, Imported | None]:
    """Pictures to learn from, and some kept back to see when they are learned by heart: one in KEPT of many."""
    count = len(pictures.ids)
    if count < FEW:
        return pictures, None
    kept = set(Random("kept back").sample(range(count), count // KEPT or 1))

    def some(rows: Sequence[int]) -> Imported:
        captions, ids = (tuple(told[row] for row in rows) for told in (pictures.captions, pictures.ids))
        return Imported(pictures.pixels[list(rows)], captions, ids)

    return some([row for row in range(count) if row not in kept]), some(sorted(kept))


def drawn_before(captions: Sequence[str], model: Path, count: int, out: Path) -> Path:
    """Pictures of these captions as the model draws them before it learns, ``count`` of them, in ``out/prior``.

    Captions come round and round, with another seed each time. What this model has drawn there is not drawn again.
    """
    card, folder = read_card(model), out / PRIOR
    wanted = tuple(captions[i % len(captions)] for i in range(count))
    ids = tuple(f"drawn by {card.model_hash[:12]}, {i}" for i in range(count))
    if holds_pictures(folder) and ((there := imported(folder)).captions, there.ids) == (wanted, ids):
        return folder
    drawer = load(str(model))
    wide, high = card.defaults.drawn
    asked_for = (
        Request(prompt=Prompt(text=escaped(said[:1000])), seed=i, width=wide, height=high, upscale=1)
        for i, said in enumerate(wanted)
    )
    ended = Engine[Image](drawer.evaluate).ended(asked(request, drawer) for request in asked_for)
    squares = []
    for one in ended:
        if not isinstance(one, Image):
            raise one
        squares.append(square(one.pixels))
    pixels = torch.from_numpy(np.stack(squares).transpose(0, 3, 1, 2).copy())
    return put(Imported(pixels, wanted, ids), folder)


def triggered(captions: Sequence[str], trigger: str, tokenizer: Tokenizer) -> tuple[str, ...]:
    """Captions with the trigger at their ends; a caption that would push it out of what is read loses its last words.

    Raises BadInput for a trigger that is too long by itself.
    """

    def fits(text: str) -> bool:
        return len(tokenizer.encode(text)) + 2 <= LONG  # the start and the end are tokens, too

    found = []
    for caption in captions:
        words = caption.split()
        while words and not fits(f"{' '.join(words)}, {trigger}"):
            words.pop()
        if not words:
            rule = f"leaves no room in the {LONG} tokens that are read"
            raise BadInput(f"--trigger {shown(trigger)}", rule, "shorten it")
        found.append(f"{' '.join(words)}, {trigger}")
    return tuple(found)


def written_lora(out: Path, model: Path, name: str, trigger: str | None, keys: Keys = "peft") -> Path:
    """The run's hand-over as a LoRA file, ``out/NAME.safetensors``."""
    told = about(out, model) | ({} if trigger is None else {"trigger_phrase": trigger})
    weights = weights_of(out / HANDOVER, LORA)
    return write_lora(
        branches_of(weights),
        out / f"{name}.safetensors",
        title=name,
        about=told,
        keys=keys,
        magnitudes=magnitudes_of(weights, {part: weights_of(model, part) for part in WRITTEN}) or None,
    )
