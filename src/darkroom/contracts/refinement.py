"""What is done to a finished picture, step by step, and how a chain of steps is written:

    clean, exposure=0.3, white-balance=auto, curve=0:0 0.25:0.2 1:1, lut=film.cube:0.7, crop=16:9, resize=512

A step is a name, mostly with ``=`` and a value. Commas end steps, colons divide values, spaces the points of a curve. A
file's name with a comma or a quote in it stands in double quotes, a quote within them twice. One may come twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from darkroom.contracts.contract import Contract, Name, Number, Sha256, Share, Whole
from darkroom.contracts.errors import BadInput, explain, shown, unknown

MAX_STEPS = 64
MAX_CHAIN = 20_000  # characters of a written chain
MAX_POINTS = 32  # of a curve
MAX_SIDE = 8192  # a picture is resized to
COOLEST, WARMEST = 25_000, 1_667  # kelvin: the ends of the formula for the colour of light
_FILE = re.compile(r'("(?:[^"]|"")*+")\s*(?::(.*))?', re.DOTALL)
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,25})?|\.[0-9]{1,25})(?:[eE][+-]?[0-9]{1,3})?")
_BOX = re.compile(r"([0-9]{1,6})[xX×]([0-9]{1,6})\+([0-9]{1,6})\+([0-9]{1,6})")
_SIZE = re.compile(r"([0-9]{1,6})(?:[xX×]([0-9]{1,6}))?")
_STEP = re.compile(r'\s*+([^,="\s]*+)\s*+(?:=\s*+((?:"(?:[^"]|"")*+")?+[^,"]*+))?+(,|\Z)')

FileName = Annotated[str, Field(strict=True, min_length=1, max_length=4096)]
_Noise = Annotated[Number, Field(ge=0, le=0.5)]
_Kelvin = Annotated[Whole, Field(ge=WARMEST, le=COOLEST)]
_Side = Annotated[Whole, Field(ge=1, le=MAX_SIDE)]
_Offset = Annotated[Whole, Field(ge=0, le=65_535)]


def _no_folder(name: str) -> str:
    if set(name) & set("/\\") or name == "..":
        raise BadInput(f"the file {shown(name)}", "names a folder", "give the file's own name")
    return name


BareName = Annotated[Name, AfterValidator(_no_folder)]
"""A file's name without its folder: a recipe from elsewhere must not say which file is opened."""


class PictureFile(Contract):
    """A picture that was brought along. The recipe tells which it was; its pixels are not in it."""

    name: BareName = Field(description="The file's name, without its folder.")
    sha256: Sha256 = Field(description="SHA-256 over its pixels, so that it may be stored as another file.")
    width: Annotated[Whole, Field(ge=1, le=2**31, description="Width in pixels.")]
    height: Annotated[Whole, Field(ge=1, le=2**31, description="Height in pixels.")]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width, self.height


class TableFile(Contract):
    """A table of colours that was brought along."""

    name: BareName = Field(description="The file's name, without its folder.")
    sha256: Sha256 = Field(description="SHA-256 over its bytes.")


class Step(Contract):
    """What is done once to a picture; ``FORM`` is how its value is written, for messages."""

    FORM: ClassVar[str]

    @classmethod
    def fields_of(cls, value: str) -> dict[str, Any]:
        """The fields that a value says; "" where none was written. Raises ValueError or KeyError where it says none."""
        if value:
            raise ValueError
        return {}

    def value(self) -> str:
        """Its value as :meth:`fields_of` reads it."""
        return ""

    def asked(self) -> Self:
        """The step as a request has it: of files it has but names."""
        return self


class Clean(Step):
    """Noise is taken away, edges stay."""

    FORM: ClassVar[str] = "clean or clean=STRENGTH"
    step: Literal["clean"] = Field("clean", description="Which step it is.")
    strength: _Noise | None = Field(None, description="Standard deviation of the noise, of 1. None: it is measured.")

    @classmethod
    def fields_of(cls, value: str) -> dict[str, Any]:
        return {"strength": _number(value)} if value else {}

    def value(self) -> str:
        return "" if self.strength is None else _written(self.strength)


