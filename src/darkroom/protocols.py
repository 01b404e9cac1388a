"""The whole plug surface on one page.

Making a picture is a generator that asks for network evaluations: a :data:`Task` yields lists of :class:`Call`,
is sent the list of their results, and returns what it made. ``darkroom.generate.run`` drives one task,
``darkroom.engine`` drives many and groups calls whose ``batch_key`` is equal into one pass.

A running task cannot be pickled (a request restarts from its recipe), and a ``with`` block must never be held
across a ``yield``: another task may run in between.

Words, one spelling per concept: ``x`` is the noisy latent, ``x0`` the clean estimate, ``noise`` the Gaussian draw,
``t`` in [0, 1] the time (0 clean, 1 noise), a ``level`` the pair (alpha, sigma) with x = alpha * x0 + sigma * noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from darkroom.wording.syntax import Sentence

# Shape aliases: one picture, no batch axis; batches are made where calls are evaluated.
Latent = Float[Tensor, "channels height width"]
Pixels = Float[Tensor, "3 height width"]  # RGB in [0, 1]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One evaluation of one network for one picture: rows, not batches.

    ``inputs`` maps argument names to tensors without a batch axis, or to floats (times, per-row scales); rows of
    equal ``batch_key`` are stacked by ``evaluate``.
    """

    network: str
    inputs: Mapping[str, Tensor | float]
    adapters: tuple[str, ...] = ()

    @property
    def batch_key(self) -> tuple[object, ...]:
        """Calls with equal keys may share one pass: network, adapter set, and the shape and dtype of every input.

        The text bucket is part of it through the shape of the text's keys and values.
        """
        shapes = tuple(
            (name, "float" if isinstance(value, (int, float)) else (tuple(value.shape), value.dtype))
            for name, value in sorted(self.inputs.items())
        )
        return (self.network, self.adapters, shapes)


# A task yields calls, is sent one tensor per call, in order, and returns a T.
Task = Generator[list[Call], list[Tensor], T]


class Level(NamedTuple):
    """A noise level: x = alpha * x0 + sigma * noise, at time ``t`` of its schedule. Python floats, never tensors.

    ``schedule`` None: it was made by hand, and nobody can be asked for a level between it and another.
    """

    t: float
    alpha: float
    sigma: float
    schedule: NoiseSchedule | None = None

    @property
    def lam(self) -> float:
        """Half the log signal-to-noise ratio, log(alpha / sigma) (DPM-Solver, arXiv:2206.00927, section 2)."""
        if self.sigma == 0.0:
            return math.inf
        if self.alpha == 0.0:
            return -math.inf
        return math.log(self.alpha / self.sigma)


@runtime_checkable
class NoiseSchedule(Protocol):
    """Maps time to noise levels: ``level(0)`` is clean, ``level(1)`` is (almost) pure noise.

    ``at(lam)`` is the level whose log(alpha / sigma) that is; lam is finite.
    """

    def level(self, t: float) -> Level: ...

    def at(self, lam: float) -> Level: ...


@runtime_checkable
class Denoise(Protocol):
    """Asks for what it needs and returns the clean estimate x0 of ONE picture.

    ``toward`` is the level the step goes to. A flow map answers for the whole step: the x0 that makes an Euler step
    land where the flow does. None asks for this level alone, and that is how others answer in any case.
    """

    def __call__(self, x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]: ...


@runtime_checkable
class NoiseSource(Protocol):
    """One seeded stream of standard normal draws for one picture, made on the CPU (batch mates cannot change it)."""

    def draw(self, shape: Sequence[int]) -> Tensor: ...


# Times from 1 down at which the steps of a picture begin; the last one ends at 0.
Spacing = Callable[[NoiseSchedule, int], list[float]]

# A sampler turns the starting x at levels[0] into the clean latent at levels[-1].
Sampler = Callable[[Denoise, Tensor, Sequence[Level], NoiseSource], Task[Tensor]]


@runtime_checkable
class Network(Protocol):
    """Evaluates calls that share one batch key, in order, in one pass."""

    def evaluate(self, calls: Sequence[Call]) -> list[Tensor]: ...


@dataclass(frozen=True, slots=True)
class Conditioning:
    """What a synthesizer is told: a prompt as vectors, its chunks one after the other.

    ``weights`` says how much each token counts; None: all as much. ``attended`` says how much each is attended to,
    which is 1 for words; None: all as words are.
    """

    tokens: Float[Tensor, "tokens width"]
    mask: Bool[Tensor, " tokens"]  # true on real tokens
    pooled: Float[Tensor, " wide"]  # a vector for all of it, of a width of its own
    weights: Float[Tensor, " tokens"] | None = None
    attended: Float[Tensor, " tokens"] | None = None


# What is said over the steps of a picture: conditionings, each with the first step it holds in; the first is 0.
Said = Sequence[tuple[int, Conditioning]]


@dataclass(frozen=True, slots=True)
class Guidance:
    """How the prompt steers: how strongly (1 is plain), by which rule, and when."""

    scale: float
    method: str = "classifier-free"  # a name in ``darkroom.synthesis.combine.METHODS``
    rescale: float = 0.0  # share of the way back to the spread of what is not guided
    interval: tuple[float, float] = (0.0, 1.0)  # times, both included, between which it acts
    threshold: float | None = None  # quantile at which the estimate is cut; None: nowhere
    weaker: bool = False  # away from what a weaker model says of the same, in place of a negative prompt


