"""What an adapter costs: seconds a picture with none, one and two of them, in turns.

    python benchmarks/adapters.py [--model default] [--rank 16] [--runs 9] [--threads 2] [--json]

The adapters are random branches beside every layer that `darkroom train lora` puts one, of denoiser and text encoder:
what they say does not matter to the time. Pictures are drawn alone, at the model's own size and steps; medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from darkroom.contracts.request import Request
from darkroom.control.adapters import Branch, layers_of
from darkroom.control.lora import write_lora
from darkroom.generate import picture, run
from darkroom.model import Model, load
from darkroom.synthesis.diffusion import DiffusionSynthesizer
from darkroom.training.objectives.lora import UNLEARNED


def random_lora(model: Model, path: Path, rank: int) -> Path:
    """A file of small random branches."""
    assert isinstance(model.synthesizer, DiffusionSynthesizer)
    networks = {"denoiser": model.synthesizer.network, "text": model.encoder.network}
    branches = {
        part: {
            name: Branch(torch.randn(rank, w.shape[1]) * w.shape[1] ** -0.5, torch.randn(w.shape[0], rank) * 0.01)
            for name, w in layers_of(network).items()
            if not name.endswith(UNLEARNED)
        }
        for part, network in networks.items()
    }
    return write_lora(branches, path, title="random", about={})


def report(name: str, rank: int, runs: int) -> dict[str, Any]:
    """Everything measured, ready for JSON."""
    model = load(name)
    with TemporaryDirectory() as folder:
        files = [str(random_lora(model, Path(folder) / f"{i}.safetensors", rank)) for i in range(2)]
        recipes = {
            f"{n} adapters": model.resolve(
                Request.checked({"prompt": "a red apple", "seed": 1, "lora": files[:n] or None})
            )
            for n in range(3)
        }
    taken: dict[str, list[float]] = {what: [] for what in recipes}
    for turn in range(runs + 1):
        for what, recipe in recipes.items():
            began = time.perf_counter()
            run(picture(recipe, model), model.evaluate)
            if turn:  # the first warms
                taken[what].append(time.perf_counter() - began)
    plain = taken["0 adapters"]
    return {
        "model": model.card.name,
        "rank": rank,
        "threads": torch.get_num_threads(),
        "seconds": {what: statistics.median(found) for what, found in taken.items()},
        "ratio": {
            what: statistics.median(t / p for t, p in zip(found, plain, strict=True)) for what, found in taken.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="default")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--threads", type=int, help="default: as many as torch takes")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    found = report(options.model, options.rank, options.runs)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    print(f"{found['model']}, rank {found['rank']}, {found['threads']} threads, medians")
    for what, seconds in found["seconds"].items():
        print(f"{what:<12} {seconds:6.3f} s a picture, {found['ratio'][what]:.2f} times that of none")


if __name__ == "__main__":
    main()
