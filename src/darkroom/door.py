"""The Python door: a loaded model that draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from darkroom.contracts.request import Request
from darkroom.engine import Engine
from darkroom.generate import Moment, picture, run
from darkroom.model import Model, load
from darkroom.picture.image import Image
from darkroom.protocols import Sampler


@dataclass(frozen=True)
class DrawingModel:
    """A model and the two ways to draw with it: one picture, or many together."""

    model: Model

    def generate(
        self,
        prompt: str,
        *,
        negative: str = "",
        sampler: str | Sampler | None = None,
        on_moment: Callable[[Moment], None] = lambda _: None,
        **asked: Any,
    ) -> Image:
        """Draws one picture. ``asked`` are further fields of Request (seed, width, height, steps, guidance, style).

        ``sampler`` is a name, or a function ``(denoise, x, levels, noise)``; None takes the card's default.
        Raises BadInput (a ValueError) for anything out of bounds.
        """
        named = sampler if isinstance(sampler, str) else None
        function = None if sampler is None or isinstance(sampler, str) else sampler
        request = Request.model_validate({"prompt": {"text": prompt, "negative": negative}, "sampler": named, **asked})
        recipe = self.model.resolve(request)
        if function is not None:  # said in the recipe, so that nobody draws it again with another sampler
            recipe = recipe.model_copy(
                update={"sampler": f"function {getattr(function, '__name__', 'without a name')}"}
            )
        return run(picture(recipe, self.model, on_moment, function), self.model.evaluate)

    def generate_many(self, requests: Iterable[Request]) -> Iterator[tuple[int, Image | Exception]]:
        """Draws many pictures together, step by step; yields (position, picture or the error it alone caused)."""
        tasks = (picture(self.model.resolve(request), self.model) for request in requests)
        for outcome in Engine[Image](self.model.evaluate).run(tasks):
            yield outcome.index, outcome.result if outcome.error is None else outcome.error  # type: ignore[misc]


def open_model(name: str = "default") -> DrawingModel:
    """Opens a model by name or folder, ready to draw."""
    return DrawingModel(load(name))
