"""What ``darkroom generate`` does: resolve, draw together, save each picture as it ends, say what happened."""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import darkroom
from darkroom.contracts.errors import BadInput, DarkroomError, Stopped, Unfinished, brief, reason
from darkroom.contracts.files import check_folder
from darkroom.contracts.recipe import Recipe
from darkroom.contracts.request import UPSCALES, Margins, Request
from darkroom.control.canvas import canvas_of
from darkroom.engine import Engine
from darkroom.generate import Moment, OnMoment, evaluations_of, picture, run, styled
from darkroom.model import Model, check_names, load
from darkroom.nn.slots import SLOTS
from darkroom.picture.image import Image
from darkroom.picture.inputs import Inputs
from darkroom.picture.metadata import read_recipe
from darkroom.picture.sheet import contact_sheet
from darkroom.picture.write import write_new, write_sheet
from darkroom.refine.chain import check
from darkroom.synthesis.samplers import SAMPLERS
from darkroom.wording.parse import parse, words_of
from darkroom.wording.syntax import wordings

AT_ONCE = SLOTS[-1] // 2  # pictures; with what is wanted and what is not, each asks twice a step and fills half a pass


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


@dataclass
class _Done:
    """What a call has come to so far."""

    drawn: list[Drawn] = field(default_factory=list)
    pixels: list[np.ndarray] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    sheet: Path | None = None

    def as_json(self, reading: Reading) -> dict[str, Any]:
        """For a program."""
        told = {"unknown": reading.unknown, "dropped": reading.dropped, "notes": reading.notes}
        sheet = None if self.sheet is None else str(self.sheet)
        return {"pictures": [d.as_json() for d in self.drawn], "sheet": sheet, **told}


def draw(
    requests: Sequence[Request],
    again: Path | None,
    out: Path,
    *,
    model: str = "default",
    judge: Path | None = None,
    inputs: Inputs | None = None,
    given: dict[str, str] | None = None,
    files: Path | None = None,
    sheet: bool = False,
    as_json: bool = False,
    dry_run: bool = False,
) -> list[Drawn]:
    """Draws requests, or the picture ``again`` was made from (None: the requests), into a folder.

    ``judge`` is the folder of the judge they are verified and chosen by; None is the one in the package. ``inputs`` are
    the files that requests name, ``given`` the names of those that ``again`` was made from; None: as they are found.
    ``files`` is the folder where they are looked for; None: that of ``again``.
    Raises DarkroomError; once drawing has begun it is Unfinished, which says what was saved before.
    """
    if not dry_run:
        check_folder(out)
    chooser = _chooser(judge) if any(request.judged for request in requests) else None
    opened = load(model)
    say = Speaker(quiet=as_json)
    inputs = inputs or Inputs()
    if again is not None:
        recipes = [say.moved(_again(opened, again), opened)]
        inputs.looked_for(recipes[0], files or again.parent, given or {})
    else:
        recipes = [opened.resolve(request, inputs) for request in requests]
    canvas_of(recipes[0], inputs)  # a picture or mask that cannot be drawn from is refused before anything is drawn
    final = check(recipes[0].refine, (recipes[0].width, recipes[0].height), inputs, opened.upscaler)
    reading = read_prompt(opened, recipes[0])
    say.notes(reading.notes)
    say.sized(recipes[0], final)
    if dry_run:
        print(json.dumps([json.loads(recipe.to_json()) for recipe in recipes], indent=1, ensure_ascii=False))
        return []
    say.interpreted(reading)
    say.begins(recipes)
    results = chooser(opened, requests, recipes, inputs) if chooser else _results(opened, recipes, say.moment, inputs)
    done = _Done()
    try:
        _save(results, out, done, say, sheet=sheet)
    except KeyboardInterrupt:
        say.clear()
        raise Stopped("stopped", fix=f"{_pictures(len(done.drawn))} kept", done=done.as_json(reading)) from None
    except (DarkroomError, OSError) as error:
        done.failures.append(error)
    if done.failures:
        first = done.failures[0]
        if not isinstance(first, DarkroomError | ValueError | RuntimeError | OSError):
            raise first  # a fault of ours, with its traceback
        raise Unfinished(reason(first), done=done.as_json(reading)) from first
    if as_json:
        print(json.dumps(done.as_json(reading)))
    return done.drawn


def _save(
    results: Iterator[tuple[Recipe, Image | Exception]], out: Path, done: _Done, say: Speaker, *, sheet: bool
) -> None:
    """Writes each picture as soon as it ends, then the sheet."""
    for recipe, result in results:
        if isinstance(result, Exception):
            done.failures.append(_plain(result, recipe))
            say.failed(recipe, done.failures[-1])
            continue
        path = write_new(result.pixels, out, result.recipe)
        done.drawn.append(Drawn(path, result.recipe))
        done.pixels.append(result.pixels)
        say.saved(path)
        say.judged(result.recipe)
        say.counted(len(done.drawn))
    if sheet and done.drawn:
        captions = [f"{d.recipe.prompt.text}  {d.recipe.seed}" for d in done.drawn]
        done.sheet = write_sheet(
            contact_sheet(done.pixels, captions, columns=min(4, len(captions))),
            out,
            edited=any(d.recipe.init_image is not None for d in done.drawn),
        )
        say.saved(done.sheet)


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


