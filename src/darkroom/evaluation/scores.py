"""Scores, and the only ways to show one: each says how far the judge itself can be trusted.

A score's number is private to this module. Whatever leaves it, a line, a row for programs, cells of a page, a point of
a curve, stands beside what the judge says of real scenes (ceiling) and of scenes that are something else (floor).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from darkroom.contracts.errors import BadInput, DarkroomError
from darkroom.evaluation.accuracy import Outcome
from darkroom.evaluation.calibration import GROUP, OVERALL, RANKING
from darkroom.evaluation.prompts import PromptRow
from darkroom.judge.judge import Trust
from darkroom.judge.sight import Sight
from darkroom.judge.truth import WHOLE
from darkroom.judge.verdict import judged

BOOTSTRAPS = 2000
NOTHING = Sight((), {fact: {"": 1.0} for fact in WHOLE}, "")  # an empty picture, to see which facts are asked for


@dataclass(frozen=True, slots=True)
class Score:
    """A share of yes with its bootstrap 95 % interval over prompts, and the judge's own rows.

    Where all prompts have the same share, the interval reaches 3 over their number beyond it (the rule of three:
    Hanley and Lippman-Hand, 1983).
    """

    _value: float
    _low: float
    _high: float
    prompts: int
    unknown: int  # prompts left out because they ask for something the judge does not know
    trust: Trust

    def row(self) -> dict[str, Any]:
        """For programs."""
        trust = {"ceiling": self.trust.ceiling, "floor": self.trust.floor, "foil": self.trust.foil}
        counted = {"prompts": self.prompts, "unknown": self.unknown}
        return {"value": self._value, "low": self._low, "high": self._high, **counted, "trust": trust}

    def line(self, name: str, width: int) -> str:
        """For a terminal; names are ``width`` wide."""
        trust = self.trust
        foil = "-" if trust.foil is None else f"{trust.foil:.2f}"
        unknown = f"  ({self.unknown} unknown)" if self.unknown else ""
        return (
            f"{name:<{width}}  {self._value:.3f}  [{self._low:.3f}, {self._high:.3f}]  {self.prompts:4d} prompts"
            f"   ceiling {trust.ceiling:.2f}  floor {trust.floor:.2f}  foil {foil}{unknown}"
        )

    def headline(self) -> str:
        """For the head of a page."""
        return (
            f"<p class=big>{self._value:.1%}</p><p>of {self.prompts} prompts have all their facts right "
            f"(95 %: {self._low:.1%} to {self._high:.1%}). Of real scenes the judge says so of "
            f"{self.trust.ceiling:.1%} (ceiling), of scenes that are something else of {self.trust.floor:.1%} "
            "(floor).</p>"
        )

    def cells(self) -> str:
        """The cells of a page's row that :data:`HEAD` is the head of."""
        trust = self.trust
        shares = (trust.ceiling, trust.floor, trust.foil)
        trusted = "".join(f"<td class=n>{'-' if share is None else f'{share:.2f}'}" for share in shares)
        return f"<td class=n>{self._value:.3f}<td>{self._bar()}<td class=n>{self.prompts}{trusted}"

    def _bar(self) -> str:
        """The score as an inline drawing, 240 units wide."""
        shares = (self._value, self._low, self._high, self.trust.ceiling, self.trust.floor)
        value, low, high, ceiling, floor = (round(240 * share, 1) for share in shares)
        return (
            f"<svg viewBox='0 0 240 14' width=240 height=14 role=img aria-label='{self._value:.2f}, "
            f"ceiling {self.trust.ceiling:.2f}, floor {self.trust.floor:.2f}'>"
            f"<rect width=240 height=14 fill='#eee'/><rect width={value} height=14 fill='#3b6ea8'/>"
            f"<rect width={min(floor, value)} height=14 fill='#9aa4b0'/>"
            f"<line x1={low} x2={high} y1=7 y2=7 stroke='#111' stroke-width=1.5 />"
            f"<line x1={ceiling} x2={ceiling} y1=0 y2=14 stroke='#c0392b' stroke-width=2 /></svg>"
        )


