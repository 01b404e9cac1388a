"""Adapters: low-rank side branches of a network's layers, carried by calls and bound inside an evaluation.

The weights of the network are never touched. A call names its adapters, and how strongly each acts on its row, so
pictures with other strengths share a pass, and those with other adapters take other passes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import get_ident
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from darkroom.contracts.contract import Dtypes
from darkroom.contracts.errors import BadInput
from darkroom.contracts.recipe import AdapterUse, FileUse
from darkroom.contracts.request import Request
from darkroom.nn.attention import product
from darkroom.nn.slots import scale_input, scales_of
from darkroom.protocols import Call, T, Task
from darkroom.synthesis.guidance import relayed


class Branch(NamedTuple):
    """What is added to y = W x: up(down(x)) (LoRA, arXiv:2106.09685, eq. 3, with alpha / rank within ``up``).

    A weight-decomposed one (DoRA, arXiv:2402.09353, eq. 5) is g (y + up(down(x))) in place of y, with a number g for
    each output: ``gain`` is g - 1, and g is within ``up``. Scaled by s, either is the way from y to there, s of it.
    """

    down: Float[Tensor, "rank inner"]
    up: Float[Tensor, "outer rank"]
    gain: Float[Tensor, " outer"] | None = None


Branches = Mapping[str, Branch]  # path of a layer in its network -> what is added to it


@dataclass(frozen=True)
class Adapter:
    """Side branches of a model's networks, by the part they belong to ("denoiser", "text").

    A control also sees: ``sight`` times the latent of a map, patch by patch, is added to the denoiser's first tokens.
    """

    name: str
    sha256: str  # of its file
    branches: Mapping[str, Branches]
    sight: Float[Tensor, "width cells"] | None = None


Riders = Mapping[str, Mapping[str, float]]  # network of a call -> names of its adapters (hashes), and their scales


def layers_of(network: nn.Module) -> dict[str, Float[Tensor, "outer inner"]]:
    """The layers an adapter can be beside, with their weights: those that see tokens, row by row of a batch.

    What sees time and pooled vectors is asked one row at a time (bit-identity), and has no row of its own here.
    """
    linear = ((path, layer) for path, layer in network.named_modules() if isinstance(layer, nn.Linear))
    return {path: layer.weight for path, layer in linear if path.startswith("blocks.")}


def carried(task: Task[T], riders: Riders) -> Task[T]:
    """A task whose calls to these networks carry adapters."""
    if not riders:
        return (yield from task)
    return (yield from relayed(task, lambda call: _ridden(call, riders.get(call.network, {}))))


def _ridden(call: Call, scales: Mapping[str, float]) -> Call:
    if not scales:
        return call
    said = {scale_input(name): scale for name, scale in scales.items()}
    return replace(call, inputs={**call.inputs, **said}, adapters=(*call.adapters, *scales))


@contextmanager
def bound(network: nn.Module, calls: Sequence[Call], branches: Mapping[str, Branches]) -> Iterator[None]:
    """Within, the network answers with the adapters that these calls carry; ``branches`` are theirs, by their names.

    The calls share a batch key: all carry the same adapters, each as strongly as it says.
    """
    beside: dict[str, list[_Scaled]] = defaultdict(list)
    for name in calls[0].adapters:
        rows = scales_of(calls, name)
        for path, branch in branches[name].items():
            beside[path].append(_Scaled(branch, None if rows is None else rows.to(branch.up)))
    hooks = []
    try:
        for path, some in beside.items():
            hooks.append(network.get_submodule(path).register_forward_hook(_beside(some)))
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _Scaled(NamedTuple):
    """A branch, and how strongly it acts on each row; None: as it is."""

    branch: Branch
    rows: Float[Tensor, "rows 1 1"] | None


def _beside(some: Sequence[_Scaled]) -> Callable[[nn.Module, tuple[Tensor], Tensor], Tensor | None]:
    """A hook that adds branches to what a layer says of (rows, tokens, width); sum and product are one operation."""
    bound_by = get_ident()
    turned = [(branch, branch.up.T, rows) for branch, rows in some]

    def add(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor | None:
        if get_ident() != bound_by:
            return None  # another thread asks the same network: that is not its adapter
        added = output
        for branch, up, rows in turned:
            narrow = product(inputs[0], branch.down)  # (rows, tokens, rank)
            narrow = narrow if rows is None else narrow * rows
            added = torch.addmm(added.flatten(0, 1), narrow.flatten(0, 1), up).view_as(output)
            if branch.gain is not None:
                added = added + output * (branch.gain if rows is None else branch.gain * rows)
        return added

    return add


def check_opened(use: FileUse | AdapterUse, opened: bool, flag: str) -> None:
    """Raises BadInput for a file that a recipe names and nobody gave."""
    if not opened:
        rule = "is part of this recipe and was not opened"
        fix = f"give its file ({flag}), or the folder it lies in (files)"
        raise BadInput(f"the {flag} {use.name} {use.sha256[:12]}", rule, fix)


def check_kept(asked: Request, kept: Dtypes, *, offload: bool) -> None:
    """Raises BadInput where a model is asked for otherwise than it was opened: other number formats, or offloaded."""
    fix = "leave it out, or open it so: load(..., {})"
    if asked.dtype is not None and asked.dtype != kept:
        rule = f"is not how this model was opened, which is {kept}"
        raise BadInput(f"dtype {asked.dtype}", rule, fix.format(f'dtype="{asked.dtype}"'))
    if asked.offload and not offload:
        raise BadInput("offload", "is not how this model was opened", fix.format("offload=True"))
