"""A prompt laid open before it is drawn: its tokens, its parts, what was reduced, what the model was never taught."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from darkroom.cards import CARD, known_models, read_card, read_tokenizer
from darkroom.contracts.card import Card
from darkroom.contracts.contract import Contract, Name
from darkroom.contracts.errors import unknown
from darkroom.contracts.request import AnyPrompt, Request, Seed, Steps
from darkroom.server.studio import AnyStudio, Owner
from darkroom.wording.anatomy.view import view_of
from darkroom.wording.parse import words_of
from darkroom.wording.tokenizer import Tokenizer

router = APIRouter(prefix="/api", tags=["prompts"])
MODELS_KEPT = 4


class Look(Contract):
    """A prompt to look at, with what else decides how it is read."""

    prompt: AnyPrompt = Field(description="What to look at.")
    style: Name | None = Field(None, description="The style it is asked for in. None: none.")
    seed: Seed | None = Field(None, description="The number that choices are made with. None: 0.")
    steps: Steps | None = Field(None, description="Steps, which say when words change. None: the model's own.")
    verbatim: bool = Field(False, description="Whether talk in it is left as it is.")
    model: Name = Field("default", description="The model that reads it.")


class Token(Contract):
    """A piece of a word, as the network reads it."""

    id: Annotated[int, Field(ge=0, description="Its number in the vocabulary.")]
    text: str = Field(description="What it spells; a space before it begins a word.")
    known: bool = Field(description="Whether its word stood in a caption the model learnt from.")


@router.post("/prompt")
def look(look: Look, studio: AnyStudio, owner: Owner) -> dict[str, Any]:
    """How a model reads a prompt: what `darkroom prompt --json` tells, and the tokens of every part."""
    if look.model not in (known := known_models()):
        raise unknown("model", look.model, known)
    folder = known[look.model]
    card, tokenizer = _reader(folder, (folder / CARD).stat().st_mtime_ns)
    request = Request.checked({name: getattr(look, name) for name in Look.model_fields})
    told = view_of(request, card, tokenizer, styles=studio.settings.folders.styles).as_json()
    known_words = frozenset(card.words)
    for spell in (*told["spells"], *told["against"]):
        for part in spell["read"]:
            part["pieces"] = [token.model_dump() for token in pieces_of(part["text"], tokenizer, known_words)]
    width = card.configs.get("text", {}).get("width")
    return {**told, "width": width}


def pieces_of(text: str, tokenizer: Tokenizer, words: frozenset[str]) -> list[Token]:
    """The tokens of a text. Where a card does not say which words a model was taught, all count as known."""
    pairs = list(zip(tokenizer.encode(text), tokenizer.pieces(text), strict=True))
    found: list[Token] = []
    at = 0
    while at < len(pairs):
        end = at + 1
        while end < len(pairs) and not pairs[end][1].startswith(" "):
            end += 1
        word = "".join(piece for _, piece in pairs[at:end])
        known = not words or words_of(word) <= words
        for number, piece in pairs[at:end]:
            mark = not any(letter.isalnum() for letter in piece)  # no word of its own
            found.append(Token(id=number, text=piece, known=known or mark))
        at = end
    return found


@lru_cache(MODELS_KEPT)
def _reader(folder: Path, changed: int) -> tuple[Card, Tokenizer]:
    """A model's card and tokenizer; read anew when the card has changed."""
    card = read_card(folder)
    return card, read_tokenizer(folder, card)