def _plain(error: Exception, recipe: Recipe) -> Exception:
    """An error in words a user can act on."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error):
        size = f"{recipe.width}x{recipe.height}"
        return DarkroomError(size, "needs more memory than is free", "try a smaller --size")
    return error


def _results(
    model: Model, recipes: Sequence[Recipe], on_moment: OnMoment, inputs: Inputs
) -> Iterator[tuple[Recipe, Image | Exception]]:
    """Pictures as they end. Few run at once: what is stopped early has kept most of what it computed."""
    if len(recipes) == 1:
        try:
            yield recipes[0], run(picture(recipes[0], model, on_moment, inputs=inputs), model.evaluate)
        except Exception as error:
            yield recipes[0], error
        return
    tasks = (picture(recipe, model, on_moment, inputs=inputs) for recipe in recipes)
    for outcome in Engine[Image](model.evaluate, width=AT_ONCE).run(tasks):
        ended = outcome.error if outcome.result is None else outcome.result
        assert ended is not None
        yield recipes[outcome.index], ended


_Chooser = Callable[[Model, Sequence[Request], Sequence[Recipe], Inputs], Iterator[tuple[Recipe, Image | Exception]]]


def _chooser(judge: Path | None) -> _Chooser:
    """Who draws the pictures that a judge has a say in; the judge is opened at once."""
    from darkroom.judge.judge import load_judge  # only when it is asked
    from darkroom.selection import chosen, embedded_judge

    opened = embedded_judge() if judge is None else load_judge(judge)

    def choose(
        model: Model, requests: Sequence[Request], recipes: Sequence[Recipe], inputs: Inputs
    ) -> Iterator[tuple[Recipe, Image | Exception]]:
        wanted = zip(requests, recipes, strict=True)
        yield from zip(recipes, chosen(model, opened, wanted, inputs), strict=True)

    return choose


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
    check_names(recipe)
    return recipe


@dataclass(frozen=True)
class Reading:
    """What a model makes of a prompt: how much of it it takes, and what the user should know before it draws."""

    tokens: int
    limit: int
    unknown: list[str]
    dropped: list[str]
    notes: list[str]


def read_prompt(model: Model, recipe: Recipe) -> Reading:
    """How a model reads a recipe's prompt."""
    card, encoder = model.card, model.encoder
    words = parse(recipe.prompt.text, recipe.prompt.negative)
    positive, negative = (wordings(text, recipe.steps) for text in (words.text, words.negative))
    style = styled("", recipe.style)
    cut = [encoder.parts([chunk.also(style) for chunk in wording.chunks]) for wording in positive]
    cut += [encoder.parts(wording.chunks) for wording in negative]
    tokens = [encoder.tokenizer.tokens(part.text).length for part in cut[0][0]]
    said = [wording.text for wording in (*positive, *negative)]
    unknown = unknown_words(" ".join(said), card.words)
    dropped = list(dict.fromkeys(word for _, left in cut for word in left))
    notes = []
    if unknown:
        named = brief(unknown, quoted=True)
        notes.append(f"it was never taught {named}; `darkroom models show` lists what it knows")
    if dropped:
        notes.append(f"dropped, no room: {brief(dropped)}")
    if (moved := began(recipe)) is not None:
        notes.append(moved)
    if recipe.drawn != card.defaults.drawn:
        trained, asked = ("{}x{}".format(*size) for size in (card.defaults.drawn, recipe.drawn))
        fit = _fitting_size(model, recipe)
        notes.append(f"the model was trained at {trained}; drawing at {asked} it may draw nothing: try --size {fit}")
    text = " ".join(said[: len(positive)]).lower()
    others = [s for s in card.styles if s != recipe.style and re.search(rf"\b{re.escape(s)}\b", text)]
    if recipe.style is not None and others:
        notes.append(f"the prompt says {others[0]} and --style says {recipe.style}; it may draw either")
    longest = max(len(parts) for parts, _ in cut)
    if longest > max(len(wording.chunks) for wording in (*positive, *negative)):
        notes.append(f"more than the {encoder.limit} tokens that are read at once: read in {longest} parts")
    return Reading(sum(tokens), encoder.limit * len(tokens), unknown, dropped, notes)


