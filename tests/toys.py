"""Toys for tests of training: an objective that costs a millisecond, and drawings made on the spot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from darkroom.data.stock.drawings import SIDE, Sprite, SpriteTable
from darkroom.nn.config import defaults_of
from darkroom.training.loop import TrainConfig, Trainer
from darkroom.training.objective import Objective, Parts
from darkroom.training.optim import OptimConfig
from darkroom.wording.vocabulary import core, everyday


@dataclass(frozen=True)
class ToySettings:
    """Of the network."""

    width: int = 8


class ToyModule(nn.Module):
    """A convolution in channels-last layout, a matrix, vectors and a scalar: every kind of parameter there is."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.out = nn.Linear(width, 4)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.conv(x).relu().mean((2, 3))) * self.scale


class ToyObjective(Objective):
    """Learns to tell which quarter of a noisy picture is bright.

    ``poison`` makes the loss of a step, by its first sample, NaN; ``watch`` is told the first sample of every step.
    """

    name = "toy"

    def __init__(
        self,
        *,
        width: int = 8,
        poison: Callable[[int], bool] = lambda first: False,
        watch: Callable[[int], None] = lambda first: None,
    ) -> None:
        torch.manual_seed(0)
        self.module = ToyModule(width)
        self.settings = ToySettings(width)
        self.poison, self.watch = poison, watch
        self.previews: list[Path] = []

    def config(self) -> dict[str, Any]:
        return asdict(self.settings)

    def defaults(self) -> dict[str, Any]:
        return defaults_of(self.settings)

    def loss(self, first: int, count: int, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        self.watch(first)
        truth = torch.arange(first, first + count) % 4
        x = torch.randn(count, 3, 8, 8, generator=generator) * 0.2
        for row, quarter in enumerate(truth.tolist()):
            top, left = quarter // 2 * 4, quarter % 2 * 4
            x[row, quarter % 3, top : top + 4, left : left + 4] += 1
        dtype = self.module.out.weight.dtype
        guess = self.module(x.to(dtype, memory_format=torch.channels_last)).float()
        loss = nn.functional.cross_entropy(guess, truth)
        if self.poison(first):
            loss = loss * float("nan")
        detached = loss.detach()
        return loss, {"loss": torch.stack([detached * count, torch.tensor(float(count))])}

    def preview(self, path: Path) -> None:
        self.previews.append(path)

    def parts(self) -> Parts:
        return Parts({"toy": ""}, {"toy": self.settings})


def toy_config(samples: int, **changes: Any) -> TrainConfig:
    """A run of batches of 4 that never saves by the clock."""
    plain: dict[str, Any] = {"batch": 4, "checkpoint_minutes": 1e6, "preview_minutes": 1e6, "log_steps": 5}
    return TrainConfig(samples, **{**plain, "optim": OptimConfig(rate=1e-2, warmup_steps=3), **changes})


def everything(trainer: Trainer) -> dict[str, Tensor]:
    """Masters, average and moments in one mapping."""
    groups = {"masters": trainer.masters.masters, "ema": trainer.ema.average, "moments": trainer.masters.state()}
    return {f"{group}/{name}": t.clone() for group, tensors in groups.items() for name, t in tensors.items()}


def same_bits(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Whether two groups of tensors hold the same names, types and bits."""
    return a.keys() == b.keys() and all(a[n].dtype == b[n].dtype and torch.equal(a[n], b[n]) for n in a)


def sprite_table(styles: tuple[str, ...], *, words: tuple[str, ...] | None = None) -> SpriteTable:
    """One drawing a concept and style: coloured discs, squares and crosses. ``words`` None: the everyday concepts."""
    concepts = [c for c in core() if c.word in words] if words is not None else list(everyday())
    sprites, planes = [], []
    axis = torch.arange(SIDE) - SIDE / 2 + 0.5
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    shapes = (
        x**2 + y**2 < 50**2,
        (x.abs() < 50) & (y.abs() < 50),
        (x.abs() < 18) & (y.abs() < 50) | (y.abs() < 18) & (x.abs() < 50),
    )
    for concept in concepts:
        for style in styles:
            row = len(sprites)
            generator = torch.Generator().manual_seed(1000 * concept.index + len(style))
            colour = torch.randint(40, 256, (3, 1, 1), generator=generator).float()
            alpha = shapes[row % 3].float() * 255
            planes.append(torch.cat([colour.expand(3, SIDE, SIDE) * alpha / 255, alpha[None]]).round().byte())
            sprites.append(Sprite(row, concept.index, style, (14, 14, 114, 114), f"toy/{concept.word}/{style}"))
    return SpriteTable(tuple(sprites), torch.stack(planes))
