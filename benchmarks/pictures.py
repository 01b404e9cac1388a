"""Seconds a picture: cold from the shell, warm alone, and together through the engine.

    python benchmarks/pictures.py [--model default] [--runs 5] [--json]

Medians of several runs; the ratios are taken inside one run, so the machine's mood cancels. Together, two passes are
under way at once, each on its share of the cores; "pass by pass" is the same with one at a time, on all of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time

from darkroom.machine.threads import share_cores

share_cores()  # before torch is there, as in every process of darkroom's

import torch  # noqa: E402

from darkroom.contracts.request import Request, expand  # noqa: E402
from darkroom.engine import Engine  # noqa: E402
from darkroom.generate import picture, run  # noqa: E402
from darkroom.machine.heap import keep_pages  # noqa: E402
from darkroom.model import load  # noqa: E402

PROMPT = "a red fox, 3d"
TOGETHER = 8


def seconds(work: object) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - started


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="default")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()

    def shell() -> None:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "darkroom.cli", "generate", PROMPT, "--seed", "7", "--out", folder]
            subprocess.run([*command, "--model", asked.model], check=True, capture_output=True)

    def help_() -> None:
        subprocess.run([sys.executable, "-m", "darkroom.cli", "--help"], check=True, capture_output=True)

    keep_pages()
    model = load(asked.model)
    recipes = [model.resolve(request) for request in expand(Request(prompt=PROMPT), range(TOGETHER))]
    run(picture(recipes[0], model), model.evaluate)  # warm

    def together(lanes: int) -> None:
        list(Engine(model.evaluate, lanes=lanes).run(picture(recipe, model) for recipe in recipes))

    names = ("--help", "cold, shell to PNG", "warm, alone", "warm, 8 together", "8, pass by pass")
    found: dict[str, list[float]] = {name: [] for name in names}
    for lanes in (1, model.lanes):
        together(lanes)  # warm
    for _ in range(asked.runs):
        found["--help"].append(seconds(help_))
        found["cold, shell to PNG"].append(seconds(shell))
        found["warm, alone"].append(seconds(lambda: run(picture(recipes[0], model), model.evaluate)))
        found["warm, 8 together"].append(seconds(lambda: together(model.lanes)) / TOGETHER)
        found["8, pass by pass"].append(seconds(lambda: together(1)) / TOGETHER)
    medians = {name: statistics.median(values) for name, values in found.items()}
    d = model.card.defaults
    about = f"{d.width}x{d.height}, drawn at {d.drawn[0]}x{d.drawn[1]}, {d.steps} steps of {d.sampler}"
    about = f"{about}, guidance {d.guidance:g}, {torch.get_num_threads()} threads"
    if asked.json:
        print(json.dumps({"about": about, "median seconds": medians, "runs": found}))
        return
    print(about)
    for name, value in medians.items():
        print(f"{name:<20}{value:8.3f} s   (min {min(found[name]):.3f}, max {max(found[name]):.3f})")
    for other in ("warm, alone", "8, pass by pass"):
        ratio = statistics.median(a / b for a, b in zip(found["warm, 8 together"], found[other], strict=True))
        print(f"together : {other:<18}{ratio:8.2f}")


if __name__ == "__main__":
    main()
