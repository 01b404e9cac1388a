"""What an upscaler learns from: sharp pictures, and what pictures of half their size look like in the wild.

A picture is sharp when nothing in it was ever enlarged. So scenes are composed at 256 px with drawings that there are
at 256 px; of all other drawings, which are 128 px, with each as large as it is and no larger; and photos, which are
128 px, stay whole. Drawings of places are left out, and scenes with a flaw.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from random import Random

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from darkroom.data.scenes.compose import Composer
from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.looks import blurred
from darkroom.data.scenes.spec import FULL, ComposerConfig, Scene, scene_seed
from darkroom.data.stock.built import Built
from darkroom.data.stock.drawings import LARGE, SpriteTable

SHARES = {"large": 0.55, "small": 0.3, "photo": 0.15}  # of the pictures: drawings at 256 px, at 128 px, photos
KEPT = "backgrounds/"  # ids of photos to measure upscalers on, never trained on
BLUR_SHARE, NOISE_SHARE, BLOCKS_SHARE = 0.25, 0.25, 0.15  # of halved pictures; a bit more than half have none of them
MOST_BLUR = 1.2 / LARGE  # standard deviation before halving, a fraction of the side
MOST_NOISE = 0.03  # standard deviation, of a range of 1
BLOCK = 8  # pixels a side of a block that is rounded (ITU-T T.81, annex A.1.1)
STEPS = (0.02, 0.12)  # a block's wave is rounded to steps from the first to the second, in a range of 1

Picture = Float[Tensor, "3 side side"]


class SharpPictures:
    """Pictures by number, the same for equal numbers."""

    def __init__(
        self,
        data: Built,
        large: SpriteTable,
        *,
        run: int = 0,
        stream: str = "upscaler",
        kinds: Mapping[str, float] | None = None,
        shares: Mapping[str, float] | None = None,
        **changes: object,
    ) -> None:
        """``kinds`` None are all but photos, ``shares`` None those above; ``changes`` are other settings of scenes."""
        self.run, self.stream = run, stream
        kinds = kinds or {kind: share for kind, share in FULL.kinds.items() if kind != "photo"}
        others = {sprite.style for sprite in data.drawings.sprites} - {sprite.style for sprite in large.sprites}
        small = data.drawings.restricted({sprite.concept for sprite in data.drawings.sprites}, tuple(others))
        self.painters: dict[str, tuple[Composer, ComposerConfig]] = {}
        for name, table in (("large", large), ("small", small)):
            if table.sprites:
                part = Built(table, None, data.fonts)  # no drawings of places: they are 128 px
                scenes = part.everything(kinds=kinds, quality_share=0.0, **changes)
                self.painters[name] = part.composer(LARGE), scenes
        photos = data.photos.photos if data.photos is not None else ()
        self.pixels = data.photos.pixels if data.photos is not None else None
        self.photos = [photo.row for photo in photos if not photo.id.startswith(KEPT)]
        there = {*self.painters, *(["photo"] if self.photos else [])}
        self.shares = {name: share for name, share in (shares or SHARES).items() if name in there}

    def __call__(self, first: int, count: int) -> list[Picture]:
        """Pictures first .. first + count - 1, of 256 px; photos of 128."""
        return [self._picture(scene_seed(self.stream, self.run, first + i)) for i in range(count)]

    def _picture(self, seed: int) -> Picture:
        random = Random(f"{seed}/sharp")
        [kind] = random.choices(list(self.shares), list(self.shares.values()))
        if kind == "photo":
            assert self.pixels is not None
            return self.pixels[random.choice(self.photos)].float() / 255
        composer, scenes = self.painters[kind]
        return composer.render([sharp(draw_scene(seed, scenes), composer)]).pixels[0]


def sharp(scene: Scene, composer: Composer) -> Scene:
    """The scene with no drawing larger than it was drawn."""
    things = []
    for thing in scene.objects:
        x0, y0, x1, y1 = composer.sprite(scene, thing).box
        things.append(replace(thing, size=min(thing.size, max(x1 - x0, y1 - y0) / composer.side)))
    return replace(scene, objects=tuple(things))


def area(picture: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 3 h/2 w/2"]:
    """Half the size: the mean of each two by two pixels."""
    return F.avg_pool2d(picture, 2)


def cubic(picture: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h/2 w/2"]:
    """Half the size by the cubic that most programs use (a = -1/2, as wide as shrinking asks for)."""
    return F.interpolate(picture[None], scale_factor=0.5, mode="bicubic", antialias=True)[0].clamp(0, 1)


def halved(picture: Picture, generator: torch.Generator) -> Float[Tensor, "3 side/2 side/2"]:
    """A picture at half the size, as programs shrink it: evenly or by a cubic, some blurred, noisy or in blocks."""
    how, blur, noise, blocks, much, more, most = torch.rand(7, generator=generator).tolist()
    if blur < BLUR_SHARE:
        picture = blurred(picture, max(0.3 / LARGE, much * MOST_BLUR))
    small = area(picture) if how < 0.5 else cubic(picture)
    if noise < NOISE_SHARE:
        grain = torch.randn(small.shape, generator=generator).to(small.device)
        small = small + more * MOST_NOISE * grain
    if blocks < BLOCKS_SHARE:
        small = rounded_blocks(small.clamp(0, 1), STEPS[0] + most * (STEPS[1] - STEPS[0]))
    return small.clamp(0, 1)


def rounded_blocks(picture: Picture, step: float) -> Picture:
    """What compression loses: each block's cosine transform, rounded the more coarsely the finer the wave is.

    (ITU-T T.81, annex A.3.3 and A.3.4, with a ramp in place of its tables; colours are rounded as they are.)
    """
    side = picture.shape[-1]
    n = torch.arange(BLOCK, device=picture.device, dtype=torch.float32)
    basis = torch.cos(math.pi * (2 * n[None, :] + 1) * n[:, None] / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
    basis[0] *= math.sqrt(0.5)
    cells = side // BLOCK
    blocks = picture.view(3, cells, BLOCK, cells, BLOCK).transpose(2, 3)  # (3, cells, cells, 8, 8)
    waves = basis @ (blocks - 0.5) @ basis.T
    steps = step * (0.5 + (n[:, None] + n[None, :]) / 4)
    steps[0, 0] = step / 4
    return (basis.T @ ((waves / steps).round() * steps) @ basis + 0.5).transpose(2, 3).reshape(picture.shape)
