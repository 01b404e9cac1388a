"""Whether two judges rank models the same way: the same pictures, scored by each, side by side.

    python benchmarks/ranking.py JUDGE JUDGE [--models FOLDER ...] [--model default] [--prompts 60] [--json]

With --models their models are compared; without, five variants of one model that are better or worse on purpose: as it
is, with few steps, with one, without guidance, and with every picture melted. Each picture is drawn once. Agreement is
by Spearman's rho and Kendall's tau-b: 1 is the same order, "-" where a judge puts all of them level.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from darkroom.contracts.errors import DarkroomError
from darkroom.contracts.request import Request
from darkroom.evaluation.accuracy import AT_ONCE, Outcome, drawn, outcome
from darkroom.evaluation.progress import Progress
from darkroom.evaluation.prompts import SEEDS, PromptRow, prompt_set, spread
from darkroom.evaluation.scores import Score, check_scorable, scores
from darkroom.judge.judge import Judge, load_judge
from darkroom.judge.spoilt import warped
from darkroom.model import load


@dataclass(frozen=True)
class Variant:
    """A model, how it is asked (fields of a request), and how far its pictures are pulled about afterwards."""

    name: str
    model: str
    asked: dict[str, Any]
    melted: float = 0.0


def variants(model: str) -> list[Variant]:
    """Five of one model, deliberately different."""
    return [
        Variant("as it is", model, {}),
        Variant("4 steps", model, {"steps": 4}),
        Variant("1 step", model, {"steps": 1}),
        Variant("no guidance", model, {"guidance": 1.0}),
        Variant("melted", model, {}, melted=0.16),
    ]


def pictures(variant: Variant, rows: Sequence[PromptRow]) -> Iterator[Tensor]:
    """The pictures of prompts, (3, height, width) in [0, 1]."""
    model = load(variant.model)
    told = Progress(variant.name)
    for start in range(0, len(rows), AT_ONCE):
        told(start, len(rows))
        fields = ({"prompt": row.prompt, "seed": SEEDS[0], **variant.asked} for row in rows[start : start + AT_ONCE])
        for i, image in enumerate(drawn(model, [Request.model_validate(asked) for asked in fields]), start):
            pixels = torch.from_numpy(image.pixels.copy()).permute(2, 0, 1).float() / 255
            yield warped(pixels, variant.melted, 4, Random(i)) if variant.melted else pixels
    told(len(rows), len(rows))


def scored(judge: Judge, rows: Sequence[PromptRow], shown: Sequence[Tensor]) -> dict[str, Score]:
    """Overall and every kind of fact, as one judge has it."""
    outcomes: list[Outcome] = []
    for start in range(0, len(rows), AT_ONCE):
        sights = judge.look(torch.stack(list(shown[start : start + AT_ONCE])))
        lot = zip(rows[start : start + AT_ONCE], sights, strict=True)
        outcomes += [outcome(judge, sight, row, SEEDS[0]) for row, sight in lot]
    tables = scores(outcomes, judge.calibration)
    return {"overall": tables["overall"]["all"], **tables["fact"]}


def ranks(values: Sequence[float]) -> np.ndarray:
    """Places from 0; those that are level share the middle of theirs."""
    found = np.array(values)
    return np.array([(found < v).sum() + ((found == v).sum() - 1) / 2 for v in found])


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """The correlation of ranks; None where one side is all level."""
    one, other = (r - r.mean() for r in (ranks(a), ranks(b)))
    scale = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / scale if scale else None


def kendall(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Tau-b: pairs in the same order less those in the other, over those that are not level."""
    pairs = [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i in range(len(a)) for j in range(i)]
    scale = float(np.sqrt(sum(x != 0 for x, _ in pairs) * sum(y != 0 for _, y in pairs)))
    return float(sum(x * y for x, y in pairs)) / scale if scale else None


def agreement(first: Sequence[dict[str, Score]], second: Sequence[dict[str, Score]]) -> dict[str, dict[str, Any]]:
    """For overall and every kind of fact: how alike two judges rank the models."""
    found = {}
    for kind in first[0]:
        a, b = ([one[kind].row()["value"] for one in judge] for judge in (first, second))
        found[kind] = {"spearman": spearman(a, b), "kendall": kendall(a, b)}
    return found


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> None:
    """Draws, scores and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("judges", nargs=2, type=Path, metavar="JUDGE")
    parser.add_argument("--models", nargs="+", default=[])
    parser.add_argument("--model", default="default")
    parser.add_argument("--prompts", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    rows = spread(prompt_set("dev"), asked.prompts)
    judges = [load_judge(folder) for folder in asked.judges]
    for judge in judges:
        check_scorable(rows, judge.calibration)
    chosen = [Variant(model, model, {}) for model in asked.models] or variants(asked.model)
    tables: list[list[dict[str, Score]]] = [[], []]
    for variant in chosen:
        shown = list(pictures(variant, rows))
        for table, judge in zip(tables, judges, strict=True):
            table.append(scored(judge, rows, shown))
    agreed = agreement(*tables)
    if asked.json:
        names = [variant.name for variant in chosen]
        rows_of = [[{kind: score.row() for kind, score in row.items()} for row in table] for table in tables]
        told = [dict(zip(names, table, strict=True)) for table in rows_of]
        say(json.dumps({"judges": [judge.sha256 for judge in judges], "scores": told, "agreement": agreed}))
        return
    width = max(len(variant.name) for variant in chosen) + len("   by A")
    for kind, alike in agreed.items():
        rho, tau = ("-" if alike[name] is None else f"{alike[name]:.2f}" for name in ("spearman", "kendall"))
        say(f"{kind}: Spearman {rho}, Kendall {tau}")
        for i, variant in enumerate(chosen):
            for name, table in zip("AB", tables, strict=True):
                say(table[i][kind].line(f"  {variant.name} by {name}", width))


if __name__ == "__main__":
    try:
        main()
    except DarkroomError as error:
        sys.exit(f"error: {error}")
