"""How often a model draws what it was asked for: the share of prompts with all their facts right, and fact by fact.

A score is never without the judge's own: what it says of real scenes (ceiling), of scenes that are something else
(floor) and of foils stands in every row, because :class:`Score` cannot be made without them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch

from darkroom.contracts.errors import BadInput, DarkroomError
from darkroom.contracts.files import publish
from darkroom.contracts.prompt import Prompt
from darkroom.contracts.request import Request
from darkroom.engine import Engine
from darkroom.evaluation.calibration import GROUP, OVERALL
from darkroom.evaluation.prompts import PromptRow
from darkroom.generate import picture
from darkroom.judge.judge import Judge, Trust
from darkroom.judge.verdict import Fact, all_right, judged
from darkroom.model import Model
from darkroom.picture.image import Image

BOOTSTRAPS = 2000
AT_ONCE = 16  # pictures drawn and judged together; progress is written after each lot


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the judge said of one picture."""

    prompt: str
    group: str
    seen: bool
    taught: bool  # whether the model's card names every thing asked for
    seed: int
    facts: tuple[Fact, ...]
    key: str  # of the prompt, its expectations and the seed

    @property
    def told(self) -> bool:
        """Whether there was anything the judge could tell."""
        return any(fact.answer != "cannot tell" for fact in self.facts)

    @property
    def right(self) -> bool:
        """Whether all of its facts hold."""
        return all_right(self.facts)


@dataclass(frozen=True, slots=True)
class Score:
    """A share of yes, its bootstrap 95 % interval over prompts, and the judge's own rows beside it."""

    value: float
    low: float
    high: float
    prompts: int
    trust: Trust

    def line(self, name: str) -> str:
        """One row of the table."""
        foil = "    -" if self.trust.foil is None else f"{self.trust.foil:5.2f}"
        return (
            f"{name:<24}{self.value:6.3f}  [{self.low:.3f}, {self.high:.3f}]  {self.prompts:4d} prompts"
            f"   ceiling {self.trust.ceiling:.2f}  floor {self.trust.floor:.2f}  foil {foil.strip()}"
        )


def evaluated(
    model: Model,
    judge: Judge,
    rows: Sequence[PromptRow],
    seeds: Sequence[int],
    out: Path | None = None,
    report: Callable[[int, int], None] = lambda done, of: None,
    steps: int | None = None,
) -> list[Outcome]:
    """Draws every prompt with every seed and judges it. ``out`` (a folder) keeps both: it goes on there.

    ``report`` is told how many pictures of how many are done; ``steps`` None takes the model's own.
    """
    kept = out / "outcomes.jsonl" if out is not None else None
    done = {o.key: o for o in _kept(kept, model, judge, steps)} if kept is not None else {}
    wanted = {_key(row, seed): (row, seed) for row in rows for seed in seeds}
    missing = [asked for key, asked in wanted.items() if key not in done]
    for start in range(0, len(missing), AT_ONCE):
        lot = missing[start : start + AT_ONCE]
        outcomes = list(_judged(model, judge, lot, steps, out))
        if kept is not None:
            with open(kept, "a", encoding="utf-8") as file:
                file.writelines(json.dumps(asdict(outcome)) + "\n" for outcome in outcomes)
        done |= {outcome.key: outcome for outcome in outcomes}
        report(len(done), len(wanted))
    return [done[key] for key in wanted]


def _key(row: PromptRow, seed: int) -> str:
    """What an outcome is kept under: the same prompt with other expectations is another one."""
    asked = json.dumps([row.prompt, row.expected.told(), seed], sort_keys=True)
    return blake2b(asked.encode(), digest_size=8).hexdigest()


def picture_path(out: Path, prompt: str, seed: int) -> Path:
    """Where a run keeps the picture of a prompt and seed."""
    return out / "pictures" / f"{blake2b(f'{prompt}/{seed}'.encode(), digest_size=8).hexdigest()}.webp"


def _judged(
    model: Model, judge: Judge, lot: Sequence[tuple[PromptRow, int]], steps: int | None, out: Path | None
) -> Iterator[Outcome]:
    requests = [Request(prompt=Prompt(text=row.prompt), seed=seed, steps=steps) for row, seed in lot]
    vocabulary = set(model.card.vocabulary)
    drawn: list[Image] = []
    for image in Engine[Image](model.evaluate).ended(picture(model.resolve(request), model) for request in requests):
        if isinstance(image, Exception):
            raise image
        drawn.append(image)
    pixels = torch.stack([torch.from_numpy(image.pixels.copy()).permute(2, 0, 1) for image in drawn])
    for i, ((row, seed), sight) in enumerate(zip(lot, judge.look(pixels.float() / 255), strict=True)):
        if out is not None:
            (out / "pictures").mkdir(parents=True, exist_ok=True)
            drawn[i].save(picture_path(out, row.prompt, seed))
        taught = all(wanted.word in vocabulary for wanted in row.expected.objects)
        facts = judged(sight, row.expected)
        taught = taught or not vocabulary
        yield Outcome(row.prompt, row.group, row.seen, taught, seed, facts, _key(row, seed))


