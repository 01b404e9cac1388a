"""The report of a model on one page: self-contained HTML that reads well on a screen and on paper."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

from darkroom.evaluation.accuracy import Outcome, Score, picture_path
from darkroom.evaluation.distances import Distances
from darkroom.judge.judge import Trust

CASES = 12  # best and worst cases shown


@dataclass(frozen=True)
class Cost:
    """What drawing costs: median seconds of a picture drawn alone, and the most memory the process took."""

    seconds: float
    megabytes: float


@dataclass(frozen=True)
class Neighbour:
    """A picture and the training scene most like it, as PNGs."""

    prompt: str
    made: bytes
    scene: bytes
    caption: str


@dataclass(frozen=True)
class Report:
    """Everything the page shows. What was not measured is empty, and the page says so."""

    title: str
    model_hash: str
    prompts: str  # which set
    tables: Mapping[str, Mapping[str, Score]]
    calibration: Mapping[str, Trust]
    curve: Mapping[int, Score]  # evaluations -> overall score
    cost: Cost
    distances: Mapping[str, Distances]
    outcomes: Sequence[Outcome]
    folder: Path  # where the run keeps its pictures
    neighbours: Sequence[Neighbour]
    sheet: bytes  # a PNG

    def html(self) -> str:
        """The page."""
        overall = self.tables["overall"]["all"]
        about = f"{self.prompts} · model {self.model_hash[:12]} · {len(self.outcomes)} pictures"
        parts = [
            f"<h1>{escape(self.title)}</h1><p class=sub>{escape(about)}</p>",
            f"<p class=big>{overall.value:.1%}</p>",
            f"<p>of the prompts have all their facts right (95 %: {overall.low:.1%} to {overall.high:.1%}; "
            f"real scenes {overall.trust.ceiling:.1%}).</p>",
            f"<h2>Scores</h2><p>{_LEGEND}</p>",
            *(_table(name, table) for name, table in self.tables.items()),
            f"<h2>How far the judge can be trusted</h2>{_trust(self.calibration)}",
            f"<h2>Score by steps</h2>{_curve(self.curve)}",
            f"<h2>Cost</h2><p>{self.cost.seconds:.2f} s a picture alone; {self.cost.megabytes:.0f} MB at most while "
            "this page was made.</p>",
            f"<h2>Distance from real scenes</h2>{_distances(self.distances)}",
            f"<h2>Best cases</h2>{_cases([o for o in self.outcomes if o.right], self.folder)}",
            f"<h2>Worst cases</h2>{_cases(_worst(self.outcomes), self.folder)}",
            f"<h2>Nearest training scenes</h2>{_neighbours(self.neighbours)}",
            f"<h2>The fixed sheet, uncurated</h2>{_embedded(self.sheet, 'png', 'sheet')}",
        ]
        style = files("darkroom.evaluation").joinpath("report.css").read_text(encoding="utf-8")
        head = f"<meta charset=utf-8><title>{escape(self.title)}</title><style>{style}</style>"
        return f"<!doctype html><html lang=en>{head}<main>{chr(10).join(parts)}</main></html>\n"


_LEGEND = """A bar is the share of pictures with the fact right, its whisker the 95 % interval over prompts. The red
tick is what the judge says of real scenes (the ceiling of any score), the grey part what it says of scenes that are
something else (the floor). Baselines: no model can do better than real scenes through its autoencoder, and one that
only remembers scores what the nearest training scene does."""


def _table(name: str, table: Mapping[str, Score]) -> str:
    rows = "".join(
        f"<tr><th>{escape(row)}{_number(s.value, 3)}<td>{_bar(s)}<td class=n>{s.prompts}{_trusted(s.trust, 2)}"
        for row, s in table.items()
    )
    head = f"<tr><th>{escape(name)}<th>score<th><th>prompts<th>ceiling<th>floor<th>foil"
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _number(value: float | None, places: int) -> str:
    return f"<td class=n>{'-' if value is None else f'{value:.{places}f}'}"


def _trusted(trust: Trust, places: int) -> str:
    return "".join(_number(value, places) for value in (trust.ceiling, trust.floor, trust.foil))


def _bar(score: Score) -> str:
    """The score as an inline drawing, 240 units wide."""
    shares = (score.value, score.low, score.high, score.trust.ceiling, score.trust.floor)
    value, low, high, ceiling, floor = (round(240 * share, 1) for share in shares)
    return (
        f"<svg viewBox='0 0 240 14' width=240 height=14 role=img aria-label='{score.value:.2f}'>"
        f"<rect width=240 height=14 fill='#eee'/><rect width={value} height=14 fill='#3b6ea8'/>"
        f"<rect width={min(floor, value)} height=14 fill='#9aa4b0'/>"
        f"<line x1={low} x2={high} y1=7 y2=7 stroke='#111' stroke-width=1.5 />"
        f"<line x1={ceiling} x2={ceiling} y1=0 y2=14 stroke='#c0392b' stroke-width=2 /></svg>"
    )


def _trust(calibration: Mapping[str, Trust]) -> str:
    rows = "".join(f"<tr><th>{escape(kind)}{_trusted(trust, 3)}" for kind, trust in calibration.items())
    head = "<tr><th>fact<th>real scenes (ceiling)<th>other scenes (floor)<th>one fact changed (foil)"
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _curve(curve: Mapping[int, Score]) -> str:
    wide, high, pad = 520, 200, 34
    across = {n: pad + i * (wide - 2 * pad) / max(1, len(curve) - 1) for i, n in enumerate(curve)}
    down = {n: high - pad - s.value * (high - 2 * pad) for n, s in curve.items()}
    line = " ".join(f"{across[n]:.1f},{down[n]:.1f}" for n in curve)
    marks = "".join(
        f"<circle cx={across[n]:.1f} cy={down[n]:.1f} r=4 fill='#3b6ea8'/>"
        f"<text x={across[n]:.1f} y={down[n] - 9:.1f} text-anchor=middle>{score.value:.2f}</text>"
        f"<text x={across[n]:.1f} y={high - 10} text-anchor=middle>{n}</text>"
        for n, score in curve.items()
    )
    axis = f"<line x1={pad} x2={wide - pad} y1={high - pad} y2={high - pad} stroke='#999'/>"
    prompts = max((score.prompts for score in curve.values()), default=0)
    return (
        f"<svg viewBox='0 0 {wide} {high}' width={wide} height={high}>{axis}"
        f"<polyline points='{line}' fill=none stroke='#3b6ea8' stroke-width=2 />{marks}</svg>"
        f"<p>Share of {prompts} prompts with all facts right, by steps of the model's sampler.</p>"
    )


def _distances(found: Mapping[str, Distances]) -> str:
    if not found:
        return _NEEDS_DATA
    rows = "".join(
        f"<tr><th>{escape(space)}{_number(d.fd_own, 2)}{_number(d.kid, 4)}{_number(d.precision, 2)}"
        f"{_number(d.recall, 2)}{_number(d.diversity, 2)}"
        for space, d in found.items()
    )
    head = "<tr><th>space<th>FD-own<th>KID<th>precision<th>recall<th>diversity"
    note = "<p>In feature spaces of our own: these are not the FID of any paper.</p>"
    return f"{note}<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


_NEEDS_DATA = "<p>Not measured: it needs built data (--data).</p>"


def _worst(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those with the most facts wrong."""
    return sorted((o for o in outcomes if not o.right), key=lambda o: -sum(f.answer == "no" for f in o.facts))


