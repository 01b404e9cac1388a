"""The report of a model on one page: self-contained HTML that reads well on a screen and on paper."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path

from darkroom.evaluation.accuracy import Outcome, picture_path
from darkroom.evaluation.calibration import GROUP, OTHER_SIZES
from darkroom.evaluation.likeness.distances import Compared
from darkroom.evaluation.scores import Score, curve, table
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
    distances: Mapping[str, Compared]
    outcomes: Sequence[Outcome]
    folder: Path  # where the run keeps its pictures
    neighbours: Sequence[Neighbour]
    sheet: bytes  # a PNG

    def html(self) -> str:
        """The page."""
        about = f"{self.prompts} · model {self.model_hash[:12]} · {len(self.outcomes)} pictures"
        parts = [
            f"<h1>{escape(self.title)}</h1><p class=sub>{escape(about)}</p>",
            self.tables["overall"]["all"].headline(),
            f"<h2>Scores</h2><p>{_LEGEND}</p>",
            *(table(name, rows) for name, rows in self.tables.items()),
            f"<h2>How far the judge can be trusted</h2>{_trust(self.calibration)}",
            f"<h2>Score by evaluations</h2>{curve(self.curve)}<p>{_CURVE}</p>",
            f"<h2>Cost</h2><p>{self.cost.seconds:.2f} s a picture alone; {self.cost.megabytes:.0f} MB at most while "
            "this page was made.</p>",
            f"<h2>Distance from real scenes</h2>{_distances(self.distances)}",
            f"<h2>Best cases</h2>{_cases(_best(self.outcomes), self.folder)}",
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


_CURVE = """Share of prompts with all facts right, by how often the denoiser is asked for a picture; a guided one is
asked twice, in one pass. Below each: the judge's floor and ceiling, the grey and the red tick."""


def _trust(calibration: Mapping[str, Trust]) -> str:
    """A table of single facts, one of whole prompts by group, one of facts of things at other sizes."""
    parts = {"fact": "", "all facts of a group's prompts": GROUP, "fact, of things at other sizes": OTHER_SIZES}
    found: dict[str, list[str]] = {head: [] for head in parts}
    for kind, t in calibration.items():
        head = next((head for head, prefix in parts.items() if prefix and kind.startswith(prefix)), "fact")
        name = escape(kind.removeprefix(parts[head]))
        found[head].append(f"<tr><th>{name}{_number(t.ceiling, 3)}{_number(t.floor, 3)}{_number(t.foil, 3)}")
    columns = "<th>real scenes (ceiling)<th>other scenes (floor)<th>one fact changed (foil)"
    return "".join(
        f"<table><thead><tr><th>{head}{columns}</thead><tbody>{''.join(rows)}</tbody></table>"
        for head, rows in found.items()
        if rows
    )


def _number(value: float | None, places: int) -> str:
    return f"<td class=n>{'-' if value is None else f'{value:.{places}f}'}"


def _distances(found: Mapping[str, Compared]) -> str:
    if not found:
        return _NEEDS_DATA
    rows = "".join(
        f"<tr><th>{escape(name)}{_number(d.fd_own, 2)}{_number(d.kid, 4)}{_number(d.precision, 2)}"
        f"{_number(d.recall, 2)}{_number(d.diversity, 2)}"
        for space, compared in found.items()
        for name, d in ((space, compared.made), (f"{space}: other real scenes (floor)", compared.real))
    )
    head = "<tr><th>space<th>FD-own<th>KID<th>precision<th>recall<th>diversity"
    note = "<p>In feature spaces of our own: these are not the FID of any paper.</p>"
    return f"{note}<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


_NEEDS_DATA = "<p>Not measured: it needs built data (--data) and the run's pictures (--out).</p>"


def _best(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those with every fact right, in turn from every group."""
    by_group: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in _once(outcome for outcome in outcomes if outcome.right):
        by_group[outcome.group].append(outcome)
    return [o for turn in zip_longest(*by_group.values()) for o in turn if o is not None]


def _worst(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those with a fact wrong, most wrong facts first."""
    wrong = {outcome.key: sum(fact.answer == "no" for fact in outcome.facts) for outcome in outcomes}
    return _once(sorted((o for o in outcomes if wrong[o.key]), key=lambda o: -wrong[o.key]))


def _once(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """The first of each prompt."""
    first: dict[str, Outcome] = {}
    for outcome in outcomes:
        first.setdefault(outcome.prompt, outcome)
    return list(first.values())


def _cases(outcomes: Sequence[Outcome], folder: Path) -> str:
    """The first few of them."""
    figures = []
    for outcome in outcomes[:CASES]:
        path = picture_path(folder, outcome.prompt, outcome.seed)
        shown = _embedded(path.read_bytes(), "webp") if path.exists() else ""
        told = "".join(f"<br><em>{escape(line)}</em>" for line in _faults(outcome))
        figures.append(f"<figure>{shown}<figcaption>{escape(outcome.prompt)}{told}</figcaption></figure>")
    return f"<div class=cases>{''.join(figures)}</div>" if figures else "<p>None.</p>"


def _faults(outcome: Outcome) -> list[str]:
    """What is not there, and what else is wrong; not the count, colour and place of what is not there."""
    wrong = [fact for fact in outcome.facts if fact.answer == "no"]
    absent = [fact.text for fact in wrong if fact.kind == "presence"]
    rest = [fact for fact in wrong if not any(word in fact.text for word in absent)]
    others = [f"{fact.kind} {fact.text}" for fact in rest]
    lines = {"not there": absent, "wrong": others}
    return [f"{what}: {', '.join(told)}" for what, told in lines.items() if told]


def _neighbours(found: Sequence[Neighbour]) -> str:
    figures = [
        f"<figure class=pair>{_embedded(n.made, 'png')}{_embedded(n.scene, 'png')}<figcaption>{escape(n.prompt)}<br>"
        f"nearest: {escape(n.caption)}</figcaption></figure>"
        for n in found
    ]
    return f"<div class=cases>{''.join(figures)}</div>" if figures else _NEEDS_DATA


def _embedded(data: bytes, kind: str, name: str = "") -> str:
    return f"<img class='{name}' alt='' src='data:image/{kind};base64,{base64.b64encode(data).decode()}'>"
