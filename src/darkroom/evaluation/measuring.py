"""Everything a report shows, measured: the curve over evaluations, the cost, distances from real scenes, neighbours."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from darkroom.contracts.prompt import Prompt
from darkroom.contracts.request import Request
from darkroom.data.loader import SceneBatch, Scenes
from darkroom.data.stock import built
from darkroom.data.stock.built import Built
from darkroom.evaluation.accuracy import Outcome, evaluated, picture_path
from darkroom.evaluation.baselines import copies, reconstructions
from darkroom.evaluation.likeness.distances import JUDGED, Compared, distances, feature_spaces, pixels_of
from darkroom.evaluation.progress import Progress
from darkroom.evaluation.prompts import SEEDS, PromptRow, spread
from darkroom.evaluation.report import CASES, Cost, Neighbour, Report
from darkroom.evaluation.scores import Score, overall, scores
from darkroom.evaluation.sheet import draw_sheet
from darkroom.generate import picture, run
from darkroom.judge.judge import Judge
from darkroom.latent.codec import AutoencoderCodec
from darkroom.model import Model
from darkroom.picture.read import read
from darkroom.picture.write import encode
from darkroom.synthesis.samplers import evaluations

EVALUATIONS = (1, 2, 4, 8, 16)  # of the curve
CURVE_PROMPTS = 100
REAL = 1000  # training scenes the pictures are compared with
FEWEST = 5  # pictures that can be compared: a neighbourhood is of four


def reported(
    model: Model,
    judge: Judge,
    rows: Sequence[PromptRow],
    outcomes: Sequence[Outcome],
    out: Path,
    data: Path | None,
    prompts: str,
) -> Report:
    """Measures what outcomes alone do not say; ``data`` None leaves the comparison with scenes out."""
    some = spread([row for row in rows if not row.expected.unknown], CURVE_PROMPTS)
    curve: dict[int, Score] = {}
    for n, steps in _steps(model.card.defaults.sampler).items():
        drawn = evaluated(
            model, judge, some, SEEDS[:1], out / f"steps-{steps}", Progress(f"{n} evaluations"), {"steps": steps}
        )
        curve[n] = overall(drawn, judge.calibration)
    tables = scores(outcomes, judge.calibration)
    found: Mapping[str, Compared] = {}
    neighbours: list[Neighbour] = []
    if data is not None:
        stock = built.load(data)
        tables["baseline"] = _baselines(model, judge, rows, stock)
        found, neighbours = _compared(model, judge, outcomes, out, stock)
    return Report(
        title=f"{model.card.name}: how often it draws what it was asked for",
        model_hash=model.card.model_hash,
        prompts=prompts,
        tables=tables,
        calibration=judge.calibration,
        curve=curve,
        cost=_cost(model),
        distances=found,
        outcomes=outcomes,
        folder=out,
        neighbours=neighbours,
        sheet=draw_sheet(model, out / "sheet.png").read_bytes(),
    )


def _steps(sampler: str) -> dict[int, int]:
    """Evaluations of the curve -> steps: the most steps that cost no more than each of EVALUATIONS."""
    counted = {evaluations(sampler, steps): steps for steps in range(1, EVALUATIONS[-1] + 1)}
    return {n: counted[n] for n in sorted({max(m for m in counted if m <= most) for most in EVALUATIONS})}


def _cost(model: Model, pictures: int = 5) -> Cost:
    took = []
    for seed in range(pictures + 1):
        start = time.perf_counter()
        run(picture(model.resolve(Request(prompt=Prompt(text="a red apple"), seed=seed)), model), model.evaluate)
        took.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kilobytes on Linux
    return Cost(statistics.median(took[1:]), peak)  # the first also warms


def _baselines(model: Model, judge: Judge, rows: Sequence[PromptRow], stock: Built) -> dict[str, Score]:
    assert isinstance(model.codec, AutoencoderCodec)
    answers = {
        "real scenes through its autoencoder": reconstructions(model.codec, judge, stock),
        "the nearest training scene": copies(judge, rows, stock),
    }
    return {name: overall(outcomes, judge.calibration) for name, outcomes in answers.items()}


def _compared(
    model: Model, judge: Judge, outcomes: Sequence[Outcome], out: Path, stock: Built
) -> tuple[Mapping[str, Compared], list[Neighbour]]:
    """Distances from training scenes in three spaces, and the scene nearest to some of the pictures."""
    assert isinstance(model.codec, AutoencoderCodec)
    kept = spread([o for o in outcomes if picture_path(out, o.prompt, o.seed).exists()], REAL)
    if len(kept) < FEWEST:
        return {}, []
    composer, config = stock.composer(), stock.everything()
    real = Scenes(composer, config)(0, REAL)
    others = Scenes(composer, config, stream="held-out")(0, len(kept))  # as many: distances depend on how many
    side = real.composed.pixels.shape[-1]
    made = torch.stack([pixels_of(read(picture_path(out, o.prompt, o.seed)), side) for o in kept])
    spaces = feature_spaces(judge.detector, model.codec)
    shown = (real.composed.pixels, made, others.composed.pixels)
    seen = {name: [features(pixels) for pixels in shown] for name, features in spaces.items()}
    found = {name: Compared(distances(base, own), distances(base, other)) for name, (base, own, other) in seen.items()}
    scenes, pictures, _ = seen[JUDGED]
    return found, _nearest(scenes, pictures, real, made, kept)


def _nearest(
    scenes: Tensor, pictures: Tensor, real: SceneBatch, made: Tensor, kept: Sequence[Outcome]
) -> list[Neighbour]:
    chosen = spread(range(len(kept)), CASES)
    nearest = torch.cdist(pictures[chosen], scenes).argmin(1).tolist()
    return [
        Neighbour(kept[i].prompt, _png(made[i]), _png(real.composed.pixels[j]), real.captions[j])
        for i, j in zip(chosen, nearest, strict=True)
    ]


def _png(pixels: Tensor) -> bytes:
    return encode((pixels * 255).round().byte().permute(1, 2, 0).numpy(), None, "png")
