"""Public autoencoders with a Gaussian posterior (arXiv:2112.10752, section 3.1) behind the ``LatentCodec`` protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from darkroom.latent.codec import AskingCodec
from darkroom.nn.public.quick import packed
from darkroom.nn.slots import one_by_one
from darkroom.protocols import Call


class KlCodec(AskingCodec):
    """Latents as the denoiser was trained on them: (z - shift) * scale.

    A picture's latent is the mean of its posterior, without the draw around it that training adds: the same picture
    always has the same latent.
    """

    def __init__(self, network: Any, scale: float, shift: float = 0.0, role: str = "") -> None:
        """``network`` is a diffusers ``AutoencoderKL``; ``role`` sets its calls apart from those of another one."""
        self.ENCODER, self.DECODER = f"{role}{AskingCodec.ENCODER}", f"{role}{AskingCodec.DECODER}"
        self.network = packed(network)
        self.scale, self.shift = scale, shift
        self.channels: int = network.config.latent_channels
        self.factor: int = 2 ** (len(network.config.block_out_channels) - 1)  # halved after each block but the last

    def shape(self, width: int, height: int) -> tuple[int, int, int]:
        """(channels, height, width) of the latent of a picture."""
        return self.channels, height // self.factor, width // self.factor

    def evaluate(self, calls: Sequence[Call]) -> list[Tensor]:
        """Encodes or decodes, as the calls' network says."""
        return one_by_one(self.network, calls, self._encoded if calls[0].network == self.ENCODER else self._decoded)

    def _encoded(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        z: Tensor = self.network.encode(2 * x - 1).latent_dist.mode()
        return (z - self.shift) * self.scale

    def _decoded(self, x: Tensor) -> Tensor:
        z = (x / self.scale + self.shift).contiguous(memory_format=torch.channels_last)
        pixels: Tensor = self.network.decode(z).sample
        return (pixels / 2 + 0.5).clamp(0, 1)
