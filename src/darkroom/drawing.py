"""What ``darkroom generate`` does: resolve, draw together, save each picture as it ends, say what happened."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import darkroom
from darkroom.contracts.errors import BadInput
from darkroom.contracts.recipe import Recipe
from darkroom.contracts.request import Request
from darkroom.engine import Engine
from darkroom.generate import Moment, picture, run, styled
from darkroom.model import Model, load
from darkroom.picture.image import Image
from darkroom.picture.metadata import read_recipe
from darkroom.picture.sheet import contact_sheet
from darkroom.picture.write import write, write_new
from darkroom.synthesis.samplers import SAMPLERS
from darkroom.wording.parse import parse


@dataclass(frozen=True)
class Drawn:
    """One saved picture."""

    path: Path
    recipe: Recipe

    def as_json(self) -> dict[str, Any]:
        """For a program; ``holds`` is None where the judge was not asked."""
        verdict = self.recipe.verdict
        holds = None if verdict is None else verdict.holds
        return {"path": str(self.path), "recipe": json.loads(self.recipe.to_json()), "holds": holds}


def draw(
    requests: Sequence[Request],
    again: Path | None,
    out: Path,
    *,
    model: str = "default",
    judge: Path | None = None,
    sheet: bool = False,
    as_json: bool = False,
    dry_run: bool = False,
) -> list[Drawn]:
    """Draws requests, or the picture ``again`` was made from (None: the requests), into a folder.

    ``judge`` is the folder of the judge they are verified and chosen by; None is the one in the package.
    Raises DarkroomError when nothing could be drawn; when only some pictures failed the others are saved first.
    """
    opened = load(model)
    say = Speaker(quiet=as_json)
    if again is not None:
        recipes = [say.moved(_again(opened, again), opened)]
    else:
        recipes = [opened.resolve(request) for request in requests]
    if dry_run:
        print(json.dumps([json.loads(recipe.to_json()) for recipe in recipes], indent=1, ensure_ascii=False))
        return []
    say.interpreted(opened, recipes[0])
    drawn, failures, pixels = [], [], []
    judged = any(request.judged for request in requests)
    results = _chosen(opened, judge, requests, recipes) if judged else _results(opened, recipes, say)
    for recipe, result in results:
        if isinstance(result, Exception):
            failures.append(result)
            say.failed(recipe, result)
            continue
        path = write_new(result.pixels, out, result.recipe)
        drawn.append(Drawn(path, result.recipe))
        pixels.append(result.pixels)
        say.saved(path, as_json)
        say.judged(result.recipe)
    if sheet and drawn:
        captions = [f"{d.recipe.prompt.text}  {d.recipe.seed}" for d in drawn]
        path = write(contact_sheet(pixels, captions, columns=min(4, len(pixels))), out / "sheet.png")
        say.saved(path, as_json)
    if as_json:
        print(json.dumps({"pictures": [d.as_json() for d in drawn]}))
    if failures:
        raise failures[0]
    return drawn


def _results(model: Model, recipes: Sequence[Recipe], say: Speaker) -> Iterator[tuple[Recipe, Image | Exception]]:
    """Pictures as they end: one is driven alone and watched, several share passes."""
    if len(recipes) == 1:
        yield recipes[0], run(picture(recipes[0], model, say.moment), model.evaluate)
        return
    tasks = (picture(recipe, model) for recipe in recipes)
    for outcome in Engine[Image](model.evaluate).run(tasks):
        ended = outcome.error if outcome.result is None else outcome.result
        assert ended is not None
        yield recipes[outcome.index], ended


def _chosen(
    model: Model, judge: Path | None, requests: Sequence[Request], recipes: Sequence[Recipe]
) -> Iterator[tuple[Recipe, Image | Exception]]:
    """Pictures the judge has a say in."""
    from darkroom.judge.judge import load_judge  # the judge is opened only when it is asked
    from darkroom.selection import chosen, embedded_judge

    opened = embedded_judge() if judge is None else load_judge(judge)
    yield from zip(recipes, chosen(model, opened, zip(requests, recipes, strict=True)), strict=True)


def _again(model: Model, path: Path) -> Recipe:
    """The recipe inside a picture; refuses one that this model cannot reproduce."""
    recipe = read_recipe(path)
    if recipe.model_hash != model.card.model_hash:
        raise BadInput(
            f"{path}",
            f"was made by the model {recipe.model} {recipe.model_hash[:12]}, and this one is {model.card.name} "
            f"{model.card.model_hash[:12]}",
            "name that model's folder with --model",
        )
    if recipe.sampler not in SAMPLERS:
        raise BadInput(f"{path}", f"was sampled by {recipe.sampler}, which is not here", "draw it in Python")
    return recipe


class Speaker:
    """Progress in words on stderr; a line is rewritten in place only where a person looks."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.lively = sys.stderr.isatty()
        self.started = time.monotonic()

    def moved(self, recipe: Recipe, model: Model) -> Recipe:
        """A recipe as it is drawn here; says so where that is not where it was drawn first."""
        here = {**dict(model.environment()), "darkroom": darkroom.__version__}
        there = {**dict(recipe.environment), "darkroom": recipe.darkroom}
        other = [f"{name} {there[name]} (here {now})" for name, now in here.items() if there[name] != now]
        if other:
            said = f"drawn first with {', '.join(other)}; the last bits of some pixels may differ"
            print(f"{'note':<12}{said}", file=sys.stderr)
        return recipe.model_copy(update={"darkroom": darkroom.__version__, "environment": model.environment()})

    def interpreted(self, model: Model, recipe: Recipe) -> None:
        """How much of the sentence the model takes, and what it drops or never learnt."""
        tokens = model.encoder.tokenizer.tokens(styled(parse(recipe.prompt.text).text, recipe.style))
        unknown = unknown_words(recipe.prompt.text, model.card.words)
        note = f"never seen: {', '.join(unknown)}" if unknown else "all known"
        self._line("interpret", f"{tokens.length} tokens of {model.encoder.limit}   ({note})")
        if tokens.dropped:
            self._line("", f"dropped, no room: {' '.join(tokens.dropped)}")

    def moment(self, moment: Moment) -> None:
        """One moment of a picture that is watched."""
        if moment.stage != "synthesise" or self.quiet:
            return
        done = moment.step == moment.steps
        if self.lively or done:
            filled = "█" * round(12 * moment.step / moment.steps)
            text = f"{filled:<12} {moment.step}/{moment.steps} evaluations  {time.monotonic() - self.started:.1f} s"
            self._line("synthesise", text, end="\n" if done else "\r")

    def saved(self, path: Path, as_json: bool) -> None:
        """Where a picture is; paths are data and go to stdout."""
        if not as_json:
            print(path, flush=True)

    def judged(self, recipe: Recipe) -> None:
        """What the judge said, fact by fact."""
        verdict = recipe.verdict
        if verdict is None:
            return
        if not verdict.facts:
            self._line("verdict", "nothing in this prompt can be checked")
            return
        said = "   ".join(f"{fact.text}: {fact.answer}" for fact in verdict.facts)
        tried = f"   (after {verdict.tried} candidates)" if verdict.tried > 1 else ""
        self._line("verdict", f"{'holds' if verdict.holds else 'does not hold'}   {said}{tried}")

    def failed(self, recipe: Recipe, error: Exception) -> None:
        """A picture that could not be made; the others go on."""
        print(f"failed      seed {recipe.seed}: {error}", file=sys.stderr)

    def _line(self, stage: str, text: str, end: str = "\n") -> None:
        if not self.quiet:
            print(f"{stage:<12}{text}", file=sys.stderr, end=end, flush=True)


def unknown_words(text: str, known: Sequence[str]) -> list[str]:
    """Words of a sentence that no training caption held; an empty ``known`` says nothing."""
    if not known:
        return []
    words = {word.strip(".,;:!?()[]\"'").lower() for word in text.split()}
    seen = set(known)
    return sorted(word for word in words if word and word not in seen)
