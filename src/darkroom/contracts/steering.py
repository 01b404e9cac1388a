"""What steers besides the one prompt: what is said in a part of the picture, half way to another prompt, in place of a
word; adapters; and pictures that say where things are, or what they are and how they are drawn.

Each is an object in a program and one short text on the command line; both come to the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from os import PathLike
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from darkroom.contracts.contract import Contract, Name, Number, Share, Text
from darkroom.contracts.errors import BadInput, shown, unknown
from darkroom.contracts.prompt import MAX_TEXT
from darkroom.contracts.refinement import FileName, PictureFile

MAX_REGIONS = 16
MAX_ADAPTERS = 64
MAX_CONTROLS = 8
MAX_REFERENCES = 8
MOST_CONTROL = 2.0  # how strongly one may act: beyond, there is little but its map
TAKES_OVER = 0.8  # of the way from noise to picture: where Stable Diffusion XL's was trained (arXiv:2307.01952, 2.5)
SWAPPED = 0.9  # how far back a swap goes where nobody says: its thing is drawn anew, on the ground it stood on


def _said(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise BadInput("what is said", "is blank", "say what it shows, or leave it out")
    return value


Scale = Annotated[Number, Field(ge=-10, le=10)]
ControlScale = Annotated[Number, Field(ge=0, le=MOST_CONTROL)]
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
    """An adapter, and how strongly it acts."""

    file: FileName = Field(description="Its safetensors file.")
    scale: Scale = Field(1.0, description="How strongly it acts: 1 is as trained, 0 not at all.")


class Control(Contract):
    """A picture that says where edges, depths or limbs are, the network that reads it, and when it acts."""

    network: FileName = Field(description="The control network: a safetensors file, or a folder with its config.json.")
    map: FileName = Field(description="The picture it reads.")
    scale: ControlScale = Field(1.0, description="How strongly it acts: 1 is as trained, 0 not at all.")
    start: Share = Field(0.0, description="From when on it acts, of the steps.")
    end: Share = Field(1.0, description="Until when it acts, of the steps.")

    @model_validator(mode="after")
    def _runs_forward(self) -> Self:
        check_acting(self)
        return self


Keep = Literal["subject", "style"]
KEEPS: tuple[Keep, ...] = get_args(Keep)
"""What can be kept of a reference picture, in the order of an image tower's queries."""


class ImagePrompt(Contract):
    """A reference picture, how strongly it acts, and what of it is wanted."""

    file: FileName = Field(description="The picture.")
    scale: ControlScale = Field(1.0, description="How strongly it acts: 1 is as trained, 0 not at all.")
    keep: Keep = Field("subject", description="What of it is wanted: its subject, or its style.")


class ImagePromptUse(Contract):
    """A reference picture that took part."""

    picture: PictureFile = Field(description="The picture.")
    scale: ControlScale = Field(1.0, description="How strongly it acted; 1 is as trained.")
    keep: Keep = Field("subject", description="What of it was wanted.")

    def asked(self) -> ImagePrompt:
        """What was asked for, by the name of its file."""
        return ImagePrompt(file=self.picture.name, scale=self.scale, keep=self.keep)


class RefinerModel(Contract):
    """A second model that takes over where little noise is left, and from when on."""

    model: Name = Field(description="The model, by name or folder.")
    at: Share = Field(TAKES_OVER, description="From when on it draws: 0 is all of it, 1 nothing.")


def check_acting(asked: Any) -> None:
    """Raises BadInput for a control that ends before it begins."""
    if asked.start >= asked.end:
        rule = "is no time to act in" if asked.start == asked.end else "runs backwards"
        raise BadInput(f"the control's {asked.start:g}-{asked.end:g}", rule, "write 0-0.5 for the first half")


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


def refiner(text: str) -> dict[str, Any]:
    """The second model of "refiner" or "refiner:0.8"."""
    model, share = _with_share(text)
    return {"model": model, **({} if share is None else {"at": share})}


def _with_share(text: str) -> tuple[str, float | None]:
    """A text and the number after its last colon; None: there is none."""
    before, colon, last = text.rpartition(":")
    if colon and (match := _NUMBER.fullmatch(last.strip())):
        return before.strip(), float(match[1]) / (100 if match[2] else 1)
    return text.strip(), None


