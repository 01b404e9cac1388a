"""Training the autoencoder: exact pictures from latents that are easy to learn.

Reconstruction alone leaves a third of the latents' energy in fine grain no denoiser can predict. Three pressures keep
them smooth: the decoder must also decode scaled and turned latents to scaled and turned pictures (EQ-VAE,
arXiv:2502.09509), latents carry noise while training, and fine grain itself is charged for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from darkroom.contracts.errors import BadInput
from darkroom.data.stock.drawings import SIDE
from darkroom.nn.autoencoder import FACTOR, Autoencoder, AutoencoderConfig
from darkroom.nn.config import defaults_of
from darkroom.training.limits import within
from darkroom.training.objective import Objective, Parts

FINE_CYCLES = 6 / 16  # cycles per latent cell above which energy counts as fine grain: 6 a picture of 16 cells


@dataclass(frozen=True)
class AutoencoderObjectiveConfig:
    """Weights of the loss's parts."""

    network: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    crop: int = 64  # pixels a side of the training crops
    pyramid: float = 0.5
    structure: float = 0.1
    spectrum: float = 0.02
    latent_noise: float = 0.05  # standard deviation, in raw latent units
    equivariance_share: float = 0.5  # of the steps
    fine_grain: float = 0.05

    def __post_init__(self) -> None:
        within("channels", self.network.channels, 1, 64)
        within("crop", self.crop, 16, SIDE)
        within("fine-grain", self.fine_grain, 0, 1)
        if self.crop % FACTOR:
            raise BadInput(f"crop {self.crop}", f"is not a multiple of {FACTOR}", f"try {self.crop // FACTOR * FACTOR}")


# Gives the pictures of samples first .. first + count - 1, (count, 3, side, side) in [0, 1].
Pictures = Callable[[int, int], Tensor]


