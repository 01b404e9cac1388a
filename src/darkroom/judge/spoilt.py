"""Pictures made worse on purpose, for a judge that must not be fooled: things melted, scrambled or half erased.

A spoilt thing is no longer there: the judge learns to say so, and a blob in the right place earns a model nothing.
Slight wear, which a thing survives, is put on pictures too, so that the judge does not ask for clean edges.
"""

from __future__ import annotations

from random import Random

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from darkroom.data.scenes.compose import Composer
from darkroom.data.scenes.looks import blurred, grain
from darkroom.data.scenes.spec import Scene
from darkroom.judge.truth import overlap

Picture = Float[Tensor, "3 side side"]
ERASED = "half erased"
WAYS = ("melted", "scrambled", ERASED, "blob")
SMALLEST = 6  # pixels a side of what can be spoilt visibly
LEAST = 0.03  # mean change over its box below which a thing hardly looks spoilt: a lemon melted on yellow


def _corners(box: tuple[float, float, float, float], side: int) -> tuple[int, int, int, int]:
    """The box in pixels, two wider on every side, within the picture."""
    x0, y0 = (max(0, round(v * side) - 2) for v in box[:2])
    x1, y1 = (min(side, round(v * side) + 2) for v in box[2:])
    return x0, y0, x1, y1


def spoil(
    picture: Picture, behind: Picture, box: tuple[float, float, float, float], way: str, random: Random
) -> Picture | None:
    """The picture with the thing in ``box`` (x0, y0, x1, y1, fractions of the side) spoilt; ``behind`` lacks it.

    None where too little of it is in the picture, or where spoiling it hardly shows.
    """
    side = picture.shape[-1]
    x0, y0, x1, y1 = _corners(box, side)
    if x1 - x0 < SMALLEST or y1 - y0 < SMALLEST:
        return None
    part = picture[:, y0:y1, x0:x1]
    if way == "melted":
        part = warped(part, random.uniform(0.14, 0.22), 4, random)
    elif way == "scrambled":
        part = _scrambled(part, random)
    elif way == ERASED:
        part = _half_erased(part, behind[:, y0:y1, x0:x1], random)
    elif way == "blob":
        part = blurred(picture, random.uniform(0.10, 0.14) * max(x1 - x0, y1 - y0) / side)[:, y0:y1, x0:x1]
    else:
        raise ValueError(f"way {way!r} is not one of {', '.join(WAYS)}")
    found = picture.clone()
    change = (part - found[:, y0:y1, x0:x1]) * _feathered(y1 - y0, x1 - x0, picture.device)
    found[:, y0:y1, x0:x1] += change
    return found if change.abs().mean() >= LEAST else None


def spoilt_with(scene: Scene, composer: Composer, which: int, way: str) -> frozenset[int]:
    """The objects that are gone when one is spoilt: it, and what lies within its box to a good part.

    Erasing it leaves the others whole.
    """
    if way == ERASED:
        return frozenset({which})
    boxes = [composer.visible_box(scene, thing) for thing in scene.objects]
    return frozenset({which, *(i for i, box in enumerate(boxes) if overlap(box, boxes[which]) > 0.3)})


def spoilt(scene: Scene, composer: Composer, picture: Tensor, which: int, way: str, random: Random) -> Tensor | None:
    """A scene's picture with one of its things spoilt; None where that cannot be seen."""
    behind = composer.without(scene, which) if way == ERASED else picture
    return spoil(picture, behind, composer.visible_box(scene, scene.objects[which]), way, random)


def _feathered(height: int, width: int, device: torch.device) -> Float[Tensor, "height width"]:
    """A mask that fades over three pixels at its rim, so that no straight seam gives the spoiling away."""
    y, x = torch.arange(height, device=device) + 0.5, torch.arange(width, device=device) + 0.5
    rim = torch.minimum(torch.minimum(y, height - y)[:, None], torch.minimum(x, width - x)[None, :])
    return (rim / 3).clamp(0, 1)


def warped(part: Float[Tensor, "3 h w"], amount: float, waves: int, random: Random) -> Float[Tensor, "3 h w"]:
    """A picture pulled about by a smooth random field; ``amount`` is its standard deviation over the size."""
    height, width = part.shape[1:]
    field = torch.tensor([random.gauss(0, 2 * amount) for _ in range(2 * waves * waves)], device=part.device)
    field = field.view(1, 2, waves, waves)
    pull = F.interpolate(field, (height, width), mode="bicubic", align_corners=True)[0]
    y = torch.linspace(-1, 1, height, device=part.device)[:, None].expand(height, width)
    x = torch.linspace(-1, 1, width, device=part.device)[None, :].expand(height, width)
    grid = torch.stack([x + pull[0], y + pull[1]], -1)[None]
    return F.grid_sample(part[None], grid, mode="bilinear", padding_mode="reflection", align_corners=True)[0]


def _scrambled(part: Float[Tensor, "3 h w"], random: Random) -> Float[Tensor, "3 h w"]:
    """Its tiles in another order."""
    n = random.choice((2, 3))
    height, width = part.shape[1] // n * n, part.shape[2] // n * n
    tiles = part[:, :height, :width].reshape(3, n, height // n, n, width // n).permute(1, 3, 0, 2, 4).flatten(0, 1)
    order = list(range(n * n))
    while sum(i == j for i, j in enumerate(order)) > n * n // 4:
        random.shuffle(order)
    moved = tiles[order].view(n, n, 3, height // n, width // n).permute(2, 0, 3, 1, 4).reshape(3, height, width)
    found = part.clone()
    found[:, :height, :width] = moved
    return found


def _half_erased(part: Float[Tensor, "3 h w"], behind: Float[Tensor, "3 h w"], random: Random) -> Tensor:
    """Half of it, or a little more, painted over with what lies behind."""
    height, width = part.shape[1:]
    share = random.uniform(0.5, 0.65)
    y = torch.linspace(0, 1, height, device=part.device)[:, None]
    x = torch.linspace(0, 1, width, device=part.device)[None, :]
    along = random.choice((x, 1 - x, y, 1 - y)).expand(height, width)
    mask = ((share - along) * 12 + 0.5).clamp(0, 1)
    return part * (1 - mask) + behind * mask


def worn(picture: Picture, random: Random) -> Picture:
    """Slight wear that hides nothing: softness, grain, a small pull, a shift of lightness or colour."""
    draw = random.random()
    if draw < 0.25:
        picture = blurred(picture, random.uniform(0.3, 1.1) / 128)
    elif draw < 0.45:
        noise = grain(picture.shape[-1], random.randrange(1 << 30), picture.device)
        picture = picture + random.uniform(0.03, 0.16) * (noise - 0.5)
    elif draw < 0.7:
        picture = warped(picture, random.uniform(0.003, 0.009), 7, random)
    if random.random() < 0.4:
        gain = picture.new_tensor([random.uniform(0.96, 1.04) for _ in range(3)]).view(3, 1, 1)
        picture = (picture * gain).clamp(0, 1).pow(random.uniform(0.9, 1.12))
    return picture.clamp(0, 1)
