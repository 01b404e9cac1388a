"""The Python door: a loaded model that draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.contracts.errors import BadInput
from darkroom.contracts.prompt import PARTS
from darkroom.contracts.recipe import Recipe
from darkroom.contracts.request import Request
from darkroom.engine import Engine
from darkroom.generate import Moment, OnMoment, picture, run
from darkroom.model import Model, load
from darkroom.picture.image import Image
from darkroom.picture.inputs import Inputs, named
from darkroom.protocols import Sampler, Task
from darkroom.wording.stylefile import styles_file

Picture = str | PathLike[str] | Image | np.ndarray


@dataclass(frozen=True)
class DrawingModel:
    """A model and the two ways to draw with it: one picture, or many together."""

    model: Model

    def __repr__(self) -> str:
        defaults = self.model.card.defaults
        return f"<darkroom model {self.model.card.name}, {defaults.width}x{defaults.height}>"

    def generate(
        self,
        prompt: str | None = None,
        *,
        negative: str = "",
        sampler: str | Sampler | None = None,
        on_moment: Callable[[Moment], None] = lambda _: None,
        wildcards: str | PathLike[str] | None = None,
        init_image: Picture | None = None,
        mask: Picture | None = None,
        **asked: Any,
    ) -> Image:
        """Draws one picture. ``asked`` are further fields of Request (seed, width, height, steps, guidance, style ...).

        A prompt may be said in parts, beside its text or instead of it: subject, setting, light, composition. ``style``
        may be a saved one. ``wildcards`` is the folder of the files that the prompt names; None: there are none.
        ``init_image`` and ``mask`` are a file, a picture, or its pixels: (height, width, 3 or 4) uint8 sRGB.
        ``on_moment`` watches it; where the judge has a say (best_of, retry), the first candidate of each lot.
        ``sampler`` is a name, or a function ``(denoise, x, levels, noise)``; None takes the card's default.
        Raises BadInput (a ValueError) for anything out of bounds.
        """
        name = sampler if isinstance(sampler, str) else None
        function = None if sampler is None or isinstance(sampler, str) else sampler
        inputs = Inputs(None if wildcards is None else Path(wildcards), styles_file())
        said = {"negative": negative, **{part: asked.pop(part) for part in PARTS if part in asked}}
        said |= {} if prompt is None else {"text": prompt}
        brought = {"init_image": init_image, "mask": mask}
        asked |= {field: named(inputs, source) for field, source in brought.items() if source is not None}
        request = Request.checked({"prompt": said, "sampler": name, **asked})
        recipe = self.model.resolve(request, inputs)
        if request.judged:
            if function is not None:
                raise BadInput("a sampler as a function", "cannot be tried again by the judge", "name a sampler")
            return run(self._selected(request, recipe, inputs, on_moment), self.model.evaluate)
        if function is not None:  # said in the recipe, so that nobody draws it again with another sampler
            recipe = recipe.model_copy(
                update={"sampler": f"function {getattr(function, '__name__', 'without a name')}"}
            )
        return run(picture(recipe, self.model, on_moment, function, inputs), self.model.evaluate)

    def generate_many(
        self, requests: Iterable[Request], *, wildcards: str | PathLike[str] | None = None
    ) -> Iterator[tuple[int, Image | Exception]]:
        """Draws many pictures together, step by step; yields (position, picture or the error it alone caused).

        ``wildcards`` is as for :meth:`generate`.
        """
        inputs = Inputs(None if wildcards is None else Path(wildcards), styles_file())
        tasks = (self._task(request, inputs) for request in requests)
        engine = Engine[Image](self.model.evaluate, stays=self.model.offload, lanes=self.model.lanes)
        for outcome in engine.run(tasks):
            yield outcome.index, outcome.result if outcome.error is None else outcome.error  # type: ignore[misc]

    def _task(self, request: Request, inputs: Inputs) -> Task[Image]:
        """The way of one of several pictures; what cannot be resolved is its error alone."""
        recipe = self.model.resolve(request, inputs)
        if request.judged:
            return (yield from self._selected(request, recipe, inputs))
        return (yield from picture(recipe, self.model, inputs=inputs))

    def _selected(
        self, request: Request, recipe: Recipe, inputs: Inputs, on_moment: OnMoment = lambda _: None
    ) -> Task[Image]:
        """The way of a picture the judge has a say in."""
        from darkroom.selection import embedded_judge, selected  # the judge is opened only when it is asked

        how = {"best_of": request.best_of, "retry": request.retry}
        return selected(self.model, embedded_judge(), recipe, **how, inputs=inputs, on_moment=on_moment)


def open_model(name: str = "default", *, dtype: str | None = None, offload: bool = False) -> DrawingModel:
    """Opens a model by name or folder, ready to draw.

    Of a public checkpoint, ``dtype`` says how its weights are kept, such as "int8" or "bf16,vae=fp32" (text, denoiser,
    vae), None: bf16; and with ``offload`` only the network at work is in memory. Raises DarkroomError for one that is
    damaged, or does not fit into memory.
    """
    return DrawingModel(load(name, dtype, offload=offload))
