"""Network configurations to plain mappings and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

C = TypeVar("C")


def read_config(kind: type[C], values: Mapping[str, Any]) -> C:
    """A config dataclass from a mapping (lists become tuples). An unknown key is an error with the nearest match."""
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
            raise ValueError(f"{kind.__name__} has no setting {key!r}{hint}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def defaults_of(config: Any) -> dict[str, Any]:
    """What a config's fields are where nobody sets them: a list of the one value, or for a config inside it a mapping.

    Fields without a default are left out.
    """
    found: dict[str, Any] = {}
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            found[field.name] = defaults_of(value)
        elif field.default is not MISSING:
            found[field.name] = [field.default]
        elif field.default_factory is not MISSING:
            found[field.name] = [field.default_factory()]
    return found
