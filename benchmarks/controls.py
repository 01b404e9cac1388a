"""What each control costs: seconds a picture, beside what its network evaluations explain.

    python benchmarks/controls.py [--model default] [--runs 5] [--threads 2] [--json]

Every pass of a picture through a network is written down while it is drawn: which network, with rows of which shape,
how many. After each picture every such pass is done alone, and the seconds of all passes of the picture are added up:
that is what its evaluations explain. What a picture takes beyond that is ours: samplers, guidance, masks, moving,
mixing. A ratio of 1.1 is a tenth more than explained. All controls are drawn in turns; medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from darkroom.contracts.request import Request
from darkroom.generate import picture, run
from darkroom.model import Model, load
from darkroom.picture.inputs import Inputs
from darkroom.protocols import Call

PROMPT = "a red apple and a yellow banana"
Key = tuple[tuple[object, ...], int]


class Noted:
    """A model's evaluate that writes down what passes there were, and keeps one of each kind."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.passes: Counter[Key] = Counter()
        self.samples: dict[Key, list[Call]] = {}

    def evaluate(self, calls: Sequence[Call]) -> list[Tensor]:
        """As the model does."""
        for key in dict.fromkeys(call.batch_key for call in calls):
            some = [call for call in calls if call.batch_key == key]
            self.passes[key, len(some)] += 1
            self.samples.setdefault((key, len(some)), some)
        return self.model.evaluate(calls)


def controls(inputs: Inputs) -> dict[str, dict[str, Any]]:
    """Requests by what they show; the pictures some begin from are made up."""
    rng = np.random.default_rng(0)
    start = inputs.put(rng.integers(0, 256, (32, 32, 3), np.uint8).repeat(8, 0).repeat(8, 1), "start")
    mask = np.zeros((256, 256, 3), np.uint8)
    mask[:, 128:] = 255
    half = inputs.put(mask, "mask")
    return {
        "plain": {},
        "guidance 1": {"guidance": 1.0},
        "negative prompt": {"prompt": {"text": PROMPT, "negative": "a cup"}},
        "weights": {"prompt": "a (red:1.4) apple and a [yellow] banana"},
        "switch": {"prompt": "a red [apple:cup:0.5] and a yellow banana"},
        "BREAK": {"prompt": "a red apple BREAK a yellow banana"},
        "zero-star": {"guidance_method": "zero-star"},
        "projected": {"guidance_method": "projected"},
        "rescale, threshold": {"guidance_rescale": 0.7, "guidance_threshold": 0.995},
        "heun": {"sampler": "heun"},
        "dpmpp-3m-sde, karras": {"sampler": "dpmpp-3m-sde", "spacing": "karras"},
        "variation": {"variation": 0.3, "variation_seed": 9},
        "start picture": {"init_image": start, "strength": 0.7},
        "mask": {"init_image": start, "mask": half},
        "margins": {"init_image": start, "outpaint": {"left": 64}},
        "two regions": {"regions": ["left: a red apple", "right: a yellow banana"]},
        "toward": {"toward": "a blue cup:0.5"},
        "swap": {"swap": "red->green"},
        "edges meet": {"tile": "both"},
        "second pass": {"hires": 0.4},
    }


def seconds(model: Model, recipe: Any, inputs: Inputs) -> float:
    """Of one picture."""
    began = time.perf_counter()
    run(picture(recipe, model, inputs=inputs), model.evaluate)
    return time.perf_counter() - began


def alone(model: Model, calls: list[Call]) -> float:
    """Median seconds of one pass, of three that follow another."""
    found = []
    with torch.inference_mode():
        for _ in range(4):
            began = time.perf_counter()
            model.evaluate(calls)
            found.append(time.perf_counter() - began)
    return statistics.median(found[1:])


def report(name: str, runs: int) -> dict[str, Any]:
    """Everything measured, ready for JSON."""
    model, inputs = load(name), Inputs()
    recipes, noted = {}, {}
    for control, asked in controls(inputs).items():
        recipes[control] = model.resolve(Request.checked({"prompt": PROMPT, "seed": 1, **asked}), inputs)
        noted[control] = Noted(model)
        run(picture(recipes[control], model, inputs=inputs), noted[control].evaluate)  # warm, and written down
    taken: dict[str, list[float]] = {control: [] for control in recipes}
    explained: dict[str, list[float]] = {control: [] for control in recipes}
    for _ in range(runs):
        for control, recipe in recipes.items():
            taken[control].append(seconds(model, recipe, inputs))
            one = noted[control]
            cost = sum(alone(model, calls) * one.passes[key] for key, calls in one.samples.items())
            explained[control].append(cost)
    found = {}
    for control, one in noted.items():
        rows = sum(n * times for (key, n), times in one.passes.items() if key[0] == "denoiser")
        passes = sum(times for (key, _), times in one.passes.items() if key[0] == "denoiser")
        found[control] = {
            "seconds": statistics.median(taken[control]),
            "evaluations": rows,
            "passes": passes,
            "explained": statistics.median(explained[control]),
            "ratio": statistics.median(t / e for t, e in zip(taken[control], explained[control], strict=True)),
        }
    return {"model": model.card.name, "threads": torch.get_num_threads(), "runs": runs, "controls": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="default")
    parser.add_argument("--runs", type=int, default=5, help="pictures of each kind")
    parser.add_argument("--threads", type=int, help="default: as many as torch takes")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    found = report(options.model, options.runs)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    print(f"{found['model']}, {found['threads']} threads, medians of {found['runs']} pictures")
    print(f"{'':<24}{'seconds':>8}{'evaluations':>13}{'passes':>8}{'explained':>11}{'ratio':>7}")
    for control, row in found["controls"].items():
        print(
            f"{control:<24}{row['seconds']:8.3f}{row['evaluations']:13}{row['passes']:8}{row['explained']:11.3f}"
            f"{row['ratio']:7.2f}"
        )
    print(f"largest ratio {max(row['ratio'] for row in found['controls'].values()):.2f}")


if __name__ == "__main__":
    main()