class Exposure(Step):
    """All light, times a power of two."""

    FORM: ClassVar[str] = "exposure=EV"
    step: Literal["exposure"] = Field("exposure", description="Which step it is.")
    ev: Annotated[Number, Field(ge=-10, le=10)] = Field(description="Doublings of the light; below 0 halvings.")

    @classmethod
    def fields_of(cls, value: str) -> dict[str, Any]:
        return {"ev": _number(value)}

    def value(self) -> str:
        return _written(self.ev)


class WhiteBalance(Step):
    """The colour of the light is taken out."""

    FORM: ClassVar[str] = "white-balance, white-balance=grey-world or white-balance=KELVIN"
    step: Literal["white-balance"] = Field("white-balance", description="Which step it is.")
    light: Literal["auto", "grey-world"] | _Kelvin = Field(
        "auto", description="The light: measured in the brighter parts, in all of it, or in kelvin (6504: no change)."
    )

    @classmethod
    def fields_of(cls, value: str) -> dict[str, Any]:
        if value in ("", "auto", "grey-world"):
            return {"light": value or "auto"}
        light = int(value.rstrip("kK"))
        if not WARMEST <= light <= COOLEST:
            rule = f"is not between {WARMEST} and {COOLEST} kelvin"
            raise BadInput(f"white-balance={light}", rule, f"try {min(max(light, WARMEST), COOLEST)}")
        return {"light": light}

    def value(self) -> str:
        return str(self.light)


class Curve(Step):
    """A curve through points, the same for red, green and blue."""

    FORM: ClassVar[str] = "curve=X:Y X:Y ..., such as curve=0:0 0.25:0.2 1:1"
    step: Literal["curve"] = Field("curve", description="Which step it is.")
    points: tuple[tuple[Share, Share], ...] = Field(
        min_length=2, max_length=MAX_POINTS, description="Values from 0 to 1, and what becomes of them."
    )

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if wrong := [after for (before, _), (after, _) in pairwise(self.points) if after < before + 1e-4]:
            raise BadInput(f"the point at {_written(wrong[0])}", "comes too early", "write points from dark to bright")
        return self

    @classmethod
    def fields_of(cls, value: str) -> dict[str, Any]:
        points = [point.split(":") for point in value.split()]
        if len(points) < 2 or any(len(point) != 2 for point in points):
            raise ValueError
        return {"points": tuple((_number(x), _number(y)) for x, y in points)}

    def value(self) -> str:
        return " ".join(f"{_written(x)}:{_written(y)}" for x, y in self.points)


class _Factor(Step):
    """A step with one factor, of which 1 changes nothing."""

    factor: Annotated[Number, Field(ge=0, le=4)] = Field(description="How many times as much; 1 changes nothing.")

    @classmethod
    def fields_of(cls, value: str) -> dict[str, Any]:
        return {"factor": _number(value)}

    def value(self) -> str:
        return _written(self.factor)


class Contrast(_Factor):
    """Light and dark further apart, or nearer."""

    FORM: ClassVar[str] = "contrast=FACTOR"
    step: Literal["contrast"] = Field("contrast", description="Which step it is.")


class Saturation(_Factor):
    """Colours stronger, or paler; 0 is grey."""

    FORM: ClassVar[str] = "saturation=FACTOR"
    step: Literal["saturation"] = Field("saturation", description="Which step it is.")


