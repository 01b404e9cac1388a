"""What is done to a painted scene as a whole: light, art media, blurred grounds, flaws.

Each is a function of one picture (3, side, side) in [0, 1] and gives one back. Lengths are fractions of the side, so
that a large picture is a small one's enlargement; the grain of noise and of paper is hashed from pixel numbers, so
that it is the same on every device.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from darkroom.data.scenes.spec import Scene

Picture = Float[Tensor, "3 side side"]
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def finished(picture: Picture, scene: Scene) -> Picture:
    """The scene lit, put into its medium and given its flaw, in this order; as it is where it has none of them."""
    if scene.light in _LIGHTS:
        picture = _LIGHTS[scene.light](picture).clamp(0, 1)
    if scene.style in _MEDIA:
        picture = _MEDIA[scene.style](picture, scene.seed).clamp(0, 1)
    if scene.quality in _FLAWS:
        picture = _FLAWS[scene.quality](picture, scene.seed).clamp(0, 1)
    return picture


def blurred(picture: Float[Tensor, "planes side side"], radius: float) -> Float[Tensor, "planes side side"]:
    """A Gaussian blur with standard deviation ``radius``, a fraction of the side (edges repeated)."""
    band = _band(picture.shape[-1], radius, picture.device)
    return band @ picture @ band.T


@functools.lru_cache(maxsize=32)
def _band(side: int, radius: float, device: torch.device) -> Float[Tensor, "side side"]:
    """The matrix that blurs columns: a Gaussian on each row's diagonal, what reaches beyond an edge kept at it."""
    sigma = radius * side
    reach = max(1, math.ceil(2.5 * sigma))
    steps = torch.arange(-reach, reach + 1, device=device)
    kernel = torch.exp(-0.5 * (steps / sigma).square())
    rows = torch.arange(side, device=device)[:, None]
    band = torch.zeros(side, side, device=device)
    return band.scatter_add_(1, (rows + steps).clamp(0, side - 1), (kernel / kernel.sum()).expand(side, -1))


def _luma(picture: Picture) -> Tensor:
    return _LUMA[0] * picture[0] + _LUMA[1] * picture[1] + _LUMA[2] * picture[2]


def _tint(picture: Picture, red: float, green: float, blue: float) -> Picture:
    return picture * picture.new_tensor([red, green, blue]).view(3, 1, 1)


def _axis(picture: Picture) -> Tensor:
    """Middles of the pixels along a side, fractions of it."""
    side = picture.shape[-1]
    return (torch.arange(side, device=picture.device) + 0.5) / side


def grain(side: int, seed: int, device: torch.device, cell: int = 1) -> Float[Tensor, "side side"]:
    """Hashed noise in [0, 1), one value for every ``cell`` x ``cell`` pixels, smooth between them."""
    edge = side // cell + 2
    numbers = torch.arange(edge * edge, device=device, dtype=torch.int64) + (seed % 1_000_003) * 65_537
    for factor in (0x45D9F3B, 0x45D9F3B):  # the usual two rounds of an integer hash, kept within 32 bits
        numbers = (((numbers >> 16) ^ numbers) * factor) & 0xFFFFFFFF
    values = (((numbers >> 16) ^ numbers) & 0xFFFF).float().view(1, 1, edge, edge) / 65_536
    if cell > 1:
        values = F.interpolate(values, scale_factor=cell, mode="bilinear", align_corners=False)
    return values[0, 0, :side, :side]


# --- light -------------------------------------------------------------------------------------------------------


def _day(picture: Picture) -> Picture:
    y = _axis(picture)[:, None]
    return _tint(picture, 1.06, 1.04, 0.98) + 0.10 * (1 - y).square()


def _night(picture: Picture) -> Picture:
    return _tint(picture, 0.38, 0.44, 0.68) * (1 - 0.25 * _axis(picture)[:, None]) + picture.new_tensor(
        [0.0, 0.01, 0.05]
    ).view(3, 1, 1)


def _low_sun(picture: Picture) -> Picture:
    y = _axis(picture)[:, None]
    warm = _tint(picture, 1.0, 0.72, 0.48)
    return warm + picture.new_tensor([0.20, 0.07, 0.0]).view(3, 1, 1) * (1 - y)


def _neon(picture: Picture) -> Picture:
    x = _axis(picture)[None, :]
    dim = _luma(picture) * 0.35 + picture * 0.35
    pink, cyan = picture.new_tensor([1.0, 0.1, 0.75]), picture.new_tensor([0.05, 0.85, 1.0])
    side = pink.view(3, 1, 1) * (1 - x) + cyan.view(3, 1, 1) * x
    return dim * (0.35 + 0.9 * side) + 0.16 * side * (2 * x - 1).square()


def _moonlight(picture: Picture) -> Picture:
    y = _axis(picture)[:, None]
    grey = picture * 0.25 + _luma(picture) * 0.75
    return _tint(grey, 0.52, 0.64, 0.84) * (1.08 - 0.4 * y)


_LIGHTS: dict[str, Callable[[Picture], Picture]] = {
    "day": _day,
    "night": _night,
    "sunset": _low_sun,
    "neon": _neon,
    "moonlight": _moonlight,
}


# --- media -------------------------------------------------------------------------------------------------------


