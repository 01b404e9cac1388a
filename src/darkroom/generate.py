"""One picture, top-down: interpret -> latent -> synthesise -> refine.

:func:`picture` is the task; :func:`run` drives one task alone, ``darkroom.engine`` drives many: no second path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from darkroom.contracts.errors import DarkroomError
from darkroom.contracts.job import Stage
from darkroom.contracts.recipe import Recipe
from darkroom.contracts.request import Request
from darkroom.control.canvas import canvas_of
from darkroom.control.start import begin
from darkroom.picture.image import Image
from darkroom.picture.inputs import Inputs
from darkroom.protocols import (
    Call,
    Conditioning,
    LatentCodec,
    Level,
    Refiner,
    Said,
    Sampler,
    SynthesisSpec,
    Synthesizer,
    T,
    Task,
    TextEncoder,
)
from darkroom.refine.chain import refined
from darkroom.refine.upscale import passes
from darkroom.synthesis.combine import guidance_of
from darkroom.synthesis.guidance import together
from darkroom.synthesis.samplers import SAMPLERS, evaluations
from darkroom.synthesis.spacing import SPACINGS, steps_of
from darkroom.wording.parse import parse
from darkroom.wording.syntax import Sentence, Wording, wordings


class Parts(Protocol):
    """What a picture needs of a model."""

    @property
    def encoder(self) -> TextEncoder: ...
    @property
    def codec(self) -> LatentCodec: ...
    @property
    def synthesizer(self) -> Synthesizer: ...
    @property
    def upscaler(self) -> Refiner | None: ...


@dataclass(frozen=True, slots=True)
class Moment:
    """What a watcher is told: ``step`` of ``steps`` of a stage; while synthesising, the clean estimate so far."""

    stage: Stage
    step: int
    steps: int
    x0: Tensor | None = None


OnMoment = Callable[[Moment], None]


def picture(
    recipe: Recipe,
    model: Parts,
    on_moment: OnMoment = lambda _: None,
    sampler: Sampler | None = None,
    inputs: Inputs | None = None,
) -> Task[Image]:
    """The way of one picture. ``sampler`` None takes the recipe's by name; a function is used as it is.

    ``inputs`` holds the pictures that the recipe names; None: it names none.
    """
    # 1. Interpret: the sentences become tokens, the tokens become vectors.
    on_moment(Moment("interpret", 0, 1))
    positive, negative, nothing = yield from interpret(recipe, model)

    # 2. Latent: how large it is and where to begin: with noise, drawn from the seed, or between it and a picture.
    on_moment(Moment("latent", 0, 1))
    canvas = canvas_of(recipe, inputs or Inputs())
    start = yield from begin(canvas, recipe, model.codec)
    spec = SynthesisSpec(
        shape=model.codec.shape(*recipe.drawn),
        steps=recipe.steps,
        sampler=sampler or SAMPLERS[recipe.sampler],
        guidance=guidance_of(recipe),
        spacing=SPACINGS[recipe.spacing],
        shift=recipe.shift,
        nothing=nothing,
        start=start,
        variation=variation_of(recipe),
        watch=_counted(on_moment, 0 if sampler else evaluations_of(recipe)),
    )

    # 3. Synthesise: noise is removed step by step toward the sentence.
    latent = yield from model.synthesizer.task(positive, negative, spec, recipe.seed)
    check_finite(latent, recipe)

    # 4. Refine: decode and enlarge, put back what is kept; then the steps that were asked for, one after the other.
    doublings = passes(recipe.upscale, model.upscaler)
    stages = 1 + len(doublings) + len(recipe.refine)
    on_moment(Moment("refine", 0, stages))
    pixels = yield from model.codec.decode(latent)
    for done, upscaler in enumerate(doublings, 1):
        on_moment(Moment("refine", done, stages))
        pixels = yield from upscaler.refine(pixels)
    finished = (pixels * 255).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()
    finished = finished if canvas is None else canvas.kept(finished)
    finished = yield from refined(
        finished,
        recipe.refine,
        inputs or Inputs(),
        model.upscaler,
        lambda step: on_moment(Moment("refine", 1 + len(doublings) + step, stages)),
    )
    return Image(finished, recipe)


class Resolving(Parts, Protocol):
    """A model that knows its defaults."""

    def resolve(self, request: Request, inputs: Inputs | None = None) -> Recipe: ...


def asked(request: Request, model: Resolving, inputs: Inputs | None = None) -> Task[Image]:
    """The way of one picture from a request; what cannot be resolved is this task's error alone."""
    inputs = inputs or Inputs()
    return (yield from picture(model.resolve(request, inputs), model, inputs=inputs))


