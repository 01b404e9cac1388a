"""Box rooms: an empty room with boxes in it, cast ray by ray, so that the depth of every pixel is known."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from darkroom.data.scenes.spec import BoxRoom
from darkroom.wording.vocabulary import COLOURS

HALF_WIDTH, HEIGHT, DEPTH = 2.0, 2.6, 5.6  # metres from the eye's plane to the far wall
EYE, FIELD, TILT = 1.45, 1.15, 0.16  # height of the eye, width of the view at one metre, how far it looks down


class Cast(NamedTuple):
    """A painted room and its depth."""

    pixels: Float[Tensor, "3 side side"]
    depth: Float[Tensor, "side side"]  # metres along the line of sight


def cast(room: BoxRoom, side: int, device: torch.device) -> Cast:
    """Paints a room by the nearest surface that the ray through each of four points a pixel meets."""
    fine = 2 * side
    axis = (torch.arange(fine, device=device) + 0.5) / fine - 0.5
    x = (axis * FIELD)[None, :].expand(fine, fine)
    y = (-axis * FIELD - TILT)[:, None].expand(fine, fine)
    # Distances (along z) to the room's own planes; the nearest in front of the eye is the surface.
    planes = torch.stack(
        [
            torch.full_like(x, DEPTH),
            torch.where(y < 0, EYE / -y.clamp(max=-1e-6), torch.inf),
            torch.where(y > 0, (HEIGHT - EYE) / y.clamp_min(1e-6), torch.inf),
            HALF_WIDTH / x.abs().clamp_min(1e-6),
        ]
    )
    depth, face = planes.min(0)
    walls = torch.tensor(COLOURS_OF_WALLS[room.walls], device=device) / 255
    tones = torch.tensor([1.0, 1.0, 1.06, 0.86], device=device)[face]
    surface = torch.where((face == 1)[None], _wood(x, depth), walls.view(3, 1, 1).expand(3, fine, fine))
    colour = surface * (tones * (1.06 - 0.05 * depth))[None]
    for box in room.boxes:
        ground = depth * (face == 1)
        colour = colour * (1 - 0.4 * _near(box.x, box.z, box.width, x * ground, ground) * (face == 1))[None]
    for box in room.boxes:
        near, shade = _hit(box.x, box.z, box.width, box.height, math.radians(box.turn), x, y)
        nearer = near < depth
        depth = torch.where(nearer, near, depth)
        face = torch.where(nearer, 4, face)
        paint = torch.tensor(COLOURS[box.colour], device=device).view(3, 1, 1) / 255
        colour = torch.where(nearer[None], paint * shade[None], colour)
    return Cast(F.avg_pool2d(colour.clamp(0, 1)[None], 2)[0], F.avg_pool2d(depth[None, None], 2)[0, 0])


COLOURS_OF_WALLS: dict[str, tuple[int, int, int]] = {
    "white": (238, 236, 232),
    "beige": (232, 218, 192),
    "light blue": (196, 216, 230),
    "light green": (206, 224, 200),
    "pink": (236, 208, 214),
}


def _wood(x: Tensor, depth: Tensor) -> Float[Tensor, "3 fine fine"]:
    """Floor boards that run away from the eye."""
    across = (x * depth * 2.5) % 1
    gap = ((across - 0.5).abs() > 0.46).float()
    board = (torch.floor(x * depth * 2.5) * 0.37) % 1
    wood = x.new_tensor([0.70, 0.51, 0.34]).view(3, 1, 1)
    return wood * (0.94 + 0.12 * board - 0.3 * gap)[None]


def _near(box_x: float, box_z: float, width: float, x: Tensor, z: Tensor) -> Tensor:
    """How close a point of the floor is to a box's foot: its soft shadow."""
    away = ((x - box_x - 0.08).square() + (z - box_z).square()).sqrt() / (width * 0.95)
    return (1.25 - away).clamp(0, 1)


def _hit(
    box_x: float, box_z: float, width: float, height: float, turn: float, x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Depth (inf: missed) and brightness of the face where rays (x, y, 1) from the eye meet a box on the floor.

    The slab method (Kay and Kajiya, 1986) in the box's own turned frame.
    """
    cos, sin = math.cos(turn), math.sin(turn)
    ways = (x * cos - sin, y, x * sin + cos)
    start = (-box_x * cos + box_z * sin, EYE, -box_x * sin - box_z * cos)  # the eye, seen from the box
    spans = ((-width / 2, width / 2), (0.0, height), (-width / 2, width / 2))
    entries, exits = [], []
    for begin, way, (low, high) in zip(start, ways, spans, strict=True):
        safe = torch.where(way.abs() < 1e-7, torch.full_like(way, 1e-7), way)
        a, b = (low - begin) / safe, (high - begin) / safe
        entries.append(torch.minimum(a, b))
        exits.append(torch.maximum(a, b))
    entry, axis = torch.stack(entries).max(0)
    leave = torch.stack(exits).amin(0)
    met = (entry < leave) & (entry > 0)
    sides = torch.where(ways[0] > 0, 0.78, 0.92), torch.full_like(x, 1.12), torch.where(ways[2] > 0, 0.95, 0.7)
    shade = torch.stack([sides[0], sides[1], sides[2]]).gather(0, axis[None])[0]
    return torch.where(met, entry, torch.full_like(entry, torch.inf)), shade
