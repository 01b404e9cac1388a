"""Pictures as they end, of requests that are taken as they are needed: all ways to draw many share this one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch

from darkroom.checkpoints.estimate import NoRoom
from darkroom.contracts.contract import Dtypes
from darkroom.contracts.errors import DarkroomError, NoMemory
from darkroom.contracts.recipe import Recipe
from darkroom.contracts.request import Request
from darkroom.drawing.pace import Load, evaluation_work, load_of
from darkroom.drawing.speaker import Speaker, Watched
from darkroom.engine import Engine
from darkroom.generate import OnMoment, picture
from darkroom.machine.passes import Passes
from darkroom.model import LANES, Model, load
from darkroom.nn.slots import SLOTS
from darkroom.picture.image import Image
from darkroom.picture.inputs import Inputs
from darkroom.protocols import Task

if TYPE_CHECKING:
    from darkroom.judge.judge import Judge

AT_ONCE = LANES * SLOTS[-1] // 2  # pictures; each asks twice a step, with what is wanted and what is not
MODELS_OPEN = 2  # of a batch or a grid that names several

K = TypeVar("K")


class Judging:
    """Who draws pictures that the judge has a say in. The judge is opened when it is first asked, or is ``judge``;
    ``folder`` None is the one in the package."""

    def __init__(self, folder: Path | None, judge: Judge | None = None) -> None:
        self.folder, self.judge = folder, judge

    def open(self) -> Judge:
        """The judge. Raises DarkroomError where there is none."""
        if self.judge is None:
            from darkroom.judge.judge import load_judge  # only when it is asked
            from darkroom.selection import embedded_judge

            self.judge = embedded_judge() if self.folder is None else load_judge(self.folder)
        return self.judge

    def select(self, model: Model, one: Wanted[Any], watch: OnMoment, inputs: Inputs) -> Task[Image]:
        """The way of the picture it lets pass."""
        from darkroom.selection import selected

        how = {"best_of": one.request.best_of, "retry": one.request.retry}
        return selected(model, self.open(), one.recipe, **how, inputs=inputs, on_moment=watch)


Opening = tuple[str, Dtypes | None, bool]


def opening_of(request: Request) -> Opening:
    """What a request says of how its model is opened: its name, number formats, and whether it is offloaded."""
    return request.model, request.dtype, request.offload


class Models:
    """Models as requests have them opened; few are open at once."""

    def __init__(self) -> None:
        self._open: dict[Opening, Model] = {}

    def opened(self, request: Request) -> Model:
        """The model that a request is drawn with; others are closed where it would find no room beside them.

        Raises DarkroomError that says what is wrong with it.
        """
        key = opening_of(request)
        model = self._open.pop(key, None)
        while model is None:
            try:
                model = load_for(request)
            except NoRoom:
                if not self._open:
                    raise
                del self._open[next(iter(self._open))]
        while len(self._open) >= MODELS_OPEN:
            del self._open[next(iter(self._open))]
        self._open[key] = model
        return model


def load_for(request: Request) -> Model:
    """Opens the model that a request is drawn with. Raises DarkroomError."""
    size = (request.width, request.height) if request.width and request.height else None
    return load(request.model, request.dtype, offload=request.offload, size=size, vae_tile=request.vae_tile)


@dataclass(frozen=True, slots=True)
class Wanted(Generic[K]):
    """One picture to draw: what was asked for, every default resolved, and what it is to whoever asked."""

    request: Request
    recipe: Recipe
    what: K

    def load(self, model: Model) -> Load:
        """What it costs."""
        return load_of(self.request, self.recipe, model.card)


def results(
    wanted: Iterable[Wanted[K]], model: Model, judging: Judging, inputs: Inputs, say: Speaker
) -> Iterator[tuple[Wanted[K], Image | Exception, Watched]]:
    """Draws pictures together and yields each as it ends, or the error that it alone caused.

    Few run at once, and no further one is taken before: what is stopped early has kept most of what it computed, and
    a list of any length costs no memory.
    """
    begun: dict[int, tuple[Wanted[K], Watched]] = {}

    def tasks() -> Iterator[Task[Image]]:
        for number, one in enumerate(wanted):
            watched = say.watch(one.load(model), evaluation_work(one.recipe, model.card))
            begun[number] = one, watched
            yield task_of(one, model, judging, inputs, watched.moment)

    passes, lanes = Passes(), model.lanes
    engine = Engine[Image](model.evaluate, width=AT_ONCE, passes=passes, stays=model.offload, lanes=lanes)
    for outcome in engine.run(tasks()):
        ended = outcome.error if outcome.result is None else outcome.result
        assert ended is not None
        one, watched = begun.pop(outcome.index)
        yield (
            one,
            plain(ended, f"{one.recipe.width}x{one.recipe.height}") if isinstance(ended, Exception) else ended,
            watched,
        )


def task_of(one: Wanted[Any], model: Model, judging: Judging, inputs: Inputs, watch: OnMoment) -> Task[Image]:
    """The way of one picture; of one that is judged, that of its candidates too."""
    if one.request.judged:
        return (yield from judging.select(model, one, watch, inputs))
    return (yield from picture(one.recipe, model, watch, inputs=inputs))


def plain(error: Exception, size: str) -> Exception:
    """An error in words a user can act on; ``size`` is that of the picture."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error):
        return NoMemory(size, "needs more memory than is free", "try a smaller --size")
    return error


def raise_fault(error: Exception) -> None:
    """Raises what is a fault of ours, with its traceback, and no fault of what was asked for."""
    if not isinstance(error, DarkroomError | ValueError | RuntimeError | OSError):
        raise error
