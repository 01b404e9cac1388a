"""A public checkpoint's denoiser behind the ``Synthesizer`` protocol: how it is asked is all that is its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from darkroom.contracts.errors import BadInput
from darkroom.nn.public.branches import Wearing, bound
from darkroom.nn.public.features import Features, unridden, use_of
from darkroom.nn.public.quick import packed
from darkroom.nn.slots import in_one_pass
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
    Pixels,
    Said,
    SynthesisSpec,
    Task,
    Wanted,
)
from darkroom.synthesis.combine import ZERO_STAR
from darkroom.synthesis.external.pairs import paired
from darkroom.synthesis.prediction import PredictionKind, to_x0
from darkroom.synthesis.samplers import FLOW_MAP
from darkroom.synthesis.steered import SteeredSynthesizer

# (network, x, time, tokens, pooled, guidance) -> what it predicts; tensors with a batch axis, the time as it counts it.
# Of a family that has ControlNets also, last, what each of them adds to features.
Ask = Callable[..., Tensor]
# (ControlNet, x, time, tokens, pooled, guidance, cells of its map, scale) -> what it adds to features.
AskControl = Callable[[Any, Tensor, float, Tensor, Tensor, float | None, Tensor, float], Features]


@dataclass(frozen=True, slots=True)
class Controlling:
    """How a family's ControlNets are asked.

    A latent has so many ``channels``. ``latent``: what they see of a map is its latent, and not its pixels.
    """

    ask: AskControl
    channels: int
    latent: bool = False


@dataclass(frozen=True, slots=True)
class Asking:
    """How a family's denoiser is asked, and what its answers are.

    ``time`` gives a level's time as the network counts it. ``guides_itself``: it is told how strong guidance is to be,
    and evaluates once a step; ``guidable`` False: guidance has no meaning to it. ``shift`` is where a latent's steps
    lie, where nobody says. ``control`` is how the family's ControlNets are asked; None: it has none here. ``unwanted``
    is how a negative prompt is told from one that is wanted.
    """

    ask: Ask
    kind: PredictionKind
    schedule: NoiseSchedule
    time: Callable[[Level], float]
    shift: Callable[[tuple[int, int, int]], float] = lambda shape: 1.0
    guides_itself: bool = False
    guidable: bool = True
    control: Controlling | None = None
    unwanted: Callable[[Conditioning], Conditioning] = lambda said: said


class PublicSynthesizer(SteeredSynthesizer):
    """Diffusion with a network of diffusers."""

    def __init__(self, network: Any, asking: Asking) -> None:
        self.network = packed(network.eval())
        self.asking, self.wearing = asking, Wearing()
        self.controls: dict[str, Any] = {}  # ControlNets at hand, by their hashes
        self.schedule, self.kind, self.guides_itself = asking.schedule, asking.kind, asking.guides_itself

    def called(self, role: str) -> PublicSynthesizer:
        """The same, whose calls are set apart from those of another model."""
        other = copy(self)
        other.NETWORK = f"{role}{self.NETWORK}"
        return other

    def check(self, sampler: str, guidance: Guidance) -> None:
        """Raises BadInput for what a network of this kind cannot be drawn with."""
        if sampler == FLOW_MAP:
            rule = "takes steps that only a flow map can, and this model is none"
            raise BadInput(f"sampler {sampler}", rule, "take euler or dpmpp-2m")
        if guidance.method == ZERO_STAR and self.kind != "flow":
            rule = f"is a rule for rectified flows, and this model predicts {self.kind}"
            raise BadInput(f"guidance method {guidance.method}", rule, "take classifier-free or projected")
        if not self.asking.guidable and guidance.scale != 1.0:
            rule = "has no meaning to this model, which was trained to draw without"
            raise BadInput(f"guidance {guidance.scale:g}", rule, "leave it out, or give 1")
        if self.guides_itself and guidance != Guidance(guidance.scale, interval=(0.0, 1.0)):
            rule = "is within the network, and this one has it the plain way"
            raise BadInput("the guidance of this model", rule, "leave all but its strength out")

    def task(self, wanted: Wanted, negative: Said, spec: SynthesisSpec, seed: int) -> Task[Latent]:
        """As any network's; raises BadInput for a negative prompt where there is nothing to lead away with."""
        if spec.nothing is not None and (self.guides_itself or not self.asking.guidable):
            rule = "has no meaning to this model, which cannot be led away from anything"
            raise BadInput("a negative prompt", rule, "leave it out")
        return (yield from paired(super().task(wanted, negative, spec, seed), self.NETWORK))

    def steered(self, wanted: Wanted, negative: Said, spec: SynthesisSpec, levels: Sequence[Level]) -> Task[Denoise]:
        """The estimate of what is wanted, each evaluation of it in passes of its own."""
        denoise = yield from paired(self._steered(wanted, negative, spec, levels), self.NETWORK)
        return lambda x, level, toward=None, /: paired(denoise(x, level, toward), self.NETWORK)

    def _steered(self, wanted: Wanted, negative: Said, spec: SynthesisSpec, levels: Sequence[Level]) -> Task[Denoise]:
        unwanted = [(since, self.asking.unwanted(conditioning)) for since, conditioning in negative]
        return (yield from super()._steered(wanted, unwanted, spec, levels))

    def changes(self, latent: Latent, change: Change, seed: int) -> Task[Bool[Tensor, "1 height width"]]:
        """Which cells of a picture would be others if another thing were said of it."""
        return (yield from paired(super().changes(latent, change, seed), self.NETWORK))

    def shift(self, shape: tuple[int, int, int]) -> float:
        """Where the family's own pipeline has them."""
        return self.asking.shift(shape)

    def seen(self, picture: Pixels, codec: LatentCodec) -> Task[Latent]:
        """What rides on x of a control map: its pixels, or its latent where the family's ControlNets read that."""
        if self.asking.control is not None and self.asking.control.latent:
            return (yield from codec.encode(picture))
        return (yield from super().seen(picture, codec))

    def read(self, said: Sequence[Conditioning]) -> Task[Sequence[Tensor]]:
        """Texts as they are: such a network looks at their vectors anew in every step."""
        yield from ()
        return [conditioning.tokens for conditioning in said]

    def denoiser(self, said: Conditioning, text: Tensor, guidance: float | None) -> Denoise:
        """What the network predicts, turned into the clean estimate."""

        def denoise(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
            inputs: dict[str, Tensor | float] = {
                "x": x,
                "time": self.asking.time(level),
                "tokens": text,
                "pooled": said.pooled,
            }
            if guidance is not None:
                inputs["guidance"] = guidance
            [answer] = yield [Call(self.NETWORK, inputs)]
            return to_x0(self.kind, answer, x[: len(answer)], level)  # maps ride on x

        return denoise

    def asked(self, calls: Sequence[Call]) -> list[Any]:
        """The networks that calls go through."""
        worn = {use_of(name) for call in calls for name in call.adapters}
        return [self.network, *(network for name, network in self.controls.items() if name in worn)]

    def evaluate(self, calls: Sequence[Call]) -> list[Tensor]:
        """What the network predicts for each call, whose rows are one pass."""
        found = []
        for call in calls:
            bare, worn = self.wearing.plain(call)
            controls, inputs = self._controls(bare)
            with bound(self.network, worn):
                found.append(in_one_pass(self.network, inputs, partial(self._answer, controls)))
        return found

    def _controls(self, call: Call) -> tuple[list[tuple[Any, float]], dict[str, Tensor | float]]:
        """The ControlNets that a call carries, each with its scale, and its other inputs."""
        scales = {name: f"scale of {name}" for name in call.adapters}
        inputs = {name: value for name, value in call.inputs.items() if name not in scales.values()}
        return [(self.controls[use_of(name)], float(call.inputs[scale])) for name, scale in scales.items()], inputs

    def _answer(
        self,
        controls: Sequence[tuple[Any, float]],
        x: Tensor,
        time: float,
        tokens: Tensor,
        pooled: Tensor,
        guidance: float | None = None,
    ) -> Tensor:
        if not controls:
            return self.asking.ask(self.network, x, time, tokens, pooled, guidance)
        assert self.asking.control is not None  # of a family that opens them
        x, maps = unridden(x, self.asking.control.channels, len(controls))
        added = [
            self.asking.control.ask(network, x, time, tokens, pooled, guidance, cells, scale)
            for (network, scale), cells in zip(controls, maps, strict=True)
        ]
        return self.asking.ask(self.network, x, time, tokens, pooled, guidance, added)