@dataclass(frozen=True, slots=True)
class Start:
    """A latent to begin from. ``strength`` of it is drawn anew, from 0 (it stays) to 1 (noise alone); ``drawn`` says
    in which cells, and elsewhere it is kept; None: in all."""

    latent: Latent
    strength: float
    drawn: Bool[Tensor, "1 height width"] | None = None


# A part of a picture: left, top, right and bottom, as shares of its sides.
Box = tuple[float, float, float, float]


# An estimate for each of the levels to come, without guidance.
Estimate = Callable[[Sequence[Level]], Task[Denoise]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a picture is to show: what is ``said`` of all of it; another thing it lies ``toward``, and how far; and
    what is said of parts of it. ``weaker`` is a weaker model's estimate of the same; None: there is no such model.
    ``finisher`` is the time from which on, towards 0, another model is asked for the same, and its estimate; None:
    there is none."""

    said: Said
    toward: tuple[Said, float] | None = None
    regions: Sequence[tuple[Box, Said]] = ()
    weaker: Estimate | None = None
    finisher: tuple[float, Callable[[SynthesisSpec, Sequence[Level]], Task[Denoise]]] | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """Words that change: all that is said ``before`` and ``after``; and, where other things are named too, what is said
    without them (``alone``) and without the thing that the words are about (``others``)."""

    before: Said
    after: Said
    alone: Said | None = None
    others: Said | None = None


# watch(level, x0) sees each clean estimate as it is made.
Watch = Callable[[Level, Tensor], None]


# What else is asked around an estimate, of the levels that a picture goes through.
Around = Callable[[Denoise, Sequence[Level]], Denoise]


@dataclass(frozen=True, slots=True)
class SynthesisSpec:
    """How one latent is made.

    ``spacing`` says at which times of the schedule so many steps begin, ``shift`` moves them towards the noise; None:
    as the picture's size asks. ``nothing`` is the empty sentence where the negative one is another; None: nothing is
    unwanted. ``start`` None: it begins with noise. ``variation`` is another seed, and how far the noise lies to that
    one's; None: it is the seed's own. ``seamless`` says which edges meet: left with right, top with bottom. ``stream``
    names the noise of this pass. ``around`` wraps the whole estimate; None: nothing does. ``watch`` None: nobody looks.
    """

    shape: tuple[int, int, int]  # channels, height, width of the latent
    steps: int
    sampler: Sampler
    guidance: Guidance
    spacing: Spacing
    shift: float | None = None
    nothing: Conditioning | None = None
    start: Start | None = None
    variation: tuple[int, float] | None = None
    seamless: tuple[bool, bool] = (False, False)
    stream: str = ""
    around: Around | None = None
    watch: Watch | None = None


class TextEncoder(Network, Protocol):
    """Sentences to vectors: the chunks of a prompt, each read by itself."""

    def encode(self, chunks: Sequence[Sentence]) -> Task[Conditioning]: ...


class ReadingEncoder(TextEncoder, Protocol):
    """One that says how it reads, before anything is drawn."""

    @property
    def limit(self) -> int:
        """Tokens that are read at once, start and end included."""

    def length(self, text: str) -> int:
        """Tokens of a text, start and end included."""

    def parts(self, chunks: Sequence[Sentence]) -> tuple[list[Sentence], tuple[str, ...]]:
        """The chunks, cut where they are longer than the network reads at once, and the words that are too many.

        Raises BadInput for what it cannot read."""


class LatentCodec(Network, Protocol):
    """Pixels to latents and back; scale and shift live inside it."""

    def shape(self, width: int, height: int) -> tuple[int, int, int]: ...

    def encode(self, pixels: Pixels) -> Task[Latent]: ...

    def decode(self, latent: Latent) -> Task[Pixels]: ...


class Refiner(Network, Protocol):
    """Takes a finished picture further: larger, repaired, graded."""

    def refine(self, pixels: Pixels) -> Task[Pixels]: ...


class Synthesizer(Network, Protocol):
    """Makes a latent from sentences and a seed: diffusion, GAN and token transformer alike."""

    def check(self, sampler: str, guidance: Guidance) -> None:
        """Raises BadInput for what this network cannot be drawn with."""

    def task(self, wanted: Wanted, negative: Said, spec: SynthesisSpec, seed: int) -> Task[Latent]: ...

    def estimate(self, wanted: Wanted, levels: Sequence[Level]) -> Task[Denoise]:
        """The estimate of what is wanted, without guidance: for a better model to be led away from."""

    def steered(self, wanted: Wanted, negative: Said, spec: SynthesisSpec, levels: Sequence[Level]) -> Task[Denoise]:
        """The estimate of what is wanted, with the spec's guidance: for another model's picture to be finished by."""

    def changes(self, latent: Latent, change: Change, seed: int) -> Task[Bool[Tensor, "1 height width"]]:
        """Which cells of a picture would be others if another thing were said of it."""

    def seen(self, picture: Pixels, codec: LatentCodec) -> Task[Latent]:
        """What rides on x of a control map."""
