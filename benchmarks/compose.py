"""Scenes a second of the composer, on sprites made here: painting them, and drawing their specs and captions beside it.

    python benchmarks/compose.py [--runs 9] [--threads 1] [--device cuda] [--json]

``specs`` is what drawing the specs and telling them takes, on one core; workers do that ahead of a GPU.
Medians of several runs over two mixes of scenes: plain (70 % one object, 15 % counts, 15 % pairs; 20 % recoloured), and
full, all that the composer can do, photos aside.
Wall-clock time, and the processor time it took, which other jobs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace

import numpy as np
import torch

from darkroom.data.scenes.captions import caption
from darkroom.data.scenes.compose import Composer
from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.spec import FULL, ComposerConfig, scene_seed
from darkroom.data.stock.drawings import SIDE, Sprite, SpriteTable, alpha_box, premultiplied

BATCHES = (64, 256)
SIDES = (64, 128)


def sprites(config: ComposerConfig) -> SpriteTable:
    """A soft, shaded ellipse for each concept and style, as large and as slim as real drawings are."""
    random = np.random.default_rng(7)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5 - SIDE / 2
    table, planes = [], []
    for concept in config.concepts:
        for style in config.styles:
            wide, high = random.uniform(40, 62, 2)  # half axes, pixels
            radius = np.hypot(x / wide, y / high)
            rgba = np.empty((SIDE, SIDE, 4), np.uint8)
            light = 0.6 + 0.4 * np.clip(1 - radius, 0, 1)
            rgba[..., :3] = (random.integers(60, 255, 3) * light[..., None]).astype(np.uint8)
            rgba[..., 3] = (np.clip((1 - radius) * 16, 0, 1) * 255).astype(np.uint8)
            table.append(Sprite(len(table), concept.index, style, alpha_box(rgba), f"{concept.word}, {style}"))
            planes.append(premultiplied(rgba))
    return SpriteTable(tuple(table), torch.from_numpy(np.stack(planes)))


def measured(composer: Composer, config: ComposerConfig, batch: int, runs: int) -> dict[str, list[float]]:
    """Milliseconds a scene of each run, by the clock on the wall and by the processor's."""
    device = composer.table.pixels.device
    batches = [
        [draw_scene(scene_seed("preview", 0, run * batch + i), config) for i in range(batch)] for run in range(runs + 1)
    ]
    for scenes in batches:  # warm: places are painted once
        composer.render(scenes)
    found: dict[str, list[float]] = {"wall": [], "processor": [], "specs": []}
    for run, scenes in enumerate(batches):
        began = time.process_time()
        for i in range(batch):
            caption(draw_scene(scene_seed("preview", 0, run * batch + i), config))
        found["specs"].append((time.process_time() - began) / batch * 1e3)
        wall, processor = time.perf_counter(), time.process_time()
        composer.render(scenes)
        if device.type == "cuda":
            torch.cuda.synchronize()
        found["wall"].append((time.perf_counter() - wall) / batch * 1e3)
        found["processor"].append((time.process_time() - processor) / batch * 1e3)
    return found


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    rows = []
    for name, config in (("plain", ComposerConfig()), ("full", FULL)):
        table = sprites(config).to(torch.device(asked.device))
        config = replace(config, stock=table.stock)
        for side in SIDES:
            composer = Composer(table, side)
            for batch in BATCHES:
                found = measured(composer, config, batch, asked.runs)
                median = {clock: statistics.median(values) for clock, values in found.items()}
                rows.append({"scenes": name, "side": side, "batch": batch, "ms a scene": median, "runs": found})
    if asked.json:
        print(json.dumps({"threads": asked.threads, "torch": torch.__version__, "rows": rows}))
        return
    print(f"{asked.threads} thread(s), medians of {asked.runs} runs")
    print(f"{'scenes':<7}{'side':>6}{'batch':>7}{'scenes/s':>10}{'ms/scene':>10}{'processor ms/scene':>20}{'specs':>8}")
    for row in rows:
        wall, processor, specs = (row["ms a scene"][clock] for clock in ("wall", "processor", "specs"))
        print(
            f"{row['scenes']:<7}{row['side']:>6}{row['batch']:>7}"
            f"{1000 / wall:>10.0f}{wall:>10.3f}{processor:>20.3f}{specs:>8.3f}"
        )


if __name__ == "__main__":
    main()