def lora(text: str, what: str = "the adapter", like: str = "style.safetensors:0.8") -> dict[str, Any]:
    """The adapter of "style.safetensors" or "style.safetensors:0.8"; or what else is written like it."""
    match = _SCALED.fullmatch(text.strip())
    if match is None:
        raise BadInput(f"{what} {shown(text)}", "names no file", f'write "{like}"')
    share = {} if match[2] is None else {"scale": float(match[2]) / (100 if match[3] else 1)}
    return {"file": match[1].strip(), **share}


def control(text: str) -> dict[str, Any]:
    """The control of "canny=edges.png", "canny=edges.png:0.8" or "canny=edges.png:0.8:0-0.5"."""
    network, equals, rest = text.partition("=")
    if not equals or not network.strip() or not rest.strip():
        rule = "does not say which network reads which picture"
        raise BadInput(f"the control {shown(text)}", rule, 'write "canny.safetensors=edges.png:0.8"')
    acting = _ACTING.fullmatch(rest)
    found = lora(rest if acting is None else acting[1])
    told = {"network": network.strip(), "map": found.pop("file"), **found}
    return told if acting is None else {**told, "start": _share(acting[2]), "end": _share(acting[3])}


def image_prompt(text: str) -> dict[str, Any]:
    """The reference picture of "fox.png", "fox.png:0.6", "fox.png:style" or "fox.png:0.6:style"."""
    before, _, last = text.rpartition(":")
    if before.strip() and last.strip().isalpha():
        told = lora(before)
        if last.strip() in KEEPS:
            return {**told, "keep": last.strip()}
        if "scale" in told:
            raise unknown("part of a reference picture", last.strip(), KEEPS)
    return lora(text, "the reference picture", "fox.png:0.6")


def _share(text: str) -> float:
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


_ACTING = re.compile(r"(.+):\s*([0-9]{1,3}(?:\.[0-9]{0,9})?%?)\s*-\s*([0-9]{1,3}(?:\.[0-9]{0,9})?%?)\s*", re.DOTALL)
_SCALED = re.compile(r"(.+?)(?::\s*([+-]?(?:[0-9]{1,6}(?:\.[0-9]{0,9})?|\.[0-9]{1,9}))\s*(%)?)?", re.DOTALL)
_NUMBER = re.compile(r"([0-9]{1,6}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})\s*(%)?")


def _several(read: Callable[[str], Any]) -> Callable[[Any], Any]:
    """A validator of one text, or several, or objects; ``read`` makes an object's fields of a text."""

    def found(value: Any) -> Any:
        if isinstance(value, str | PathLike | dict):
            value = [value]
        if isinstance(value, list | tuple):
            texts = (str(one) if isinstance(one, PathLike) else one for one in value)
            return tuple(read(one) if isinstance(one, str) else one for one in texts)
        return value

    return found


Regions = Annotated[
    tuple[Region, ...],
    Field(max_length=MAX_REGIONS),
    BeforeValidator(_several(region), json_schema_input_type=list[Region | str] | str),
]
Loras = Annotated[
    tuple[Lora, ...],
    Field(max_length=MAX_ADAPTERS),
    BeforeValidator(_several(lora), json_schema_input_type=list[Lora | str] | str),
]
Controls = Annotated[
    tuple[Control, ...],
    Field(max_length=MAX_CONTROLS),
    BeforeValidator(_several(control), json_schema_input_type=list[Control | str] | str),
]
ImagePrompts = Annotated[
    tuple[ImagePrompt, ...],
    Field(max_length=MAX_REFERENCES),
    BeforeValidator(_several(image_prompt), json_schema_input_type=list[ImagePrompt | str] | str),
]
Embeddings = Annotated[
    tuple[FileName, ...],
    Field(max_length=MAX_ADAPTERS),
    BeforeValidator(_several(str), json_schema_input_type=list[FileName] | str),
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
AnyRefiner = Annotated[
    RefinerModel,
    BeforeValidator(
        lambda value: refiner(value) if isinstance(value, str) else value,
        json_schema_input_type=RefinerModel | str,
    ),
]