HEAD = "<th>score<th class=bar><th>prompts<th>ceiling<th>floor<th>foil"


def curve(points: Mapping[int, Score]) -> str:
    """Scores over a number, as an inline drawing; a tick above each is its ceiling, one below its floor."""
    wide, high, pad = 560, 240, 44
    across = {n: pad + i * (wide - 2 * pad) / max(1, len(points) - 1) for i, n in enumerate(points)}

    def down(share: float) -> float:
        return high - pad - share * (high - 2 * pad)

    line = " ".join(f"{across[n]:.1f},{down(score._value):.1f}" for n, score in points.items())
    marks = ""
    for n, score in points.items():
        x, y, trust = across[n], down(score._value), score.trust
        said = f"{n}: {score._value:.2f}, ceiling {trust.ceiling:.2f}, floor {trust.floor:.2f}"
        ticks = ((trust.ceiling, "#c0392b"), (trust.floor, "#9aa4b0"))
        marks += (
            f"<g class=point><title>{said}</title>"
            + "".join(
                f"<line x1={x - 9:.1f} x2={x + 9:.1f} y1={down(v):.1f} y2={down(v):.1f} stroke='{c}' stroke-width=2 />"
                for v, c in ticks
            )
            + f"<circle cx={x:.1f} cy={y:.1f} r=4 fill='#3b6ea8'/>"
            f"<text x={x:.1f} y={y - 9:.1f} text-anchor=middle paint-order=stroke stroke='#fff' stroke-width=4>"
            f"{score._value:.2f}</text>"  # on a white edge: a tick may lie behind it
            f"<text x={x:.1f} y={high - 22} text-anchor=middle>{n}</text>"
            f"<text x={x:.1f} y={high - 6} text-anchor=middle>{trust.floor:.2f} to {trust.ceiling:.2f}</text></g>"
        )
    axis = f"<line x1={pad} x2={wide - pad} y1={high - pad} y2={high - pad} stroke='#999'/>"
    return (
        f"<svg viewBox='0 0 {wide} {high}' width={wide} height={high}>{axis}"
        f"<polyline points='{line}' fill=none stroke='#3b6ea8' stroke-width=2 />{marks}</svg>"
    )


def table(name: str, rows: Mapping[str, Score]) -> str:
    """Scores as a page's table."""
    body = "".join(f"<tr class=score><th>{escape(row)}{score.cells()}" for row, score in rows.items())
    return f"<table><thead><tr><th>{escape(name)}{HEAD}</thead><tbody>{body}</tbody></table>"


def table_lines(tables: Mapping[str, Mapping[str, Score]]) -> list[str]:
    """The tables for a terminal."""
    rows = [(name, score) for table in tables.values() for name, score in table.items()]
    width = max(len(name) for name, _ in rows)
    return [score.line(name, width) for name, score in rows]


def as_json(tables: Mapping[str, Mapping[str, Score]]) -> dict[str, Any]:
    """The tables for a program."""
    return {name: {row: score.row() for row, score in table.items()} for name, table in tables.items()}


# --- from outcomes -----------------------------------------------------------------------------------------------


def check_scorable(rows: Sequence[PromptRow], calibration: Mapping[str, Trust]) -> None:
    """Raises BadInput, before anything is drawn, where no prompt could be scored or a score would lack its rows."""
    known = [row for row in rows if not row.expected.unknown]
    kinds = {fact.kind for row in rows for fact in judged(NOTHING, row.expected)} - {"unknown"}
    kinds |= {RANKING} if any(row.foil for row in rows) else set()
    if not any(judged(NOTHING, row.expected) for row in known):
        words = ", ".join(dict.fromkeys(word for row in rows for word in row.expected.unknown))
        because = f" (unknown: {words})" if words else ""
        raise BadInput("no prompt", f"asks only for what the judge knows{because}", 'give prompts an "expect"')
    if missing := sorted({OVERALL, *kinds} - calibration.keys()):
        raise BadInput(
            f"the judge's folder holds no calibration for {', '.join(missing)}",
            "so no score of it can be shown",
            "make the folder anew with `darkroom models judge`",
        )


