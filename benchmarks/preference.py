"""What preference tuning is worth: prompts of the dev set with a LoRA of it and without, by the judge that scores.

    python benchmarks/preference.py --lora runs/preference/preference.safetensors [--reward FOLDER] [--model default]
        [--prompts 100] [--seeds 4] [--steps N] [--out runs/preference-score] [--json]

The prompts are about things that the model was taught. Of the same pictures the judge that rewarded is asked, too
(--reward): where it says more than the other, it was fooled. Diversity is the mean distance between two pictures of one
prompt, in what the judge sees and without any network; the bars are +5 points, and a fall of 5 % at most.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from darkroom.evaluation.accuracy import Outcome, evaluated, picture_path
from darkroom.evaluation.likeness.distances import pixels_of, plain_features, seen_features
from darkroom.evaluation.progress import Progress
from darkroom.evaluation.prompts import SEEDS, PromptRow, prompt_set, spread
from darkroom.evaluation.scores import overall
from darkroom.judge.judge import PACKAGED, Judge, load_judge
from darkroom.judge.verdict import all_right
from darkroom.model import Model, load
from darkroom.picture.read import read

SIDE = 128


def taught(model: Model, count: int) -> list[PromptRow]:
    """Dev prompts about what the model was taught, from all over the set."""
    words = set(model.card.vocabulary)
    rows = [row for row in prompt_set("dev") if all(wanted.word in words for wanted in row.expected.objects)]
    return spread(rows, count)


def pictures(outcomes: Sequence[Outcome], out: Path) -> Tensor:
    """Those of outcomes, as judges see them (n, 3, 128, 128)."""
    return torch.stack([pixels_of(read(picture_path(out, one.prompt, one.seed)), SIDE) for one in outcomes])


def diversity(features: Tensor, outcomes: Sequence[Outcome]) -> float:
    """Mean distance between two pictures of one prompt."""
    groups: dict[str, list[int]] = {}
    for at, one in enumerate(outcomes):
        groups.setdefault(one.prompt, []).append(at)
    return torch.stack([torch.pdist(features[some].float()).mean() for some in groups.values()]).mean().item()


def facts_right(outcomes: Sequence[Outcome]) -> float:
    """Share of the facts that are right."""
    answers = [fact.answer == "yes" for one in outcomes for fact in one.facts]
    return sum(answers) / len(answers)


def measured(
    model: Model, judge: Judge, rewarding: Judge | None, rows: Sequence[PromptRow], out: Path, settings: dict[str, Any]
) -> dict[str, Any]:
    """Scores by both judges, and diversity, of one way to draw."""
    seeds = SEEDS[: settings.pop("seeds")]
    outcomes = evaluated(model, judge, rows, seeds, out, Progress(out.name), settings)
    shown = pictures(outcomes, out)
    found: dict[str, Any] = {
        "all facts right": overall(outcomes, judge.calibration).row(),
        "facts right": facts_right(outcomes),
        "diversity, what the judge sees": diversity(seen_features(judge.detector, shown), outcomes),
        "diversity, no network": diversity(plain_features(shown), outcomes),
    }
    if rewarding is not None:
        expected = {row.prompt: row.expected for row in rows}
        told = [
            rewarding.says(sight, expected[one.prompt])
            for sight, one in zip(rewarding.look(shown), outcomes, strict=True)
        ]
        found["all facts right by the judge that rewarded"] = sum(map(all_right, told)) / len(told)
    return found


def report(options: argparse.Namespace) -> dict[str, Any]:
    """Everything measured, ready for JSON."""
    judge, model = load_judge(options.judge), load(options.model)
    rewarding = None if options.reward is None else load_judge(options.reward)
    rows = taught(model, options.prompts)
    usual: dict[str, Any] = {"upscale": 1, "seeds": options.seeds} | (
        {} if options.steps is None else {"steps": options.steps}
    )
    ways = {"before": usual, "after": usual | {"lora": [str(options.lora)]}}
    found = {name: measured(model, judge, rewarding, rows, options.out / name, dict(way)) for name, way in ways.items()}
    fall = {
        name: 1 - found["after"][name] / found["before"][name] for name in found["before"] if name.startswith("div")
    }
    gain = found["after"]["all facts right"]["value"] - found["before"]["all facts right"]["value"]
    return {"prompts": len(rows), "seeds": options.seeds, **found, "gain": gain, "fall of": fall}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lora", type=Path, required=True)
    parser.add_argument("--model", default="default")
    parser.add_argument("--judge", type=Path, default=PACKAGED)
    parser.add_argument("--reward", type=Path)
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=len(SEEDS), choices=range(2, len(SEEDS) + 1))
    parser.add_argument("--steps", type=int)
    parser.add_argument("--out", type=Path, default=Path("runs/preference-score"))
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    found = report(options)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for name, value in found.items():
        print(f"{name:<10} {json.dumps(value)}")


if __name__ == "__main__":
    main()