def variation_of(recipe: Recipe) -> tuple[int, float] | None:
    """Another seed, and how far a recipe's noise lies towards that one's; None: it is its own seed's."""
    if recipe.variation is None or recipe.variation_seed is None:
        return None
    return recipe.variation_seed, recipe.variation


def evaluations_of(recipe: Recipe) -> int:
    """How often a recipe's sampler asks for an estimate."""
    steps = steps_of(recipe.steps, recipe.strength)
    return evaluations(recipe.sampler, steps) if steps else 0


def interpret(recipe: Recipe, model: Parts) -> Task[tuple[Said, Said, Conditioning | None]]:
    """Vectors of what is wanted, of what is not, and of the empty sentence where that is another one.

    Where the prompt names nothing unwanted, the empty sentence stands for it.
    """
    words = parse(recipe.prompt.text, recipe.prompt.negative)
    positive = yield from said(wordings(words.text, recipe.steps), model, recipe.style)
    negative = yield from said(wordings(words.negative, recipe.steps), model)
    nothing = (yield from model.encoder.encode([Sentence("")])) if words.negative else None
    return positive, negative, nothing


def said(found: Sequence[Wording], model: Parts, style: str | None = None) -> Task[Said]:
    """A prompt over the steps: vectors of what it says, from which step on. Each chunk is in the style."""
    chunks = [[chunk.also(styled("", style)) for chunk in wording.chunks] for wording in found]
    encoded = yield from together(*(model.encoder.encode(some) for some in chunks))
    return [(wording.since, conditioning) for wording, conditioning in zip(found, encoded, strict=True)]


def styled(text: str, style: str | None) -> str:
    """The sentence with its style said the way captions say it; None adds nothing."""
    return text if style is None else f"{text}, {style}"


def run(task: Task[T], evaluate: Callable[[Sequence[Call]], list[Tensor]]) -> T:
    """Drives one task alone: each list of calls is evaluated at once, in groups of equal batch key.

    An error of an evaluation is thrown into the task, as the engine does: it may have an answer to it.
    """
    with torch.inference_mode():
        try:
            calls = next(task)
            while True:
                try:
                    answers = evaluate(calls)
                except Exception as error:
                    calls = task.throw(error)
                else:
                    calls = task.send(answers)
        except StopIteration as done:
            result: T = done.value
            return result


def check_finite(latent: Tensor, recipe: Recipe) -> None:
    """Never a silent black picture: refuses a latent with NaN or infinity in it."""
    if not torch.isfinite(latent).all():
        raise NumericalFailure(
            f"seed {recipe.seed} with guidance {recipe.guidance} and sampler {recipe.sampler}",
            "made numbers that are not finite",
            "lower the guidance or take another sampler",
        )


class NumericalFailure(DarkroomError):
    """The network's numbers overflowed."""

    code = "numerical"


def _counted(on_moment: OnMoment, total: int) -> Callable[[Level, Tensor], None]:
    """Tells the watcher of each clean estimate, counting them."""
    seen = 0

    def watch(level: Level, x0: Tensor) -> None:
        nonlocal seen
        seen += 1
        on_moment(Moment("synthesise", seen, total, x0))

    return watch
