"""What ``darkroom evaluate`` does: draw, judge, say how good the model is and how far the judge can be trusted."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from darkroom.cards import EMBEDDED
from darkroom.contracts.errors import BadFile, BadInput, reason
from darkroom.contracts.files import check_folder, publish
from darkroom.contracts.request import Request
from darkroom.data.imported import holds_pictures, import_folder, imported
from darkroom.data.stock import built
from darkroom.evaluation import bars
from darkroom.evaluation.accuracy import PLAIN, evaluated
from darkroom.evaluation.calibration import calibrate
from darkroom.evaluation.likeness.own import check_count, likeness
from darkroom.evaluation.likeness.told import as_json as likeness_json
from darkroom.evaluation.likeness.told import lines as likeness_lines
from darkroom.evaluation.likeness.told import sheets
from darkroom.evaluation.measuring import reported
from darkroom.evaluation.progress import Progress
from darkroom.evaluation.prompts import SEEDS, own_prompts, prompt_set, spread
from darkroom.evaluation.scores import as_json, check_scorable, scores, table_lines, unknown_words
from darkroom.judge.judge import WEIGHTS, WORDS, load_judge, save_judge
from darkroom.model import Model, load
from darkroom.wording.tokenizer import Tokenizer


def evaluate(
    model: str,
    name: str,
    prompts: Path | None,
    out: Path | None,
    judge: Path | None,
    limit: int | None,
    *,
    data: Path | None = None,
    settings: Mapping[str, Any] = PLAIN,
    report: bool = False,
    as_data: bool,
) -> None:
    """Prints the scores of a model on a prompt set (``prompts`` None) or on a file of prompts.

    ``settings`` are fields of the requests, such as steps; what they do not name is the model's own.
    ``out`` None keeps nothing, ``judge`` None is the judge in the package, ``limit`` None takes every prompt.
    ``report`` also writes ``out/report.html``, with distances from scenes of ``data`` (None: without them).
    """
    if report and out is None:
        raise BadInput("--report", "has nowhere to be written", "give a folder with --out")
    if report and settings:
        flag = "--" + next(iter(settings)).replace("_", "-")
        raise BadInput(flag, "and --report, which shows a model as it is, do not go together", "leave one of them out")
    if data is not None and not report:
        raise BadInput("--data", "is not used by scores alone", "add --report or --calibration, or leave it out")
    if limit is not None and limit < 1:
        raise BadInput(f"limit {limit}", "leaves no prompt", "take 1 or more")
    rows = prompt_set(name) if prompts is None else own_prompts(prompts)
    rows = spread(rows, limit) if limit is not None else rows
    unknown = unknown_words(rows)
    if unknown:
        words = ", ".join(f"{word} (in {n} of {len(rows)} prompts)" for word, n in unknown.items())
        print(f"unknown to the judge, and not scored: {words}", file=sys.stderr)
    trusted = load_judge(judge or EMBEDDED)
    check_scorable(rows, trusted.calibration)
    opened = load(model)
    settings_told = _told(opened, settings)
    outcomes = evaluated(opened, trusted, rows, SEEDS, out, Progress("judged"), settings)
    tables = scores(outcomes, trusted.calibration)
    if report and out is not None:
        whose = f"{name} set" if prompts is None else prompts.name
        page = reported(opened, trusted, rows, outcomes, out, data, whose)
        print(publish(page.html().encode(), out / "report.html"), file=sys.stderr if as_data else sys.stdout)
    if as_data:
        told: dict[str, Any] = {
            "model": opened.card.name,
            "model_hash": opened.card.model_hash,
            "judge": trusted.sha256,
            "settings": settings_told,
        }
        calibrated = bars.rows(trusted.calibration)
        print(json.dumps({**told, **as_json(tables), "calibration": calibrated, "unknown": unknown}))
    else:
        print("\n".join(table_lines(tables)))


def _told(model: Model, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they are told of: a guide, a refiner, adapters and what else is brought by their
    hashes. What cannot be drawn with is refused before anything is."""
    used = model.resolve(Request.checked({"prompt": "anything", "seed": 0, **settings}, flags=True))
    guide = {} if used.guide is None else {"guide": dict(used.guide)}
    guide |= {} if used.refiner is None else {"refiner": dict(used.refiner)}
    brought = {"lora": used.adapters, "embedding": used.embeddings, "vae": used.vae and (used.vae,)}
    return {**settings, **guide, **{name: [dict(use) for use in uses] for name, uses in brought.items() if uses}}


