"""Conditions a model can be trained to follow, for which a composed scene has the truth: KEEP masks and control maps.

A mask is 1 where the picture is kept and 0 where it is drawn anew. A control map is (3, side, side) in [0, 1].
"""

from __future__ import annotations

import math
from random import Random

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from darkroom.data.scenes.backdrops import Canvas
from darkroom.data.scenes.compose import Composer
from darkroom.data.scenes.figures import BONES, keypoints
from darkroom.data.scenes.rooms import DEPTH, cast
from darkroom.data.scenes.spec import Scene
from darkroom.wording.vocabulary import core

OF_PIXELS = ("edges", "scribble", "palette")  # made of any picture; of the others a scene knows the truth
CONTROLS = (*OF_PIXELS, "layout", "depth", "pose", "silhouette")

_ONE_BEFORE_ANOTHER = frozenset({"in front of", "behind", "wearing", "holding", "on"})

Map = Float[Tensor, "3 side side"]
AnyMap = Float[Tensor, "3 high wide"]
Mask = Float[Tensor, "side side"]


def keep_mask(seed: int, side: int, device: torch.device) -> Mask:
    """A random mask: a hole in the shape of a box or of a brush's strokes, or everything but a border kept."""
    random = Random(f"{seed}/mask")
    canvas = Canvas(side, device)
    kind = random.choice(("box", "strokes", "border"))
    if kind == "box":
        wide, high = random.uniform(0.25, 0.7), random.uniform(0.25, 0.7)
        x, y = random.uniform(0, 1 - wide), random.uniform(0, 1 - high)
        hole = canvas.box(x, y, x + wide, y + high)
    elif kind == "strokes":
        hole = torch.zeros(side, side, device=device)
        x, y = random.uniform(0.2, 0.8), random.uniform(0.2, 0.8)
        for _ in range(random.randint(3, 7)):
            turn, long = random.uniform(0, 2 * math.pi), random.uniform(0.15, 0.4)
            to = (min(0.95, max(0.05, x + long * math.cos(turn))), min(0.95, max(0.05, y + long * math.sin(turn))))
            hole = torch.maximum(hole, canvas.stroke((x, y), to, random.uniform(0.05, 0.1)))
            x, y = to
    else:
        edges = [random.uniform(0.15, 0.4) if random.random() < 0.5 else -0.1 for _ in range(4)]
        if max(edges) < 0:
            edges[random.randrange(4)] = random.uniform(0.15, 0.4)
        hole = 1 - canvas.box(edges[0], edges[1], 1 - edges[2], 1 - edges[3])
    return 1 - (hole > 0.5).float()


def control_map(kind: str, scene: Scene, pixels: Map, composer: Composer) -> Map:
    """The control map of a scene that has been painted as ``pixels``; all zero where the scene has no such truth."""
    if kind in OF_PIXELS:
        return seen_map(kind, pixels, scene.seed)
    if kind not in CONTROLS:
        raise ValueError(f"control {kind!r} is not one of {', '.join(CONTROLS)}")
    return {"layout": layout, "depth": depth, "pose": pose, "silhouette": silhouette}[kind](scene, composer)


def seen_map(kind: str, pixels: AnyMap, seed: int = 0) -> AnyMap:
    """A control map of OF_PIXELS, made of any picture; ``seed`` says how a scribble is off."""
    if kind == "edges":
        return edges(pixels)
    return scribble(pixels, seed) if kind == "scribble" else palette(pixels)


