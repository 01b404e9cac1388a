"""Our own diffusion family: a denoiser of ``nn``, a rectified flow, and what steers it, behind ``Synthesizer``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from darkroom.contracts.errors import BadInput
from darkroom.contracts.request import GUIDED_TIMES
from darkroom.nn.dit import Denoiser, patches
from darkroom.nn.public.features import unridden, use_of
from darkroom.nn.slots import column, filled, scales_of
from darkroom.protocols import Call, Conditioning, Denoise, Guidance, Latent, LatentCodec, Level, Pixels, Task
from darkroom.synthesis.noise import RectifiedFlow
from darkroom.synthesis.prediction import to_x0
from darkroom.synthesis.samplers import FLOW_MAP
from darkroom.synthesis.steered import SteeredSynthesizer

TRAINED_SIDE = 16  # latent cells a side of the training pictures; larger ones need more noise


class DiffusionSynthesizer(SteeredSynthesizer):
    """Rectified flow over latents with classifier-free guidance; a flow map has the guidance within and is told it.

    A flow map answers for the step a sampler says it takes, and where none is said for the one level: its guided
    velocity there, so that every sampler draws with it, at one evaluation where a plain denoiser needs two.
    """

    def __init__(self, network: Denoiser, role: str = "") -> None:
        """``role`` sets its calls apart from those of another model's networks."""
        self.network, self.TEXT, self.NETWORK = network, f"{role}denoiser.text", f"{role}denoiser"
        self.schedule, self.kind = RectifiedFlow(), "flow"
        self.guides_itself = network.config.flow_map is not None
        self.sights: dict[str, Tensor] = {}  # of the controls at hand, by their hashes

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

    def shift(self, shape: tuple[int, int, int]) -> float:
        """See :func:`shift_for`."""
        return shift_for(shape)

    def read(self, said: Sequence[Conditioning]) -> Task[Sequence[Tensor]]:
        """Keys and values of every layer, for each text."""
        return (yield [Call(self.TEXT, {"tokens": conditioning.tokens}) for conditioning in said])

    def denoiser(self, said: Conditioning, text: Tensor, guidance: float | None) -> Denoise:
        """The velocity, turned into the clean estimate; ``guidance`` is for a flow map."""
        keys, mask = weighed(text, said), attention_to(said)

        def denoise(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
            inputs: dict[str, Tensor | float] = {
                "x": x,
                "t": level.t,
                "keys": keys,
                "mask": mask,
                "pooled": said.pooled,
            }
            if guidance is not None:
                inputs |= {"toward": (toward or level).t, "guidance": guidance}
            [velocity] = yield [Call(self.NETWORK, inputs)]
            return to_x0("flow", velocity, x[: len(velocity)], level)  # maps ride on x

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
        x, seen = self._seen(calls, column(calls, "x").to(device, dtype))
        keys, mask = column(calls, "keys").to(device, dtype), column(calls, "mask").to(device)
        velocity, _ = self.network(x, condition, keys, mask, seen=seen)
        return list(velocity[: len(calls)].float().cpu())

    def _seen(self, calls: Sequence[Call], x: Tensor) -> tuple[Tensor, Tensor | None]:
        """x, and what controls make of the maps that ride on it: (rows, tokens, width); None: none does."""
        config = self.network.config
        names = [name for name in calls[0].adapters if use_of(name) in self.sights]
        if not names:
            return x[:, : config.channels], None  # a guide is asked about what maps ride on, and sees none
        x, maps = unridden(x, config.channels, len(names))
        found = []
        for name, cells in zip(names, maps, strict=True):
            tokens = F.linear(patches(cells, config.patch), self.sights[use_of(name)])
            rows = scales_of(calls, name)
            found.append(tokens if rows is None else tokens * rows.to(tokens))
        return x, reduce(torch.add, found)

    def seen(self, picture: Pixels, codec: LatentCodec) -> Task[Latent]:
        """What rides on x of a control map: its latent."""
        return (yield from codec.encode(picture))

    def _condition(self, call: Call, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        pooled = call.inputs["pooled"]
        assert isinstance(pooled, Tensor)
        named = [name for name in ("toward", "guidance") if name in call.inputs]
        t, *more = (torch.tensor([call.inputs[name]], device=device) for name in ("t", *named))
        shared, final = self.network.condition(t, pooled[None].to(device, dtype), *more)
        return shared[0], final[0]


def weighed(keys: Float[Tensor, "depth 2 tokens width"], said: Conditioning) -> Float[Tensor, "depth 2 tokens width"]:
    """Keys and values of a text whose values count as said: what an image token takes from a word is so much of it.

    (Re-weighting of arXiv:2208.01626, section 3.2, on values in place of attention maps, which is the same sum.)
    """
    if said.weights is None:
        return keys
    share = torch.stack([torch.ones_like(said.weights), said.weights])
    return keys * share[None, :, :, None].to(keys)


def attention_to(said: Conditioning) -> Bool[Tensor, " tokens"] | Float[Tensor, " tokens"]:
    """The mask of a text: its real tokens; or, where some are attended to more or less, the logarithm of how much.

    A token that counts s times has s times its part of the softmax's sum: at 0 it would not be there.
    """
    if said.attended is None:
        return said.mask
    return said.attended.log().masked_fill(~said.mask, -math.inf)


def shift_for(shape: tuple[int, int, int]) -> float:
    """Time shift sqrt(cells / trained cells) (arXiv:2403.03206 eq. 23): a larger picture hides less under noise."""
    return max(1.0, math.sqrt(shape[1] * shape[2]) / TRAINED_SIDE)