def unknown_words(rows: Iterable[PromptRow]) -> dict[str, int]:
    """The words the judge does not know, and in how many prompts each stands."""
    found: dict[str, int] = defaultdict(int)
    for row in rows:
        for word in row.expected.unknown:
            found[word] += 1
    return dict(found)


def overall(outcomes: Iterable[Outcome], calibration: Mapping[str, Trust], kind: str = OVERALL) -> Score:
    """The share of pictures with all their facts right; those of prompts that ask for something unknown are left out.

    Raises DarkroomError when none is left.
    """
    outcomes = list(outcomes)
    unknown = {outcome.prompt for outcome in outcomes if outcome.unknown}
    answers = ((o.prompt, o.right) for o in outcomes if o.told)
    return _score(kind, answers, calibration, len(unknown))


def scores(outcomes: Sequence[Outcome], calibration: Mapping[str, Trust]) -> dict[str, dict[str, Score]]:
    """Scores in three tables: "overall" (with seen and held-out pairs apart), by group and by kind of fact.

    Raises DarkroomError when there is nothing to score.
    """
    tables: dict[str, dict[str, Score]] = {"overall": {"all": overall(outcomes, calibration)}, "group": {}, "fact": {}}
    parts = {
        "things it was taught": [o for o in outcomes if o.taught],
        "others": [o for o in outcomes if not o.taught],
        "seen pairs": [o for o in outcomes if o.seen],
        "held-out pairs": [o for o in outcomes if not o.seen],
    }
    told = [outcome for outcome in outcomes if outcome.told]
    tables["overall"] |= {
        name: overall(some, calibration)
        for name, some in parts.items()
        if 0 < sum(outcome.told for outcome in some) < len(told)
    }
    for group in dict.fromkeys(o.group for o in told):
        kind = GROUP + group if GROUP + group in calibration else OVERALL
        tables["group"][group] = overall((o for o in outcomes if o.group == group), calibration, kind)
    for kind in dict.fromkeys(f.kind for o in outcomes for f in o.facts if f.kind != "unknown"):
        answers = ((o.prompt, f.answer == "yes") for o in outcomes for f in o.facts if f.kind == kind)
        tables["fact"][kind] = _score(kind, answers, calibration)
    if ranked := [(o.prompt, o.nearer) for o in outcomes if o.nearer is not None]:
        tables["fact"][RANKING] = _score(RANKING, ranked, calibration)
    return tables


def _score(kind: str, answers: Iterable[tuple[str, bool]], calibration: Mapping[str, Trust], unknown: int = 0) -> Score:
    by_prompt: dict[str, list[bool]] = defaultdict(list)
    for prompt, answer in answers:
        by_prompt[prompt].append(answer)
    if not by_prompt:
        raise DarkroomError('no prompt asks only for what the judge knows; give prompts an "expect"')
    if kind not in calibration:
        raise DarkroomError(f"the judge is not calibrated for {kind}; make its folder with `darkroom models judge`")
    means = np.array([np.mean(found) for found in by_prompt.values()])
    again = np.random.default_rng(0).integers(0, len(means), (BOOTSTRAPS, len(means)))
    low, high = np.quantile(means[again].mean(1), (0.025, 0.975))
    if means.min() == means.max():
        low, high = max(0.0, means[0] - 3 / len(means)), min(1.0, means[0] + 3 / len(means))
    return Score(float(means.mean()), float(low), float(high), len(means), unknown, calibration[kind])
