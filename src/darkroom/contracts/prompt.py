"""The sentence a picture is made from, after parsing."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo

from darkroom.contracts.contract import Contract, Text
from darkroom.contracts.errors import BadInput

MAX_TEXT = 32_000  # characters; a guard against abuse: the model reads fewer and says so


def _readable(value: Any, info: ValidationInfo) -> Any:
    """Before the type and length are checked, so that an empty prompt is called blank and not too short."""
    if not isinstance(value, str):
        return value
    name = "the prompt" if info.field_name == "text" else "the negative prompt"
    if (at := value.find("\0")) >= 0:
        raise BadInput(name, f"holds a NUL character at position {at}", "remove it")
    if info.field_name == "text" and not value.strip():
        raise BadInput(name, "is blank", "say what the picture shows")
    return value


_SPECIAL = re.compile(r"[()\[\]{}|:_\\]|\bBREAK\b")


def escaped(text: str) -> str:
    """The prompt that says exactly ``text``: none of it is a weight, a switch, a choice or the end of a chunk."""
    return _SPECIAL.sub(r"\\\g<0>", text)


class Prompt(Contract):
    """What to draw, and what to keep out."""

    text: Annotated[
        Text,
        Field(min_length=1, max_length=MAX_TEXT, description="What the picture shows."),
        BeforeValidator(_readable),
    ]
    negative: Annotated[
        Text,
        Field(max_length=MAX_TEXT, description="What to keep out of the picture; empty means nothing."),
        BeforeValidator(_readable),
    ] = ""
