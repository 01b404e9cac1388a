"""The diffusion family: a denoiser, a noise schedule and the samplers behind the ``Synthesizer`` protocol."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from darkroom.nn.dit import Denoiser
from darkroom.nn.slots import column, filled
from darkroom.protocols import Call, Conditioning, Denoise, Latent, Level, SynthesisSpec, Task
from darkroom.synthesis.guidance import guided, watched
from darkroom.synthesis.noise import RectifiedFlow, SeededNoise, initial_noise, spaced
from darkroom.synthesis.prediction import to_x0

GUIDED_TIMES = (0.1, 0.95)  # guidance outside them costs quality: arXiv:2404.07724, section 4
TRAINED_SIDE = 16  # latent cells a side of the training pictures; larger ones need more noise


class DiffusionSynthesizer:
    """Rectified flow over latents with classifier-free guidance."""

    TEXT, NETWORK = "denoiser.text", "denoiser"

    def __init__(self, network: Denoiser) -> None:
        self.network = network
        self.schedule = RectifiedFlow()

    def task(self, positive: Conditioning, negative: Conditioning, spec: SynthesisSpec, seed: int) -> Task[Latent]:
        """From noise to a latent."""
        levels = spaced(self.schedule, spec.steps, shift_for(spec.shape))
        x = initial_noise(SeededNoise(seed, "start"), spec.shape, levels[0])
        wanted, unwanted = yield [self._text(positive), self._text(negative)]
        denoise = guided(
            self._denoiser(positive, wanted), self._denoiser(negative, unwanted), spec.guidance, GUIDED_TIMES
        )
        if spec.watch is not None:
            denoise = watched(denoise, spec.watch)
        return (yield from spec.sampler(denoise, x, levels, SeededNoise(seed, "steps")))

    def _text(self, conditioning: Conditioning) -> Call:
        return Call(self.TEXT, {"tokens": conditioning.tokens})

    def _denoiser(self, conditioning: Conditioning, keys: Tensor) -> Denoise:
        """One network evaluation, turned into the clean estimate."""

        def denoise(x: Tensor, level: Level) -> Task[Tensor]:
            inputs: dict[str, Tensor | float] = {
                "x": x,
                "t": level.t,
                "keys": keys,
                "mask": conditioning.mask,
                "pooled": conditioning.pooled,
            }
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
        t = torch.tensor([call.inputs["t"]], device=device)
        shared, final = self.network.condition(t, pooled[None].to(device, dtype))
        return shared[0], final[0]


def shift_for(shape: tuple[int, int, int]) -> float:
    """Time shift sqrt(cells / trained cells) (arXiv:2403.03206 eq. 23): a larger picture hides less under noise."""
    return max(1.0, math.sqrt(shape[1] * shape[2]) / TRAINED_SIDE)
