"""What a model makes of a prompt, said before it draws."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from darkroom.contracts.errors import brief
from darkroom.contracts.recipe import Recipe
from darkroom.contracts.request import UPSCALES, Margins
from darkroom.control.controls import acting_steps
from darkroom.model import Model
from darkroom.prompt.public import named_in
from darkroom.synthesis.spacing import steps_of
from darkroom.wording.parse import parse, styled, words_of
from darkroom.wording.said import others_of
from darkroom.wording.syntax import wordings

_ODD_WEIGHT = re.compile(r"(?<!\\)\([^()\[\]:]{1,80}:[^\W\d][\w.]{0,40}\)")  # (red:high): no space after the colon


@dataclass(frozen=True)
class Reading:
    """What a model makes of a prompt: how much of it it takes, and what the user should know before it draws."""

    tokens: int
    limit: int
    unknown: list[str]
    dropped: list[str]
    notes: list[str]


def read_prompt(model: Model, recipe: Recipe) -> Reading:
    """How a model reads a recipe's prompt."""
    card, encoder = model.card, model.fitted(recipe).encoder
    words = parse(recipe.prompt.text, recipe.prompt.negative)
    positive, negative = (wordings(text, recipe.steps) for text in (words.text, words.negative))
    style = styled("", recipe.style)
    cut = [encoder.parts([chunk.also(style) for chunk in wording.chunks]) for wording in positive]
    cut += [encoder.parts(wording.chunks) for wording in negative]
    tokens = [encoder.length(part.text) for part in cut[0][0]]
    said = [wording.text for wording in (*positive, *negative)]
    unknown = unknown_words(" ".join([*said, *others_of(recipe)]), card.words)
    dropped = list(dict.fromkeys(word for _, left in cut for word in left))
    notes = [] if recipe.written is None else [f"read as {recipe.prompt.text[:300]!r}"]
    if odd := _ODD_WEIGHT.search(recipe.prompt.text):
        notes.append(f"{odd[0]!r} has no number after its colon, and is words; a weight is written (red:1.3)")
    if unknown:
        named = brief(unknown, quoted=True)
        notes.append(f"it was never taught {named}; `darkroom models show` lists what it knows")
    if dropped:
        notes.append(f"dropped, no room: {brief(dropped)}")
    notes += began(recipe)
    notes += idle(recipe)
    notes += unsaid(model, recipe)
    if recipe.drawn != card.defaults.drawn:
        trained, asked = ("{}x{}".format(*size) for size in (card.defaults.drawn, recipe.drawn))
        may = f"it may draw nothing: try --size {_fitting_size(model, recipe)}"
        if recipe.init_image is not None:  # whose shape is what it is
            may = "what it draws may not fit what is there"
        notes.append(f"the model was trained at {trained}; drawing at {asked} {may}")
    text = " ".join(said[: len(positive)]).lower()
    others = [s for s in card.styles if s != recipe.style and re.search(rf"\b{re.escape(s)}\b", text)]
    if recipe.style is not None and others:
        notes.append(f"the prompt says {others[0]} and --style says {recipe.style}; it may draw either")
    longest = max(len(parts) for parts, _ in cut)
    if longest > max(len(wording.chunks) for wording in (*positive, *negative)):
        notes.append(f"more than the {encoder.limit} tokens that are read at once: read in {longest} parts")
    return Reading(sum(tokens), encoder.limit * len(tokens), unknown, dropped, notes)


def unsaid(model: Model, recipe: Recipe) -> list[str]:
    """Learnt words that were brought along and stand nowhere in what a recipe says."""
    text = "\n".join([recipe.prompt.text, recipe.prompt.negative, *others_of(recipe)])
    words = [model.brought.word(use) for use in recipe.embeddings]
    left = [found.spellings for found in words if not named_in(text, [found])]
    return [f"{' or '.join(one)} stands nowhere in the prompt, and does nothing" for one in left]


def idle(recipe: Recipe) -> list[str]:
    """Controls whose share of the steps holds no whole one."""
    steps = steps_of(recipe.steps, recipe.strength)
    never = [use for use in recipe.controls if use.scale and len(set(acting_steps(use, steps))) == 1]
    return [f"{use.name} acts in none of {steps} steps: {use.start:g}-{use.end:g} holds no whole one" for use in never]


def began(recipe: Recipe) -> list[str]:
    """What was done to the start picture and to control maps so that they are as large as the finished one."""
    start, margins = recipe.init_image, recipe.outpaint or Margins()
    found = [(use.map.name, use.map.width, use.map.height) for use in recipe.controls]
    if start is not None:
        width, height = start.width + margins.left + margins.right, start.height + margins.top + margins.bottom
        found.insert(0, (f"{start.name}{' with its margins' if recipe.outpaint else ''}", width, height))
    notes = []
    for name, width, height in found:
        if (width, height) != (recipe.width, recipe.height):
            cut = ", and cut to it" if width * recipe.height != height * recipe.width else ""
            notes.append(f"{name}, {width}x{height}, is scaled to {recipe.width}x{recipe.height}{cut}")
    return notes


def _fitting_size(model: Model, recipe: Recipe) -> str:
    """The size nearest to a recipe's that is drawn as large as the model was trained."""
    width, height = model.card.defaults.drawn
    factors = UPSCALES if model.upscaler is not None else UPSCALES[:1]
    wanted = recipe.width * recipe.height / (width * height)
    factor = min(factors, key=lambda factor: abs(math.log(factor**2 / wanted)))
    return f"{width * factor}x{height * factor}"


def unknown_words(text: str, known: Sequence[str]) -> list[str]:
    """Words of a sentence that no training caption held; an empty ``known`` says nothing."""
    if not known:
        return []
    return sorted(words_of(text) - set(known))
