"""Our training step beside the plain one: the same network, the same batch, the same process, turn by turn.

    python benchmarks/training.py [--size mini] [--batch 64] [--steps 15] [--threads 2] [--json]

Ours is what ``darkroom train diffusion --optimiser adamw`` runs: fp32 masters, bf16 compute copies, the network
compiled, the fused optimiser and the average of weights; AdamW on both sides, for Muon would be slower and learn
more. The plain one is what a training loop is before anybody thinks about speed: fp32, eager, ``torch.optim.AdamW``
as it comes and no average. Both learn from one fixed batch of made-up latents and captions, so drawing pictures is
not counted. Steps alternate, so that what else the machine does meets both alike; medians are reported by the clock
on the wall and by the processor's own, which other jobs disturb less. A loss is printed for both: they must fall
alike, or the comparison is of two different things.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darkroom.cli.train.options import MALLOC
from darkroom.nn.dit import sized
from darkroom.nn.text import TextConfig
from darkroom.training.compiled import compiled
from darkroom.training.ema import PowerEMA
from darkroom.training.objectives.diffusion import DiffusionTraining
from darkroom.training.optim import Masters, OptimConfig

CELLS = 16  # latent cells a side of a 128 px picture
LENGTH = 28  # tokens of the longest composed caption
RATE = 1e-4


class Batch(NamedTuple):
    """One batch, in fp32: the network's inputs and what it should say."""

    x: Tensor
    t: Tensor
    ids: Tensor
    characters: Tensor
    mask: Tensor
    velocity: Tensor
    concept: Tensor


def made_up(rows: int, channels: int, text: TextConfig) -> Batch:
    """Noise for latents, random words of 4 to 28 tokens for captions."""
    generator = torch.Generator().manual_seed(0)
    shape = (rows, channels, CELLS, CELLS)
    x0, noise = (torch.randn(shape, generator=generator) for _ in range(2))
    t = torch.rand(rows, generator=generator)
    level = t[:, None, None, None]
    lengths = torch.randint(4, LENGTH + 1, (rows, 1), generator=generator)
    return Batch(
        x=(1 - level) * x0 + level * noise,
        t=t,
        ids=torch.randint(4, text.vocabulary, (rows, LENGTH), generator=generator),
        characters=torch.randint(0, 257, (rows, LENGTH, text.spelling), generator=generator),
        mask=torch.arange(LENGTH) < lengths,
        velocity=noise - x0,
        concept=torch.randint(0, 100, (rows, CELLS * CELLS // 4), generator=generator),
    )


def loss_of(outputs: tuple[Tensor, Tensor, Tensor], batch: Batch) -> Tensor:
    """Flow matching and the oracle head, as in training/objectives/diffusion.py."""
    velocity, concept, coverage = outputs
    flow = (velocity.float() - batch.velocity).square().mean()
    named = F.cross_entropy(concept.float().flatten(0, 1), batch.concept.flatten())
    return flow + 0.2 * (
        named + F.binary_cross_entropy_with_logits(coverage.float(), torch.zeros_like(coverage.float()))
    )


def ours(module: nn.Module, batch: Batch) -> Callable[[], float]:
    """A step as the trainer makes it."""
    masters = Masters(module, OptimConfig(), torch.bfloat16)
    ema = PowerEMA(masters.masters)
    batch = batch._replace(x=batch.x.bfloat16())
    network = compiled(module, *batch[:5])
    steps = 0

    def step() -> float:
        nonlocal steps
        steps += 1
        loss = loss_of(network(*batch[:5]), batch)
        loss.backward()
        masters.step(RATE)
        ema.update(masters.masters, steps)
        return loss.item()

    return step


def plain(module: nn.Module, batch: Batch) -> Callable[[], float]:
    """A step as a first loop makes it."""
    adam = torch.optim.AdamW(module.parameters(), lr=RATE)

    def step() -> float:
        adam.zero_grad()
        loss = loss_of(module(*batch[:5]), batch)
        loss.backward()
        adam.step()
        return loss.item()

    return step


def side_by_side(steps: dict[str, Callable[[], float]], times: int) -> dict[str, dict[str, float]]:
    """Median seconds of each step, taken in turns, and the last losses."""
    wall: dict[str, list[float]] = {name: [] for name in steps}
    processor: dict[str, list[float]] = {name: [] for name in steps}
    losses: dict[str, float] = {}
    for step in steps.values():
        step()  # the first takes what later ones have: moments, memory
    for turn in range(times):
        for name in list(steps) if turn % 2 else list(reversed(steps)):
            clock, own = time.perf_counter(), time.process_time()
            losses[name] = steps[name]()
            wall[name].append(time.perf_counter() - clock)
            processor[name].append(time.process_time() - own)
    return {
        name: {
            "seconds": statistics.median(wall[name]),
            "processor_seconds": statistics.median(processor[name]),
            "loss": losses[name],
        }
        for name in steps
    }


def report(size: str, rows: int, times: int) -> dict[str, object]:
    """Everything measured, ready for JSON."""
    config, text = sized(size), TextConfig()
    if size == "nano":
        text = TextConfig(width=config.text_width, depth=1, head=16)
    batch = made_up(rows, config.channels, text)
    modules = []
    for _ in range(2):
        torch.manual_seed(0)
        modules.append(DiffusionTraining(config, text))
    start = time.perf_counter()
    our_step = ours(modules[0], batch)
    compiling = time.perf_counter() - start
    found = side_by_side({"ours": our_step, "plain": plain(modules[1], batch)}, times)
    for measured in found.values():
        measured["samples_per_second"] = rows / measured["seconds"]
    return {
        "what": f"{size} denoiser with its text encoder, {sum(p.numel() for p in modules[1].parameters()):,} weights",
        "batch": rows,
        "steps": times,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "compile_seconds": compiling,
        **found,
        "ratio": found["plain"]["seconds"] / found["ours"]["seconds"],
        "processor_ratio": found["plain"]["processor_seconds"] / found["ours"]["processor_seconds"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="mini", choices=("nano", "mini", "base"))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=15, help="timed steps of each side")
    parser.add_argument("--threads", type=int, help="default: as many as torch takes")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    if sys.platform == "linux" and any(name not in os.environ for name in MALLOC):  # both sides get them
        os.execve(sys.executable, [sys.executable, *sys.argv], {**MALLOC, **os.environ})
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    found = report(options.size, options.batch, options.steps)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    print(f"{found['what']}, batch {found['batch']}, {found['threads']} threads, medians of {found['steps']} steps")
    for name in ("ours", "plain"):
        side = found[name]
        assert isinstance(side, dict)
        print(
            f"{name:<6}{side['samples_per_second']:8.1f} samples/s  {side['seconds'] * 1e3:8.0f} ms a step"
            f"  {side['processor_seconds'] * 1e3:8.0f} ms of processor time  loss {side['loss']:.4f}"
        )
    print(f"ratio {found['ratio']:.2f} by the clock, {found['processor_ratio']:.2f} by processor time")


if __name__ == "__main__":
    main()