def _cases(outcomes: Sequence[Outcome], folder: Path) -> str:
    """The first of them, no prompt twice."""
    figures = []
    for outcome in {o.prompt: o for o in reversed(outcomes)}.values():
        path = picture_path(folder, outcome.prompt, outcome.seed)
        shown = _embedded(path.read_bytes(), "webp") if path.exists() else ""
        wrong = [f"{fact.kind}: {fact.text}" for fact in outcome.facts if fact.answer == "no"]
        missing = f"<br><em>not {escape('; '.join(wrong))}</em>" if wrong else ""
        figures.append(f"<figure>{shown}<figcaption>{escape(outcome.prompt)}{missing}</figcaption></figure>")
    return f"<div class=cases>{''.join(figures[::-1][:CASES])}</div>" if figures else "<p>None.</p>"


def _neighbours(found: Sequence[Neighbour]) -> str:
    figures = [
        f"<figure class=pair>{_embedded(n.made, 'png')}{_embedded(n.scene, 'png')}<figcaption>{escape(n.prompt)}<br>"
        f"nearest: {escape(n.caption)}</figcaption></figure>"
        for n in found
    ]
    return f"<div class=cases>{''.join(figures)}</div>" if figures else _NEEDS_DATA


def _embedded(data: bytes, kind: str, name: str = "") -> str:
    return f"<img class='{name}' alt='' src='data:image/{kind};base64,{base64.b64encode(data).decode()}'>"
