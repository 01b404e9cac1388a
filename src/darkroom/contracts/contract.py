"""What every contract is: frozen, closed to unknown fields, written to JSON and read back without loss.

The numeric and text types here are strict: ``True`` is not 1, ``"12"`` is not 12, NaN and infinity are no numbers.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from darkroom.contracts.errors import BadInput, explain, shown, unknown

JSON_CHARACTERS = 4_000_000  # a recipe with two full-length prompts, every character escaped, stays below 1 million


def _printable(value: str) -> str:
    if bad := _CONTROL.search(value):
        raise BadInput(f"the name {shown(value)}", f"holds the control character {shown(bad[0])}", "remove it")
    return value


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

Whole = Annotated[int, Field(strict=True)]
"""A whole number: no bool, no text, no 12.0."""

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A finite number, whole or not: no bool, no text."""

Share = Annotated[Number, Field(ge=0, le=1)]
"""A share of a whole, 0 to 1."""

Text = Annotated[str, Field(strict=True)]
"""Text that is valid Unicode."""

Name = Annotated[str, Field(strict=True, min_length=1, max_length=200), AfterValidator(_printable)]
"""A short name on one line: a sampler, a style, a model, a source."""

Sha256 = Annotated[str, Field(strict=True, pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 in lower-case hexadecimal."""


class Contract(BaseModel):
    """Base of all contracts."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), ser_json_bytes="base64", val_json_bytes="base64"
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    raise unknown(f"{cls.__name__} field", str(key), cls.model_fields)
        return data

    def to_json(self, *, ascii_only: bool = False) -> str:
        """One line of JSON, the same for equal contracts."""
        data = self.model_dump(mode="json")
        return json.dumps(data, ensure_ascii=ascii_only, allow_nan=False, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote. Every fault is a :class:`BadInput` that says what is wrong."""
        if len(text) > JSON_CHARACTERS:
            raise BadInput(f"{len(text)} characters of JSON", f"are more than {JSON_CHARACTERS}", "shorten them")
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise BadInput(explain(error)) from error

    @classmethod
    def checked(cls, fields: dict[str, Any], *, flags: bool = False) -> Self:
        """The contract of these fields. Every fault is a :class:`BadInput`; ``flags`` as in ``explain``."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise BadInput(explain(error, flags=flags)) from error


# --- number formats ---------------------------------------------------------------------------------------------------

Format = Literal["bf16", "fp32", "int8", "fp16", "fp64"]
"""How the weights of a network are kept; in int8 with a scale for each output channel, and it computes in bf16."""

FORMATS: tuple[str, ...] = get_args(Format)
TEXT, DENOISER, VAE = "text", "denoiser", "vae"


class Dtypes(Contract):
    """Number formats of a model's networks."""

    text: Format = Field("bf16", description="Of the text encoders.")
    denoiser: Format = Field("bf16", description="Of the denoiser, and of control networks beside it.")
    vae: Format = Field("bf16", description="Of the autoencoder.")

    def __str__(self) -> str:
        """As it is written: what most of them have, and then those that have another."""
        told = dict(self)
        most = max(FORMATS, key=list(told.values()).count)
        return ",".join([most, *(f"{name}={kept}" for name, kept in told.items() if kept != most)])

    def of(self, part: str) -> Format:
        """That of a part of a public checkpoint."""
        kept: Format = getattr(self, role_of(part))
        return kept


def role_of(part: str) -> str:
    """Which of a model's networks a part of a public checkpoint is: text, denoiser or vae."""
    return TEXT if part.startswith("text_encoder") else VAE if part == "vae" else DENOISER


def dtypes(text: str) -> dict[str, str]:
    """The formats of "int8", or of "bf16,vae=fp32"."""
    networks = list(Dtypes.model_fields)
    told = [tuple(part.strip() for part in one.rpartition("=")) for one in text.split(",")]
    by_name = {name: kept for name, equals, kept in told if equals}
    plain = [kept for _, equals, kept in told if not equals]
    sound = set(by_name) <= set(networks) and {*by_name.values(), *plain} <= set(FORMATS)
    if not sound or len(plain) > 1 or len(by_name) + len(plain) < len(told):
        rule = f"is no number format ({', '.join(FORMATS)}) for all, or for each of {', '.join(networks)}"
        raise BadInput(f"dtype {shown(text)}", rule, 'write "int8", or "bf16,vae=fp32"')
    return {**dict.fromkeys(networks if plain else (), plain[0] if plain else ""), **by_name}


AnyDtypes = Annotated[
    Dtypes,
    BeforeValidator(
        lambda value: dtypes(value) if isinstance(value, str) else value, json_schema_input_type=Dtypes | str
    ),
]
