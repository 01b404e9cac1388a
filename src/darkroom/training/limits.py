"""Bounds of what can be asked of training."""

from __future__ import annotations

from darkroom.contracts.errors import BadInput

RUNS = 2**16  # numbers that scenes can go by


def within(name: str, value: float, low: float, high: float) -> None:
    """Raises BadInput unless ``value`` is from ``low`` to ``high``; what is no number is not."""
    if not low <= value <= high:
        raise BadInput(f"{name} {value}", f"is not from {low:,} to {high:,}", "give a number in between")
