"""fp32 masters with bf16 compute copies, AdamW on the masters, and the learning-rate schedule.

Weights stored in bf16 lose small updates; a bf16 copy of fp32 masters loses nothing and computes as fast.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class OptimConfig:
    """AdamW (arXiv:1711.05101) with warm-up, constant rate, and a linear decay over the last share of the samples."""

    rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01  # matrices only
    clip: float = 1.0  # global gradient norm
    warmup_steps: int = 100
    decay_share: float = 0.2  # of the run's samples; the rate falls linearly to zero in it


def rate_at(config: OptimConfig, step: int, done: float) -> float:
    """Learning rate at a step of this leg; ``done`` is the share of the run's samples seen, in [0, 1]."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    fall = min(1.0, max(0.0, 1.0 - done) / config.decay_share) if config.decay_share > 0 else 1.0
    return config.rate * warm * fall


class Masters:
    """The fp32 truth behind a module whose parameters are compute copies in ``dtype``."""

    def __init__(self, module: nn.Module, config: OptimConfig, dtype: torch.dtype) -> None:
        self.config = config
        self.masters: dict[str, Tensor] = {n: p.detach().float().clone() for n, p in module.named_parameters()}
        module.to(dtype)
        self.copies: dict[str, nn.Parameter] = dict(module.named_parameters())
        matrices = [m for m in self.masters.values() if m.ndim >= 2]
        vectors = [m for m in self.masters.values() if m.ndim < 2]
        groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        self.adam = torch.optim.AdamW(
            [g for g in groups if g["params"]], lr=config.rate, betas=config.betas, fused=True
        )

    @torch.no_grad()
    def step(self, rate: float) -> float:
        """One update from the copies' gradients; returns their norm before clipping. Non-finite: nothing changes."""
        for name, copy in self.copies.items():
            master = self.masters[name]
            # In the master's memory layout: the fused kernel walks both as flat memory.
            master.grad = torch.zeros_like(master) if copy.grad is None else torch.empty_like(master).copy_(copy.grad)
            copy.grad = None
        grads = [m.grad for m in self.masters.values() if m.grad is not None]
        norm = torch.nn.utils.get_total_norm(grads)
        if torch.isfinite(norm):
            torch.nn.utils.clip_grads_with_norm_(list(self.masters.values()), self.config.clip, norm)
            for group in self.adam.param_groups:
                group["lr"] = rate
            self.adam.step()
        for master in self.masters.values():
            master.grad = None
        self.publish()
        return float(norm)

    @torch.no_grad()
    def publish(self, weights: dict[str, Tensor] | None = None) -> None:
        """Copies ``weights`` (None: the masters) into the module's parameters."""
        source = self.masters if weights is None else weights
        for name, copy in self.copies.items():
            copy.copy_(source[name])

    def state(self) -> dict[str, Tensor]:
        """Adam's moments and step counts, by parameter name."""
        found: dict[str, Tensor] = {}
        for name, master in self.masters.items():
            for key, value in self.adam.state.get(master, {}).items():
                found[f"{name}|{key}"] = value
        return found

    @torch.no_grad()
    def restore(self, masters: dict[str, Tensor], state: dict[str, Tensor]) -> None:
        """Takes masters and moments back; an empty ``state`` starts the moments anew (a re-warmed leg)."""
        for name, master in self.masters.items():
            master.copy_(masters[name])
        self.adam.state.clear()
        for key, value in state.items():
            name, slot = key.rsplit("|", 1)
            master = self.masters[name]
            like = master if value.shape == master.shape else master.new_empty(value.shape)  # device and memory layout
            self.adam.state[master][slot] = torch.empty_like(like).copy_(value)
        self.publish()
