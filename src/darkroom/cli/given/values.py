"""Values of the command line, refused in our own words: the value, the rule and the fix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, Token

from darkroom.contracts.errors import BadInput, shown
from darkroom.requests import spelling


def _whole(_: Any, tokens: Sequence[Token]) -> int:
    return spelling.whole(tokens[0].keyword or "", tokens[0].value)


def _number(_: Any, tokens: Sequence[Token]) -> float:
    return spelling.number(tokens[0].keyword or "", tokens[0].value)


def _folder(_: Any, tokens: Sequence[Token]) -> Path:
    token = tokens[0]
    if not token.value.strip():
        raise BadInput(f"{token.keyword} {shown(token.value)}", "is empty", "give a path, or leave it out")
    return Path(token.value)


def _interval(_: Any, tokens: Sequence[Token]) -> tuple[float, float]:
    return spelling.interval(tokens[0].keyword or "", tokens[0].value)


Whole = Annotated[int, Parameter(converter=_whole)]
Number = Annotated[float, Parameter(converter=_number)]
Folder = Annotated[Path, Parameter(converter=_folder)]
Interval = Annotated[tuple[float, float], Parameter(converter=_interval, n_tokens=1, negative=())]
