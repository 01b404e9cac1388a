"""Values of the command line, refused in our own words: the value, the rule and the fix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, Token

from darkroom.contracts.errors import BadInput, shown


def _whole(_: Any, tokens: Sequence[Token]) -> int:
    token = tokens[0]
    try:
        return int(token.value)
    except ValueError:
        rule = "is not a whole number"
        raise BadInput(f"{token.keyword} {shown(token.value)}", rule, "give one like 12") from None


def _number(_: Any, tokens: Sequence[Token]) -> float:
    token = tokens[0]
    try:
        return float(token.value)
    except ValueError:
        raise BadInput(f"{token.keyword} {shown(token.value)}", "is not a number", "give one like 3.5") from None


def _folder(_: Any, tokens: Sequence[Token]) -> Path:
    token = tokens[0]
    if not token.value.strip():
        raise BadInput(f"{token.keyword} {shown(token.value)}", "is empty", "give a path, or leave it out")
    return Path(token.value)


def _interval(_: Any, tokens: Sequence[Token]) -> tuple[float, float]:
    token = tokens[0]
    try:
        lowest, highest = map(float, token.value.split("-"))
    except ValueError:
        rule = "is not two numbers"
        raise BadInput(f"{token.keyword} {shown(token.value)}", rule, "give them like 0.1-0.9") from None
    return lowest, highest


Whole = Annotated[int, Parameter(converter=_whole)]
Number = Annotated[float, Parameter(converter=_number)]
Folder = Annotated[Path, Parameter(converter=_folder)]
Interval = Annotated[tuple[float, float], Parameter(converter=_interval, n_tokens=1, negative=())]