def _pencil(picture: Picture, seed: int) -> Picture:
    """Outlines and hatching in grey on paper: lightness divided by its own blur leaves the edges."""
    side = picture.shape[-1]
    luma = _luma(picture)[None]
    soft = blurred(luma, 1.6 / 128)
    lines = (luma / soft.clamp_min(0.08)).clamp(0, 1)[0].pow(3)
    x = _axis(picture)
    hatch = torch.sin((x[None, :] + x[:, None]) * (2 * math.pi * 30)) * 0.5 + 0.5
    shade = ((1 - luma[0] - 0.25) * 1.1).clamp(0, 0.75)
    tooth = grain(side, seed, picture.device, max(1, side // 64))
    drawn = lines * (1 - shade * (0.3 + 0.5 * hatch)) * (0.94 + 0.06 * tooth)
    return (0.12 + 0.86 * drawn).clamp(0, 1).expand(3, -1, -1)


def _oil(picture: Picture, seed: int) -> Picture:
    """Patches of paint: of the four squares around a pixel the smoothest one's mean (Kuwahara et al., 1976)."""
    side = picture.shape[-1]
    reach = max(2, round(side * 4 / 128))
    planes = torch.cat([picture, _luma(picture)[None].square()])[None]
    planes = F.pad(planes, (reach, reach, reach, reach), "replicate")
    means = F.avg_pool2d(planes, reach + 1, 1)  # (1, 4, side + reach, side + reach)
    corners = torch.stack([means[0, :, i : i + side, j : j + side] for i in (0, reach) for j in (0, reach)])
    spread = corners[:, 3] - (corners[:, :3] * picture.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1).square()
    painted, least = corners[0, :3], spread[0]
    for mean, more in zip(corners[1:, :3], spread[1:], strict=True):
        painted = torch.where(more < least, mean, painted)
        least = torch.minimum(least, more)
    strokes = grain(side, seed, picture.device, max(1, side // 32)) - 0.5
    rich = painted + 0.25 * (painted - _luma(painted))
    return (rich + 0.10 * strokes).clamp(0, 1)


def _halftone(picture: Picture, seed: int) -> Picture:
    """Dots of ink on a grid turned by 45 degrees, the larger the darker, on cream paper."""
    x = _axis(picture)
    cells = 26.0
    u, v = (x[None, :] + x[:, None]) * cells * 0.7071, (x[None, :] - x[:, None]) * cells * 0.7071
    from_middle = (((u % 1) - 0.5).square() + ((v % 1) - 0.5).square()).sqrt()
    soft = blurred(picture, 1.2 / 128)
    darkness = (1 - _luma(soft)).clamp(0.02, 1)
    ink = ((0.72 * darkness.sqrt() - from_middle) * picture.shape[-1] / cells + 0.5).clamp(0, 1)
    paper = picture.new_tensor([0.98, 0.96, 0.90]).view(3, 1, 1)
    return paper * (1 - ink) + (soft * 0.85) * ink


def _watercolour(picture: Picture, seed: int) -> Picture:
    """Thin colour that pools at edges, on grainy paper that stays white at the rim."""
    side = picture.shape[-1]
    wet = blurred(picture, 1.1 / 128)
    luma = _luma(wet)
    edges = (luma[1:, :-1] - luma[:-1, :-1]).abs() + (luma[:-1, 1:] - luma[:-1, :-1]).abs()
    pooled = F.pad(edges[None], (0, 1, 0, 1), "replicate")[0].clamp(0, 0.25)
    cloud = grain(side, seed, picture.device, max(1, side // 6)) * 0.7
    cloud = cloud + grain(side, seed + 1, picture.device, max(1, side // 16)) * 0.3
    thin = (1 - (1 - wet) * (0.62 + 0.42 * cloud)) - pooled * 0.9
    x = _axis(picture)
    rim = torch.minimum(torch.minimum(x, 1 - x)[None, :], torch.minimum(x, 1 - x)[:, None])
    covered = ((rim - 0.035 - 0.05 * cloud) * 24).clamp(0, 1)
    tooth = 0.03 * (grain(side, seed + 2, picture.device, max(1, side // 64)) - 0.5)
    return (0.985 * (1 - covered) + thin.clamp(0, 1) * covered + tooth).clamp(0, 1)


def _pixel_art(picture: Picture, seed: int) -> Picture:
    """32 large pixels a side in few colours."""
    cell = picture.shape[-1] // 32
    small = F.avg_pool2d(picture[None], cell)
    flat = (small * 6).round() / 6
    return F.interpolate(flat, scale_factor=cell, mode="nearest")[0]


_MEDIA: dict[str, Callable[[Picture, int], Picture]] = {
    "pencil sketch": _pencil,
    "oil painting": _oil,
    "halftone": _halftone,
    "watercolour": _watercolour,
    "pixel art": _pixel_art,
}


# --- flaws -------------------------------------------------------------------------------------------------------


def _blurry(picture: Picture, seed: int) -> Picture:
    return blurred(picture, 2.6 / 128)


def _noisy(picture: Picture, seed: int) -> Picture:
    side = picture.shape[-1]
    noise = torch.stack([grain(side, seed + i, picture.device) for i in range(3)])
    return picture + 0.55 * (noise - 0.5)


def _low_quality(picture: Picture, seed: int) -> Picture:
    """What coarse JPEG leaves: each block's cosine transform, rounded to a few values (ITU-T T.81, annex A.3.3)."""
    side = picture.shape[-1]
    block = side // 16
    n = torch.arange(block, device=picture.device, dtype=torch.float32)
    basis = torch.cos(math.pi * (2 * n[None, :] + 1) * n[:, None] / (2 * block)) * math.sqrt(2 / block)
    basis[0] *= math.sqrt(0.5)
    blocks = picture.view(3, 16, block, 16, block).transpose(2, 3)  # (3, 16, 16, block, block)
    waves = basis @ blocks @ basis.T
    step = block * (0.04 + 0.03 * (n[:, None] + n[None, :]))
    return (basis.T @ ((waves / step).round() * step) @ basis).transpose(2, 3).reshape(3, side, side)


_FLAWS: dict[str, Callable[[Picture, int], Picture]] = {
    "blurry": _blurry,
    "noisy": _noisy,
    "low quality": _low_quality,
}
