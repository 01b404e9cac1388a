"""Whether swaps keep what they should, and regions put things where they should: by the judge.

    python benchmarks/steering.py --judge FOLDER [--model default] [--swaps 100] [--regions 50] [--seed 0] [--json]

Swaps: pictures of two things; the colour of the first, or the first itself, is swapped. Counted are those in which the
judge found the second thing right before; it is kept where the judge finds it right afterwards, too. Said beside it: in
how many the first is now what it was swapped for. Regions: the same pairs of things, the first to the left of the
second, by the sentence alone and with two regions besides; right is where the judge finds every fact right. Pairs are
drawn by a seed from things that the model in the package draws.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from darkroom.contracts.request import Request
from darkroom.engine import Engine
from darkroom.generate import picture
from darkroom.judge.asked import asked
from darkroom.judge.judge import Judge, load_judge
from darkroom.judge.verdict import all_right
from darkroom.model import Model, load
from darkroom.picture.image import Image

THINGS = (
    *("apple", "banana", "cat", "dog", "fox", "tree", "rose", "car", "cup", "star", "fish", "clock", "guitar"),
    *("strawberry", "mushroom", "cake", "bird", "butterfly", "lemon", "umbrella", "house", "bus", "lion", "tulip"),
)
COLOURS = ("red", "yellow", "green", "blue", "purple", "orange")


def drawn(model: Model, requests: Sequence[Request]) -> list[np.ndarray]:
    """Their pixels, in their order."""
    found: dict[int, np.ndarray] = {}
    for outcome in Engine[Image](model.evaluate, lanes=model.lanes).run(
        picture(model.resolve(request), model) for request in requests
    ):
        if outcome.result is None:
            raise outcome.error or RuntimeError("a picture ended without one")
        found[outcome.index] = outcome.result.pixels
    return [found[i] for i in range(len(requests))]


def right(judge: Judge, pixels: np.ndarray, sentence: str) -> bool:
    """Whether the judge finds every fact of a sentence in a picture."""
    seen = torch.tensor(pixels).permute(2, 0, 1).float() / 255
    return all_right(judge.verdict(seen, asked(sentence)))


def pairs(draw: random.Random) -> Iterator[tuple[str, str]]:
    """Two things, over and over."""
    while True:
        one, other = draw.sample(THINGS, 2)
        yield one, other


def swaps(model: Model, judge: Judge, wanted: int, draw: random.Random) -> dict[str, Any]:
    """Cases whose second thing was right before, until there are enough or ten times as many were drawn."""
    counted = kept = changed = tried = 0
    endless = pairs(draw)
    while counted < wanted and tried < 10 * wanted:
        cases = []
        for one, other in (next(endless) for _ in range(8)):
            first, second, third = draw.sample(COLOURS, 3)
            thing = draw.choice([word for word in THINGS if word not in (one, other)])
            old, new = (first, third) if draw.random() < 0.5 else (one, thing)
            before = f"a {first} {one} and a {second} {other}"
            wished = f"a {third} {one}" if old == first else f"a {thing}"
            cases.append((before, f"{old}->{new}", f"a {second} {other}", wished, draw.randrange(2**31)))
        tried += len(cases)
        plain = [Request.checked({"prompt": before, "seed": seed}) for before, _, _, _, seed in cases]
        swapped = [Request.checked({**dict(r), "swap": case[1]}) for r, case in zip(plain, cases, strict=True)]
        shown = drawn(model, [*plain, *swapped])
        for was, now, (_, _, other, wished, _) in zip(shown[:8], shown[8:], cases, strict=True):
            if counted < wanted and right(judge, was, other):
                counted += 1
                kept += right(judge, now, other)
                changed += right(judge, now, wished)
    return {"cases": counted, "tried": tried, "kept": kept, "changed": changed}


def regions(model: Model, judge: Judge, wanted: int, draw: random.Random) -> dict[str, Any]:
    """By the sentence alone, and with regions."""
    alone = helped = 0
    endless = pairs(draw)
    for _ in range(0, wanted, 8):
        some = [next(endless) for _ in range(8)]
        seeds = [draw.randrange(2**31) for _ in some]
        said = [f"a {one} to the left of a {other}" for one, other in some]
        plain = [Request.checked({"prompt": text, "seed": seed}) for text, seed in zip(said, seeds, strict=True)]
        placed = [
            Request.checked({**dict(request), "regions": [f"left: a {one}", f"right: a {other}"]})
            for request, (one, other) in zip(plain, some, strict=True)
        ]
        shown = drawn(model, [*plain, *placed])
        alone += sum(right(judge, pixels, text) for pixels, text in zip(shown[:8], said, strict=True))
        helped += sum(right(judge, pixels, text) for pixels, text in zip(shown[8:], said, strict=True))
    return {"cases": (wanted + 7) // 8 * 8, "sentence alone": alone, "with regions": helped}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--model", default="default")
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument("--regions", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    model, judge, draw = load(options.model), load_judge(options.judge), random.Random(options.seed)
    found = {"swaps": swaps(model, judge, options.swaps, draw), "regions": regions(model, judge, options.regions, draw)}
    if options.json:
        print(json.dumps(found))
        return
    swapped, placed = found["swaps"], found["regions"]
    of = max(1, swapped["cases"])
    print(f"swaps     {swapped['cases']} cases whose second thing was right before ({swapped['tried']} drawn)")
    print(f"          kept {swapped['kept'] / of:.2f}, changed as asked {swapped['changed'] / of:.2f}")
    print(f"regions   {placed['cases']} pairs, the first to the left of the second: every fact right in")
    for name in ("sentence alone", "with regions"):
        print(f"          {placed[name] / max(1, placed['cases']):.2f} {name}")


if __name__ == "__main__":
    main()