def began(recipe: Recipe) -> str | None:
    """What was done to the start picture so that it is as large as the finished one; None: nothing."""
    start, margins = recipe.init_image, recipe.outpaint or Margins()
    if start is None:
        return None
    width, height = start.width + margins.left + margins.right, start.height + margins.top + margins.bottom
    if (width, height) == (recipe.width, recipe.height):
        return None
    around = " with its margins" if recipe.outpaint else ""
    cut = ", and cut to it" if width * recipe.height != height * recipe.width else ""
    return f"{start.name}{around}, {width}x{height}, is scaled to {recipe.width}x{recipe.height}{cut}"


def _fitting_size(model: Model, recipe: Recipe) -> str:
    """The size nearest to a recipe's that is drawn as large as the model was trained."""
    width, height = model.card.defaults.drawn
    factors = UPSCALES if model.upscaler is not None else UPSCALES[:1]
    wanted = recipe.width * recipe.height / (width * height)
    factor = min(factors, key=lambda factor: abs(math.log(factor**2 / wanted)))
    return f"{width * factor}x{height * factor}"


class Speaker:
    """Progress in words on stderr; a line is rewritten in place only where a person looks."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.lively = sys.stderr.isatty()
        self.started = time.monotonic()
        self.evaluated = self.evaluations = self.pictures = self.saved_pictures = 0

    def moved(self, recipe: Recipe, model: Model) -> Recipe:
        """A recipe as it is drawn here; says so where that is not where it was drawn first."""
        here = {**dict(model.environment()), "darkroom": darkroom.__version__}
        there = {**dict(recipe.environment), "darkroom": recipe.darkroom}
        other = [f"{name} {there[name]} (here {now})" for name, now in here.items() if there[name] != now]
        if other:
            said = f"drawn first with {', '.join(other)}; the last bits of some pixels may differ"
            print(f"{'note':<12}{said}", file=sys.stderr)
        return recipe.model_copy(update={"darkroom": darkroom.__version__, "environment": model.environment()})

    def notes(self, notes: Sequence[str]) -> None:
        """What the user should know before it draws; a program is told it in its JSON too."""
        for note in notes:
            print(f"{'note':<12}{note}", file=sys.stderr)

    def interpreted(self, reading: Reading) -> None:
        """How much of the sentence the model takes."""
        self._line("interpret", f"{reading.tokens} tokens of {reading.limit}")

    def sized(self, recipe: Recipe, final: tuple[int, int]) -> None:
        """How large the finished picture will be, and how large it is drawn and after its steps where that differs."""
        drawn = "drawn at {}x{}, upscaled {} times: ".format(*recipe.drawn, recipe.upscale)
        after = "" if final == (recipe.width, recipe.height) else ", refined to {}x{}".format(*final)
        self._line("size", f"{drawn if recipe.upscale > 1 else ''}{recipe.width}x{recipe.height}{after}")

    def begins(self, recipes: Sequence[Recipe]) -> None:
        """What will be drawn."""
        self.pictures = len(recipes)
        self.evaluations = sum(map(evaluations_of, recipes))

    def moment(self, moment: Moment) -> None:
        """One moment of a picture, of all that are drawn together."""
        if moment.stage != "synthesise":
            return
        self.evaluated += 1
        done = self.evaluated == self.evaluations
        if self.lively or done:
            filled = "█" * round(12 * self.evaluated / self.evaluations)
            text = f"{filled:<12} {self.evaluated}/{self.evaluations} evaluations  {self._seconds()}"
            self._line("synthesise", text + self._count(), end="\n" if done else "\r")

    def counted(self, saved: int) -> None:
        """How many pictures there are by now, where a person looks."""
        self.saved_pictures = saved
        if self.lively and saved < self.pictures:
            self._line("drawn", f"{saved} of {self.pictures}  {self._seconds()}", end="\r")

    def saved(self, path: Path) -> None:
        """Where a picture is; paths are data and go to stdout."""
        if not self.quiet:
            self.clear()
            print(path, flush=True)

    def clear(self) -> None:
        """Wipes the line that is rewritten in place."""
        if self.lively and not self.quiet:
            print("\r\x1b[K", file=sys.stderr, end="", flush=True)

    def _seconds(self) -> str:
        return f"{time.monotonic() - self.started:.1f} s"

    def _count(self) -> str:
        return f"  {self.saved_pictures} of {self.pictures}" if self.pictures > 1 and self.lively else ""

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
        if self.pictures > 1:
            print(f"failed      seed {recipe.seed}: {error}", file=sys.stderr)

    def _line(self, stage: str, text: str, end: str = "\n") -> None:
        if not self.quiet:
            self.clear()
            print(f"{stage:<12}{text}", file=sys.stderr, end=end, flush=True)


def unknown_words(text: str, known: Sequence[str]) -> list[str]:
    """Words of a sentence that no training caption held; an empty ``known`` says nothing."""
    if not known:
        return []
    return sorted(words_of(text) - set(known))
