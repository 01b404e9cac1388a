"""What stands behind things: plain colours, gradients, painted places, a floor seen from above, lines of motion.

Painted with soft edges from a few random numbers, in fractions of the picture's side, so that any size shows the same
place and a CPU and a GPU paint the same pixels.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from darkroom.data.scenes.spec import GROUNDS, Ground, Scene
from darkroom.data.stock.scenery import SceneryTable

Number = int | float
Colour = tuple[Number, Number, Number]  # sRGB, 0 to 255
VARIANTS = 64  # of each place


class Canvas:
    """A picture being painted: pixels (3, side, side) in [0, 1] and where each of them lies."""

    def __init__(self, side: int, device: torch.device) -> None:
        self.side = side
        middle = (torch.arange(side, device=device) + 0.5) / side
        self.x, self.y = middle[None, :], middle[:, None]  # fractions of the side
        self.pixels = torch.empty(3, side, side, device=device)

    def _colour(self, colour: Colour) -> Tensor:
        return torch.tensor(colour, device=self.pixels.device).view(3, 1, 1) / 255

    def fill(self, colour: Colour) -> None:
        """One colour everywhere."""
        self.pixels[:] = self._colour(colour)

    def fade(self, stops: Sequence[tuple[Number, Colour]], along: Tensor | None = None) -> None:
        """A gradient through (place, colour) stops; ``along`` None runs from top to bottom."""
        ramp = self.y if along is None else along
        self.pixels[:] = self._colour(stops[0][1])
        for (start, _), (end, colour) in pairwise(stops):
            self.lay(((ramp - start) / (end - start)).clamp(0, 1), colour)

    def lay(self, mask: Tensor, colour: Colour) -> None:
        """Paints a colour through a mask in [0, 1] that broadcasts to (side, side)."""
        self.pixels += (self._colour(colour) - self.pixels) * mask

    def inside(self, depth: Tensor) -> Tensor:
        """A mask with a soft edge, one pixel wide, from how far inside (in sides; negative: outside) a pixel lies."""
        return (depth * self.side + 0.5).clamp(0, 1)

    def below(self, skyline: Tensor) -> Tensor:
        """The mask of everything under a skyline: a height y for each column, (side,)."""
        return self.inside(self.y - skyline)

    def disc(self, x: float, y: float, radius: float) -> Tensor:
        return self.inside(radius - ((self.x - x).square() + (self.y - y).square()).sqrt())

    def box(self, x0: float, y0: float, x1: float, y1: float) -> Tensor:
        across = torch.minimum(self.x - x0, x1 - self.x)
        return self.inside(torch.minimum(across, torch.minimum(self.y - y0, y1 - self.y)))

    def stroke(self, start: tuple[float, float], end: tuple[float, float], radius: float) -> Tensor:
        """The mask of a line with round ends."""
        px, py, dx, dy = self.x - start[0], self.y - start[1], end[0] - start[0], end[1] - start[1]
        share = ((px * dx + py * dy) / max(dx * dx + dy * dy, 1e-9)).clamp(0, 1)
        return self.inside(radius - ((px - share * dx).square() + (py - share * dy).square()).sqrt())

    def dots(self, random: Random, count: int, radius: tuple[float, float], low: float) -> Tensor:
        """The mask of many small discs between the top and ``low``."""
        mask = torch.zeros(self.side * self.side, device=self.pixels.device)
        reach = math.ceil(radius[1] * self.side + 0.5)
        where, how_much = [], []
        for _ in range(count):
            x, y, r = (
                random.random() * self.side,
                random.random() * low * self.side,
                random.uniform(*radius) * self.side,
            )
            for row in range(int(y) - reach, int(y) + reach + 1):
                for column in range(int(x) - reach, int(x) + reach + 1):
                    share = r - math.hypot(column + 0.5 - x, row + 0.5 - y) + 0.5
                    if share > 0 and 0 <= row < self.side and 0 <= column < self.side:
                        where.append(row * self.side + column)
                        how_much.append(min(1.0, share))
        found = torch.tensor(how_much, device=mask.device)
        mask.scatter_reduce_(0, torch.tensor(where, device=mask.device), found, "amax")
        return mask.view(self.side, self.side)

    def hills(self, random: Random, base: float, swing: float) -> Tensor:
        """A rolling skyline around height ``base``."""
        line = torch.full_like(self.x[0], base)
        for frequency in (1, 2):
            line = line + swing / frequency * torch.sin(
                2 * math.pi * (frequency * random.uniform(0.6, 1.2) * self.x[0] + random.random())
            )
        return line


class Backdrops:
    """Paints grounds; places are painted once in each of their variants and kept.

    Where there are drawings of a place in a scene's own style, every other scene of it shows one.
    """

    def __init__(self, side: int, device: torch.device, sceneries: SceneryTable | None = None) -> None:
        self.side, self.device = side, device
        self._kept: dict[tuple[str, int], Tensor] = {}
        self._drawn: dict[tuple[str, str], list[Tensor]] = defaultdict(list)
        for scenery in sceneries.sceneries if sceneries is not None else ():
            assert sceneries is not None
            self._drawn[scenery.place, scenery.style].append(_fitted(sceneries.pixels[scenery.row], side))

    def paint(self, scene: Scene) -> Float[Tensor, "3 side side"]:
        """The background of a scene."""
        random = Random(f"{scene.seed}/ground")
        variant = random.randrange(VARIANTS)
        canvas = Canvas(self.side, self.device)
        if scene.ground.place:
            drawn = self._drawn.get((scene.ground.name, scene.drawings)) if scene.light is None else None
            if drawn and variant % 2:  # a drawing has its own light
                canvas.pixels[:] = drawn[variant // 2 % len(drawn)]
            else:
                canvas.pixels[:] = self.place(scene.ground.name, variant)
        else:
            plain(scene.ground, canvas)
        if scene.camera == "from above":
            _floor(canvas, random, scene)
        if scene.motion is not None:
            _streaks(canvas, random, fast=scene.motion == "fast", dark=brightness(scene.ground) > 0.6)
        return canvas.pixels

    def place(self, name: str, variant: int) -> Float[Tensor, "3 side side"]:
        """One variant of a place."""
        if (name, variant) not in self._kept:
            canvas = Canvas(self.side, self.device)
            _PLACES[name](canvas, Random(f"{name}/{variant}"))
            self._kept[name, variant] = canvas.pixels
        return self._kept[name, variant]


def _fitted(pixels: UInt8[Tensor, "3 high wide"], side: int) -> Float[Tensor, "3 side side"]:
    """A drawing in [0, 1], as large as the picture."""
    whole = pixels.float() / 255
    if whole.shape[-1] == side:
        return whole
    return F.interpolate(whole[None], (side, side), mode="bilinear", antialias=True)[0].clamp(0, 1)


def brightness(ground: Ground) -> float:
    """About how light a ground is, in [0, 1]."""
    if ground.place:
        return {"night sky": 0.15, "sunset": 0.5, "forest": 0.5, "sea": 0.5}.get(ground.name, 0.8)
    ends = [GROUNDS[name] for name in (ground.name, ground.name_to) if name is not None]
    return sum(sum(colour) for colour in ends) / (3 * 255 * len(ends))


def plain(ground: Ground, canvas: Canvas) -> None:
    """A colour, or a gradient between two."""
    if ground.name_to is None:
        canvas.fill(GROUNDS[ground.name])
        return
    along = None
    if ground.radial:
        along = ((2 * canvas.x - 1).square() + (2 * canvas.y - 1).square()).sqrt() / 1.4
    canvas.fade([(0, GROUNDS[ground.name]), (1, GROUNDS[ground.name_to])], along)


def mixed(a: Colour, b: Colour, share: float) -> Colour:
    """``share`` of b in a."""
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)


# --- places ------------------------------------------------------------------------------------------------------


def _snow(canvas: Canvas, random: Random) -> None:
    canvas.fade([(0, mixed((150, 185, 225), (190, 205, 225), random.random())), (0.6, (226, 236, 246))])
    canvas.lay(canvas.below(canvas.hills(random, random.uniform(0.44, 0.54), 0.05)), (205, 218, 236))
    canvas.lay(canvas.below(canvas.hills(random, random.uniform(0.56, 0.66), 0.04)), (246, 249, 253))
    canvas.lay(canvas.dots(random, 34, (0.006, 0.014), 1.0), (255, 255, 255))


def _night_sky(canvas: Canvas, random: Random) -> None:
    canvas.fade([(0, (9, 11, 38)), (1, mixed((30, 38, 92), (58, 40, 96), random.random()))])
    canvas.lay(canvas.dots(random, 46, (0.003, 0.009), 1.0), (255, 250, 225))
    x, y, r = random.choice((random.uniform(0.1, 0.25), random.uniform(0.75, 0.9))), random.uniform(0.1, 0.22), 0.075
    moon = canvas.disc(x, y, r)
    if random.random() < 0.6:
        moon = moon * (1 - canvas.disc(x + r * 0.45, y - r * 0.15, r * 0.9))
    canvas.lay(moon, (250, 240, 200))


def _sunset(canvas: Canvas, random: Random) -> None:
    horizon = random.uniform(0.6, 0.7)
    canvas.fade(
        [
            (0, mixed((88, 62, 140), (200, 90, 110), random.random())),
            (horizon * 0.6, (244, 130, 92)),
            (horizon, (255, 208, 110)),
        ]
    )
    x = random.uniform(0.2, 0.8)
    canvas.lay(canvas.disc(x, horizon, random.uniform(0.11, 0.15)), (255, 240, 170))
    sea = canvas.inside(canvas.y - horizon)
    canvas.lay(sea, (92, 62, 108))
    waves = (torch.sin(canvas.y * (2 * math.pi * 26)) * 0.5 + 0.5) * sea
    canvas.lay(waves * (1 - (canvas.x - x).abs() * 4).clamp(0, 1), (255, 190, 110))


def _city(canvas: Canvas, random: Random) -> None:
    canvas.fade([(0, mixed((126, 180, 232), (176, 190, 220), random.random())), (0.8, (232, 238, 244))])
    for colour, low, high, windows in (((168, 180, 198), 0.22, 0.42, False), ((104, 112, 134), 0.36, 0.66, True)):
        walls, tops = [0.0], []
        while walls[-1] < 1:
            walls.append(walls[-1] + random.uniform(0.1, 0.19))
            tops.append(random.uniform(low, high))
        ends = torch.tensor(walls, device=canvas.pixels.device)
        house = torch.searchsorted(ends, canvas.x[0], right=True) - 1  # that each column shows
        skyline = torch.tensor(tops, device=canvas.pixels.device)[house]
        canvas.lay(canvas.below(skyline), colour)
        if windows:
            across = (canvas.x[0] - ends[house]) / (ends[house + 1] - ends[house])
            columns = (((across * 3) % 1 - 0.5).abs() < 0.3) & (across > 0.08) & (across < 0.92)
            rows = (0.25 - ((canvas.y * 15) % 1 - 0.5).abs()) * canvas.side / 15
            lit = (rows + 0.5).clamp(0, 1) * columns * canvas.below(skyline + 0.03)
            canvas.lay(lit, (250, 222, 140) if random.random() < 0.6 else (190, 208, 226))
    canvas.lay(canvas.inside(canvas.y - 0.88), (92, 94, 102))


def _forest(canvas: Canvas, random: Random) -> None:
    canvas.fade([(0, mixed((176, 220, 236), (214, 232, 214), random.random())), (0.7, (226, 240, 220))])
    for depth, colour in enumerate(((120, 168, 128), (72, 132, 84), (44, 98, 58))):
        count, height = 9 - 2 * depth, 0.36 + 0.1 * depth
        spots = torch.tensor(
            [
                [(i + random.uniform(0.1, 0.9)) / count, random.uniform(0.8, 1.1) * height, random.uniform(0.09, 0.13)]
                for i in range(-1, count + 1)
            ],
            device=canvas.pixels.device,
        )  # (trees, 3): x, height, half width
        foot = 0.6 + 0.08 * depth
        x, tall, half = spots.T[..., None]
        reach = (1 - (canvas.x - x).abs() / half).clamp_min(0) * tall  # (trees, side)
        canvas.lay(canvas.below(foot - reach.amax(0)) * (1 - canvas.inside(canvas.y - foot - 0.02)), colour)
        canvas.lay(canvas.inside(canvas.y - foot), mixed(colour, (120, 180, 90), 0.35))


def _sea(canvas: Canvas, random: Random) -> None:
    horizon = random.uniform(0.36, 0.46)
    canvas.fade([(0, mixed((96, 172, 236), (140, 196, 240), random.random())), (horizon, (216, 236, 248))])
    if random.random() < 0.6:
        canvas.lay(canvas.disc(random.choice((0.18, 0.82)), 0.15, 0.07), (255, 236, 150))
    water = canvas.inside(canvas.y - horizon)
    canvas.lay(water, (44, 124, 196))
    canvas.lay(water * ((canvas.y - horizon) / (1 - horizon)).clamp(0, 1), (28, 92, 164))
    phase = random.random()
    ripple = torch.sin(2 * math.pi * (canvas.x * 5 + phase + torch.sin(canvas.y * 60) * 0.5))
    crests = torch.sin(2 * math.pi * (canvas.y * 15 + 0.08 * ripple))
    canvas.lay(water * ((crests - 0.8) * 6).clamp(0, 1) * 0.6, (170, 214, 240))
    if random.random() < 0.5:
        canvas.lay(canvas.below(canvas.hills(random, 0.86, 0.012)), (236, 214, 160))


def _room(canvas: Canvas, random: Random) -> None:
    wall = random.choice(((232, 222, 204), (206, 222, 226), (228, 208, 208), (214, 226, 204), (222, 214, 232)))
    canvas.fill(wall)
    if random.random() < 0.4:
        stripes = (torch.sin(canvas.x * (2 * math.pi * 9)) * 4).clamp(-0.5, 0.5) + 0.5
        canvas.lay(stripes * 0.35, mixed(wall, (255, 255, 255), 0.7))
    left = random.uniform(0.08, 0.6)
    canvas.lay(canvas.box(left, 0.1, left + 0.3, 0.46), (250, 250, 250))
    canvas.lay(canvas.box(left + 0.02, 0.12, left + 0.28, 0.44), (160, 206, 240))
    canvas.lay(canvas.box(left + 0.14, 0.12, left + 0.16, 0.44), (250, 250, 250))
    canvas.lay(canvas.box(left + 0.02, 0.27, left + 0.28, 0.29), (250, 250, 250))
    floor = canvas.inside(canvas.y - 0.7)
    canvas.lay(floor, (182, 132, 88))
    slant = (canvas.x - 0.5) / (canvas.y + 0.05)  # boards run towards the middle
    canvas.lay(floor * ((torch.sin(slant * 40) - 0.93) * 14).clamp(0, 1) * 0.6, (128, 88, 56))
    canvas.lay(canvas.box(-0.1, 0.675, 1.1, 0.705), (248, 246, 242))


_PLACES: dict[str, Callable[[Canvas, Random], None]] = {
    "snow": _snow,
    "night sky": _night_sky,
    "sunset": _sunset,
    "city": _city,
    "forest": _forest,
    "sea": _sea,
    "room": _room,
}


# --- what a view or a motion leaves on the ground ----------------------------------------------------------------


def _floor(canvas: Canvas, random: Random, scene: Scene) -> None:
    """A tiled floor without a horizon, and the thing's shadow around its foot: seen from above."""
    cells = random.choice((4, 5))
    gaps = torch.maximum(((canvas.x * cells) % 1 - 0.5).abs(), ((canvas.y * cells) % 1 - 0.5).abs())
    lines = canvas.inside((gaps - 0.5) / cells + 0.008)
    canvas.pixels += lines * (-0.16 if brightness(scene.ground) > 0.45 else 0.16)
    canvas.pixels.clamp_(0, 1)
    if not scene.objects:
        return
    thing = scene.objects[0]
    away = ((canvas.x - thing.x - 0.03).square() + (canvas.y - thing.y - 0.05).square()).sqrt() / (thing.size * 0.62)
    canvas.pixels *= 1 - 0.45 * (1 - away).clamp(0, 1)


def _streaks(canvas: Canvas, random: Random, *, fast: bool, dark: bool) -> None:
    """Lines of motion, dark or light: many long ones for fast, three short ones for slow."""
    mask = torch.zeros(canvas.side, canvas.side, device=canvas.pixels.device)
    for i in range(13 if fast else 3):
        y = (i + random.random()) / 13 if fast else 0.3 + 0.2 * i + random.uniform(-0.04, 0.04)
        long = random.uniform(0.45, 0.9) if fast else 0.1
        x0 = random.uniform(-0.1, 1.1 - long) if fast else random.choice((0.02, 0.88))
        mask = torch.maximum(mask, canvas.box(x0, y - 0.007, x0 + long, y + 0.007))
    canvas.lay(mask * 0.55, (60, 70, 90) if dark else (255, 255, 255))
