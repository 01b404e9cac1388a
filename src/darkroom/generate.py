"""One picture, top-down: interpret -> latent -> synthesise -> refine.

:func:`picture` is the task; :func:`run` drives one task alone, ``darkroom.engine`` drives many: no second path. A
picture whose numbers overflow is drawn once more, in fp32; one that does again is an error, and never a black picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from darkroom.contracts import faults
from darkroom.contracts.errors import NumericalFailure
from darkroom.contracts.job import Stage
from darkroom.contracts.recipe import AdapterUse, GuideUse, Recipe, RefinerUse
from darkroom.contracts.request import Request
from darkroom.control.adapters import Riders, carried
from darkroom.control.canvas import canvas_of
from darkroom.control.controls import controlling
from darkroom.control.edges import meeting
from darkroom.control.image_prompt import ImageReader, Reference, beside, references, with_room
from darkroom.control.passes import Way, evaluations_of
from darkroom.picture.image import Image
from darkroom.picture.inputs import Inputs
from darkroom.protocols import (
    Call,
    Change,
    Conditioning,
    Latent,
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
    Wanted,
)
from darkroom.refine.chain import refined
from darkroom.refine.upscale import doublings
from darkroom.synthesis.combine import guidance_of
from darkroom.synthesis.guidance import relayed, together
from darkroom.synthesis.samplers import SAMPLERS
from darkroom.synthesis.spacing import SPACINGS
from darkroom.wording.anatomy.apart import told_apart
from darkroom.wording.parse import parse, swapped
from darkroom.wording.parse import styled as styled  # who draws says it too
from darkroom.wording.syntax import Sentence, Wording, wordings


class Guiding(Protocol):
    """What a picture needs of another model: a weaker one that it is led away from, or one that finishes it."""

    @property
    def encoder(self) -> TextEncoder: ...
    @property
    def synthesizer(self) -> Synthesizer: ...


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
    @property
    def image(self) -> ImageReader | None: ...
    def guide(self, use: GuideUse, /) -> Guiding: ...
    def refiner(self, use: RefinerUse, /) -> Guiding: ...
    def riders(self, uses: Sequence[AdapterUse], /) -> Riders: ...
    def fitted(self, recipe: Recipe, /) -> Parts: ...
    def in_fp32(self, recipe: Recipe, /) -> tuple[Recipe, Parts, str] | None: ...


@dataclass(frozen=True, slots=True)
class Moment:
    """What a watcher is told: ``step`` of ``steps`` of a stage; while synthesising, the clean estimate so far.

    ``note`` is what people should know of it, where all begins anew; empty: nothing.
    """

    stage: Stage
    step: int
    steps: int
    x0: Tensor | None = None
    note: str = ""


OnMoment = Callable[[Moment], None]


def picture(
    recipe: Recipe,
    model: Parts,
    on_moment: OnMoment = lambda _: None,
    sampler: Sampler | None = None,
    inputs: Inputs | None = None,
) -> Task[Image]:
    """The way of one picture. ``sampler`` None takes the recipe's by name; a function is used as it is.

    ``inputs`` holds the pictures that the recipe names; None: it names none. Where numbers overflow it is drawn once
    more, in fp32, which its recipe then says (``environment.dtype``). Raises NumericalFailure where that helps not.
    """
    try:
        return (yield from drawn(recipe, model, on_moment, sampler, inputs))
    except NumericalFailure:
        finer = model.in_fp32(recipe)
        if finer is None:
            raise
    recipe, precise, network = finer
    on_moment(Moment("interpret", 0, 1, note="numbers overflowed: it is drawn again, in fp32"))
    again = drawn(recipe, precise, on_moment, sampler, inputs)
    return (yield from relayed(again, lambda call: replace(call, network=network + call.network)))


def drawn(
    recipe: Recipe, model: Parts, on_moment: OnMoment, sampler: Sampler | None, inputs: Inputs | None
) -> Task[Image]:
    """The way of one picture as :func:`picture` has it, once. Raises NumericalFailure where numbers overflow."""
    # 1. Interpret: the sentences become tokens, the tokens become vectors, and so do reference pictures. Adapters ride
    # along in the calls.
    on_moment(Moment("interpret", 0, 1))
    model = model.fitted(recipe)
    riders = model.riders(recipe.adapters)
    words = yield from carried(interpret(recipe, model, inputs), riders)

    # 2. Latent: how large it is and where to begin: with noise, drawn from the seed, or between it and a picture.
    on_moment(Moment("latent", 0, 1))
    canvas = canvas_of(recipe, inputs or Inputs())
    way = Way(recipe, model.codec, model.synthesizer, doublings(recipe.upscale, model.upscaler), canvas)
    spec = SynthesisSpec(
        shape=model.codec.shape(*recipe.drawn),
        steps=recipe.steps,
        sampler=sampler or SAMPLERS[recipe.sampler],
        guidance=guidance_of(recipe),
        spacing=SPACINGS[recipe.spacing],
        shift=recipe.shift,
        nothing=words.nothing,
        variation=variation_of(recipe),
        seamless=meeting(recipe.tile),
        watch=_counted(on_moment, 0 if sampler else evaluations_of(recipe)),
    )

    # 3. Synthesise: noise is removed step by step toward the sentence; further passes draw some of it anew.
    latent: Latent | None = None
    for each in way.passes(words.wanted, words.swap):
        start = yield from carried(each.begin(latent), riders)
        around = yield from controlling(recipe.controls, inputs or Inputs(), each.size, model.synthesizer, model.codec)
        shaped = replace(spec, shape=model.codec.shape(*each.size), start=start, stream=each.stream, around=around)
        steps = model.synthesizer.task(each.wanted, words.negative, shaped, recipe.seed)
        latent = yield from carried(steps, riders)
        if faults.at("generate.latent"):
            latent = latent * float("nan")
        check_finite(latent, recipe)

    # 4. Refine: decode and enlarge, put back what is kept; then the steps that were asked for, one after the other.
    assert latent is not None  # there is always a first pass
    stages = 2 + len(recipe.refine)
    on_moment(Moment("refine", 0, stages))
    pixels = yield from way.decoded(latent)
    check_finite(pixels, recipe)
    on_moment(Moment("refine", 1, stages))
    if not recipe.hires:
        pixels = yield from way.enlarged(pixels)
    finished = (pixels * 255).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()
    finished = finished if canvas is None else canvas.kept(finished)
    finished = yield from refined(
        finished,
        recipe.refine,
        inputs or Inputs(),
        model.upscaler,
        lambda step: on_moment(Moment("refine", 2 + step, stages)),
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


@dataclass(frozen=True, slots=True)
class Words:
    """What is said, as vectors.

    ``nothing`` is the empty sentence where the negative one is another; None: nothing is unwanted. ``swap`` is what is
    wanted once words are swapped, and how they change; None: none are.
    """

    wanted: Wanted
    negative: Said
    nothing: Conditioning | None
    swap: tuple[Wanted, Change] | None


def interpret(recipe: Recipe, model: Parts, inputs: Inputs | None = None) -> Task[Words]:
    """Vectors of everything a recipe says. Where it names nothing unwanted, the empty sentence stands for it.

    ``inputs`` holds the reference pictures that it names; None: it names none.
    """
    seen = yield from references(recipe.image_prompts, inputs or Inputs(), model.image)
    text, unwanted, swap = recipe.prompt.text, recipe.prompt.negative, recipe.swap
    wanted, negative = yield from together(
        meant(recipe, model, text, seen), spoken(recipe, model.encoder, unwanted, None)
    )
    nothing = (yield from model.encoder.encode([Sentence("")])) if parse(unwanted).text else None
    negative = with_room(negative, seen)
    if swap is None or not swap.strength:
        return Words(wanted, negative, nothing, None)
    after = yield from meant(recipe, model, swapped(text, swap.old, swap.new), seen)
    change = yield from changing(recipe, model, swap.old, wanted.said, after.said)
    return Words(wanted, negative, nothing, (after, change))


def meant(recipe: Recipe, model: Parts, text: str, seen: Sequence[Reference] = ()) -> Task[Wanted]:
    """Vectors of a text and of what a recipe says beside it; for the weaker model it is led away from, too, and for the
    one that finishes it. What is ``seen`` in reference pictures stands beside the text, of which the weaker model knows
    nothing: so it leads towards that, too."""
    wanted = beside((yield from told(recipe, model.encoder, text)), seen)
    if recipe.guide is not None:
        guide = model.guide(recipe.guide)
        same = yield from told(recipe, guide.encoder, text)
        wanted = replace(wanted, weaker=partial(guide.synthesizer.estimate, same))
    if recipe.refiner is not None:
        other = model.refiner(recipe.refiner)
        same = yield from told(recipe, other.encoder, text)
        negative = yield from spoken(recipe, other.encoder, recipe.prompt.negative, None)
        wanted = replace(wanted, finisher=(recipe.refiner.since, partial(other.synthesizer.steered, same, negative)))
    return wanted


def told(recipe: Recipe, encoder: TextEncoder, text: str) -> Task[Wanted]:
    """Vectors of a text and of what a recipe says beside it, by one encoder."""
    others = [] if recipe.toward is None else [recipe.toward.prompt]
    others += [region.prompt for region in recipe.regions or ()]
    whole, *more = yield from together(*(spoken(recipe, encoder, one, recipe.style) for one in (text, *others)))
    toward = None if recipe.toward is None else (more.pop(0), recipe.toward.share)
    boxes = [region.box for region in recipe.regions or ()]
    return Wanted(whole, toward, list(zip(boxes, more, strict=True)))


def changing(recipe: Recipe, model: Parts, old: str, before: Said, after: Said) -> Task[Change]:
    """What is said before and after some words change, in the end; and, where it is one sentence, without the thing
    that they are about and without the others."""
    chunks = wordings(parse(recipe.prompt.text).text, recipe.steps)[-1].chunks
    parts = told_apart(chunks[0].text, old) if len(chunks) == 1 else None
    if parts is None:
        return Change(before, after)
    sentences = [[Sentence(part).also(styled("", recipe.style))] for part in parts]
    alone, others = yield from together(*(model.encoder.encode(one) for one in sentences))
    return Change(before, after, [(0, alone)], [(0, others)])


def spoken(recipe: Recipe, encoder: TextEncoder, text: str, style: str | None) -> Task[Said]:
    """Vectors of a text over the steps of a recipe."""
    return said(wordings(parse(text).text, recipe.steps), encoder, style)


def said(found: Sequence[Wording], encoder: TextEncoder, style: str | None = None) -> Task[Said]:
    """A prompt over the steps: vectors of what it says, from which step on. Each chunk is in the style."""
    chunks = [[chunk.also(styled("", style)) for chunk in wording.chunks] for wording in found]
    encoded = yield from together(*(encoder.encode(some) for some in chunks))
    return [(wording.since, conditioning) for wording, conditioning in zip(found, encoded, strict=True)]


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


def check_finite(numbers: Tensor, recipe: Recipe) -> None:
    """Never a silent black picture: refuses a latent, or pixels, with NaN or infinity in it."""
    if not torch.isfinite(numbers).all():
        raise NumericalFailure(
            f"seed {recipe.seed} with guidance {recipe.guidance} and sampler {recipe.sampler}",
            f"made numbers that are not finite, in {recipe.environment.dtype}",
            "lower the guidance or take another sampler"
            + (
                ", or let adapters, controls and reference pictures act less"
                if recipe.adapters or recipe.controls or recipe.image_prompts
                else ""
            ),
        )


def _counted(on_moment: OnMoment, total: int) -> Callable[[Level, Tensor], None]:
    """Tells the watcher of each clean estimate, counting them."""
    seen = 0

    def watch(level: Level, x0: Tensor) -> None:
        nonlocal seen
        seen += 1
        on_moment(Moment("synthesise", seen, total, x0))

    return watch
