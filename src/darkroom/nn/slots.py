"""Fixed batch slots: every pass has one of a few batch sizes, whatever waits.

The same few shapes serve compilation, CUDA graphs and the exact mode; unused rows repeat the last real one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

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


def one_by_one(network: nn.Module, calls: Sequence[Call], ask: Callable[..., Tensor]) -> list[Tensor]:
    """Answers of a network that is not ours to calls, each asked by itself.

    Its layers multiply (batch, features) matrices, which give other bits for another batch size; alone they give the
    same bits in any company. On a CPU a row of such a network fills every core anyway.

    Args:
        network: whose device and number format decide where and how it computes.
        calls: their inputs by name, without a batch axis; floats are given as they are.
        ask: takes these inputs, tensors with a batch axis of one in the network's format, and returns its answer.

    Returns:
        the answers without the batch axis, on the CPU, in fp32 or, from a network in fp64, in fp64.
    """
    parameter = next(network.parameters())
    kept = torch.promote_types(parameter.dtype, torch.float32)
    answers = []
    for call in calls:
        told = {name: _row(value, parameter) for name, value in call.inputs.items()}
        answers.append(ask(**told)[0].to("cpu", kept).contiguous())
    return answers


def _row(value: Tensor | float, like: Tensor) -> Tensor | float:
    if not isinstance(value, Tensor):
        return value
    return value[None].to(like.device, like.dtype if value.is_floating_point() else value.dtype)
