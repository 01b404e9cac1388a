"""The picture autoencoder: eight times smaller a side, in the manner of TAESD (convolutions and ReLU only).

No normalisation and no attention, so a large picture can be decoded in tiles; no KL term: the latent is softly
clamped, and training adds noise to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

FACTOR = 8  # pixels a side per latent cell


@dataclass(frozen=True)
class AutoencoderConfig:
    """Widths are channels at 1/4 and 1/8 of the picture's side (encoder), 1/8, 1/4 and 1/2 (decoder)."""

    channels: int = 8
    encoder_widths: tuple[int, int] = (64, 128)
    encoder_blocks: tuple[int, int] = (2, 2)
    decoder_widths: tuple[int, int, int] = (128, 64, 48)
    decoder_blocks: tuple[int, int, int] = (2, 3, 2)
    clamp: float = 3.0  # latents are clamp * tanh(z / clamp)


def nano() -> AutoencoderConfig:
    """A toy for tests."""
    return AutoencoderConfig(4, (8, 16), (1, 1), (16, 8, 8), (1, 1, 1))


class Residual(nn.Module):
    """x + conv(relu(conv(relu(x)))), the last convolution starting at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x.relu()).relu())


class Encoder(nn.Module):
    """Pixels to raw latents."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        near, far = config.encoder_widths
        self.clamp = config.clamp
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(4),  # (B, 48, H/4, W/4)
            nn.Conv2d(48, near, 3, padding=1),
            *(Residual(near) for _ in range(config.encoder_blocks[0])),
            nn.Conv2d(near, far, 3, stride=2, padding=1),  # (B, far, H/8, W/8)
            *(Residual(far) for _ in range(config.encoder_blocks[1])),
            nn.ReLU(),
            nn.Conv2d(far, config.channels, 3, padding=1),
        )

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h_8 w_8"]:
        z = self.layers(pixels * 2 - 1)
        return self.clamp * torch.tanh(z / self.clamp)


class Decoder(nn.Module):
    """Raw latents to pixels; nearest-neighbour doubling before a convolution leaves no checkerboard."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        far, mid, near = config.decoder_widths
        blocks = config.decoder_blocks
        self.layers = nn.Sequential(
            nn.Conv2d(config.channels, far, 3, padding=1),
            *(Residual(far) for _ in range(blocks[0])),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(far, mid, 3, padding=1),  # (B, mid, H/4, W/4)
            *(Residual(mid) for _ in range(blocks[1])),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(mid, near, 3, padding=1),  # (B, near, H/2, W/2)
            *(Residual(near) for _ in range(blocks[2])),
            nn.ReLU(),
            nn.Conv2d(near, 12, 3, padding=1),
            nn.PixelShuffle(2),  # (B, 3, H, W)
        )

    def forward(self, z: Float[Tensor, "b c h_8 w_8"]) -> Float[Tensor, "b 3 h w"]:
        return self.layers(z) * 0.5 + 0.5


class Autoencoder(nn.Module):
    """Encoder, decoder and the statistics that give latents zero mean and unit variance."""

    shift: Tensor
    scale: Tensor

    def __init__(self, config: AutoencoderConfig | None = None) -> None:
        super().__init__()
        self.config = config or AutoencoderConfig()
        self.encoder = Encoder(self.config)
        self.decoder = Decoder(self.config)
        # Measured once after training, then part of the weights: latent = (raw - shift) / scale.
        self.register_buffer("shift", torch.zeros(self.config.channels))
        self.register_buffer("scale", torch.ones(self.config.channels))

    def encode(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h_8 w_8"]:
        """Standardised latents of sRGB pixels in [0, 1]; height and width multiples of eight."""
        raw = self.encoder(pixels)
        return (raw - self.shift[:, None, None]) / self.scale[:, None, None]

    def decode(self, latent: Float[Tensor, "b c h_8 w_8"]) -> Float[Tensor, "b 3 h w"]:
        """Pixels of standardised latents; about [0, 1], not clamped."""
        return self.decoder(latent * self.scale[:, None, None] + self.shift[:, None, None])
