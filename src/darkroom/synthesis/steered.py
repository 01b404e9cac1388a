"""What every diffusion network is steered by: guidance, other prompts, parts of a picture, starts, changed words.

A network of this family is told a noisy latent, its level and what a text comes to, and answers eps, v, a velocity or
x0. :class:`SteeredSynthesizer` makes pictures with any such network; whose it is says the subclass: its schedule, what
kind of answer it gives, what it reads of a text, and how it is asked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from darkroom.contracts.request import GUIDED_TIMES
from darkroom.nn.public.features import cells_of
from darkroom.protocols import (
    Call,
    Change,
    Conditioning,
    Denoise,
    Guidance,
    Latent,
    LatentCodec,
    Level,
    NoiseSchedule,
    NoiseSource,
    Pixels,
    Said,
    SynthesisSpec,
    Task,
    Wanted,
)
from darkroom.synthesis.combine import combining, standing
from darkroom.synthesis.guidance import guided, kept, led_away, switched, together, watched, without_riders
from darkroom.synthesis.mixing import regional, seamless, turned
from darkroom.synthesis.noise import Between, SeededNoise, initial_noise
from darkroom.synthesis.prediction import PredictionKind
from darkroom.synthesis.spacing import begun, spaced

CHANGED_AT, LOOKS = 0.8, 4  # where and how often sentences are compared
CHANGED, CHANGED_ALONE = 0.35, 0.2  # share of their largest difference; where the other things are told apart


class SteeredSynthesizer(ABC):
    """The ``Synthesizer`` of a diffusion network, whosever it is.

    ``guides_itself``: guidance is within the network, which is told how strong it is to be.
    """

    NETWORK: str = "denoiser"  # of its calls
    schedule: NoiseSchedule
    kind: PredictionKind
    guides_itself: bool = False

    @abstractmethod
    def check(self, sampler: str, guidance: Guidance) -> None:
        """Raises BadInput for what this network cannot be drawn with."""

    @abstractmethod
    def shift(self, shape: tuple[int, int, int]) -> float:
        """How far the steps of a latent of this shape move towards the noise, where nobody says."""

    @abstractmethod
    def read(self, said: Sequence[Conditioning]) -> Task[Sequence[Tensor]]:
        """What the network makes of each text, once for all steps."""

    @abstractmethod
    def denoiser(self, said: Conditioning, text: Tensor, guidance: float | None) -> Denoise:
        """One evaluation of the network, turned into the clean estimate. ``text`` is what it made of what is said;
        ``guidance`` what a network that guides itself is told, None: it is none."""

    @abstractmethod
    def evaluate(self, calls: Sequence[Call]) -> list[Tensor]:
        """Answers calls that share one batch key, in order."""

    def task(self, wanted: Wanted, negative: Said, spec: SynthesisSpec, seed: int) -> Task[Latent]:
        """From noise, or from a start between noise and a latent, to a latent."""
        shift = self.shift(spec.shape) if spec.shift is None else spec.shift
        still = standing(spec.guidance, spec.steps)
        levels = spaced(self.schedule, spec.steps + still, shift, spec.spacing)
        x, path = started(spec, seed, levels, still)
        denoise = yield from self._steered(wanted, negative, spec, levels[still:])
        if wanted.finisher is not None:
            since, finishing = wanted.finisher
            other = yield from finishing(spec, levels[still:])
            denoise = switched([(1.0, denoise), (since, without_riders(other, spec.shape[0]))])
        if any(spec.seamless):
            denoise = seamless(denoise, *spec.seamless)
        if spec.start is not None and spec.start.drawn is not None:
            denoise = kept(denoise, spec.start.latent, spec.start.drawn)
        if spec.watch is not None:
            denoise = watched(denoise, spec.watch)
        if spec.around is not None:
            denoise = spec.around(denoise, path)
        return (yield from spec.sampler(denoise, x, path, SeededNoise(seed, f"steps{spec.stream}")))

    def steered(self, wanted: Wanted, negative: Said, spec: SynthesisSpec, levels: Sequence[Level]) -> Task[Denoise]:
        """The estimate of what is wanted, with the spec's guidance: for another model's picture to be finished by."""
        return (yield from self._steered(wanted, negative, spec, levels))

    def _steered(self, wanted: Wanted, negative: Said, spec: SynthesisSpec, levels: Sequence[Level]) -> Task[Denoise]:
        ask = self._led if self.guides_itself else self._guided
        return (yield from ask(wanted, negative, spec, levels))

    def _guided(self, wanted: Wanted, negative: Said, spec: SynthesisSpec, levels: Sequence[Level]) -> Task[Denoise]:
        """A plain denoiser's estimate with guidance around it: away from the negative prompt, or from what a weaker
        model says of the same (autoguidance, arXiv:2406.02507 eq. 3, the same rule)."""
        away = self._said(negative, levels) if wanted.weaker is None else wanted.weaker(levels)
        plus, minus = yield from together(self._wanted(wanted, levels), away)
        how = spec.guidance
        return guided(plus, minus, how.scale, how.interval, combining(how, self.kind))

    def _led(self, wanted: Wanted, negative: Said, spec: SynthesisSpec, levels: Sequence[Level]) -> Task[Denoise]:
        """The estimate of a network that guides itself; three evaluations in place of one where a thing is unwanted."""
        scale = spec.guidance.scale
        if spec.nothing is None:
            return (yield from self._wanted(wanted, levels, scale))
        led, nothing, minus = yield from together(
            self._wanted(wanted, levels, scale),
            self._said([(0, spec.nothing)], levels, 1.0),
            self._said(negative, levels, 1.0),
        )
        return led_away(led, nothing, minus, scale, GUIDED_TIMES)

    def estimate(self, wanted: Wanted, levels: Sequence[Level]) -> Task[Denoise]:
        """The estimate of what is wanted, without guidance: for a better model to be led away from."""
        return (yield from self._wanted(wanted, levels, self._unguided))

    def changes(self, latent: Latent, change: Change, seed: int) -> Task[Bool[Tensor, "1 height width"]]:
        """Where two sentences want different things of a picture (DiffEdit, arXiv:2210.11427, step 1): it is noised to
        one level a few times, and both are asked. Where other things are named, a cell must also miss the one that
        changes more than the others: it is asked without each, too. Where none is named, or no cell is left, the cells
        around count as well.
        """
        level = self.schedule.level(CHANGED_AT)
        told = [said for said in (change.before, change.after, change.alone, change.others) if said is not None]
        ask = yield from together(*(self._said(said, [level], self._unguided) for said in told))
        noise = SeededNoise(seed, "changes")
        noised = [level.alpha * latent + level.sigma * noise.draw(latent.shape) for _ in range(LOOKS)]
        found = yield from together(*(one(x, level) for one in ask for x in noised))
        before, *others = torch.stack(found).view(len(ask), LOOKS, *latent.shape)
        after, *missed = (apart(before, other) for other in others)
        if missed:
            without_others, without_it = missed
            its_own = (after > CHANGED_ALONE) & (without_it > without_others)
            if its_own.any():
                return its_own
        return F.max_pool2d((after > CHANGED).float()[None], 3, stride=1, padding=1)[0] > 0

    def seen(self, picture: Pixels, codec: LatentCodec) -> Task[Latent]:
        """What rides on x of a control map: the pixels of each cell."""
        yield from ()
        return cells_of(picture, picture.shape[2] // codec.shape(picture.shape[2], picture.shape[1])[2])

    @property
    def _unguided(self) -> float | None:
        """What the network is told where it is not to guide."""
        return 1.0 if self.guides_itself else None

    def _wanted(self, wanted: Wanted, levels: Sequence[Level], guidance: float | None = None) -> Task[Denoise]:
        """The estimate of everything that is wanted, in one."""
        others = [] if wanted.toward is None else [wanted.toward[0]]
        others += [said for _, said in wanted.regions]
        whole, *more = yield from together(*(self._said(said, levels, guidance) for said in (wanted.said, *others)))
        if wanted.toward is not None:
            whole = turned(whole, more.pop(0), wanted.toward[1])
        if not wanted.regions:
            return whole
        return regional(whole, [(box, one) for (box, _), one in zip(wanted.regions, more, strict=True)])

    def _said(self, said: Said, levels: Sequence[Level], guidance: float | None = None) -> Task[Denoise]:
        """The estimate given what is said, which may be another thing from a step on."""
        texts = yield from self.read([conditioning for _, conditioning in said])
        found = [
            (levels[min(since, len(levels) - 1)].t, self.denoiser(conditioning, text, guidance))
            for (since, conditioning), text in zip(said, texts, strict=True)
        ]
        return switched(found)


def apart(one: Float[Tensor, "looks c h w"], other: Float[Tensor, "looks c h w"]) -> Float[Tensor, "1 h w"]:
    """How far two estimates are apart in each cell, smoothed; 0 where they are nearest and 1 where farthest."""
    distance = (one - other).abs().mean((0, 1))[None, None]
    smooth = F.avg_pool2d(F.pad(distance, (1, 1, 1, 1), mode="replicate"), 3, stride=1)[0]
    low, high = smooth.min(), smooth.max()
    return (smooth - low) / (high - low).clamp_min(1e-9)


def started(spec: SynthesisSpec, seed: int, levels: Sequence[Level], still: int) -> tuple[Latent, Sequence[Level]]:
    """The x to begin with, and the levels from there on.

    At full strength what is drawn begins with noise alone, as without a start, and what is kept with the latent under
    it; below that everything does, and on the way. ``still`` steps of the levels nothing moves, at full strength.
    """
    noise: NoiseSource = SeededNoise(seed, f"start{spec.stream}")
    if spec.variation is not None:
        other, share = spec.variation
        noise = Between(noise, SeededNoise(other, f"start{spec.stream}"), share)
    start = spec.start
    if start is None:
        return initial_noise(noise, spec.shape, levels[0]), levels[still:]
    if start.strength < 1.0:
        path = begun(levels[still:], start.strength)
        return path[0].alpha * start.latent + initial_noise(noise, spec.shape, path[0]), path
    x, path = initial_noise(noise, spec.shape, levels[0]), levels[still:]
    if start.drawn is not None:
        noised = path[0].alpha * start.latent + path[0].sigma / levels[0].sigma * x
        x = torch.where(start.drawn, x, noised)
    return x, path
