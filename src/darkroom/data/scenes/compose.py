"""The composer: scene specs to pixels and per-patch truth, on any device.

Every object is one affine warp of a sprite laid over the canvas, layer by layer. A pass paints a group of objects in
the smallest window of whole patches that holds them. On a CPU a group is one object, so that its pixels stay in the
cache; on a GPU it is all objects of a layer that are sampled alike, so that a batch costs few launches. Whatever the
groups, a pixel depends on its own scene only: alone and in a batch a scene has the same bits.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from darkroom.data.scenes.backdrops import Backdrops
from darkroom.data.scenes.figures import WOOD, paint_figure
from darkroom.data.scenes.letters import aspect, lettered
from darkroom.data.scenes.looks import blurred, finished
from darkroom.data.scenes.rooms import cast
from darkroom.data.scenes.spec import Lettering, Person, Photo, Scene, SpecObject
from darkroom.data.stock.drawings import SIDE, Sprite, SpriteTable
from darkroom.data.stock.photos import PhotoTable
from darkroom.data.stock.scenery import SceneryTable
from darkroom.wording.vocabulary import COLOURS

PATCHES = 8  # truth is kept on an 8 x 8 grid: one cell per latent patch of 16 px at 128 px

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


class Composed(NamedTuple):
    """A rendered batch and the truth about each patch of it."""

    pixels: Float[Tensor, "batch 3 side side"]  # sRGB in [0, 1]
    concept: Int[Tensor, "batch 8 8"]  # index into the core vocabulary of what covers most of the patch; -1 is ground
    coverage: Float[Tensor, "batch 8 8"]  # share of the patch that objects cover


@dataclass(frozen=True, slots=True)
class _Placed:
    """One object to paint: where it goes and which pixels it comes from."""

    scene: int
    sprite: Sprite
    thing: SpecObject
    paint: str | None  # the colour it is painted in; None: its own colours
    level: int  # how often the sprite is halved before it is sampled, so that shrinking does not alias
    affine: tuple[tuple[float, ...], tuple[float, ...]]  # 2 x 3, from output to sprite coordinates, both in [-1, 1]
    window: tuple[int, int, int, int]  # x0, y0, x1, y1 of the patches the drawing may touch


class Composer:
    """Renders scenes from a table of sprites."""

    def __init__(
        self,
        table: SpriteTable,
        side: int = SIDE,
        *,
        photos: PhotoTable | None = None,
        fonts: tuple[Path | None, ...] = (None,),
        sceneries: SceneryTable | None = None,
    ) -> None:
        """``fonts`` None among the fonts is the one that is always there."""
        if side % PATCHES:
            raise ValueError(f"side {side} is not a multiple of {PATCHES}; try {-(-side // PATCHES) * PATCHES}")
        self.table = table
        self.side = side
        self.drawn = table.pixels.shape[-1]  # pixels a side of the drawings
        self.photos = photos
        self.fonts = fonts
        self._rows: dict[tuple[int, str, Person], list[Sprite]] = defaultdict(list)
        for sprite in table.sprites:
            self._rows[sprite.concept, sprite.style, sprite.person].append(sprite)
        device = table.pixels.device
        self.together = device.type != "cpu"  # whether a pass paints more than one object
        self._extents = _extents(table.pixels)
        self._axis = (2 * torch.arange(side, device=device) + 1) / side - 1  # centres of the output pixels, in [-1, 1]
        self._backdrops = Backdrops(side, device, sceneries)
        self._colours = {name: torch.tensor(rgb, device=device) / 255 for name, rgb in COLOURS.items()}

    def sprite(self, scene: Scene, thing: SpecObject) -> Sprite:
        """The drawing of an object; the scene's seed picks where the table has several."""
        drawings = self._rows.get((thing.concept, scene.drawings, thing.person))
        if not drawings:
            raise KeyError(f"no drawing of concept {thing.concept} in style {scene.drawings!r}")
        return drawings[scene.seed % len(drawings)]

    def render(self, scenes: list[Scene]) -> Composed:
        """Renders a batch of scenes; on the device that holds the table's pixels."""
        device = self.table.pixels.device
        depth = max(1, max(len(scene.objects) for scene in scenes))
        canvas = torch.empty(len(scenes), 3, self.side, self.side, device=device)
        for i, scene in enumerate(scenes):
            canvas[i] = self._behind(scene)
        cover = torch.zeros(len(scenes), 1, self.side, self.side, device=device)
        shares = torch.zeros(depth, len(scenes), PATCHES, PATCHES, device=device)
        for layer in range(depth):
            placed = [
                self._place(i, scene, scene.objects[layer])
                for i, scene in enumerate(scenes)
                if layer < len(scene.objects)
            ]
            for group in self._groups(placed):
                self._paint(group, canvas, cover, shares[layer])
        for i, scene in enumerate(scenes):
            canvas[i] = finished(canvas[i], scene)
        index = [[t.concept for t in scene.objects] + [-1] * (depth - len(scene.objects)) for scene in scenes]
        concept = _visible(shares, torch.tensor(index, device=device).T)
        return Composed(canvas, concept, F.avg_pool2d(cover, self.side // PATCHES)[:, 0])

    def visible_box(self, scene: Scene, thing: SpecObject) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 of an object's visible box, fractions of the side; it may reach beyond the picture."""
        x0, y0, x1, y1 = self.sprite(scene, thing).box
        scale = thing.size / max(x1 - x0, y1 - y0) / 2
        wide, high = (x1 - x0) * scale, (y1 - y0) * scale
        cos, sin = abs(math.cos(math.radians(thing.angle))), abs(math.sin(math.radians(thing.angle)))
        wide, high = wide * cos + high * sin, wide * sin + high * cos
        return thing.x - wide, thing.y - high, thing.x + wide, thing.y + high

    def alphas(self, scene: Scene) -> list[Float[Tensor, "side side"]]:
        """What each object, and the mannequin before them, covers; as if nothing stood in front of it."""
        device = self.table.pixels.device
        found = []
        if scene.figure is not None:
            found.append(paint_figure(scene.figure, self.side, WOOD, device).alpha)
        everywhere = slice(0, self.side)
        for thing in scene.objects:
            placed = self._place(0, scene, thing)
            found.append(self._warped([placed], everywhere, everywhere)[0, 3])
        return found

    def without(self, scene: Scene, which: int) -> Float[Tensor, "3 side side"]:
        """The scene's picture without one of its objects."""
        others = tuple(thing for i, thing in enumerate(scene.objects) if i != which)
        return self.render([replace(scene, objects=others)]).pixels[0]

    def _behind(self, scene: Scene) -> Tensor:
        """Everything behind the scene's drawings, (3, side, side)."""
        device = self.table.pixels.device
        if scene.photo is not None:
            return self._photo(scene.photo)
        if scene.room is not None:
            return cast(scene.room, self.side, device).pixels
        picture = self._backdrops.paint(scene)
        if scene.camera == "blurred background":
            picture = blurred(picture, 3.0 / 128)
        if scene.figure is not None:
            rgb = WOOD if scene.figure.colour is None else COLOURS[scene.figure.colour]
            figure = paint_figure(scene.figure, self.side, rgb, device)
            picture = picture * (1 - figure.alpha) + figure.colour
        if scene.lettering is not None:
            self._write(scene.lettering, picture)
        return picture

    def _photo(self, photo: Photo) -> Tensor:
        if self.photos is None:
            raise KeyError(f"photo {photo.id} is asked for, but the data was built without photos")
        pixels = self.photos.pixels[photo.row].float() / 255
        if pixels.shape[-1] == self.side:
            return pixels
        return F.interpolate(pixels[None], (self.side, self.side), mode="bilinear", antialias=True)[0].clamp(0, 1)

    def _write(self, word: Lettering, picture: Tensor) -> None:
        """Lays a word, and the sign it stands on, over a picture."""
        if word.board:
            for rim, colour in ((0.09, (70, 70, 78)), (0.07, (250, 250, 248))):
                across, down = word.width / 2 + rim, word.height / 2 + rim
                x0, x1, y0, y1 = (
                    round(v * self.side) for v in (word.x - across, word.x + across, word.y - down, word.y + down)
                )
                picture[:, max(0, y0) : y1, max(0, x0) : x1] = (
                    torch.tensor(colour, device=picture.device).view(3, 1, 1) / 255
                )
        font = self.fonts[word.font % len(self.fonts)]
        high = max(4, round(word.height * self.side))
        wide = max(4, round(min(word.width * self.side, high * 1.2 * aspect(word.text, font))))
        x0, y0 = round(word.x * self.side - wide / 2), round(word.y * self.side - high / 2)
        ink = lettered(word.text, font, high, wide).to(picture.device)
        ink = ink[max(0, -y0) : self.side - y0, max(0, -x0) : self.side - x0]
        under = picture[:, max(0, y0) : y0 + high, max(0, x0) : x0 + wide]
        under += (self._colours[word.colour].view(3, 1, 1) - under) * ink

    def _place(self, number: int, scene: Scene, thing: SpecObject) -> _Placed:
        """Where an object of scene ``number`` goes: its centre is the centre of the sprite's visible box."""
        sprite = self.sprite(scene, thing)
        x0, y0, x1, y1 = sprite.box
        scale = thing.size * self.side / max(x1 - x0, y1 - y0)  # output pixels per sprite pixel
        level = max(0, min(3, math.floor(math.log2(1 / scale) + 0.35)))
        turn, mirror = math.radians(thing.angle), -1.0 if thing.flip else 1.0
        cos, sin = math.cos(turn), math.sin(turn)
        k = self.side / self.drawn / scale  # sprite units per output unit
        a, b, c, d = cos * mirror * k, -sin * mirror * k, sin * k, cos * k
        x, y = 2 * thing.x - 1, 2 * thing.y - 1
        affine = (
            (a, b, (x0 + x1) / self.drawn - 1 - a * x - b * y),
            (c, d, (y0 + y1) / self.drawn - 1 - c * x - d * y),
        )
        # Where the corners of the sprite's inked part go, widened by what halving and bilinear sampling smear.
        left, top, right, bottom = self._extents[sprite.row]
        smear = 1.5 * 2**level
        across = [mirror * scale * (edge - (x0 + x1) / 2) for edge in (left - smear, right + smear)]
        down = [scale * (edge - (y0 + y1) / 2) for edge in (top - smear, bottom + smear)]
        xs = self._patches([thing.x * self.side + cos * u + sin * v for u in across for v in down])
        ys = self._patches([thing.y * self.side - sin * u + cos * v for u in across for v in down])
        paint = None if thing.colour == sprite.colour else thing.colour  # a red apple keeps its leaf
        return _Placed(number, sprite, thing, paint, level, affine, (xs[0], ys[0], xs[1], ys[1]))

    def _patches(self, positions: list[float]) -> tuple[int, int]:
        """The range of patches, at least one, that holds these pixel positions along one axis."""
        patch = self.side / PATCHES
        first = max(0, min(PATCHES - 1, math.floor(min(positions) / patch)))
        return first, max(first + 1, min(PATCHES, math.ceil(max(positions) / patch)))

    def _groups(self, placed: list[_Placed]) -> Iterable[list[_Placed]]:
        """Objects of one layer that are painted together: alike in level and in being recoloured."""
        if not self.together:
            return [[p] for p in placed]
        groups: dict[tuple[int, bool], list[_Placed]] = defaultdict(list)
        for p in placed:
            groups[p.level, p.paint is not None].append(p)
        return groups.values()

    def _paint(self, group: list[_Placed], canvas: Tensor, cover: Tensor, shares: Tensor) -> None:
        """Lays a group of objects, at most one a scene, over the canvas and notes what they cover."""
        x0, y0 = (min(p.window[i] for p in group) for i in (0, 1))
        x1, y1 = (max(p.window[i] for p in group) for i in (2, 3))
        patch = self.side // PATCHES
        columns, lines = slice(x0 * patch, x1 * patch), slice(y0 * patch, y1 * patch)
        painted = self._warped(group, columns, lines)
        alpha = painted[:, 3:]
        first = group[0].scene
        scenes = slice(first, first + 1) if len(group) == 1 else torch.tensor([p.scene for p in group])
        clear = 1 - alpha
        for under, over in ((canvas, painted[:, :3]), (cover, alpha)):
            part = under[:, :, lines, columns]
            part[scenes] = part[scenes] * clear + over
        shares[scenes, y0:y1, x0:x1] = F.avg_pool2d(alpha, patch)[:, 0]

    def _warped(self, group: list[_Placed], columns: slice, lines: slice) -> Tensor:
        """The group's drawings as they appear in a window, recoloured, premultiplied, (m, 4, height, width)."""
        pixels = self.table.pixels
        rows = torch.tensor([p.sprite.row for p in group], device=pixels.device)
        sprites = pixels.index_select(0, rows).float()  # (m, 4, drawn, drawn) in [0, 255]
        for _ in range(group[0].level):  # sums of 2 x 2: exact, the division comes last
            sprites = sprites[:, :, 0::2] + sprites[:, :, 1::2]
            sprites = sprites[..., 0::2] + sprites[..., 1::2]
        affine = torch.tensor([p.affine for p in group], device=pixels.device)[:, :, :, None]  # (m, 2, 3, 1)
        across = affine[:, :, 0] * self._axis[columns]  # (m, 2, width)
        down = affine[:, :, 1] * self._axis[lines] + affine[:, :, 2]  # (m, 2, height)
        grid = (across[:, :, None, :] + down[:, :, :, None]).permute(0, 2, 3, 1)
        painted = F.grid_sample(sprites, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        painted = painted.div_(255 * 4 ** group[0].level)
        if group[0].paint is None:
            return painted
        target = torch.stack([self._colours[p.paint] for p in group if p.paint])
        return recolour(painted, target)


def recolour(
    painted: Float[Tensor, "m 4 height width"], target: Float[Tensor, "m 3"]
) -> Float[Tensor, "m 4 height width"]:
    """Paints drawings in one colour: shade below their mean lightness runs to dark, above it to white.

    Premultiplied in, premultiplied out; the drawing's own hue is gone, its light and shadow stay.
    """
    alpha = painted[:, 3:]
    red, green, blue = (painted[:, i : i + 1] * weight for i, weight in enumerate(_LUMA))
    luma = red + green + blue  # premultiplied lightness
    mean = (_total(luma) / _total(alpha).clamp_min(1)).clamp(0.15, 0.85)
    light = (luma / alpha.clamp_min(1e-3)).clamp(0, 1)
    colour = target[:, :, None, None]
    dark = colour * (light / mean)
    bright = colour + (1 - colour) * (0.8 * (light - mean) / (1 - mean))
    return torch.cat([torch.where(light < mean, dark, bright).clamp(0, 1) * alpha, alpha], 1)


def _total(values: Float[Tensor, "m 1 height width"]) -> Float[Tensor, "m 1 1 1"]:
    """The sum over a picture, in whole numbers: whatever the window and the order of summing, the same bits."""
    return (values * 2**16).round().long().sum((2, 3), keepdim=True).float() / 2**16


def _visible(shares: Float[Tensor, "layers batch 8 8"], index: Int[Tensor, "layers batch"]) -> Int[Tensor, "batch 8 8"]:
    """The concept that covers most of each patch, -1 where none covers more than a fifth."""
    best = torch.zeros_like(shares[0])
    concept = torch.full_like(best, -1, dtype=torch.long)
    for share, painted in zip(shares, index, strict=True):
        # A later layer hides what it covers: what was seen of earlier objects shrinks by its share.
        seen = best * (1 - share)
        wins = (share > seen) & (share > 0.2)
        concept = torch.where(wins, painted[:, None, None], concept)
        best = torch.where(wins, share, seen)
    return concept


def _extents(pixels: UInt8[Tensor, "sprites 4 drawn drawn"]) -> list[tuple[int, int, int, int]]:
    """For each sprite the box x0, y0, x1, y1 outside of which it is empty; faint rims lie inside it."""
    inked = pixels[:, 3] > 0
    columns, lines = inked.any(1).byte(), inked.any(2).byte()
    drawn = pixels.shape[-1]
    ends = (columns.argmax(1), lines.argmax(1), drawn - columns.flip(1).argmax(1), drawn - lines.flip(1).argmax(1))
    return list(zip(*(end.tolist() for end in ends), strict=True))
