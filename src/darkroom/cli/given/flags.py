"""Flags that follow from the fields of a contract: a new choice of the user is a field there, and nothing here."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import field, fields, make_dataclass
from functools import cache
from typing import Annotated, Any, Optional

from cyclopts import Parameter

from darkroom.cli.given.values import Interval, Number, Whole
from darkroom.contracts.contract import Contract

_KINDS: dict[str, Any] = {
    "integer": Whole,
    "number": Number,
    "string": str,
    "array": Interval,
}  # by their name in a JSON schema


def flags_of(contract: type[Contract], *, leaving_out: Collection[str]) -> type:
    """A dataclass with a field for each field of a contract, which cyclopts makes flags of.

    The description of a field is the help of its flag. A switch is False by itself, and everything else None, which
    leaves it to the contract.
    """
    shapes = _shapes(contract)
    made = []
    for name, told in contract.model_fields.items():
        if name in leaving_out:
            continue
        kinds = {shape.get("type", "object") for shape in shapes[name].get("anyOf", [shapes[name]])} - {"null"}
        switch, written = kinds == {"boolean"}, " Written 0.1-0.9." if kinds == {"array"} else ""
        one = shapes[name].get("flag")  # of a field that holds several, each of them given by itself
        kind: Any = list[str] if one else str if "string" in kinds else bool if switch else _KINDS[kinds.pop()]
        if not switch:
            kind = Optional[kind]  # noqa: UP045 (a value here, not a type's name)
        names = [f"--{one}"] if one else None
        flag = Annotated[kind, Parameter(name=names, help=help_of(told.description) + written, negative_iterable=())]
        made.append((name, flag, field(default=False if switch else None)))
    ours = {"__module__": __name__}  # cyclopts opens no class of the standard library, which it would be of else
    return make_dataclass(f"{contract.__name__}Flags", made, frozen=True, kw_only=True, namespace=ours)


@cache
def _shapes(contract: type[Contract]) -> dict[str, Any]:
    """The fields in a contract's JSON schema, which takes a while to make."""
    shapes: dict[str, Any] = contract.model_json_schema()["properties"]
    return shapes


def help_of(description: str | None) -> str:
    """A field's description in the words of the command line."""
    return (description or "").replace("None:", "Without it:")


def given(flags: Any) -> dict[str, Any]:
    """The fields whose flags were given."""
    found = {f.name: getattr(flags, f.name) for f in fields(flags)}
    return {name: value for name, value in found.items() if value is not None and value is not False}