class AutoencoderObjective(Objective):
    """Reconstruction of random crops; see the module's first lines for the rest."""

    name = "autoencoder"

    def __init__(
        self, module: Autoencoder, config: AutoencoderObjectiveConfig, pictures: Pictures, held_out: Tensor
    ) -> None:
        self.module: Autoencoder = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.settings = config
        self.pictures = pictures
        self.held_out = held_out  # (n, 3, side, side): for previews and the latents' statistics

    def config(self) -> dict[str, Any]:
        return asdict(self.settings)

    def defaults(self) -> dict[str, Any]:
        return defaults_of(self.settings)

    def parts(self) -> Parts:
        return Parts({"autoencoder": ""}, {"autoencoder": self.settings.network})

    def loss(self, first: int, count: int, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        pixels = _crops(self.pictures(first, count), self.settings.crop, generator)
        dtype = next(self.module.parameters()).dtype
        z = self.module.encoder(pixels.to(dtype, memory_format=torch.channels_last)).float()
        fine = fine_share(z)
        target = pixels
        if torch.rand((), generator=generator) < self.settings.equivariance_share:
            z, target = _transformed(z, pixels, generator)
        noise = torch.randn(z.shape, generator=generator).to(z.device)
        decoded = self.module.decoder((z + self.settings.latent_noise * noise).to(dtype)).float()
        loss, parts = reconstruction_loss(decoded, target, self.settings)
        mse = F.mse_loss(decoded.clamp(0, 1), target).detach()
        metrics = {**parts, "psnr": -10 * mse.log10(), "fine": fine.detach(), "latent std": z.detach().std()}
        return loss + self.settings.fine_grain * fine, {k: torch.stack([v, v.new_ones(())]) for k, v in metrics.items()}

    def preview(self, path: Path) -> None:
        from darkroom.picture.sheet import contact_sheet
        from darkroom.picture.write import write

        shown = self.held_out[:16]
        decoded = self.reconstruct(shown)
        tiles = [t for pair in zip(shown, decoded, strict=True) for t in pair]
        pictures = [(t.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy() for t in tiles]
        write(contact_sheet(pictures, ["picture", "decoded"] * len(shown), columns=8), path)

    def finish(self) -> Mapping[str, Tensor]:
        """Per-channel mean and deviation of raw latents on held-out pictures."""
        z = torch.cat([self._raw(batch) for batch in self.held_out.split(32)])
        return {"shift": z.mean((0, 2, 3)), "scale": z.std((0, 2, 3)).clamp_min(1e-3)}

    def _raw(self, pixels: Tensor) -> Tensor:
        dtype = next(self.module.parameters()).dtype
        return self.module.encoder(pixels.to(dtype, memory_format=torch.channels_last)).float()

    def reconstruct(self, pixels: Tensor) -> Tensor:
        """Encoded and decoded again, batch by batch."""
        dtype = next(self.module.parameters()).dtype
        return torch.cat([self.module.decoder(self._raw(b).to(dtype)).float() for b in pixels.split(32)])


def reconstruction_loss(
    decoded: Float[Tensor, "b 3 h w"], target: Float[Tensor, "b 3 h w"], config: AutoencoderObjectiveConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Charbonnier + Laplacian pyramid + (1 - SSIM) at three scales + spectrum."""
    charbonnier = ((decoded - target).square() + 1e-6).sqrt().mean()
    pyramid = decoded.new_zeros(())
    structure = decoded.new_zeros(())
    a, b = decoded, target
    for _ in range(3):
        structure = structure + (1 - ssim(a, b)) / 3
        small_a, small_b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        up_a = F.interpolate(small_a, size=a.shape[-2:], mode="bilinear")
        up_b = F.interpolate(small_b, size=b.shape[-2:], mode="bilinear")
        pyramid = pyramid + F.l1_loss(a - up_a, b - up_b)
        a, b = small_a, small_b
    spectrum = (torch.fft.rfft2(decoded, norm="ortho") - torch.fft.rfft2(target, norm="ortho")).abs().mean()
    loss = charbonnier + config.pyramid * pyramid + config.structure * structure + config.spectrum * spectrum
    return loss, {"charbonnier": charbonnier.detach(), "structure": structure.detach()}


def ssim(a: Float[Tensor, "b 3 h w"], b: Float[Tensor, "b 3 h w"]) -> Tensor:
    """Mean structural similarity over 7 x 7 box windows, values in [0, 1] (Wang et al. 2004, eq. 13)."""
    window = min(7, *a.shape[-2:])
    both = F.avg_pool2d(torch.cat([a, b, a * a, b * b, a * b], 1), window, 1)
    mean_a, mean_b, aa, bb, ab = both.chunk(5, 1)
    var_a, var_b, cov = aa - mean_a**2, bb - mean_b**2, ab - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    score = (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return score.mean()


def fine_share(z: Float[Tensor, "b c h w"]) -> Tensor:
    """Share of the latents' energy (channel means removed) above 6 cycles a 16-cell picture, in [0, 1].

    Each channel counts alike, as it does for the denoiser, which sees them with unit variance.
    """
    height, width = z.shape[-2:]
    z = (z - z.mean((0, 2, 3), keepdim=True)) / (z.std((0, 2, 3), keepdim=True) + 1e-4)
    power = torch.fft.fft2(z, norm="ortho").abs().square()
    fy, fx = torch.fft.fftfreq(height, device=z.device), torch.fft.fftfreq(width, device=z.device)
    fine = (fy[:, None] ** 2 + fx[None, :] ** 2).sqrt() > FINE_CYCLES
    return (power * fine).sum() / power.sum()


def _crops(pixels: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """One random crop a picture, corners on any pixel."""
    height, width = pixels.shape[-2:]
    if height == side and width == side:
        return pixels
    tops = torch.randint(0, height - side + 1, (len(pixels),), generator=generator).tolist()
    lefts = torch.randint(0, width - side + 1, (len(pixels),), generator=generator).tolist()
    corners = zip(pixels, tops, lefts, strict=True)
    return torch.stack([picture[:, top : top + side, left : left + side] for picture, top, left in corners])


def _transformed(z: Tensor, pixels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Latents and pictures scaled to one of a few sizes and turned by quarter turns, alike."""
    cells = z.shape[-1]
    sizes = sorted({max(2, round(cells * share)) for share in (0.5, 0.75, 1.0)})
    size = sizes[int(torch.randint(len(sizes), (), generator=generator))]
    turns = int(torch.randint(4, (), generator=generator))
    z = torch.rot90(F.interpolate(z, size=(size, size), mode="bilinear", antialias=True), turns, (2, 3))
    target = F.interpolate(pixels, size=(size * FACTOR, size * FACTOR), mode="bilinear", antialias=True)
    return z, torch.rot90(target, turns, (2, 3)).contiguous()
