"""What a client of OpenAI's asks for, as requests of ours, and what of it cannot be honoured.

``quality`` decides steps and, at its upper end, how many candidates the judge chooses from: see ``QUALITY``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from darkroom.cards import known_models, read_card
from darkroom.contracts.contract import Name, Share, Text, Whole
from darkroom.contracts.errors import BadInput, explain, explained, shown, unknown
from darkroom.contracts.prompt import MAX_TEXT
from darkroom.contracts.request import MAX_SEED, MAX_STEPS, Guidance, Request, Seed, Steps, parse_size
from darkroom.server.admit import styles
from darkroom.server.spoken import NoModel, WrongField
from darkroom.server.studio import Studio

MOST = 10  # pictures of one call
THEIRS = re.compile(r"(gpt-image|dall-e|chatgpt-image)[a-z0-9.-]*")


class Grade(NamedTuple):
    """What a quality means: times the model's own steps, and candidates of which the judge keeps the best."""

    name: str  # as the reply has it
    steps: float
    best_of: int = 1


QUALITY = {
    "low": Grade("low", 0.5),
    "medium": Grade("medium", 1),
    "auto": Grade("medium", 1),
    "standard": Grade("medium", 1),
    "high": Grade("high", 2),
    "hd": Grade("high", 2),
    "xhigh": Grade("xhigh", 2, 2),
    "max": Grade("max", 2, 4),
}
FIDELITY = {"low": None, "high": 0.5}  # of a picture that is edited as a whole, how much is drawn anew
VIVID = "saturation=1.25"

Quality = Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"]
Format = Literal["png", "jpeg", "webp"]
Few = Annotated[Whole, Field(ge=0, le=3)]
Percent = Annotated[Whole, Field(ge=0, le=100)]


class Asked(BaseModel):
    """The fields that mean something here; what else a client sends is named in the reply. None: not said."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    prompt: Annotated[Text, Field(max_length=MAX_TEXT)]
    model: Name | None = None
    n: Annotated[Whole, Field(ge=1, le=MOST)] | None = None
    size: Annotated[Text, Field(max_length=100)] | None = None
    quality: Quality | None = None
    background: Literal["auto", "opaque", "transparent"] | None = None
    output_format: Format | None = None
    output_compression: Percent | None = None
    response_format: Literal["url", "b64_json"] | None = None
    style: Name | None = None
    stream: bool | None = Field(None, strict=True)
    partial_images: Few | None = None
    input_fidelity: Literal["high", "low"] | None = None
    seed: Seed | None = None
    steps: Steps | None = None
    guidance_scale: Guidance | None = None
    negative_prompt: Annotated[Text, Field(max_length=MAX_TEXT)] | None = None
    sampler: Name | None = None
    strength: Share | None = None
    darkroom: dict[str, Any] | None = None  # fields of a request of ours

    @property
    def grade(self) -> Grade:
        """What its quality means."""
        return QUALITY[self.quality or "auto"]

    @property
    def format(self) -> Format:
        """The format of the files."""
        return self.output_format or "png"

    @property
    def compression(self) -> int | None:
        """Quality of JPEG and WebP, 1-100; None: the usual."""
        return None if self.output_compression is None else max(1, self.output_compression)


PARAMS = {
    "width": "size",
    "height": "size",
    "guidance": "guidance_scale",
    "best_of": "quality",
    "refine": "style",
    "init_image": "image",
}
# What some clients send with every call, and what is as they expect it anyway.
_SILENT: dict[str, tuple[Any, ...]] = {"moderation": ("auto",), "user": ("",), "safety_identifier": ("",)}
_WHY = {
    "moderation": "no pictures are filtered here",
    "user": "pictures belong to the key that asks for them",
    "safety_identifier": "pictures belong to the key that asks for them",
}


def read(fields: Mapping[str, Any]) -> Asked:
    """What a body asks for. Raises WrongField, which names the field."""
    try:
        return Asked.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors()[0]
        raise WrongField(explained([first]), param=str(first["loc"][0]) if first["loc"] else None) from None


_TEXTS = {"prompt", "model", "size", "quality", "background", "output_format", "response_format", "style", "sampler"}
_TEXTS |= {"input_fidelity", "negative_prompt"}


def from_form(fields: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a form, whose values are all texts, as those of JSON."""
    found: dict[str, Any] = {}
    for name, text in fields.items():
        found[name] = text
        if name in Asked.model_fields and name not in _TEXTS:
            with suppress(ValueError, RecursionError):  # it stays text then, and is refused as what it is
                found[name] = json.loads(text[:MAX_TEXT])
    return found


