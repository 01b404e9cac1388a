"""Fixed batch slots: every pass has one of a few batch sizes, whatever waits.

The same few shapes serve compilation, CUDA graphs and the exact mode; unused rows repeat the last real one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
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


def scale_input(name: str) -> str:
    """The input of a call that says how strongly an adapter acts."""
    return f"scale of {name}"


def scales_of(calls: Sequence[Call], name: str) -> Float[Tensor, "rows 1 1"] | None:
    """How strongly an adapter acts on each row of a slot; None: on all as it is, since times one is the same bits."""
    said = [float(call.inputs[scale_input(name)]) for call in calls]
    return None if all(scale == 1 for scale in said) else filled([torch.tensor(scale) for scale in said])[:, None, None]


def one_by_one(network: nn.Module, calls: Sequence[Call], ask: Callable[..., Tensor]) -> list[Tensor]:
    """Answers of a network that is not ours to calls, each asked by itself: see :func:`in_one_pass`.

    Its layers multiply (batch, features) matrices, which give other bits for another batch size; alone they give the
    same bits in any company.
    """
    found = []
    for call in calls:
        rows = {name: value[None] if isinstance(value, Tensor) else value for name, value in call.inputs.items()}
        found.append(in_one_pass(network, rows, ask)[0])
    return found


def in_one_pass(network: nn.Module, inputs: Mapping[str, Tensor | float], ask: Callable[..., Tensor]) -> Tensor:
    """The answer of a network that is not ours to rows that are a batch already.

    Args:
        network: whose device and number format decide where and how it computes.
        inputs: tensors with a batch axis, by name; floats are given as they are.
        ask: takes these inputs, in the network's format, and returns its answer.

    Returns:
        the answer on the CPU, in fp32 or, from a network in fp64, in fp64.
    """
    like = next(one for one in network.parameters() if one.is_floating_point())
    told = {
        name: value.to(like.device, like.dtype if value.is_floating_point() else value.dtype)
        if isinstance(value, Tensor)
        else value
        for name, value in inputs.items()
    }
    return ask(**told).to("cpu", torch.promote_types(like.dtype, torch.float32)).contiguous()
