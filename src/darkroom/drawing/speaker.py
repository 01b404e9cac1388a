"""Progress in words on stderr."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import darkroom
from darkroom.checkpoints.estimate import Keeping, needs_in_words
from darkroom.contracts.card import OWN
from darkroom.contracts.contract import Dtypes
from darkroom.contracts.recipe import Recipe
from darkroom.drawing.pace import Load, Pace, in_words
from darkroom.drawing.reading import Reading
from darkroom.generate import Moment
from darkroom.model import Model

BAR = 12  # characters
EVERY_S = 10.0  # between plain lines, where nobody looks


class Speaker:
    """Says what goes on; a line is rewritten in place only where a person looks, elsewhere it is said now and then.

    Nothing is coloured, so that NO_COLOR has nothing to turn off.
    """

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.lively = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.begins(Load())

    # --- before it draws ---

    def moved(self, recipe: Recipe, model: Model) -> Recipe:
        """A recipe as it is drawn here; says so where that is not where it was drawn first."""
        here = {**dict(model.environment()), "darkroom": darkroom.__version__}
        there = {**dict(recipe.environment), "darkroom": recipe.darkroom}
        other = [f"{name} {there[name]} (here {now})" for name, now in here.items() if there[name] != now]
        if other:
            self.notes([f"drawn first with {', '.join(other)}; the last bits of some pixels may differ"])
        return recipe.model_copy(update={"darkroom": darkroom.__version__, "environment": model.environment()})

    def notes(self, notes: Sequence[str]) -> None:
        """What the user should know before it draws; a program is told it in its JSON too."""
        for note in notes:
            self.clear()
            print(f"{'note':<12}{note}", file=sys.stderr)

    def interpreted(self, reading: Reading) -> None:
        """How much of the sentence the model takes."""
        self.line("interpret", f"{reading.tokens} tokens of {reading.limit}")

    def sized(self, recipe: Recipe, final: tuple[int, int]) -> None:
        """How large the picture will be, and where that differs how large it is drawn, and after its steps."""
        drawn = "drawn at {}x{}, upscaled {} times: ".format(*recipe.drawn, recipe.upscale)
        after = "" if final == (recipe.width, recipe.height) else ", refined to {}x{}".format(*final)
        self.line("size", f"{drawn if recipe.upscale > 1 else ''}{recipe.width}x{recipe.height}{after}")

    def needs(self, folder: Path, model: Model, recipe: Recipe) -> None:
        """The memory that a public checkpoint, which lies in a folder, needs for a picture."""
        keeping = Keeping(recipe.dtype or Dtypes(), model.offload, *recipe.drawn, recipe.vae_tile)
        for line in [] if model.card.family == OWN else needs_in_words(folder, model.card, keeping):
            self.line("memory", line)

    # --- while it draws ---

    def begins(self, all: Load | None) -> None:
        """What will be drawn, in all; None: nobody knows how much it is."""
        self.all, self.done, self.failures = all, Load(), 0
        self.started = self._said_at = time.monotonic()
        self._pace = Pace(self.started)

    @property
    def several(self) -> bool:
        """Whether it is more than one picture, as far as anybody knows."""
        return self.all is None or self.all.pictures != 1

    def watch(self, load: Load, each: float) -> Watched:
        """Who watches a picture that costs so much, and ``each`` of its evaluations so much work."""
        return Watched(self, load, each)

    def advanced(self, load: Load) -> None:
        """So much more is done."""
        self.done.add(load)
        self._pace.advance(load.work, now := time.monotonic())
        if self.all is not None and not self.several and self.done.evaluations == self.all.evaluations:
            if load.evaluations:
                self.line("synthesise", self.progress())
        elif self.lively:
            self._rewrite(now)
        elif now - self._said_at >= EVERY_S:
            self._said_at = now
            self.line("synthesise", self.progress())

    def ends(self) -> None:
        """All is done that will be."""
        if self.done.pictures + self.failures and self.several:
            self.line("synthesise", self.progress(over=True))
        else:
            self.clear()

    def progress(self, *, over: bool = False) -> str:
        """How far it is: pictures and evaluations of all, and the time it took, or about how much is left."""
        now, all = time.monotonic(), self.all
        spent = now - self.started
        time_said = f"{spent:.1f} s" if spent < 100 else in_words(spent)
        failed = f", {self.failures} failed" if self.failures else ""
        if all is None:
            return f"{pictures(self.done.pictures)}{failed}  {time_said}  {self.done.evaluations} evaluations"
        filled = "█" * (BAR * self.done.evaluations // all.evaluations if all.evaluations else BAR)
        count = f"{self.done.pictures} of {all.pictures} pictures{failed}  " if all.pictures > 1 else ""
        left = None if over or self.done.evaluations == all.evaluations else self._pace.left_s(all.work, now)
        time_said = time_said if left is None else f"about {in_words(left)} left"
        return f"{filled:<{BAR}} {count}{time_said}  {self.done.evaluations}/{all.evaluations} evaluations"

    def saved(self, path: Path) -> None:
        """Where a picture is; paths are data and go to stdout."""
        if not self.quiet:
            self.clear()
            print(path, flush=True)

    def judged(self, recipe: Recipe) -> None:
        """What the judge said, fact by fact."""
        verdict = recipe.verdict
        if verdict is None:
            return
        if not verdict.facts:
            self.line("verdict", "nothing in this prompt can be checked")
            return
        holds = "holds" if verdict.holds else "does not hold"
        if verdict.holds and any(fact.answer == "cannot tell" for fact in verdict.facts):
            holds = "holds as far as the judge can tell"
        said = "   ".join(f"{fact.text}: {fact.answer}" for fact in verdict.facts)
        tried = f"   (after {verdict.tried} candidates)" if verdict.tried > 1 else ""
        self.line("verdict", f"{holds}   {said}{tried}")

    def failed(self, where: str, why: str) -> None:
        """A picture of several that could not be made; the others go on."""
        self.clear()
        print(f"{'failed':<12}{where}: {why}", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Wipes the line that is rewritten in place."""
        if self.lively and not self.quiet:
            print("\r\x1b[K", file=sys.stderr, end="", flush=True)

    def line(self, stage: str, text: str) -> None:
        """A line that stays."""
        if not self.quiet:
            self.clear()
            print(f"{stage:<12}{text}", file=sys.stderr, flush=True)

    def _rewrite(self, now: float) -> None:
        """The line that is rewritten; never longer than the terminal is wide, or it would become several."""
        if not self.quiet:
            room = shutil.get_terminal_size().columns - 1
            self.clear()
            print(f"{'synthesise':<12}{self.progress()}"[:room], file=sys.stderr, end="\r", flush=True)


