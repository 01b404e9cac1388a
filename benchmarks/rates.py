"""How much of this machine's matrix rate our denoiser reaches, drawing and training.

    python benchmarks/rates.py [--size mini] [--side 128] [--batch 64] [--runs 15] [--threads 2] [--json]

The machine's rate is measured on the network's own products: the shapes of every matrix product of one evaluation (or
of one training step, backwards too) are written down while it runs, then each is done alone, again and again, and
their operations are divided by their seconds. A network that did nothing but its products, each as quickly as when it
is alone, would reach 1. The rate of the same products in fp32 says what bf16 can win here at all: some processors have
units for bf16 matrices (seven times and more), others only vectors of twice as many numbers. What is measured is an
evaluation as ``darkroom generate`` makes it (bf16, eager, one picture with guidance: two rows), the same compiled, and
a training step as ``darkroom train diffusion --optimiser adamw`` makes it, text encoder, averages and optimiser
included. The numbers are made up: they do not matter to the time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from training import made_up, ours

from darkroom.cli.train.options import MALLOC
from darkroom.nn.dit import Denoiser, sized
from darkroom.nn.text import TextConfig
from darkroom.training.objectives.diffusion import DiffusionTraining

TOKENS = 32  # of a sentence
ROWS = 2  # of a guided evaluation
aten = torch.ops.aten
PRODUCTS = {aten.mm.default: (0, 1), aten.addmm.default: (1, 2), aten.bmm.default: (0, 1), aten.baddbmm.default: (1, 2)}
Shape = tuple[int, int, int, int]  # how many, rows, inner, columns


class Products(TorchDispatchMode):
    """Writes down the shape of every matrix product that is done while it is on."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: Counter[Shape] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in PRODUCTS:
            left, right = (args[i] for i in PRODUCTS[func])
            many = left.shape[0] if left.ndim == 3 else 1
            self.shapes[many, left.shape[-2], left.shape[-1], right.shape[-1]] += 1
        return func(*args, **(kwargs or {}))


def operations(shapes: Counter[Shape]) -> float:
    """Multiplications and additions of the products."""
    return float(sum(2 * many * rows * inner * columns * n for (many, rows, inner, columns), n in shapes.items()))


def median_seconds(work: Callable[[], object], runs: int) -> float:
    """Of several calls, the first one left out."""
    work()
    found = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def machine_rate(shapes: Counter[Shape], runs: int, dtype: torch.dtype = torch.bfloat16) -> float:
    """Operations a second of the products, each done alone."""
    seconds = 0.0
    for (many, rows, inner, columns), n in shapes.items():
        left = torch.randn(many, rows, inner, dtype=dtype)
        right = torch.randn(many, inner, columns, dtype=dtype)
        if many == 1:
            a, b = left[0], right[0].t().contiguous().t()  # as a linear layer holds its weight
            seconds += n * median_seconds(lambda a=a, b=b: a @ b, runs)  # type: ignore[misc]
        else:
            seconds += n * median_seconds(lambda a=left, b=right: a @ b, runs)  # type: ignore[misc]
    return operations(shapes) / seconds


def counted(work: Callable[[], object]) -> Counter[Shape]:
    """The products of one call."""
    with Products() as products:
        work()
    return products.shapes


def evaluation(size: str, side: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """One guided evaluation, eager and compiled."""
    config = sized(size)
    network = Denoiser(config).eval().bfloat16()
    cells = side // 8
    x = torch.randn(ROWS, config.channels, cells, cells).bfloat16()
    condition = (torch.randn(ROWS, 6, config.width).bfloat16(), torch.randn(ROWS, 2, config.width).bfloat16())
    keys = torch.randn(ROWS, config.depth, 2, TOKENS, config.width).bfloat16()
    mask = torch.ones(ROWS, TOKENS, dtype=torch.bool)
    compiled = torch.compile(network, dynamic=False)

    def by(function: Any) -> Callable[[], object]:
        def once() -> object:
            with torch.no_grad():  # where, unlike in inference mode, products can be seen
                return function(x, condition, keys, mask)

        return once

    return by(network), by(compiled)


def training(size: str, rows: int) -> tuple[Callable[[], object], Counter[Shape]]:
    """One training step, and the products of it (forwards and backwards, uncompiled; Muon's are not counted)."""
    config, text = sized(size), TextConfig()
    if size == "nano":
        text = TextConfig(width=config.text_width, depth=1, head=16)
    batch = made_up(rows, config.channels, text)
    module = DiffusionTraining(config, text).bfloat16()

    def once() -> None:
        outputs = module(batch.x.bfloat16(), *batch[1:5])
        sum(output.float().mean() for output in outputs).backward()

    shapes = counted(once)
    return ours(DiffusionTraining(config, text), batch), shapes


def report(size: str, side: int, rows: int, runs: int) -> dict[str, Any]:
    """Everything measured, ready for JSON."""
    eager, compiled = evaluation(size, side)
    found: dict[str, Any] = {"size": size, "side": side, "batch": rows, "threads": torch.get_num_threads()}
    shapes = counted(eager)
    rate = machine_rate(shapes, runs)
    found["drawing"] = {"gflop": operations(shapes) / 1e9, "machine_gflops": rate / 1e9}
    for name, work in (("eager", eager), ("compiled", compiled)):
        seconds = median_seconds(work, runs)
        found["drawing"][name] = {"ms": seconds * 1e3, "share": operations(shapes) / seconds / rate}
    step, shapes = training(size, rows)
    few = max(3, runs // 3)
    rate, single = (machine_rate(shapes, few, dtype) for dtype in (torch.bfloat16, torch.float32))
    seconds = median_seconds(step, few)
    share = operations(shapes) / seconds / rate
    found["training"] = {"gflop": operations(shapes) / 1e9, "machine_gflops": rate / 1e9, "ms": seconds * 1e3}
    found["training"].update(share=share, samples_per_second=rows / seconds)
    found["training"].update(fp32_gflops=single / 1e9, products_ratio=rate / single)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="mini", choices=("nano", "mini", "base"))
    parser.add_argument("--side", type=int, default=128, help="of the picture, in pixels")
    parser.add_argument("--batch", type=int, default=64, help="of the training step")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--threads", type=int, help="default: as many as torch takes")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    if sys.platform == "linux" and any(name not in os.environ for name in MALLOC):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**MALLOC, **os.environ})
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    found = report(options.size, options.side, options.batch, options.runs)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    drawing, trained = found["drawing"], found["training"]
    print(f"{found['size']} denoiser, {found['side']} px, {found['threads']} threads, medians")
    print(f"drawing   {drawing['gflop']:8.2f} GFLOP an evaluation, machine {drawing['machine_gflops']:.0f} GFLOP/s")
    for name in ("eager", "compiled"):
        print(f"          {drawing[name]['ms']:8.1f} ms {name:<9} {drawing[name]['share']:.2f} of the machine's rate")
    print(f"training  {trained['gflop']:8.0f} GFLOP a step, machine {trained['machine_gflops']:.0f} GFLOP/s")
    print(f"          {trained['ms']:8.0f} ms, {trained['samples_per_second']:.1f} samples/s, {trained['share']:.2f}")
    print(
        f"          the products alone in fp32: {trained['fp32_gflops']:.0f} GFLOP/s, so bf16 does them"
        f" {trained['products_ratio']:.2f} times as fast here"
    )


if __name__ == "__main__":
    main()