def _kept(path: Path, model: Model, judge: Judge, steps: int | None) -> Iterator[Outcome]:
    """Outcomes of an earlier call with the same model and judge; begins the file where there is none."""
    whose = {
        "model": model.card.model_hash,
        "defaults": json.loads(model.card.defaults.to_json()),
        "steps": steps,
        "judge": judge.sha256,
    }
    if not path.exists():
        publish((json.dumps(whose) + "\n").encode(), path)
        return
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):  # half a line, left by a kill: that lot is drawn again
        text = text[: text.rfind("\n") + 1]
        publish(text.encode(), path)
    first, *lines = text.splitlines()
    if json.loads(first) != whose:
        raise BadInput(f"folder {path.parent}", "holds outcomes of another model or judge", "give another --out")
    for line in lines:
        told = json.loads(line)
        yield Outcome(**{**told, "facts": tuple(Fact(**fact) for fact in told["facts"])})


def overall(outcomes: Iterable[Outcome], calibration: Mapping[str, Trust], kind: str = OVERALL) -> Score:
    """The share of pictures with all their facts right; pictures the judge could tell nothing of are left out.

    Raises DarkroomError when none is left.
    """
    return _score(kind, ((o.prompt, o.right) for o in outcomes if o.told), calibration)


def scores(outcomes: Sequence[Outcome], calibration: Mapping[str, Trust]) -> dict[str, dict[str, Score]]:
    """Scores in three tables: "overall" (with seen and held-out pairs apart), by group and by kind of fact.

    Pictures the judge could tell nothing of are left out. Raises DarkroomError when none is left.
    """
    tables: dict[str, dict[str, Score]] = {"overall": {"all": overall(outcomes, calibration)}, "group": {}, "fact": {}}
    outcomes = [outcome for outcome in outcomes if outcome.told]
    parts = {
        "things it was taught": [o for o in outcomes if o.taught],
        "others": [o for o in outcomes if not o.taught],
        "seen pairs": [o for o in outcomes if o.seen],
        "held-out pairs": [o for o in outcomes if not o.seen],
    }
    tables["overall"] |= {
        name: overall(some, calibration) for name, some in parts.items() if 0 < len(some) < len(outcomes)
    }
    for group in dict.fromkeys(o.group for o in outcomes):
        kind = GROUP + group if GROUP + group in calibration else OVERALL
        tables["group"][group] = overall((o for o in outcomes if o.group == group), calibration, kind)
    kinds = dict.fromkeys(f.kind for o in outcomes for f in o.facts if f.kind != "unknown")
    for kind in kinds:
        answers = ((o.prompt, f.answer == "yes") for o in outcomes for f in o.facts if f.kind == kind)
        tables["fact"][kind] = _score(kind, answers, calibration)
    return tables


def _score(kind: str, answers: Iterable[tuple[str, bool]], calibration: Mapping[str, Trust]) -> Score:
    by_prompt: dict[str, list[bool]] = defaultdict(list)
    for prompt, answer in answers:
        by_prompt[prompt].append(answer)
    if not by_prompt:
        raise DarkroomError('no prompt asks for anything the judge knows; give prompts an "expect"')
    if kind not in calibration:
        raise DarkroomError(f"the judge is not calibrated for {kind}; run `darkroom evaluate --calibration`")
    means = np.array([np.mean(found) for found in by_prompt.values()])
    random = np.random.default_rng(0)
    resampled = means[random.integers(0, len(means), (BOOTSTRAPS, len(means)))].mean(1)
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Score(float(means.mean()), float(low), float(high), len(means), calibration[kind])


def table_lines(tables: Mapping[str, Mapping[str, Score]]) -> list[str]:
    """The tables for a terminal."""
    return [score.line(name) for table in tables.values() for name, score in table.items()]


def as_json(tables: Mapping[str, Mapping[str, Score]]) -> dict[str, Any]:
    """The tables for a program."""
    return {name: {row: asdict(score) for row, score in table.items()} for name, table in tables.items()}