class Watched:
    """The watcher of one picture: what it has told of so far, and the rest once it ends."""

    def __init__(self, speaker: Speaker, load: Load, each: float) -> None:
        self._speaker, self._load, self._each = speaker, load, each
        self._told = Load()

    def moment(self, moment: Moment) -> None:
        """A moment of it: each estimate is an evaluation. Where all begins anew, what was done is work beside it."""
        if moment.note:
            self._speaker.notes([moment.note])
            if self._speaker.all is not None:
                self._speaker.all.add(self._told)
            self._told = Load()
        if moment.stage == "synthesise":
            one = Load(0, 1, self._each)
            self._told.add(one)
            self._speaker.advanced(one)

    def ended(self, *, drawn: bool) -> None:
        """It is drawn; or it never will be, and what it would have cost is no part of the whole any more."""
        evaluations, work = self._load.evaluations - self._told.evaluations, self._load.work - self._told.work
        if drawn and evaluations >= 0:
            self._speaker.advanced(Load(1, evaluations, work))
            return
        if self._speaker.all is not None:
            self._speaker.all.add(Load(0, -evaluations, -work))
        if not drawn:
            self._speaker.failures += 1
        self._speaker.advanced(Load(1 if drawn else 0))


def pictures(count: int) -> str:
    """So many pictures, in words."""
    return "1 picture" if count == 1 else f"{count} pictures"
