"""Fixed batch slots: every pass has one of a few batch sizes, whatever waits.

The same few shapes serve compilation, CUDA graphs and the exact mode; unused rows repeat the last real one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from darkroom.protocols import Call

SLOTS = (1, 2, 4, 8)


def slot_for(rows: int) -> int:
    """The smallest slot that holds so many rows. Raises ValueError above the largest."""
    for slot in SLOTS:
        if rows <= slot:
            return slot
    raise ValueError(f"{rows} rows exceed the largest slot, {SLOTS[-1]}; evaluate them in several passes")


def filled(rows: Sequence[Tensor]) -> Tensor:
    """Stacks rows and repeats the last one up to the slot's size."""
    missing = slot_for(len(rows)) - len(rows)
    return torch.stack([*rows, *[rows[-1]] * missing])


def column(calls: Sequence[Call], name: str) -> Tensor:
    """One tensor input of several calls, stacked to a slot."""
    rows = [call.inputs[name] for call in calls]
    return filled([row for row in rows if isinstance(row, Tensor)])
