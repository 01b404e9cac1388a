"""fp32 masters with bf16 compute copies, AdamW or Muon on the masters, and the learning-rate schedule.

Weights stored in bf16 lose small updates; a bf16 copy of fp32 masters loses nothing and computes as fast.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from darkroom.training.distributed import ALONE, Group, shared_out
from darkroom.training.limits import within

MOMENTUM = 0.95  # Muon's
MOMENT = "momentum_buffer"  # torch.optim.Muon's word for what it keeps of a weight
NARROW = 32  # a weight with fewer rows or columns is AdamW's


@dataclass(frozen=True)
class OptimConfig:
    """Warm-up, constant rate, and a linear decay over the last share of the samples.

    AdamW (arXiv:1711.05101); with ``muon`` the weights of linear and convolutional layers take Muon's orthogonal steps
    instead, scaled to be as large as AdamW's, so that one rate fits both (arXiv:2502.16982, section 2.2).
    """

    rate: float = 1e-3
    muon: bool = False
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01  # matrices only
    clip: float = 1.0  # global gradient norm
    warmup_steps: int = 100
    decay_share: float = 0.2  # of the run's samples; the rate falls linearly to zero in it

    def __post_init__(self) -> None:
        within("rate", self.rate, 1e-9, 1)
        within("decay", self.decay_share, 0, 1)


def rate_at(config: OptimConfig, step: int, done: float) -> float:
    """Learning rate at a step of this leg; ``done`` is the share of the run's samples seen, in [0, 1]."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    fall = min(1.0, max(0.0, 1.0 - done) / config.decay_share) if config.decay_share > 0 else 1.0
    return config.rate * warm * fall


