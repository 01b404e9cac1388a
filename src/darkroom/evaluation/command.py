"""What ``darkroom evaluate`` does: draw, judge, say how good the model is and how far the judge can be trusted."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors import SafetensorError
from safetensors.torch import load_file

from darkroom.contracts.errors import BadFile, BadInput
from darkroom.contracts.files import publish
from darkroom.data.stock import built
from darkroom.evaluation.accuracy import as_json, evaluated, scores, table_lines
from darkroom.evaluation.calibration import Calibration, calibrate
from darkroom.evaluation.measuring import reported
from darkroom.evaluation.prompts import SEEDS, own_prompts, prompt_set
from darkroom.judge.judge import WEIGHTS, WORDS, Trust, load_judge, save_judge
from darkroom.model import EMBEDDED, load
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
    report: bool = False,
    as_data: bool,
) -> None:
    """Prints the scores of a model on a prompt set (``prompts`` None) or on a file of prompts.

    ``out`` None keeps nothing, ``judge`` None is the judge in the package, ``limit`` None takes every prompt.
    ``report`` also writes ``out/report.html``, with distances from scenes of ``data`` (None: without them).
    """
    if report and out is None:
        raise BadInput("--report", "has nowhere to be written", "give a folder with --out")
    rows = prompt_set(name) if prompts is None else own_prompts(prompts)
    if limit is not None and limit < 1:
        raise BadInput(f"limit {limit}", "leaves no prompt", "take 1 or more")
    rows = rows[:: max(1, len(rows) // limit)][:limit] if limit is not None else rows  # from all over the set
    opened, trusted = load(model), load_judge(judge or EMBEDDED)
    outcomes = evaluated(opened, trusted, rows, SEEDS, out, _progress)
    print(file=sys.stderr)
    tables = scores(outcomes, trusted.calibration)
    if report and out is not None:
        whose = f"{name} set" if prompts is None else prompts.name
        page = reported(opened, trusted, rows, outcomes, out, data, whose)
        print(publish(page.html().encode(), out / "report.html"), file=sys.stderr if as_data else sys.stdout)
    unknown = sorted({fact.text for outcome in outcomes for fact in outcome.facts if fact.kind == "unknown"})
    if as_data:
        told = {"model": opened.card.name, "model_hash": opened.card.model_hash, "judge": trusted.sha256}
        print(json.dumps({**told, **as_json(tables), "calibration": _rows(trusted.calibration), "unknown": unknown}))
        return
    print("\n".join(table_lines(tables)))
    if unknown:
        print(f"the judge does not know, and did not score: {', '.join(unknown)}")


def calibration(data: Path, judge: Path | None, count: int, style: str | None, *, as_data: bool) -> None:
    """Prints how far a judge can be trusted, measured on ``count`` scenes composed of built data.

    ``style`` keeps to drawings of one style; None takes all of them.
    """
    opened, stock = load_judge(judge or EMBEDDED), built.load(data)
    if style is not None:
        styles = stock.everything().styles
        if style not in styles:
            raise BadInput(f"style {style!r}", f"is not one of {', '.join(styles)}", "name one there are drawings in")
        stock = stock.restricted(stock.everything(styles={style: 1.0}))
    found = calibrate(opened, stock, count, lambda done: _progress(done, count))
    print(file=sys.stderr)
    print(json.dumps({**_rows(found.trust), "spoilt": found.spoilt}) if as_data else "\n".join(_lines(found)))


def pack_judge(handover: Path, data: Path, out: Path, count: int) -> Path:
    """Writes a judge's folder from a training leg's hand-over, with its calibration measured on the packed weights."""
    try:
        networks = json.loads((handover / "leg.json").read_text(encoding="utf-8"))["networks"]
        weights = load_file(handover / WEIGHTS)
        tokenizer = Tokenizer.from_json((handover / WORDS).read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        fix = "give the handover folder of a `darkroom train judge` run"
        raise BadFile(f"{handover}", f"is no judge's hand-over ({error})", fix) from error
    with TemporaryDirectory() as folder:  # measured before anything under ``out`` changes
        opened = load_judge(save_judge(Path(folder), weights, networks, tokenizer, {}))
        found = calibrate(opened, built.load(data), count, lambda done: _progress(done, count))
    print("\n".join(_lines(found)), file=sys.stderr)
    return save_judge(out, weights, networks, tokenizer, found.trust)


def _rows(calibration: Mapping[str, Trust]) -> dict[str, dict[str, float | None]]:
    return {kind: {"ceiling": t.ceiling, "floor": t.floor, "foil": t.foil} for kind, t in calibration.items()}


def _lines(found: Calibration) -> list[str]:
    def line(kind: str, trust: Trust) -> str:
        foil = "   -" if trust.foil is None else f"{trust.foil:.3f}"
        return f"{kind:<14}ceiling {trust.ceiling:.3f}   floor {trust.floor:.3f}   foil {foil}"

    spoilt = [f"{way:<14}still taken for one {share:.3f}" for way, share in sorted(found.spoilt.items())]
    return [*(line(kind, trust) for kind, trust in found.trust.items()), *spoilt, f"{found.scenes} scenes"]


def _progress(done: int, of: int) -> None:
    end = "\r" if sys.stderr.isatty() else "\n"
    if sys.stderr.isatty() or done == of:
        print(f"judged {done:,} of {of:,}", file=sys.stderr, end=end, flush=True)
