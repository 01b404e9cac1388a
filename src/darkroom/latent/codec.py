"""The autoencoder behind the ``LatentCodec`` protocol."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from darkroom.nn.autoencoder import FACTOR, Autoencoder
from darkroom.nn.slots import column
from darkroom.protocols import Call, Latent, Pixels, Task


class AskingCodec:
    """What codecs share, whosever their network is: a call for each way."""

    ENCODER, DECODER = "encoder", "decoder"

    def encode(self, pixels: Pixels) -> Task[Latent]:
        """sRGB in [0, 1] to a latent, fp32."""
        [latent] = yield [Call(self.ENCODER, {"x": pixels})]
        return latent

    def decode(self, latent: Latent) -> Task[Pixels]:
        """A latent to sRGB in [0, 1], fp32."""
        [pixels] = yield [Call(self.DECODER, {"x": latent})]
        return pixels


class AutoencoderCodec(AskingCodec):
    """Latents an eighth of the picture's side, zero mean and unit variance a channel."""

    def __init__(self, network: Autoencoder) -> None:
        self.network: Autoencoder = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def shape(self, width: int, height: int) -> tuple[int, int, int]:
        """(channels, height, width) of the latent of a picture; sides are multiples of 16."""
        return self.network.config.channels, height // FACTOR, width // FACTOR

    def evaluate(self, calls: Sequence[Call]) -> list[Tensor]:
        """Encodes or decodes, as the calls' network says."""
        parameter = next(self.network.parameters())
        x = column(calls, "x").to(parameter.device, parameter.dtype, memory_format=torch.channels_last)
        if calls[0].network == self.ENCODER:
            out = self.network.encode(x).float()
        else:
            out = self.network.decode(x).float().clamp(0, 1)
        return [row.contiguous() for row in out[: len(calls)]]
