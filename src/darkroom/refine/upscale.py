"""Finished pictures at twice the size, and again at four times."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from darkroom.contracts.errors import BadInput, NumericalFailure
from darkroom.nn.upscaler import Upscaler
from darkroom.protocols import Call, Pixels, Refiner, Task


class NetworkUpscaler:
    """The upscaler's network behind the ``Refiner`` protocol."""

    NETWORK = "upscaler"

    def __init__(self, network: Upscaler) -> None:
        self.network: Upscaler = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def refine(self, pixels: Pixels) -> Task[Pixels]:
        """sRGB in [0, 1] at twice the size, fp32. Raises NumericalFailure for numbers that are not finite."""
        [larger] = yield [Call(self.NETWORK, {"x": pixels})]
        if not torch.isfinite(larger).all():
            raise NumericalFailure("the upscaler", "made numbers that are not finite", "leave the upscaling out")
        return larger

    def evaluate(self, calls: Sequence[Call]) -> list[Tensor]:
        """Enlarges pictures, one pass each: one fills every core, and eight of 1024 px would fill the memory, too."""
        return [self._enlarged(pixels) for call in calls if isinstance(pixels := call.inputs["x"], Tensor)]

    def _enlarged(self, pixels: Tensor) -> Tensor:
        device = next(self.network.parameters()).device
        return self.network(pixels[None].to(device, torch.float32)).clamp(0, 1)[0].contiguous()


def doublings(upscale: int, upscaler: Refiner | None) -> list[Refiner]:
    """Who enlarges a picture so many times, one doubling after the other. Raises BadInput where nobody can."""
    times = upscale.bit_length() - 1  # of 1, 2 and 4
    if not times:
        return []
    if upscaler is None:
        rule = "is not possible: the model has no upscaler"
        fix = "leave it out, or take a model packed with one (`darkroom models pack --upscaler`)"
        raise BadInput(f"upscale {upscale}", rule, fix)
    return [upscaler] * times
