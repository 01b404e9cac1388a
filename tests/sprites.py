"""Drawings made here, scenes of them, and where a picture shows their ink."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from darkroom.data.scenes.compose import Composer
from darkroom.data.scenes.spec import GROUNDS, Ground, Scene, SpecObject
from darkroom.data.stock.drawings import Sprite, SpriteTable, alpha_box, premultiplied
from tests.tiny_pack import drawing

SQUARE, WIDE, DISC, SHADED, FINE, RIM = range(6)  # concepts, by what stands for them here
RED, BLUE = (220, 30, 30), (30, 60, 220)


def disc() -> np.ndarray:
    """A white disc with a soft edge, and magenta where nothing is seen: filtering must never drag it in."""
    y, x = np.mgrid[:128, :128] + 0.5
    rgba = np.full((128, 128, 4), (255, 0, 255, 0), np.uint8)
    alpha = np.clip((44.5 - np.hypot(x - 64, y - 64)) / 6, 0, 1)
    rgba[alpha > 0, :3] = 255
    rgba[..., 3] = np.round(alpha * 255)
    return rgba


def shaded() -> np.ndarray:
    """A box that is dark at its left end and light at its right one."""
    rgba = drawing((90, 90, 90), (24, 32, 104, 96))
    rgba[32:96, 24:104, :3] = np.linspace(50, 220, 80).astype(np.uint8)[None, :, None]
    return rgba


def fine() -> np.ndarray:
    """Black and white stripes of one pixel: what aliases first."""
    rgba = drawing((0, 0, 0), (16, 16, 112, 112))
    rgba[16:112, 17:112:2, :3] = 255
    return rgba


def rim() -> np.ndarray:
    """A small box far from the middle in a wide faint haze, which lies outside its visible box."""
    rgba = drawing((20, 160, 40), (8, 40, 60, 70))
    haze = rgba[4:110, 4:124, 3] == 0
    rgba[4:110, 4:124][haze] = (20, 160, 40, 8)
    return rgba


def table(*pictures: np.ndarray, style: str = "3d") -> SpriteTable:
    """The pictures as drawings of concepts 0, 1, 2 ..."""
    sprites = tuple(Sprite(i, i, style, alpha_box(rgba), f"s{i}") for i, rgba in enumerate(pictures))
    return SpriteTable(sprites, torch.from_numpy(np.stack([premultiplied(rgba) for rgba in pictures])))


def own_table() -> SpriteTable:
    """A square, a wide box, a disc, a shaded box, stripes, and a box in a haze."""
    square, wide = drawing(RED, (32, 32, 96, 96)), drawing(BLUE, (16, 48, 112, 80))
    return table(square, wide, disc(), shaded(), fine(), rim())


def scene(*things: SpecObject, ground: Ground | str = "white", seed: int = 0) -> Scene:
    ground = Ground(ground) if isinstance(ground, str) else ground
    return Scene("single", "3d", things, ground, named=tuple(range(len(things))), seed=seed)


def thing(
    concept: int, x: float = 0.5, y: float = 0.5, size: float = 0.5, colour: str | None = None, **more
) -> SpecObject:
    return SpecObject(concept, colour, x, y, size, **more)


def ink(composer: Composer, of: Scene) -> Tensor:
    """How opaque the scene's objects are together, (side, side): what changes when the ground changes."""
    light, dark = composer.render([replace(of, ground=Ground(name)) for name in ("white", "black")]).pixels
    span = (GROUNDS["white"][0] - GROUNDS["black"][0]) / 255
    return 1 - (light[0] - dark[0]) / span


def box(alpha: Tensor) -> tuple[float, float, float, float]:
    """Edges x0, y0, x1, y1 of what is painted, to the fraction of a pixel that its edge pixels are covered."""
    columns, lines = alpha.amax(0), alpha.amax(1)

    def ends(line: Tensor) -> tuple[float, float]:
        seen = (line > 0.02).nonzero().flatten()
        first, last = int(seen[0]), int(seen[-1])
        return first + 1 - float(line[first]), last + float(line[last])

    (x0, x1), (y0, y1) = ends(columns), ends(lines)
    return x0, y0, x1, y1


def alone(composer: Composer, of: Scene, position: int) -> Tensor:
    """The ink of one of the scene's objects, as if it were alone."""
    return ink(composer, replace(of, objects=(of.objects[position],), named=(0,)))
