"""How long the rest takes: work that is left, at the rate of late."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from darkroom.contracts.card import Card
from darkroom.contracts.recipe import Recipe
from darkroom.contracts.request import Request
from darkroom.control.passes import evaluations_by_size, evaluations_of
from darkroom.synthesis.samplers import FLOW_MAP

# Of an evaluation, for so many finished pixels as a trained picture has: decoded and enlarged. Measured on one core, of
# the model in the package: 3 evaluations' time for what is finished at 256, twice the side of what was trained.
REFINED = 0.75
WINDOW_S = 120.0  # over which the rate is taken: pictures that run together end together, some seconds apart
LEAST_POINTS = 8  # of which the rate is taken, however long ago they were
FIRST_S = 5.0  # before which nothing is said: the first passes are slow


@dataclass
class Load:
    """What pictures cost: how many they are, their evaluations, and their work, in evaluations of a picture as the
    model was trained on."""

    pictures: int = 0
    evaluations: int = 0
    work: float = 0.0

    def add(self, other: Load) -> None:
        """So much more."""
        self.pictures += other.pictures
        self.evaluations += other.evaluations
        self.work += other.work

    @classmethod
    def sum(cls, loads: Iterable[Load]) -> Load:
        """Of several together."""
        total = cls()
        for load in loads:
            total.add(load)
        return total


def load_of(request: Request, recipe: Recipe, card: Card) -> Load:
    """What one picture costs; of candidates that a judge chooses from, the fewest that are drawn."""
    drawn = request.best_of if request.judged else 1
    evaluations = evaluations_of(recipe)
    finished = recipe.width * recipe.height / _trained(card)
    work = evaluations * evaluation_work(recipe, card) + REFINED * finished
    return Load(1, drawn * evaluations, drawn * work)


def evaluation_work(recipe: Recipe, card: Card) -> float:
    """What one evaluation of a picture costs, over all of its passes: guidance, another prompt and each region ask once
    more, a guide as often again, and larger pictures cost by their area."""
    guided = recipe.guidance != 1 and recipe.sampler != FLOW_MAP
    asked = 1 + (recipe.toward is not None) + len(recipe.regions or ())
    asked += 0 if not guided else 1 if recipe.guide is None else asked
    passes = evaluations_by_size(recipe)
    area = sum(width * height * n for (width, height), n in passes) / max(1, sum(n for _, n in passes))
    return asked * area / _trained(card)


def _trained(card: Card) -> int:
    return card.defaults.drawn[0] * card.defaults.drawn[1]


class Pace:
    """Work done over time, from a moment on. Times are in seconds, of any clock that does not go back."""

    def __init__(self, at: float) -> None:
        self.done = 0.0
        self._began = at
        self._points = deque([(at, 0.0)])

    def advance(self, work: float, at: float) -> None:
        """So much more is done by now."""
        self.done += work
        self._points.append((at, self.done))
        while len(self._points) > LEAST_POINTS and at - self._points[1][0] >= WINDOW_S:
            self._points.popleft()

    def left_s(self, work: float, at: float) -> float | None:
        """Seconds until all of ``work`` is done; None: too early to say."""
        since, done = self._points[0]
        if at - self._began < FIRST_S or self.done <= done:
            return None
        return max(0.0, work - self.done) * (at - since) / (self.done - done)


def in_words(seconds: float) -> str:
    """A time as it is said of a guess: "20 s", "4 min", "2 h 10 min"."""
    if seconds < 57.5:
        return f"{max(5, 5 * round(seconds / 5))} s"
    minutes = max(1, round(seconds / 60))
    if minutes < 60:
        return f"{minutes} min"
    if minutes >= 24 * 60:
        return f"{round(minutes / 60)} h" if minutes < 48 * 60 else f"{round(minutes / 60 / 24)} days"
    hours, rest = divmod(10 * round(minutes / 10), 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"
