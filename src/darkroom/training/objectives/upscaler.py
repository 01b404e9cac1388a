"""Training the upscaler: sharp pictures from halved ones, and from what the model's own autoencoder makes of those.

A picture of ours comes out of the decoder, which leaves soft edges and a grain of its own; so half of the pictures it
learns from went through the autoencoder at half their size, with noise on the latent as a denoiser leaves it. The loss
is Charbonnier's (Lai et al., arXiv:1704.03915, section 3.2) on colours and on the differences between neighbours:
edges, which a mean over mostly plain ground forgets. There is no adversary: nothing is to be made up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from darkroom.contracts.errors import BadInput
from darkroom.data.halved import area, halved
from darkroom.data.stock.drawings import LARGE
from darkroom.nn.autoencoder import Autoencoder
from darkroom.nn.config import defaults_of
from darkroom.nn.upscaler import SCALE, BranchedUpscaler, UpscalerConfig, bicubic
from darkroom.training.limits import within
from darkroom.training.objective import Objective, Parts

ROUND = 0.01  # an error nobody sees, 2.5 levels of 255: with 1e-3 plain ground decides, and nothing is learnt for long
CANDIDATES = 2  # places a crop is chosen from: most of a scene is plain ground


@dataclass(frozen=True)
class UpscalerObjectiveConfig:
    """What it learns from and what is charged for."""

    network: UpscalerConfig = field(default_factory=UpscalerConfig)
    crop: int = 96  # pixels a side of what is to come out
    crops: int = 2  # of each picture
    decoded_share: float = 0.5  # of the pictures of 256 px: those that go through the autoencoder
    latent_noise: float = 0.1  # at most: standard deviation, of latents of unit variance
    differences: float = 0.5

    def __post_init__(self) -> None:
        within("crop", self.crop, 16, 128)
        within("crops", self.crops, 1, 64)
        if self.crop % SCALE:
            raise BadInput(f"crop {self.crop}", f"is not a multiple of {SCALE}", f"try {self.crop // SCALE * SCALE}")


# Gives pictures first .. first + count - 1, each (3, side, side) in [0, 1], of 256 or 128 px.
Pictures = Callable[[int, int], list[Tensor]]


class UpscalerObjective(Objective):
    """Pairs of crops; see the module's first lines for the rest."""

    name = "upscaler"

    def __init__(
        self,
        module: BranchedUpscaler,
        config: UpscalerObjectiveConfig,
        pictures: Pictures,
        autoencoder: Autoencoder,
        held_out: Sequence[Tensor],
    ) -> None:
        """``held_out`` are pictures of 256 px for previews."""
        self.module: BranchedUpscaler = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.settings = config
        self.pictures = pictures
        self.autoencoder = autoencoder.eval().requires_grad_(False)
        self.held_out = held_out

    def config(self) -> dict[str, Any]:
        return asdict(self.settings)

    def defaults(self) -> dict[str, Any]:
        return defaults_of(self.settings)

    def parts(self) -> Parts:
        return Parts({"upscaler": FOLDED, "branches": "layers."}, {"upscaler": self.settings.network})

    def finish(self) -> Mapping[str, Tensor]:
        """The folded network: what ships. The branches are handed over beside it, for a leg to come."""
        return {f"{FOLDED}{name}": tensor for name, tensor in self.module.folded().state_dict().items()}

    def loss(self, first: int, count: int, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        small, target, decoded = self.pairs(first, count, generator)
        made = self.module(small)
        colours = charbonnier(made - target)
        edges = sum(charbonnier(a - b) for a, b in zip(_differences(made), _differences(target), strict=True))
        with torch.no_grad():
            gain = psnr(made.clamp(0, 1), target) - psnr(bicubic(small).clamp(0, 1), target)  # (crops,)
        count_of = {"gain": ~decoded, "gain decoded": decoded}
        metrics = {name: torch.stack([gain[which].sum(), which.sum().float()]) for name, which in count_of.items()}
        metrics["charbonnier"] = torch.stack([colours.detach(), colours.new_ones(())])
        return colours + self.settings.differences * edges, metrics

    def pairs(self, first: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Crops of small pictures, of what they are to become, and which of them were decoded."""
        targets = self.pictures(first, count)
        passes = torch.rand(count, generator=generator) < self.settings.decoded_share
        through = [i for i, target in enumerate(targets) if passes[i] and target.shape[-1] == LARGE]
        smalls = {i: halved(target, generator) for i, target in enumerate(targets) if i not in through}
        if through:
            noise = self.settings.latent_noise * float(torch.rand((), generator=generator))
            answers = self.decoded(torch.stack([area(targets[i]) for i in through]), noise, generator)
            smalls.update(zip(through, answers, strict=True))
        found = [
            self._crop(smalls[i], target, generator)
            for i, target in enumerate(targets)
            for _ in range(self.settings.crops)
        ]
        decoded = torch.tensor([i in through for i in range(count)]).repeat_interleave(self.settings.crops)
        small, target = (torch.stack(list(crops)) for crops in zip(*found, strict=True))
        return small, target, decoded.to(small.device)

    @torch.no_grad()
    def decoded(self, pixels: Tensor, noise: float, generator: torch.Generator) -> Float[Tensor, "b 3 h w"]:
        """Pictures as the model would draw them: encoded and decoded, with noise on the latents."""
        dtype = next(self.autoencoder.parameters()).dtype
        latent = self.autoencoder.encode(pixels.to(dtype, memory_format=torch.channels_last))
        latent = latent + noise * torch.randn(latent.shape, generator=generator).to(latent)
        return self.autoencoder.decode(latent).float().clamp(0, 1)

    def _crop(self, small: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """One crop of a pair, corners on any pixel of the small one; of a few places the one with most detail."""
        side = self.settings.crop // SCALE
        corners = torch.randint(0, small.shape[-1] - side + 1, (CANDIDATES, 2), generator=generator).tolist()
        places = [(slice(top, top + side), slice(left, left + side)) for top, left in corners]
        rows, columns = max(places, key=lambda place: float(small[:, *place].diff(dim=-1).abs().mean()))
        large = slice(rows.start * SCALE, rows.stop * SCALE), slice(columns.start * SCALE, columns.stop * SCALE)
        return small[:, rows, columns], target[:, *large]

    def preview(self, path: Path) -> None:
        from darkroom.picture.sheet import contact_sheet
        from darkroom.picture.write import write

        generator = torch.Generator().manual_seed(0)
        target = torch.stack(list(self.held_out))
        tiles: list[Tensor] = []
        for small in (area(target), self.decoded(area(target), 0.0, generator)):
            ours = torch.cat([self.module(one) for one in small.split(1)])
            tiles += [tile for row in zip(bicubic(small), ours, target, strict=True) for tile in row]
        names = ["bicubic", "upscaled", "sharp"] * (2 * len(target))
        write(contact_sheet([_bytes(tile) for tile in tiles], names, columns=6), path)


FOLDED = "folded."  # before the names of the folded network's weights


def charbonnier(error: Tensor) -> Tensor:
    """The mean of sqrt(error^2 + eps^2), less eps: absolute error with a round bottom."""
    return ((error.square() + ROUND**2).sqrt() - ROUND).mean()


def psnr(made: Float[Tensor, "b 3 h w"], target: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
    """Of each picture, in dB; at most 60, so that plain ground does not decide a mean."""
    return -10 * (made - target).square().mean((1, 2, 3)).clamp_min(1e-6).log10()


def _differences(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Between neighbours, across and down."""
    return pixels.diff(dim=-1), pixels.diff(dim=-2)


def _bytes(pixels: Tensor) -> np.ndarray:
    return (pixels.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
