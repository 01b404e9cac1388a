"""What is said besides the one prompt: in a part of the picture, half way to another prompt, in place of a word.

Each is an object in a program and one short text on the command line; both come to the same.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from darkroom.contracts.contract import Contract, Number, Share, Text
from darkroom.contracts.errors import BadInput, shown
from darkroom.contracts.prompt import MAX_TEXT

MAX_REGIONS = 16
MAX_LORAS = 16
SWAPPED = 0.9  # how far back a swap goes where nobody says: its thing is drawn anew, on the ground it stood on


def _said(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise BadInput("what is said", "is blank", "say what it shows, or leave it out")
    return value


Words = Annotated[Text, Field(min_length=1, max_length=MAX_TEXT), BeforeValidator(_said)]


class Region(Contract):
    """A prompt of its own for a part of the picture. Sides are shares of the picture's, from its top left."""

    prompt: Words = Field(description="What is there.")
    left: Share = Field(description="Where it begins, of the picture's width.")
    top: Share = Field(description="Where it begins, of the picture's height.")
    right: Share = Field(description="Where it ends, of the picture's width.")
    bottom: Share = Field(description="Where it ends, of the picture's height.")

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if self.right - self.left < LEAST or self.bottom - self.top < LEAST:
            box = f"{self.left:g},{self.top:g},{self.right:g},{self.bottom:g}"
            rule = f"is less than {LEAST:.0%} wide or high"
            raise BadInput(f"the region {box}", rule, "write left, top, right, bottom: 0,0,0.5,1 is the left half")
        return self

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom, as shares."""
        return self.left, self.top, self.right, self.bottom


class Swap(Contract):
    """Words of the prompt for others, in a picture that stays as it is elsewhere."""

    old: Words = Field(description="Words of the prompt.")
    new: Text = Field(max_length=MAX_TEXT, description="What stands in their place; may be empty.")
    strength: Share = Field(SWAPPED, description="How much of what changes is drawn anew; 0 changes nothing.")


class Toward(Contract):
    """Another prompt, and how far the picture lies towards it."""

    prompt: Words = Field(description="What it turns into.")
    share: Share = Field(0.5, description="How far: 0 is the prompt alone, 1 this one alone.")


class Lora(Contract):
    """A LoRA for the model, and how strongly it acts."""

    file: Annotated[Text, Field(min_length=1, max_length=4096)] = Field(description="A safetensors file.")
    scale: Annotated[Number, Field(ge=-10, le=10)] = Field(1.0, description="How strongly it acts; 1 is as trained.")


LEAST = 0.05  # of a side: less is a cell or none
_HALVES = {"left": (0, 0, 1 / 2, 1), "right": (1 / 2, 0, 1, 1), "top": (0, 0, 1, 1 / 2), "bottom": (0, 1 / 2, 1, 1)}
_THIRDS = {
    "left": (0, 0, 1 / 3, 1),
    "middle": (1 / 3, 0, 2 / 3, 1),
    "right": (2 / 3, 0, 1, 1),
    "top": (0, 0, 1, 1 / 3),
    "bottom": (0, 2 / 3, 1, 1),
}
PLACES: dict[str, tuple[float, float, float, float]] = {
    **{f"{side} half": box for side, box in _HALVES.items()},
    **{f"{side} third": box for side, box in _THIRDS.items()},
    **{
        f"{down} {across}": (_HALVES[across][0], _HALVES[down][1], _HALVES[across][2], _HALVES[down][3])
        for down in ("top", "bottom")
        for across in ("left", "right")
    },
    "centre": (1 / 4, 1 / 4, 3 / 4, 3 / 4),
}
"""Parts of a picture by name; "left" alone is its half."""


def region(text: str) -> dict[str, Any]:
    """The region of "left half: a cat" or, in shares or percent, "0,0,50%,100%: a cat"."""
    where, colon, prompt = text.partition(":")
    if not colon:
        rule = "does not say where and what"
        raise BadInput(f"the region {shown(text)}", rule, 'write "left half: a cat" or "0,0,0.5,1: a cat"')
    name = " ".join(where.lower().replace("center", "centre").split())
    box = PLACES.get(name) or PLACES.get(f"{name} half") or _box(where)
    return {"prompt": prompt.strip(), **dict(zip(("left", "top", "right", "bottom"), box, strict=True))}


def _box(where: str) -> tuple[float, ...]:
    parts = where.split(",")
    found = [_NUMBER.fullmatch(part.strip()) for part in parts[:5]]
    if len(parts) != 4 or not all(found):
        fix = f"write one of {', '.join(PLACES)}, or left, top, right, bottom: 0,0,0.5,1"
        raise BadInput(f"the place {shown(where.strip())}", "is none that is known", fix)
    box = tuple(float(match[1]) / (100 if match[2] else 1) for match in found if match)
    if max(box) > 1:
        rule = "reaches outside the picture"
        raise BadInput(f"the region {shown(where.strip())}", rule, "write shares from 0 to 1, or percent: 0,0,50%,100%")
    return box


def swap(text: str) -> dict[str, Any]:
    """The swap of "blue->stormy" or "blue->stormy:0.6"."""
    old, arrow, rest = text.partition("->")
    if not arrow or not old.strip():
        rule = "does not say which words become which"
        raise BadInput(f"the swap {shown(text)}", rule, 'write "blue->stormy", or "blue->stormy:0.6"')
    new, strength = _with_share(rest)
    return {"old": old.strip(), "new": new, **({} if strength is None else {"strength": strength})}


def toward(text: str) -> dict[str, Any]:
    """The other prompt of "a dog" or "a dog:0.3"."""
    prompt, share = _with_share(text)
    return {"prompt": prompt, **({} if share is None else {"share": share})}


def lora(text: str) -> dict[str, Any]:
    """The LoRA of "style.safetensors" or "style.safetensors:0.8"."""
    file, colon, last = text.rpartition(":")
    if colon and (match := _SCALE.fullmatch(last.strip())):
        return {"file": file.strip(), "scale": float(match[0])}
    return {"file": text.strip()}


def _loras(value: Any) -> Any:
    """One text, or several, or objects; a file is given once."""
    if isinstance(value, str):
        value = [value]
    return (
        tuple(lora(one) if isinstance(one, str) else one for one in value) if isinstance(value, list | tuple) else value
    )


def _once_each(found: tuple[Lora, ...]) -> tuple[Lora, ...]:
    names = [one.file for one in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadInput(f"the LoRA {shown(twice)}", "is given twice", "give it once, with the sum of both scales")
    return found


def _with_share(text: str) -> tuple[str, float | None]:
    """A text and the number after its last colon; None: there is none."""
    before, colon, last = text.rpartition(":")
    if colon and (match := _NUMBER.fullmatch(last.strip())):
        return before.strip(), float(match[1]) / (100 if match[2] else 1)
    return text.strip(), None


_SCALE = re.compile(r"\s*[-+]?([0-9]{1,3}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})\s*")
_NUMBER = re.compile(r"([0-9]{1,6}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})\s*(%)?")


def _regions(value: Any) -> Any:
    """One text, or several, or objects."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list | tuple):
        return tuple(region(one) if isinstance(one, str) else one for one in value)
    return value


Regions = Annotated[
    tuple[Region, ...],
    Field(max_length=MAX_REGIONS),
    BeforeValidator(_regions, json_schema_input_type=list[Region | str] | str),
]
Loras = Annotated[
    tuple[Lora, ...],
    Field(max_length=MAX_LORAS),
    AfterValidator(_once_each),
    BeforeValidator(_loras, json_schema_input_type=list[Lora | str] | str),
]
AnySwap = Annotated[
    Swap,
    BeforeValidator(lambda value: swap(value) if isinstance(value, str) else value, json_schema_input_type=Swap | str),
]
AnyToward = Annotated[
    Toward,
    BeforeValidator(
        lambda value: toward(value) if isinstance(value, str) else value, json_schema_input_type=Toward | str
    ),
]