def notes_on(fields: Mapping[str, Any], asked: Asked, *, edit: bool) -> list[str]:
    """What of a body changes nothing, and why, a sentence each."""
    found = []
    for name, value in fields.items():
        if name in Asked.model_fields or value is None or value in _SILENT.get(name, ()):
            continue
        found.append(f"{shown(name)[1:-1]} changes nothing: {_WHY.get(name, 'it is not known here')}")
    if asked.output_compression is not None and asked.format == "png":
        found.append("output_compression changes nothing: PNG keeps every pixel as it is")
    if asked.partial_images and not asked.stream:
        found.append("partial_images changes nothing: they come with stream alone")
    for name in ("input_fidelity", "strength"):
        if getattr(asked, name) is not None and not edit:
            found.append(f"{name} changes nothing: there is no picture to start from")
    return found


def requests_of(asked: Asked, notes: list[str], studio: Studio, start: Mapping[str, Any]) -> list[Request]:
    """The pictures that are asked for; ``start`` has the fields of those that are edited. Adds to ``notes``.

    Raises WrongField, which names the field.
    """
    if asked.background == "transparent":
        rule = "cannot be drawn: pictures have no transparent parts here"
        raise WrongField("background 'transparent'", rule, "give 'opaque' or 'auto'", "background")
    model = model_of(asked.model, notes)
    fields: dict[str, Any] = {"prompt": {"text": asked.prompt, "negative": asked.negative_prompt or ""}, "model": model}
    fields |= {"sampler": asked.sampler, "guidance": asked.guidance_scale, "steps": asked.steps}
    fields |= _graded(asked, model) | _sized(asked.size) | _styled(asked.style, model, studio)
    fields |= start
    if start and "mask" not in start:
        fields["strength"] = FIDELITY[asked.input_fidelity or "low"]
    if start and asked.strength is not None:
        fields["strength"] = asked.strength
    fields |= asked.darkroom or {}
    if asked.seed is None:
        return [_checked(fields)] * (asked.n or 1)
    return [_checked(fields | {"seed": (asked.seed + at) % (MAX_SEED + 1)}) for at in range(asked.n or 1)]


def model_of(name: str | None, notes: list[str]) -> str:
    """A model of ours for a name; OpenAI's own are taken for the default one. Raises NoModel."""
    known = known_models()
    if name is None or name in known:
        return name or "default"
    if THEIRS.fullmatch(name):
        notes.append(f"the model {name} is not here: default draws in its place")
        return "default"
    told = unknown("model", name, known)
    raise NoModel(told.value, told.rule, told.fix, "model")


def _graded(asked: Asked, model: str) -> dict[str, Any]:
    grade = asked.grade
    found: dict[str, Any] = {"best_of": grade.best_of} if grade.best_of > 1 else {}
    if asked.steps is None and grade.steps != 1:
        steps = read_card(known_models()[model]).defaults.steps
        found["steps"] = min(max(1, round(steps * grade.steps)), MAX_STEPS)
    return found


def _sized(size: str | None) -> dict[str, Any]:
    if size in (None, "", "auto"):
        return {}
    try:
        width, height = parse_size(size or "")
    except BadInput as error:
        raise WrongField(error.value, error.rule, error.fix, "size") from None
    return {"width": width, "height": height}


def _styled(style: str | None, model: str, studio: Studio) -> dict[str, Any]:
    """A style of ours, or what theirs come to: ``vivid`` has stronger colours, ``natural`` is as drawn."""
    if style is None:
        return {}
    if style in (known := styles(model, studio)):
        return {"style": style}
    if style in ("vivid", "natural"):
        return {"refine": VIVID} if style == "vivid" else {}
    told = unknown("style", style, [*known, "vivid", "natural"])
    raise WrongField(told.value, told.rule, told.fix, "style")


def _checked(fields: Mapping[str, Any]) -> Request:
    try:
        return Request.model_validate({name: value for name, value in fields.items() if value is not None})
    except ValidationError as error:
        where = error.errors()[0]["loc"]
        name = str(where[0]) if where else ""
        raise WrongField(explain(error), param=PARAMS.get(name, name) or None) from None