class _FromFile(Step):
    """A step that goes by a file, with how much of it is done."""

    amount: Share = Field(1.0, description="How much of it: 0 is nothing, 1 all.")

    @classmethod
    def fields_of(cls, value: str) -> dict[str, Any]:
        quoted = _FILE.fullmatch(value)
        if quoted:
            name, amount = quoted[1][1:-1].replace('""', '"'), quoted[2]
        else:
            before, colon, after = value.rpartition(":")
            ends = bool(colon) and _NUMBER.fullmatch(after.strip()) is not None
            name, amount = (before.strip(), after) if ends else (value, None)
        if not name or (value[0] == '"' and not quoted):
            raise ValueError
        return {"file": name, **({} if amount is None else {"amount": _number(amount)})}

    def value(self) -> str:
        name: str = self.asked().file  # type: ignore[attr-defined]
        quoted = '"' + name.replace('"', '""') + '"'
        plain = not set(name) & set(',"') and name == name.strip() and ":" not in name
        return f"{name if plain else quoted}:{_written(self.amount)}"

    def asked(self) -> Self:
        file: str | PictureFile | TableFile = self.file  # type: ignore[attr-defined]
        return self if isinstance(file, str) else self.model_copy(update={"file": file.name})


class Lut(_FromFile):
    """Colours by a table."""

    FORM: ClassVar[str] = "lut=FILE.cube or lut=FILE.cube:AMOUNT"
    step: Literal["lut"] = Field("lut", description="Which step it is.")
    file: FileName | TableFile = Field(description="A table of colours, a .cube file.")


class Match(_FromFile):
    """The colours of another picture."""

    FORM: ClassVar[str] = "match=PICTURE or match=PICTURE:AMOUNT"
    step: Literal["match"] = Field("match", description="Which step it is.")
    file: FileName | PictureFile = Field(description="The picture whose colours are wanted.")


class Sharpen(Step):
    """Edges steeper, with bounds on their halos."""

    FORM: ClassVar[str] = "sharpen, sharpen=AMOUNT or sharpen=AMOUNT:RADIUS"
    step: Literal["sharpen"] = Field("sharpen", description="Which step it is.")
    amount: Annotated[Number, Field(ge=0, le=4)] = Field(0.5, description="How much of the detail is added again.")
    radius: Annotated[Number, Field(ge=0.3, le=10)] = Field(1.0, description="Pixels that count as detail.")

    @classmethod
    def fields_of(cls, value: str) -> dict[str, Any]:
        numbers = map(_number, value.split(":", 1)) if value else ()
        return dict(zip(("amount", "radius"), numbers, strict=False))

    def value(self) -> str:
        return f"{_written(self.amount)}:{_written(self.radius)}"


class Crop(Step):
    """A part of the picture."""

    FORM: ClassVar[str] = "crop=W:H (a shape, such as 16:9) or crop=WxH+LEFT+TOP (pixels)"
    step: Literal["crop"] = Field("crop", description="Which step it is.")
    width: Annotated[Number, Field(gt=0, le=65_535)] = Field(description="Width, in pixels where left is given.")
    height: Annotated[Number, Field(gt=0, le=65_535)] = Field(description="Height, in pixels where top is given.")
    left: _Offset | None = Field(None, description="Pixels to its left. None: the largest such shape in the middle.")
    top: _Offset | None = Field(None, description="Pixels above it. None: as left.")

    @model_validator(mode="after")
    def _placed(self) -> Self:
        part = self.left is not None
        if part != (self.top is not None) or (part and (self.width % 1 or self.height % 1)):
            raise BadInput("a part that is cropped", "is not four whole numbers", "give width, height, left and top")
        return self

    @classmethod
    def fields_of(cls, value: str) -> dict[str, Any]:
        if box := _BOX.fullmatch(value):
            return dict(zip(("width", "height", "left", "top"), map(int, box.groups()), strict=True))
        width, colon, height = value.partition(":")
        if not colon:
            raise ValueError
        return {"width": _number(width), "height": _number(height)}

    def value(self) -> str:
        width, height = _written(self.width), _written(self.height)
        return (
            f"{width}:{height}" if self.left is None else f"{int(self.width)}x{int(self.height)}+{self.left}+{self.top}"
        )