def edges(pixels: AnyMap) -> AnyMap:
    """White lines where a colour changes most (Sobel, thinned across the change as by Canny, 1986)."""
    planes = F.avg_pool2d(F.pad(pixels[:, None], (1, 1, 1, 1), "replicate"), 3, 1)  # (3, 1, side, side)
    sobel = pixels.new_tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4
    slopes = F.conv2d(F.pad(planes, (1, 1, 1, 1), "replicate"), torch.stack([sobel, sobel.T])[:, None])
    size, steepest = slopes.square().sum(1).sqrt().max(0)  # over red, green and blue
    slope = slopes.gather(0, steepest[None, None].expand(1, 2, -1, -1))[0]
    padded = F.pad(size[None, None], (1, 1, 1, 1), "replicate")[0, 0]
    beside_x = torch.maximum(padded[1:-1, :-2], padded[1:-1, 2:])
    beside_y = torch.maximum(padded[:-2, 1:-1], padded[2:, 1:-1])
    ridge = size >= torch.where(slope[0].abs() >= slope[1].abs(), beside_x, beside_y)
    return ((size > 0.06) & ridge).float().expand(3, -1, -1)


def scribble(pixels: AnyMap, seed: int) -> AnyMap:
    """The edges of a coarse picture, thick and a little off, as somebody would draw them."""
    coarse = F.avg_pool2d(pixels[None], 4, ceil_mode=True)
    coarse = F.interpolate(coarse, pixels.shape[-2:], mode="bilinear", align_corners=False)[0]
    random = Random(f"{seed}/scribble")
    shift = (random.randint(-1, 1), random.randint(-1, 1))
    return F.max_pool2d(edges(coarse).roll(shift, (1, 2))[None], 3, 1, 1)[0]


def palette(pixels: AnyMap) -> AnyMap:
    """Eight by eight patches of mean colour."""
    return F.interpolate(F.adaptive_avg_pool2d(pixels[None], 8), pixels.shape[-2:], mode="nearest")[0]


def layout(scene: Scene, composer: Composer) -> Map:
    """A filled box for each drawing, coloured by its concept."""
    canvas = Canvas(composer.side, composer.table.pixels.device)
    canvas.fill((0, 0, 0))
    for thing in scene.objects:
        x0, y0, x1, y1 = composer.visible_box(scene, thing)
        canvas.lay(canvas.box(x0, y0, x1, y1), concept_colour(thing.concept))
    return canvas.pixels


def concept_colour(concept: int) -> tuple[float, float, float]:
    """A colour for each concept of the core vocabulary, far from black and from its neighbours'."""
    turn = concept * 0.61803 % 1  # the golden ratio spreads hues
    level = 0.65 + 0.35 * (concept * 7 % len(core())) / len(core())
    red, green, blue = (level * (0.5 + 0.5 * math.cos(2 * math.pi * (turn - shift))) for shift in (0, 1 / 3, 2 / 3))
    return 255 * (0.2 + 0.8 * red), 255 * (0.2 + 0.8 * green), 255 * (0.2 + 0.8 * blue)


def depth(scene: Scene, composer: Composer) -> Map:
    """White is near. In a box room as it was cast; else things stand before the ground, and before one another where
    the relation says so."""
    side, device = composer.side, composer.table.pixels.device
    if scene.room is not None:
        return (1 - (cast(scene.room, side, device).depth / DEPTH)).clamp(0, 1).expand(3, -1, -1)
    near = torch.zeros(side, side, device=device)
    layers = composer.alphas(scene)
    for i, alpha in enumerate(layers):
        level = 0.5 + 0.5 * (i + 1) / len(layers) if scene.relation in _ONE_BEFORE_ANOTHER else 0.75
        near = near * (1 - alpha) + level * alpha
    return near.expand(3, -1, -1)


def pose(scene: Scene, composer: Composer) -> Map:
    """The mannequin's bones as coloured strokes on black."""
    canvas = Canvas(composer.side, composer.table.pixels.device)
    canvas.fill((0, 0, 0))
    if scene.figure is not None:
        joints = keypoints(scene.figure)
        for (start, end), colour in BONES.items():
            canvas.lay(canvas.stroke(joints[start], joints[end], 0.012), colour)
    return canvas.pixels


def silhouette(scene: Scene, composer: Composer) -> Map:
    """White where a drawing or the mannequin is."""
    side, device = composer.side, composer.table.pixels.device
    clear = torch.ones(side, side, device=device)
    for alpha in composer.alphas(scene):
        clear = clear * (1 - alpha)
    return (1 - clear).expand(3, -1, -1)
