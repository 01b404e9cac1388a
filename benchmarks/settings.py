"""What steps, guidance and a negative prompt of quality words do to scores, time and sharpness.

    python benchmarks/settings.py --judge FOLDER [--model default] [--prompts 100] [--chart FILE.svg] [--json]

The same dev prompts (of things the model was taught) and seed for every setting, drawn together as the program draws
many; all else is the model's own. Overall is the share of pictures with every fact right, with its interval over
prompts and the judge's own ceiling and floor. Seconds are of a picture among sixteen. Sharpness is the mean square of
the Laplacian of lightness, and beside it the share of pictures that are sharper with the negative prompt than without.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from darkroom.contracts.prompt import Prompt, escaped
from darkroom.contracts.request import Request
from darkroom.evaluation.accuracy import AT_ONCE, Outcome, drawn, outcome
from darkroom.evaluation.prompts import SEEDS, PromptRow, prompt_set, spread
from darkroom.evaluation.scores import Score, overall
from darkroom.judge.judge import Judge, load_judge
from darkroom.model import Model, load

AXES: dict[str, tuple[float, ...]] = {"steps": (1, 2, 4, 6, 8, 12, 20), "guidance": (1, 1.5, 2.5, 3.5, 5, 8, 12)}
NEGATIVE = "blurry, low quality, noisy"


def measured(
    model: Model, judge: Judge, rows: Sequence[PromptRow], asked: Mapping[str, Any], negative: str = ""
) -> tuple[Score, float, list[float]]:
    """Overall, seconds a picture, and each picture's sharpness."""
    outcomes: list[Outcome] = []
    sharp: list[float] = []
    seconds = 0.0
    for start in range(0, len(rows), AT_ONCE):
        lot = rows[start : start + AT_ONCE]
        prompts = [Prompt(text=escaped(row.prompt), negative=negative) for row in lot]
        begun = time.perf_counter()
        images = drawn(model, [Request.checked({"prompt": said, "seed": SEEDS[0], **asked}) for said in prompts])
        seconds += time.perf_counter() - begun
        pixels = torch.stack([torch.from_numpy(image.pixels.copy()) for image in images]).permute(0, 3, 1, 2) / 255
        outcomes += [outcome(judge, s, row, SEEDS[0]) for row, s in zip(lot, judge.look(pixels), strict=True)]
        sharp += [sharpness(image.pixels) for image in images]
    return overall(outcomes, judge.calibration), seconds / len(rows), sharp


def sharpness(pixels: np.ndarray) -> float:
    """Mean square of the Laplacian of lightness, of (height, width, 3) uint8."""
    grey = pixels.astype(float).mean(2) / 255
    laplacian = grey[1:-1, :-2] + grey[1:-1, 2:] + grey[:-2, 1:-1] + grey[2:, 1:-1] - 4 * grey[1:-1, 1:-1]
    return float((laplacian**2).mean())


def chart(found: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """The curves side by side, as an SVG file: scores with their intervals, seconds below."""
    wide, high, pad = 420, 260, 40
    parts = []
    for i, (name, rows) in enumerate(found.items()):
        left = i * wide + pad
        across = [left + j * (wide - 2 * pad) / (len(rows) - 1) for j in range(len(rows))]
        most = 1.1 * max(row["high"] for row in rows)  # below the title

        def down(share: float, most: float = most) -> float:
            return high - 2 * pad - share / most * (high - 3 * pad)

        line = " ".join(f"{x:.1f},{down(row['value']):.1f}" for x, row in zip(across, rows, strict=True))
        parts.append(f'<text x="{left}" y="24" font-size="15">every fact right, by {name}</text>')
        parts.append(f'<polyline points="{line}" fill="none" stroke="#3b6ea8" stroke-width="2"/>')
        for x, row in zip(across, rows, strict=True):
            bar = f'x1="{x:.1f}" x2="{x:.1f}" y1="{down(row["low"]):.1f}" y2="{down(row["high"]):.1f}"'
            parts.append(f'<line {bar} stroke="#b9cbe0" stroke-width="6"/>')
            parts.append(f'<circle cx="{x:.1f}" cy="{down(row["value"]):.1f}" r="4" fill="#3b6ea8"/>')
            middle = f'x="{x:.1f}" text-anchor="middle"'
            parts.append(f'<text {middle} y="{down(row["high"]) - 6:.1f}">{row["value"]:.2f}</text>')
            parts.append(f'<text {middle} y="{high - 44}" font-weight="bold">{row["at"]:g}</text>')
            parts.append(f'<text {middle} y="{high - 22}" fill="#667">{row["seconds"]:.2f} s</text>')
    size = f'width="{wide * len(found)}" height="{high}" viewBox="0 0 {wide * len(found)} {high}"'
    ground = '<rect width="100%" height="100%" fill="#fff"/>'
    font = 'font-family="sans-serif" font-size="12"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>{ground}{"".join(parts)}</svg>\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--model", default="default")
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--chart", type=Path, help="also draw the curves into this SVG file")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    model, judge = load(options.model), load_judge(options.judge)
    taught = set(model.card.vocabulary)
    rows = [row for row in prompt_set("dev") if all(wanted.word in taught for wanted in row.expected.objects)]
    rows = spread(rows, options.prompts)
    measured(model, judge, rows[:AT_ONCE], {})  # warm
    found: dict[str, list[dict[str, float]]] = {}
    for name, values in AXES.items():
        found[name] = []
        for value in values:
            score, seconds, _ = measured(model, judge, rows, {name: int(value) if name == "steps" else value})
            found[name].append({"at": value, "seconds": seconds, **score.row()})
            if not options.json:
                print(f"{name} {value:g}: {seconds:.3f} s a picture", flush=True)
                print(score.line("overall", 8), flush=True)
    plain, led = (measured(model, judge, rows, {}, negative) for negative in ("", NEGATIVE))
    ratio = float(np.mean(led[2]) / np.mean(plain[2]))
    sharper = float(np.mean([b > a for a, b in zip(plain[2], led[2], strict=True)]))
    if options.chart:
        options.chart.write_text(chart(found), encoding="utf-8")
    if options.json:
        print(json.dumps({**found, "negative": {"sharpness": ratio, "sharper": sharper}}))
        return
    print(f"negative {NEGATIVE!r}: sharpness {ratio:.2f} times, sharper in {sharper:.2f} of {len(rows)} pictures")
    print(plain[0].line("without", 8), led[0].line("with", 8), sep="\n")


if __name__ == "__main__":
    main()