class Masters:
    """The fp32 truth behind a module whose parameters are compute copies in ``dtype``."""

    def __init__(self, module: nn.Module, config: OptimConfig, dtype: torch.dtype, group: Group = ALONE) -> None:
        """The same in each process of a ``group``, but that Muon's weights are stepped by one of them each."""
        self.config, self.group = config, group
        self.masters: dict[str, Tensor] = {n: p.detach().float().clone() for n, p in module.named_parameters()}
        module.to(dtype)
        self.copies: dict[str, nn.Parameter] = dict(module.named_parameters())
        turned = {n: _matrix(self.masters[n]) for n in _layer_weights(module)} if config.muon else {}
        # What an optimiser steps: a master, or a convolution's master seen as a matrix.
        self.stepped: dict[str, Tensor] = {**self.masters, **turned}
        self.owner: dict[str, torch.optim.Optimizer] = {}
        rest = {n: m for n, m in self.masters.items() if n not in turned}
        if rest:
            matrices, vectors = ([m for m in rest.values() if (m.ndim >= 2) == wanted] for wanted in (True, False))
            decayed = {"params": matrices, "weight_decay": config.weight_decay}
            groups = [g for g in (decayed, {"params": vectors, "weight_decay": 0.0}) if g["params"]]
            adam = torch.optim.AdamW(groups, lr=config.rate, betas=config.betas, fused=True)
            self.owner.update(dict.fromkeys(rest, adam))
        whose = shared_out({name: _cost(matrix) for name, matrix in turned.items()}, group.size)
        # By process: what each of them steps.
        self.turned = [{n: turned[n] for n, rank in whose.items() if rank == r} for r in range(group.size)]
        if mine := self.turned[group.rank]:
            decay = config.weight_decay
            muon = torch.optim.Muon(
                list(mine.values()), config.rate, decay, momentum=MOMENTUM, adjust_lr_fn="match_rms_adamw"
            )
            self.owner.update(dict.fromkeys(mine, muon))
        self.optimisers = list(dict.fromkeys(self.owner.values()))

    @torch.no_grad()
    def gather(self) -> None:
        """Adds the copies' gradients, in fp32, to those of the micro-batches before, and clears them."""
        for name, copy in self.copies.items():
            if copy.grad is not None:
                master = self.masters[name]
                if master.grad is None:
                    # In the master's memory layout: the fused kernel walks both as flat memory.
                    master.grad = torch.empty_like(master).copy_(copy.grad)
                else:
                    master.grad += copy.grad
                copy.grad = None

    def forget(self) -> None:
        """Drops all gradients."""
        for tensor in (*self.copies.values(), *self.masters.values(), *self.stepped.values()):
            tensor.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> float:
        """One update from all micro-batches; returns the norm before clipping. Not finite: nothing changes."""
        self.gather()
        for master in self.masters.values():
            if master.grad is None:
                master.grad = torch.zeros_like(master)
        grads = [m.grad for m in self.masters.values() if m.grad is not None]
        self.group.add_up(grads)
        norm = torch.nn.utils.get_total_norm(grads)
        if torch.isfinite(norm):
            torch.nn.utils.clip_grads_with_norm_(list(self.masters.values()), self.config.clip, norm)
            for name, stepped in self.stepped.items():
                master = self.masters[name]
                if stepped is not master and master.grad is not None:
                    stepped.grad = _matrix(master.grad)
            for optimiser in self.optimisers:
                for group in optimiser.param_groups:
                    group["lr"] = rate
                optimiser.step()
            self.group.spread([list(turned.values()) for turned in self.turned])
        self.forget()
        self.publish()
        return float(norm)

    @torch.no_grad()
    def publish(self, weights: dict[str, Tensor] | None = None) -> None:
        """Copies ``weights`` (None: the masters) into the module's parameters."""
        source = self.masters if weights is None else weights
        for name, copy in self.copies.items():
            copy.copy_(source[name])

    def state(self) -> dict[str, Tensor]:
        """Moments and step counts of the optimisers, by parameter name; those of other processes are asked for."""
        found: dict[str, Tensor] = {}
        for name, owner in self.owner.items():
            for key, value in owner.state.get(self.stepped[name], {}).items():
                found[f"{name}|{key}"] = value
        if self.group.size > 1 and self.group.any(bool(found))[0]:
            named = [{f"{name}|{MOMENT}": tensor for name, tensor in turned.items()} for turned in self.turned]
            found.update({k: torch.zeros_like(t) for owned in named for k, t in owned.items() if k not in found})
            self.group.spread([[found[key] for key in owned] for owned in named])
        return found

    @torch.no_grad()
    def restore(self, masters: dict[str, Tensor], state: dict[str, Tensor]) -> None:
        """Takes masters and moments back; an empty ``state`` starts the moments anew (a re-warmed leg)."""
        for name, master in self.masters.items():
            master.copy_(masters[name])
        for optimiser in self.optimisers:
            optimiser.state.clear()
        for key, value in state.items():
            name, slot = key.rsplit("|", 1)
            owner = self.owner.get(name)
            # Another process steps it; or another optimiser did, whose moments mean nothing to this one.
            if owner is None or isinstance(owner, torch.optim.Muon) != (slot == MOMENT):
                continue
            stepped = self.stepped[name]
            like = stepped if value.shape == stepped.shape else stepped.new_empty(value.shape)  # device, memory layout
            owner.state[stepped][slot] = torch.empty_like(like).copy_(value)
        self.publish()


def _layer_weights(module: nn.Module) -> list[str]:
    """Names of the weights of linear and convolutional layers, but for those too narrow to be turned."""
    found = [
        f"{name}.weight" if name else "weight"
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d) and layer.weight.requires_grad
    ]
    return [name for name in found if min(_matrix(module.get_parameter(name)).shape) >= NARROW]


def _matrix(weight: Tensor) -> Tensor:
    """A view of (outputs, everything an output reads), whichever way a convolution's weight lies in memory."""
    if weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last):
        weight = weight.permute(0, 2, 3, 1)
    return weight.detach().view(len(weight), -1)


def _cost(matrix: Tensor) -> float:
    """Products of making a matrix orthogonal, but for a constant factor."""
    return float(min(matrix.shape) ** 2 * max(matrix.shape))