class Resize(Step):
    """Another size."""

    FORM: ClassVar[str] = "resize=SIDE (the longer one) or resize=WIDTHxHEIGHT"
    step: Literal["resize"] = Field("resize", description="Which step it is.")
    width: _Side = Field(description="Width in pixels; or see height.")
    height: _Side | None = Field(None, description="Height. None: the shape stays, and width is the longer side.")

    @classmethod
    def fields_of(cls, value: str) -> dict[str, Any]:
        size = _SIZE.fullmatch(value)
        if not size:
            raise ValueError
        return {"width": int(size[1]), "height": None if size[2] is None else int(size[2])}

    def value(self) -> str:
        return str(self.width) if self.height is None else f"{self.width}x{self.height}"


class Upscale(Step):
    """Larger by the model's upscaler, which paints edges anew."""

    FORM: ClassVar[str] = "upscale=2 or upscale=4"
    step: Literal["upscale"] = Field("upscale", description="Which step it is.")
    factor: Literal[2, 4] = Field(2, description="How many times larger.")

    @classmethod
    def fields_of(cls, value: str) -> dict[str, Any]:
        return {"factor": {"": 2, "2": 2, "4": 4}[value]}

    def value(self) -> str:
        return str(self.factor)


class Round(Step):
    """Eight bits a colour, as in a saved picture: what was refined from a file is refined so again."""

    FORM: ClassVar[str] = "round"
    step: Literal["round"] = Field("round", description="Which step it is.")


_Colours = Clean | Exposure | WhiteBalance | Curve | Contrast | Saturation | Lut | Match | Sharpen
_Frames = Crop | Resize | Upscale | Round
AnyStep = Annotated[_Colours | _Frames, Field(discriminator="step")]
STEPS: dict[str, type[Step]] = {kind.model_fields["step"].default: kind for kind in get_args(get_args(AnyStep)[0])}
"""Every step by its name."""


def parse_chain(text: str) -> tuple[AnyStep, ...]:
    """The steps of a written chain, in their order; blank text is none. Raises BadInput; linear in the text."""
    if len(text) > MAX_CHAIN:
        raise BadInput(f"a chain of {len(text)} characters", f"is longer than {MAX_CHAIN}", "shorten it")
    found: list[Any] = []
    at, more = 0, bool(text.strip())
    while more:
        match = _STEP.match(text, at)
        if match is None:
            said = f"step {len(found) + 1}, {shown(text[at:].strip())},"
            fix = 'write steps as clean, exposure=0.3, and a file with a comma or a quote in it as lut="a, b.cube"'
            raise BadInput(said, "is not a name with = and a value", fix)
        if len(found) == MAX_STEPS:
            raise BadInput("the chain", f"has more than {MAX_STEPS} steps", "refine in several goes")
        found.append(_parsed(match[1], (match[2] or "").strip(), len(found) + 1))
        at, more = match.end(), bool(match[3])
    return tuple(found)


def _parsed(name: str, value: str, number: int) -> Step:
    if not name:
        raise BadInput(f"step {number} of the chain", "has no name", "remove a comma, or name it")
    if name not in STEPS:
        raise unknown("step", name, STEPS)
    kind = STEPS[name]
    try:
        return kind.model_validate(kind.fields_of(value))
    except ValidationError as error:
        raise BadInput(f"step {number}, {name}:", explain(error)) from None
    except BadInput:
        raise
    except (ValueError, KeyError):
        said = f"step {number}, {shown(f'{name}={value}' if value else name)},"
        raise BadInput(said, f"is not of the form {kind.FORM}", "write it so") from None


def chain_text(steps: Iterable[Step]) -> str:
    """Steps as :func:`parse_chain` reads them; of files that a recipe tells of, the name."""
    return ", ".join("=".join(filter(None, (step.step, step.value()))) for step in steps)  # type: ignore[attr-defined]


def _chain(value: Any) -> Any:
    return parse_chain(value) if isinstance(value, str) else value


Chain = Annotated[tuple[AnyStep, ...], Field(max_length=MAX_STEPS)]
"""Steps in the order they are done."""

AnyChain = Annotated[Chain, BeforeValidator(_chain, json_schema_input_type=str | Chain)]
"""A chain, or its text."""


def _number(text: str) -> float:
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        raise ValueError
    return float(text)


def _written(number: float) -> str:
    return repr(float(number)).removesuffix(".0")