def own(
    folder: Path,
    model: str,
    out: Path | None,
    judge: Path | None,
    count: int,
    *,
    settings: Mapping[str, Any] = PLAIN,
    as_data: bool,
) -> None:
    """Prints how like the pictures of a folder those are that a model draws of their captions, ``count`` of them.

    ``settings`` are fields of the requests. ``out`` is where sheets to look at are written; None writes none.
    """
    check_count(count)
    if out is not None:
        check_folder(out)
    trusted, opened = load_judge(judge or EMBEDDED), load(model)
    settings_told = _told(opened, settings)
    with TemporaryDirectory() as there:
        if not holds_pictures(folder):
            print(*import_folder(folder, Path(there)).lines(), sep="\n", file=sys.stderr)
        pictures = imported(folder if holds_pictures(folder) else Path(there))
    found = likeness(opened, trusted, pictures, count, settings, Progress("drawn"), Progress("looked at"))
    if as_data:
        told = {"model": opened.card.name, "model_hash": opened.card.model_hash, "judge": trusted.sha256}
        print(json.dumps({**told, "settings": settings_told, **likeness_json(found)}))
    else:
        print("\n".join(likeness_lines(found)))
    if out is not None:
        for path in sheets(found, pictures, out):
            print(path, file=sys.stderr if as_data else sys.stdout)


def calibration(
    data: Path, judge: Path | None, count: int, style: str | None, *, as_data: bool, strict: bool = False
) -> None:
    """Prints how far a judge can be trusted, measured on about ``count`` scenes composed of built data.

    ``style`` keeps to drawings of one style; None takes all of them. ``strict`` ends the program with exit code 1 where
    a bar does not hold.
    """
    if count < 1:
        raise BadInput(f"count {count}", "leaves no scene", "take 1 or more")
    opened, stock = load_judge(judge or EMBEDDED), built.load(data)
    if style is not None:
        styles = stock.everything().styles
        if style not in styles:
            raise BadInput(f"style {style!r}", f"is not one of {', '.join(styles)}", "name one there are drawings in")
        stock = stock.restricted(stock.everything(styles={style: 1.0}))
    found = calibrate(opened, stock, count, Progress("scenes"))
    if as_data:
        print(json.dumps({**bars.rows(found.trust), "about": bars.about(found)}))
    else:
        print("\n".join(bars.lines(found)))
    if strict and bars.failing(found):
        raise SystemExit(1)


def pack_judge(handover: Path, data: Path, out: Path, count: int) -> Path:
    """Writes a judge's folder from a training leg's hand-over, with its calibration measured on the packed weights."""
    try:
        networks = json.loads((handover / "leg.json").read_text(encoding="utf-8"))["networks"]
        weights = load_file(handover / WEIGHTS)
        tokenizer = Tokenizer.from_json((handover / WORDS).read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        fix = "give the handover folder of a `darkroom train judge` run"
        raise BadFile(f"{handover}", f"is no judge's hand-over ({reason(error)})", fix) from error
    with TemporaryDirectory() as folder:  # measured before anything under ``out`` changes
        opened = load_judge(save_judge(Path(folder), weights, networks, tokenizer, {}))
        found = calibrate(opened, built.load(data), count, Progress("scenes"))
    print("\n".join(bars.lines(found)), file=sys.stderr)
    return save_judge(out, weights, networks, tokenizer, found.trust)
