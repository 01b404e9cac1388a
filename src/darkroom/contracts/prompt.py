"""The sentence a picture is made from, after parsing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from darkroom.contracts.contract import Contract, Text
from darkroom.contracts.errors import BadInput, shown

MAX_TEXT = 32_000  # characters; a guard against abuse: the model reads fewer and says so


def _readable_text(text: str) -> None:
    """Raises BadInput for a text that is given and says nothing."""
    if not text.strip():
        raise BadInput("the prompt", "is blank", "say what the picture shows, or leave it out beside its parts")


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


PARTS = ("subject", "composition", "setting", "light")  # in the order in which captions tell them
_GOES_ON = re.compile(
    r"[(\[{\s]{0,9}(?:in|on|at|by|under|against|inside|outside|near|behind|beside|between|among|within|during|over|above|"
    r"below|from|with|without|through|across|along|next|lit|seen|surrounded|shown)\b",
    re.IGNORECASE,
)


def composed(text: str, parts: Mapping[str, str]) -> str:
    """One sentence of a text ("" is none) and parts, said the way captions say them.

    A part that begins with a word like "in" goes on with the sentence, any other stands after a comma, as in "a red fox
    in a forest, soft light"; "a close-up of" stands before it. What is said of the background comes last.
    """
    words = {name: " ".join(part.split()).strip(" ,;") for name, part in parts.items()}
    told = re.sub(r"(?<!\\)[\s.,;]{1,20}$", "", text[-20:]) if text else ""
    said = text[:-20] + told
    subject = words.pop("subject", "")
    one = bool(subject) or not re.search(
        r"[,.](?:\s|$)", said
    )  # it has no second part that "in a forest" would be said of
    said = ", ".join(part for part in (said, subject) if part)
    view = words.get("composition", "")
    if view.endswith(" of"):
        said, words["composition"] = f"{view} {said}".strip(), ""
    order = ("setting", "light", "composition") if "background" in view else ("composition", "setting", "light")
    going = [words[name] for name in order if words.get(name)]
    tags = [part for part in going if not (one and said and _GOES_ON.match(part))]
    flowing = [part for part in going if part not in tags]
    return ", ".join(part for part in (" ".join([said, *flowing]).strip(), *tags) if part)


def _part(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BadInput(f"{name} {shown(value)}", "is not text", "give it in quotes")
    if not value.strip():
        raise BadInput(f"{name} {shown(value)}", "is blank", "say something, or leave it out")
    if "\0" in value:
        raise BadInput(name, f"holds a NUL character at position {value.index(chr(0))}", "remove it")
    if not re.search(r"\w", value):
        raise BadInput(f"{name} {shown(value)}", "holds no word", "say it in words, or leave it out")
    if len(value) > MAX_TEXT:
        raise BadInput(name, f"is too long ({len(value)} characters)", f"give at most {MAX_TEXT}")
    return value


Told = Annotated[Text | None, Field(max_length=MAX_TEXT, exclude=True)]
"""A part of what the picture shows; it becomes part of the text and is None from then on."""


class Prompt(Contract):
    """What to draw, and what to keep out. Its parts, where given, are put into one text: see :func:`composed`."""

    model_config = ConfigDict(
        json_schema_extra={"required": [], "anyOf": [{"required": [name]} for name in ("text", *PARTS)]}
    )

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
    subject: Told = Field(None, description='What is to be seen: "a red fox". None: as the text says.')
    setting: Told = Field(
        None, description='Where it is: "in a forest", "on a white background". None: as the text says.'
    )
    light: Told = Field(None, description='In which light: "at night", "soft light". None: as the text says.')
    composition: Told = Field(
        None, description='How it is seen: "close-up", "from above", "a wide shot of". None: as the text says.'
    )

    @model_validator(mode="before")
    @classmethod
    def _in_one_text(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        parts = {name: _part(name, data[name]) for name in PARTS if data.get(name) is not None}
        rest = {name: value for name, value in data.items() if name not in PARTS}
        if not parts or not isinstance(data.get("text", ""), str):
            return rest
        if "text" in data:
            _readable_text(data["text"])
        return {**rest, "text": composed(data.get("text", ""), parts)}
