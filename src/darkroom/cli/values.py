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


Whole = Annotated[int, Parameter(converter=_whole)]
Number = Annotated[float, Parameter(converter=_number)]
Folder = Annotated[Path, Parameter(converter=_folder)]
