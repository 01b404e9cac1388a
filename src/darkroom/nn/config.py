"""Network configurations to plain mappings and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

C = TypeVar("C")
TOLD = 60  # characters of a setting that a sentence names


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


def filled(old: Any, new: Any, defaults: Any) -> Any:
    """An old configuration in the settings that there are today: new ones have their defaults, others are left out."""
    if not (isinstance(old, dict) and isinstance(new, dict) and isinstance(defaults, dict)):
        return old  # the value of a setting, be it a mapping
    missing = {name: defaults[name][0] for name in new if name not in old and isinstance(defaults.get(name), list)}
    return {**missing, **{name: filled(old[name], new[name], defaults.get(name)) for name in old if name in new}}


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Where two nested configurations differ: "train.batch: 64 -> 32"."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [d for k in keys for d in differences(old.get(k), new.get(k), f"{path}.{k}" if path else k)]
    return [] if old == new else [f"{path}: {_told(old)} -> {_told(new)}"]


def _told(value: Any) -> str:
    """A value as a sentence can hold it."""
    text = str(value)
    return text if len(text) <= TOLD else f"{text[:TOLD]} …"
