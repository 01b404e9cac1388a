"""The passes a picture takes through synthesis: one from noise or a start, then those that draw some of it anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from darkroom.contracts.recipe import Recipe
from darkroom.contracts.request import SIDE_STEP
from darkroom.control.canvas import Canvas
from darkroom.control.edges import carried_on, meeting
from darkroom.control.start import begin
from darkroom.protocols import Change, Latent, LatentCodec, Pixels, Refiner, Start, Synthesizer, Task, Wanted
from darkroom.synthesis.samplers import evaluations
from darkroom.synthesis.spacing import steps_of


@dataclass(frozen=True, slots=True)
class Pass:
    """One way through synthesis: ``begin`` says from what, given the latent of the pass before (None: the first)."""

    stream: str  # of its noise
    wanted: Wanted
    size: tuple[int, int]  # width and height in pixels
    begin: Callable[[Latent | None], Task[Start | None]]


@dataclass(frozen=True, slots=True)
class Way:
    """What passes need of a model, for the pictures of one recipe."""

    recipe: Recipe
    codec: LatentCodec
    synthesizer: Synthesizer
    enlargers: Sequence[Refiner]
    canvas: Canvas | None

    def passes(self, wanted: Wanted, swap: tuple[Wanted, Change] | None) -> list[Pass]:
        """All of them, in order. ``swap`` is what is wanted once words are swapped, and how they change; None: none
        are."""
        recipe = self.recipe
        found = [Pass("", wanted, recipe.drawn, lambda _: begin(self.canvas, recipe, self.codec))]
        if swap is not None:
            wanted, change = swap
            found.append(Pass("/swap", wanted, recipe.drawn, lambda before: self._swap(before, change)))
        if recipe.hires:
            found.append(Pass("/hires", wanted, (recipe.width, recipe.height), self._larger))
        return found

    def decoded(self, latent: Latent) -> Task[Pixels]:
        """The pixels of a latent."""
        return (yield from carried_on(self.codec.decode, latent, meeting(self.recipe.tile)))

    def enlarged(self, pixels: Pixels) -> Task[Pixels]:
        """A picture as large as the finished one."""
        for enlarger in self.enlargers:
            pixels = yield from carried_on(enlarger.refine, pixels, meeting(self.recipe.tile))
        return pixels

    def _swap(self, before: Latent | None, change: Change) -> Task[Start]:
        """The picture as it was, and where the words that changed are to be seen in it."""
        assert before is not None and self.recipe.swap is not None
        where = yield from self.synthesizer.changes(before, change, self.recipe.seed)
        touched = None if self.canvas is None else self.canvas.touched(before.shape[2], before.shape[1])
        drawn = where if touched is None else where & torch.tensor(touched)[None]
        return Start(before, self.recipe.swap.strength, drawn)

    def _larger(self, before: Latent | None) -> Task[Start]:
        """The picture enlarged, to be drawn anew in part."""
        assert before is not None and self.recipe.hires is not None
        pixels = yield from self.decoded(before)
        pixels = yield from self.enlarged(pixels)
        latent = yield from carried_on(self.codec.encode, pixels, meeting(self.recipe.tile), SIDE_STEP)
        touched = None if self.canvas is None else self.canvas.touched(latent.shape[2], latent.shape[1])
        return Start(latent, self.recipe.hires, None if touched is None else torch.tensor(touched)[None])


def evaluations_of(recipe: Recipe) -> int:
    """How often a recipe's sampler asks for an estimate, in all passes."""
    return sum(asked for _, asked in evaluations_by_size(recipe))


def evaluations_by_size(recipe: Recipe) -> list[tuple[tuple[int, int], int]]:
    """The same pass by pass, with width and height in pixels."""
    swap = 0.0 if recipe.swap is None else recipe.swap.strength
    passes = [
        (recipe.drawn, recipe.strength),
        (recipe.drawn, swap),
        ((recipe.width, recipe.height), recipe.hires or 0.0),
    ]
    steps = [(size, steps_of(recipe.steps, strength)) for size, strength in passes]
    return [(size, evaluations(recipe.sampler, some)) for size, some in steps if some]
