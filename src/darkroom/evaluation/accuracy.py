"""What a model draws when it is asked, judged fact by fact and kept as it goes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from darkroom.contracts.errors import BadFile, BadInput
from darkroom.contracts.files import publish
from darkroom.contracts.prompt import Prompt, escaped
from darkroom.contracts.request import Request
from darkroom.engine import Engine
from darkroom.evaluation.prompts import PromptRow
from darkroom.generate import picture
from darkroom.judge.judge import Judge
from darkroom.judge.sight import Sight
from darkroom.judge.verdict import RULES, Fact, all_right, judged
from darkroom.model import Model
from darkroom.picture.image import Image

PLAIN: Mapping[str, Any] = MappingProxyType({})
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
    nearer: bool | None = None  # whether the prompt fits the picture better than its foil; None: there is no foil

    @property
    def unknown(self) -> bool:
        """Whether it was asked for something the judge does not know."""
        return any(fact.kind == "unknown" for fact in self.facts)

    @property
    def told(self) -> bool:
        """Whether it was asked for something, and only for what the judge knows."""
        return bool(self.facts) and not self.unknown

    @property
    def right(self) -> bool:
        """Whether all of its facts hold."""
        return all_right(self.facts)


def evaluated(
    model: Model,
    judge: Judge,
    rows: Sequence[PromptRow],
    seeds: Sequence[int],
    out: Path | None = None,
    report: Callable[[int, int], None] = lambda done, of: None,
    settings: Mapping[str, Any] = PLAIN,
) -> list[Outcome]:
    """Draws every prompt with every seed and judges it. ``out`` (a folder) keeps both: it goes on there.

    ``report`` is told how many pictures of how many are done. ``settings`` are fields of the requests, such as steps;
    what they do not name is the model's own.
    """
    kept = out / "outcomes.jsonl" if out is not None else None
    done = {o.key: o for o in _kept(kept, model, judge, settings)} if kept is not None else {}
    wanted = {_key(row, seed): (row, seed) for row in rows for seed in seeds}
    missing = [asked for key, asked in wanted.items() if key not in done]
    report(len(wanted) - len(missing), len(wanted))
    for start in range(0, len(missing), AT_ONCE):
        lot = missing[start : start + AT_ONCE]
        outcomes = list(_judged(model, judge, lot, settings, out))
        if kept is not None:
            with open(kept, "a", encoding="utf-8") as file:
                file.writelines(json.dumps(asdict(outcome)) + "\n" for outcome in outcomes)
        done |= {outcome.key: outcome for outcome in outcomes}
        report(len(wanted) - len(missing) + start + len(lot), len(wanted))
    return [done[key] for key in wanted]


def _key(row: PromptRow, seed: int) -> str:
    """What an outcome is kept under: the same prompt with other expectations is another one."""
    asked = json.dumps([row.prompt, row.expected.told(), row.foil, seed], sort_keys=True)
    return blake2b(asked.encode(), digest_size=8).hexdigest()


def picture_path(out: Path, prompt: str, seed: int) -> Path:
    """Where a run keeps the picture of a prompt and seed."""
    return out / "pictures" / f"{blake2b(f'{prompt}/{seed}'.encode(), digest_size=8).hexdigest()}.webp"


def drawn(model: Model, requests: Sequence[Request]) -> list[Image]:
    """The pictures of requests, drawn together. Raises the first error."""
    images: list[Image] = []
    for image in Engine[Image](model.evaluate, lanes=model.lanes).ended(
        picture(model.resolve(request), model) for request in requests
    ):
        if isinstance(image, Exception):
            raise image
        images.append(image)
    return images


def _judged(
    model: Model, judge: Judge, lot: Sequence[tuple[PromptRow, int]], settings: Mapping[str, Any], out: Path | None
) -> Iterator[Outcome]:
    vocabulary = set(model.card.vocabulary)
    said = [{"prompt": Prompt(text=escaped(row.prompt)), "seed": seed} for row, seed in lot]
    images = drawn(model, [Request.checked({**settings, **asked}) for asked in said])
    pixels = torch.stack([torch.from_numpy(image.pixels.copy()).permute(2, 0, 1) for image in images])
    for i, ((row, seed), sight) in enumerate(zip(lot, judge.look(pixels.float() / 255), strict=True)):
        if out is not None:
            (out / "pictures").mkdir(parents=True, exist_ok=True)
            images[i].save(picture_path(out, row.prompt, seed))
        taught = not vocabulary or all(wanted.word in vocabulary for wanted in row.expected.objects)
        yield outcome(judge, sight, row, seed, taught)


def outcome(judge: Judge, sight: Sight, row: PromptRow, seed: int = 0, taught: bool = True) -> Outcome:
    """What the judge says of a picture it saw, drawn for a prompt."""
    nearer = None
    if row.foil:
        prompt, foil = judge.fit([sight], [row.prompt, row.foil])[0].tolist()
        nearer = prompt > foil
    facts = judged(sight, row.expected)
    return Outcome(row.prompt, row.group, row.seen, taught, seed, facts, _key(row, seed), nearer)


def _kept(path: Path, model: Model, judge: Judge, settings: Mapping[str, Any]) -> Iterator[Outcome]:
    """Outcomes of an earlier call with the same model and judge; begins the file where there is none."""
    whose = {
        "model": model.card.model_hash,
        "defaults": json.loads(model.card.defaults.to_json()),
        "settings": json.loads(json.dumps({name: value for name, value in settings.items() if name != "guide"})),
        "judge": judge.sha256,
        "rules": RULES,
        "guide": model.open_guide(settings["guide"]).model_hash if "guide" in settings else None,
    }
    if (refiner := Request.checked({"prompt": "anything", **settings}).refiner) is not None:
        whose["refiner"] = model.open_refiner(refiner).model_hash
    if not path.exists():
        publish((json.dumps(whose) + "\n").encode(), path)
        return
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):  # half a line, left by a kill: that lot is drawn again
        text = text[: text.rfind("\n") + 1]
        publish(text.encode(), path)
    for number, line in enumerate(text.splitlines() or [""], 1):
        try:
            told = json.loads(line)
            if number > 1:
                yield Outcome(**{**told, "facts": tuple(Fact(**fact) for fact in told["facts"])})
        except (ValueError, KeyError, TypeError) as error:
            fix = "delete that line" if number > 1 else "delete the file"
            raise BadFile(
                f"line {number} of {path}", f"is damaged ({error!r})", f"{fix}, or give another --out"
            ) from error
        if number == 1 and told != whose:
            raise BadInput(
                f"folder {path.parent}", "holds outcomes of another model, judge or settings", "give another --out"
            )
