"""Teaching a denoiser to take long steps: a flow map, by MeanFlow, from the denoiser it was made of.

The mean velocity u(x, t, r) of the flow between the times r and t makes x - (t - r) u the place it carries x to. By
definition (t - r) u is the integral of v from r to t; its derivative by t along the flow gives the identity

    u = v - (t - r) du/dt,    du/dt = v du/dx + du/dt at fixed r                  (arXiv:2505.13447 eq. 6 and 8)

whose right side, with a gradient stopped, is what the network learns (eq. 10-11). Which blocks are told r is decoupled
MeanFlow (arXiv:2510.24474, section 3.1), so that the network begins as the denoiser it is made of, exact where r = t.

v is that of the frozen denoiser with classifier-free guidance, by as much as the network is told (as in guided
distillation, arXiv:2210.03142, section 3.1): one evaluation then does what two did. A part of the pictures is taught at
guidance 1, which is what negative prompts are read at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.autograd.forward_ad as forward
from jaxtyping import Bool, Float
from torch import Tensor, nn

from darkroom.contracts.card import Defaults
from darkroom.contracts.request import GUIDED_TIMES
from darkroom.data.ahead import Ahead
from darkroom.nn.autoencoder import Autoencoder
from darkroom.nn.dit import Denoiser, DenoiserConfig
from darkroom.nn.text import TextConfig, TextEncoder, pooled
from darkroom.synthesis.samplers import FLOW_MAP
from darkroom.training.compiled import compiled
from darkroom.training.objectives.latents import LatentObjective, Taught, Teaching, by_time, noised, summed

DEFAULTS = Defaults(width=128, height=128, steps=4, sampler=FLOW_MAP, guidance=3.5)  # of a model of such a run
GUIDANCE = (1.0, 6.0)  # what it can be told
TEXT = "text."  # prefix of the frozen text encoder's weights in the hand-over

Velocity = Callable[[Tensor, Tensor], Tensor]  # of (x, t), where a step begins


@dataclass(frozen=True)
class FlowMapObjectiveConfig:
    """Shares of a batch. A row learns what is left of one of so many even steps, from a time in it, or all of it."""

    network: DenoiserConfig = field(default_factory=lambda: DenoiserConfig(flow_map=GUIDANCE))
    text: TextConfig = field(default_factory=TextConfig)
    length: int = 32  # tokens a caption is padded to
    teacher: str = ""  # fingerprint of the denoiser it learns from
    caption_drop: float = 0.1
    instant_share: float = 0.25  # of the pictures have r = t: what the denoiser knew is not forgotten
    unguided_share: float = 0.2  # of the pictures are taught at guidance 1
    counts: tuple[int, ...] = (1, 2, 4, 4, 4, 8)  # of steps a picture takes, drawn for each row
    whole_share: float = 0.5  # of the rows learn all of a step
    solves: int = 3  # steps of the denoiser a target begins with; 0: MeanFlow's derivative is the target instead
    reach: float = 0.25  # of time that they cover at most
    weight_floor: float = 0.01  # c of the adaptive weight
    weight_power: float = 0.5  # p of the adaptive weight; 0: none


class Said(NamedTuple):
    """What a network is told of each row besides its times."""

    guidance: Tensor
    words: Tensor
    vector: Tensor
    mask: Tensor


class FlowMapTraining(nn.Module):
    """The network as one function of what it is told, which can be compiled."""

    def __init__(self, network: DenoiserConfig) -> None:
        super().__init__()
        self.denoiser = Denoiser(network)

    def forward(
        self, x: Tensor, t: Tensor, toward: Tensor, guidance: Tensor, words: Tensor, vector: Tensor, mask: Tensor
    ) -> Tensor:
        """Mean velocity (B, C, H, W) from t to ``toward``."""
        condition = self.denoiser.condition(t, vector, toward, guidance)
        velocity, _ = self.denoiser(x, condition, self.denoiser.text_keys(words), mask)
        return velocity


class FlowMapObjective(LatentObjective):
    """See the module's first lines."""

    name = "flow-map"
    DEFAULTS = DEFAULTS

    def __init__(
        self,
        module: FlowMapTraining,
        config: FlowMapObjectiveConfig,
        teaching: Teaching,
        autoencoder: Autoencoder,
        teacher: Denoiser,
        text: TextEncoder,
        *,
        compiled: bool = False,
        ahead: Ahead[Taught] | None = None,
    ) -> None:
        """``teacher`` is the frozen denoiser whose flow is learnt, ``text`` the frozen encoder both are told by."""
        super().__init__(config, teaching, autoencoder, ahead)
        self.module: FlowMapTraining = module
        self.settings = config
        self.teacher, self._text = teacher.eval().requires_grad_(False), text.eval().requires_grad_(False)
        self._forward: Callable[..., Any] | None = None if compiled else module

    @property
    def denoiser(self) -> Denoiser:
        return self.module.denoiser

    @property
    def text(self) -> TextEncoder:
        return self._text

    def finish(self) -> Mapping[str, Tensor]:
        """The text encoder, as it was: a model needs it."""
        return {f"{TEXT}{name}": tensor.float() for name, tensor in self.text.state_dict().items()}

    def loss(self, first: int, count: int, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        composed, tokens, *_ = self.taught(first, count, generator)
        t, r, guidance = (drawn.to(self.device) for drawn in self._steps(count, generator))
        x0, noise = self.mixed(composed.pixels, generator)
        dtype = self.denoiser.out.weight.dtype
        x = noised(x0, noise, t).to(dtype)
        with torch.no_grad():
            words = self.text(*tokens).to(dtype)
            caption = Said(guidance, words, pooled(words, tokens.mask), tokens.mask)
            v = self._velocity(x, t, caption)
            target = self._target(x, t, r, v, caption)
        told = (x, t, r, *caption)
        if self._forward is None:
            self._forward = compiled(self.module, *told)
        error = (self._forward(*told).float() - target).square().mean((1, 2, 3))  # (B,)
        loss = adaptive(error, self.settings.weight_floor, self.settings.weight_power).mean()
        instant = r == t
        bend = (target - v).square().mean((1, 2, 3))[~instant]
        metrics = {"map": summed(error[~instant]), "instant": summed(error[instant]), "bend": summed(bend)}
        return loss, {**metrics, **by_time(error.detach(), t)}

    def _steps(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Times t and r of the rows, the first of them with r = t, and the guidance each is told."""
        settings = self.settings
        n = torch.tensor(settings.counts)[torch.randint(len(settings.counts), (count,), generator=generator)]
        t = torch.rand(count, generator=generator)
        step = (t * n).ceil().clamp_min(1)
        t = torch.where(torch.rand(count, generator=generator) < settings.whole_share, step / n, t)
        r = torch.where(torch.arange(count) < self._instant(count), t, (step - 1) / n)
        lowest, highest = settings.network.flow_map or GUIDANCE
        guidance = lowest + (highest - lowest) * torch.rand(count, generator=generator)
        plain = torch.rand(count, generator=generator) < settings.unguided_share
        return t, r, torch.where(plain, 1.0, guidance)

    def _instant(self, count: int) -> int:
        """How many rows of a batch have r = t: they come first, and need no derivative."""
        return round(count * self.settings.instant_share)

    def _velocity(self, x: Tensor, t: Tensor, said: Said) -> Float[Tensor, "b c h w"]:
        """The frozen denoiser's velocity, guided as a sampler would guide it (arXiv:2207.12598 eq. 6), fp32."""
        nothing = self.nothing()
        empty = self.text(*nothing).to(said.words.dtype)
        words = torch.cat([said.words, empty.expand_as(said.words)])
        vector = torch.cat([said.vector, pooled(empty, nothing.mask).expand_as(said.vector)])
        mask = torch.cat([said.mask, nothing.mask.expand_as(said.mask)])
        both = x.to(words.dtype).repeat(2, 1, 1, 1)
        velocity, _ = self.teacher(
            both, self.teacher.condition(t.repeat(2), vector), self.teacher.text_keys(words), mask
        )
        plus, minus = velocity.float().chunk(2)
        return minus + acting(said.guidance, t)[:, None, None, None] * (plus - minus)

    def _target(self, x: Tensor, t: Tensor, r: Tensor, v: Tensor, said: Said) -> Tensor:
        """What the network should answer: v where r = t, and elsewhere what the solver or the identity says."""
        k, settings = self._instant(len(x)), self.settings
        if k == len(x):
            return v
        later = Said(*(part[k:] for part in said))
        rows = x[k:], t[k:], r[k:], v[k:]

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            return self._velocity(x, t, later)

        def u(x: Tensor, t: Tensor) -> Tensor:
            return self.module(x, t, r[k:], *later)

        if settings.solves:
            return torch.cat([v[:k], solved(velocity, u, *rows, settings.reach, settings.solves)])
        return torch.cat([v[:k], derived(u, *rows)])


def solved(
    velocity: Velocity,
    u: Velocity,
    x: Float[Tensor, "b c h w"],
    t: Float[Tensor, " b"],
    r: Float[Tensor, " b"],
    v: Float[Tensor, "b c h w"],
    reach: float,
    solves: int,
) -> Float[Tensor, "b c h w"]:
    """Mean velocity of a step whose first part the denoiser takes in small steps, and the network the rest in one: the
    target of consistency trajectory models (arXiv:2310.02279 eq. 5). No gradient.

    The small steps are those of two-step Adams-Bashforth, the first of them Euler's.

    Args:
        velocity: the denoiser's.
        u: the network's mean velocity to ``r``.
        x, t, r: where steps begin, and the times they go from and to.
        v: ``velocity(x, t)``.
        reach: the time that the small steps cover at most.
        solves: how many of them there are.
    """
    with torch.no_grad():
        s = torch.maximum(r, t - reach)
        h = (t - s) / solves
        end, before = x.to(v.dtype) - wide(h) * v, v
        for i in range(1, solves):
            now = velocity(end, t - i * h)
            end, before = end - wide(h) * (1.5 * now - 0.5 * before), now
        rest = u(end.to(x.dtype), s).to(v.dtype)
        return (x.to(v.dtype) - end + wide(s - r) * rest) / wide(t - r)


def derived(
    u: Velocity,
    x: Float[Tensor, "b c h w"],
    t: Float[Tensor, " b"],
    r: Float[Tensor, " b"],
    v: Float[Tensor, "b c h w"],
) -> Float[Tensor, "b c h w"]:
    """v - (t - r) du/dt along the flow (arXiv:2505.13447 eq. 10), in the dtype of ``v``; forward mode, no gradient.

    In bf16 the derivative is off by 2 % where it was measured, which is less than the network itself is.
    """
    with torch.no_grad(), forward.dual_level():
        moved = u(forward.make_dual(x, v.to(x.dtype)), forward.make_dual(t, torch.ones_like(t)))
        change = forward.unpack_dual(moved).tangent
    assert change is not None
    return v - wide(t - r).to(v.dtype) * change.to(v.dtype)


def wide(times: Float[Tensor, " b"]) -> Float[Tensor, "b 1 1 1"]:
    """A number for each row, to multiply latents."""
    return times[:, None, None, None]


def acting(guidance: Float[Tensor, " b"], t: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """The guidance that acts at each time: 1, which is none, outside of GUIDED_TIMES."""
    inside: Bool[Tensor, " b"] = (t >= GUIDED_TIMES[0]) & (t <= GUIDED_TIMES[1])
    return torch.where(inside, guidance, torch.ones_like(guidance))


def adaptive(error: Float[Tensor, " b"], floor: float, power: float) -> Float[Tensor, " b"]:
    """Errors weighted by 1 / (error + c)^p, the weight's gradient stopped (arXiv:2505.13447 eq. 22).

    Without it the long steps, whose targets are wide of the mark at first, would drown the short ones.
    """
    return error / (error.detach() + floor) ** power
