"""The diffusion family: a denoiser, a noise schedule and the samplers behind the ``Synthesizer`` protocol."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from darkroom.contracts.errors import BadInput
from darkroom.contracts.request import GUIDED_TIMES
from darkroom.nn.dit import Denoiser
from darkroom.nn.slots import column, filled
from darkroom.protocols import (
    Call,
    Change,
    Conditioning,
    Denoise,
    Guidance,
    Latent,
    Level,
    NoiseSource,
    Said,
    SynthesisSpec,
    Task,
    Wanted,
)
from darkroom.synthesis.combine import combining, standing
from darkroom.synthesis.guidance import guided, kept, led_away, switched, together, watched
from darkroom.synthesis.mixing import regional, seamless, turned
from darkroom.synthesis.noise import Between, RectifiedFlow, SeededNoise, initial_noise
from darkroom.synthesis.prediction import to_x0
from darkroom.synthesis.samplers import FLOW_MAP
from darkroom.synthesis.spacing import begun, spaced

CHANGED_AT, LOOKS = 0.8, 4  # where and how often sentences are compared
CHANGED, CHANGED_ALONE = 0.35, 0.2  # share of their largest difference; where the other things are told apart
TRAINED_SIDE = 16  # latent cells a side of the training pictures; larger ones need more noise


class DiffusionSynthesizer:
    """Rectified flow over latents with classifier-free guidance; a flow map has the guidance within and is told it.

    A flow map answers for the step a sampler says it takes, and where none is said for the one level: its guided
    velocity there, so that every sampler draws with it, at one evaluation where a plain denoiser needs two.
    """

    def __init__(self, network: Denoiser, role: str = "") -> None:
        """``role`` sets its calls apart from those of another model's networks."""
        self.network, self.TEXT, self.NETWORK = network, f"{role}denoiser.text", f"{role}denoiser"
        self.schedule = RectifiedFlow()

    def check(self, sampler: str, guidance: Guidance) -> None:
        """Raises BadInput for few steps without a flow map, and for guidance that a flow map was not taught."""
        taught = self.network.config.flow_map
        if taught is None:
            if sampler == FLOW_MAP:
                rule = "takes steps that only a flow map can, and this model is none"
                raise BadInput(f"sampler {sampler}", rule, "take dpmpp-2m, or a model of `darkroom train flow-map`")
        elif not taught[0] <= guidance.scale <= taught[1]:
            rule = f"is not from {taught[0]:g} to {taught[1]:g}, which is all this flow map was taught"
            raise BadInput(f"guidance {guidance.scale:g}", rule, "give a number in between")
        elif guidance != Guidance(guidance.scale, interval=GUIDED_TIMES):
            rule = "is within the network, and this one has it the plain way"
            raise BadInput("the guidance of a flow map", rule, "leave all but its strength out")

    def task(self, wanted: Wanted, negative: Said, spec: SynthesisSpec, seed: int) -> Task[Latent]:
        """From noise, or from a start between noise and a latent, to a latent."""
        shift = shift_for(spec.shape) if spec.shift is None else spec.shift
        still = standing(spec.guidance, spec.steps)
        levels = spaced(self.schedule, spec.steps + still, shift, spec.spacing)
        x, path = started(spec, seed, levels, still)
        ask = self._guided if self.network.config.flow_map is None else self._mapped
        denoise = yield from ask(wanted, negative, spec, levels[still:])
        if any(spec.seamless):
            denoise = seamless(denoise, *spec.seamless)
        if spec.start is not None and spec.start.drawn is not None:
            denoise = kept(denoise, spec.start.latent, spec.start.drawn)
        if spec.watch is not None:
            denoise = watched(denoise, spec.watch)
        return (yield from spec.sampler(denoise, x, path, SeededNoise(seed, f"steps{spec.stream}")))

    def _guided(self, wanted: Wanted, negative: Said, spec: SynthesisSpec, levels: Sequence[Level]) -> Task[Denoise]:
        """A plain denoiser's estimate with guidance around it: away from the negative prompt, or from what a weaker
        model says of the same (autoguidance, arXiv:2406.02507 eq. 3, the same rule)."""
        away = self._said(negative, levels) if wanted.weaker is None else wanted.weaker(levels)
        plus, minus = yield from together(self._wanted(wanted, levels), away)
        how = spec.guidance
        return guided(plus, minus, how.scale, how.interval, combining(how, "flow"))

    def _mapped(self, wanted: Wanted, negative: Said, spec: SynthesisSpec, levels: Sequence[Level]) -> Task[Denoise]:
        """A flow map's estimate; three evaluations in place of one where something is unwanted."""
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

    @property
    def _unguided(self) -> float | None:
        """What the network is told where it is not to guide."""
        return None if self.network.config.flow_map is None else 1.0

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
        texts = yield [self._text(conditioning) for _, conditioning in said]
        found = [
            (levels[min(since, len(levels) - 1)].t, self._denoiser(conditioning, keys, guidance))
            for (since, conditioning), keys in zip(said, texts, strict=True)
        ]
        return switched(found)

    def _text(self, conditioning: Conditioning) -> Call:
        return Call(self.TEXT, {"tokens": conditioning.tokens})

    def _denoiser(self, conditioning: Conditioning, keys: Tensor, guidance: float | None = None) -> Denoise:
        """One network evaluation, turned into the clean estimate; ``guidance`` is for a flow map, None: it is none."""

        keys = weighed(keys, conditioning)

        def denoise(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
            inputs: dict[str, Tensor | float] = {
                "x": x,
                "t": level.t,
                "keys": keys,
                "mask": conditioning.mask,
                "pooled": conditioning.pooled,
            }
            if guidance is not None:
                inputs |= {"toward": (toward or level).t, "guidance": guidance}
            [velocity] = yield [Call(self.NETWORK, inputs)]
            return to_x0("flow", velocity, x, level)

        return denoise

    def evaluate(self, calls: Sequence[Call]) -> list[Tensor]:
        """Text keys, or velocities; time and pooled vectors go through their layers one row at a time, because
        matrix products over (batch, features) give other bits for another batch size."""
        parameter = next(self.network.parameters())
        device, dtype = parameter.device, parameter.dtype
        if calls[0].network == self.TEXT:
            return list(self.network.text_keys(column(calls, "tokens").to(device, dtype))[: len(calls)])
        rows = [self._condition(call, device, dtype) for call in calls]
        condition = filled([row[0] for row in rows]), filled([row[1] for row in rows])
        x = column(calls, "x").to(device, dtype)
        keys, mask = column(calls, "keys").to(device, dtype), column(calls, "mask").to(device)
        velocity, _ = self.network(x, condition, keys, mask)
        return list(velocity[: len(calls)].float().cpu())

    def _condition(self, call: Call, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        pooled = call.inputs["pooled"]
        assert isinstance(pooled, Tensor)
        named = [name for name in ("toward", "guidance") if name in call.inputs]
        t, *more = (torch.tensor([call.inputs[name]], device=device) for name in ("t", *named))
        shared, final = self.network.condition(t, pooled[None].to(device, dtype), *more)
        return shared[0], final[0]


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


def weighed(keys: Float[Tensor, "depth 2 tokens width"], said: Conditioning) -> Float[Tensor, "depth 2 tokens width"]:
    """Keys and values of a text whose values count as said: what an image token takes from a word is so much of it.

    (Re-weighting of arXiv:2208.01626, section 3.2, on values in place of attention maps, which is the same sum.)
    """
    if said.weights is None:
        return keys
    share = torch.stack([torch.ones_like(said.weights), said.weights])
    return keys * share[None, :, :, None].to(keys)


def shift_for(shape: tuple[int, int, int]) -> float:
    """Time shift sqrt(cells / trained cells) (arXiv:2403.03206 eq. 23): a larger picture hides less under noise."""
    return max(1.0, math.sqrt(shape[1] * shape[2]) / TRAINED_SIDE)
