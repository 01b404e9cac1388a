"""Jointed mannequins: drawn from their pose, so that the pose is known."""

from __future__ import annotations

import math
from random import Random
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from darkroom.data.scenes.spec import Figure

Point = tuple[float, float]

# Angles of the limbs in degrees, 0 hanging down, positive towards the picture's right: torso lean, then upper arm and
# forearm, thigh and shin, left and right (as seen).
POSES: dict[str, tuple[float, ...]] = {
    #           lean  arm L      arm R      leg L      leg R
    "standing": (0, -12, -8, 12, 8, -5, -3, 5, 3),
    "walking": (3, -32, -10, 30, 52, -26, -34, 24, 10),
    "running": (12, -62, 30, 48, 138, -40, -100, 52, -12),
    "waving": (0, -12, -8, 120, 165, -5, -3, 5, 3),
    "cheering": (0, -150, -165, 150, 165, -8, -4, 8, 4),
    "stretching its arms out": (0, -90, -90, 90, 90, -6, -3, 6, 3),
    "jumping": (0, -125, -140, 125, 140, -38, -30, 38, 30),
    "sitting": (0, 20, 55, 25, 60, 78, 0, 84, 4),
    "kneeling": (4, -10, 10, 18, 30, -4, -88, 78, 0),
}

# Lengths and radii in heights of the standing figure.
_TORSO, _UPPER_ARM, _FOREARM, _THIGH, _SHIN = 0.30, 0.155, 0.15, 0.215, 0.215
_SHOULDERS, _HIPS, _NECK, _HEAD = 0.095, 0.055, 0.05, 0.085
_LIMBS: tuple[tuple[str, str, float], ...] = (  # from back to front: ends and radius
    ("left shoulder", "left elbow", 0.034),
    ("left elbow", "left wrist", 0.028),
    ("left hip", "left knee", 0.046),
    ("left knee", "left ankle", 0.036),
    ("right hip", "right knee", 0.046),
    ("right knee", "right ankle", 0.036),
    ("neck", "waist", 0.082),
    ("waist", "pelvis", 0.066),
    ("neck", "chin", 0.026),
    ("crown", "chin", 0.066),
    ("right shoulder", "right elbow", 0.034),
    ("right elbow", "right wrist", 0.028),
)
BONES: dict[tuple[str, str], tuple[int, int, int]] = {
    ("crown", "neck"): (255, 255, 255),
    ("neck", "pelvis"): (160, 160, 160),
    ("left shoulder", "left elbow"): (255, 60, 60),
    ("left elbow", "left wrist"): (255, 160, 60),
    ("right shoulder", "right elbow"): (60, 220, 60),
    ("right elbow", "right wrist"): (60, 220, 200),
    ("left hip", "left knee"): (70, 110, 255),
    ("left knee", "left ankle"): (90, 190, 255),
    ("right hip", "right knee"): (190, 80, 255),
    ("right knee", "right ankle"): (255, 100, 220),
}
"""The bones of a pose map and their colours."""
WOOD = (214, 170, 118)


class Painted(NamedTuple):
    """A painted layer: premultiplied colour and coverage."""

    colour: Float[Tensor, "3 side side"]
    alpha: Float[Tensor, "side side"]


def posed(random: Random, pose: str) -> tuple[float, ...]:
    """The angles of a pose, each moved a little."""
    return tuple(angle + random.uniform(-6, 6) for angle in POSES[pose])


def keypoints(figure: Figure) -> dict[str, Point]:
    """Where each joint lies, fractions of the picture's side; the figure's middle is at (x, y)."""
    lean, *limbs = figure.angles

    def along(start: Point, angle: float, length: float) -> Point:
        turn = math.radians(angle)
        return start[0] + math.sin(turn) * length, start[1] + math.cos(turn) * length

    pelvis = (0.0, 0.0)
    neck = along(pelvis, 180 - lean, _TORSO)
    found = {"pelvis": pelvis, "neck": neck, "waist": along(pelvis, 180 - lean, _TORSO * 0.35)}
    found["chin"] = along(neck, 180 - lean, _NECK)
    found["crown"] = along(found["chin"], 180 - lean, _HEAD)
    for side, sign, (upper, fore), (thigh, shin) in (
        ("left", -1, limbs[0:2], limbs[4:6]),
        ("right", 1, limbs[2:4], limbs[6:8]),
    ):
        shoulder = (neck[0] + sign * _SHOULDERS, neck[1] + 0.03)
        hip = (sign * _HIPS, 0.0)
        elbow, knee = along(shoulder, upper, _UPPER_ARM), along(hip, thigh, _THIGH)
        found |= {f"{side} shoulder": shoulder, f"{side} elbow": elbow, f"{side} wrist": along(elbow, fore, _FOREARM)}
        found |= {f"{side} hip": hip, f"{side} knee": knee, f"{side} ankle": along(knee, shin, _SHIN)}
    xs, ys = [p[0] for p in found.values()], [p[1] for p in found.values()]
    middle = ((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2)
    mirror = -1 if figure.flip else 1
    return {
        name: (figure.x + mirror * (p[0] - middle[0]) * figure.size, figure.y + (p[1] - middle[1]) * figure.size)
        for name, p in found.items()
    }


def paint_figure(figure: Figure, side: int, colour: tuple[int, int, int], device: torch.device) -> Painted:
    """The mannequin: rounded limbs lit from the upper left, joined by darker balls."""
    joints = keypoints(figure)
    middle = (torch.arange(side, device=device) + 0.5) / side
    base = torch.tensor(colour, device=device).view(3, 1, 1) / 255
    painted = torch.zeros(3, side, side, device=device)
    alpha = torch.zeros(side, side, device=device)
    for a, b, share in _LIMBS:
        (x0, y0), (x1, y1), radius = joints[a], joints[b], share * figure.size
        columns, lines = (_reached(*ends, radius, side) for ends in ((x0, x1), (y0, y1)))
        px, py = middle[None, columns] - x0, middle[lines, None] - y0
        dx, dy = x1 - x0, y1 - y0
        along = ((px * dx + py * dy) / max(dx * dx + dy * dy, 1e-9)).clamp(0, 1)
        ax, ay = px - along * dx, py - along * dy  # from the limb's axis to the pixel
        distance = (ax.square() + ay.square()).sqrt()
        part = ((radius - distance) * side + 0.5).clamp(0, 1)
        up = (1 - (distance / radius).square()).clamp_min(0).sqrt()  # how far the surface faces us
        light = (0.50 + 0.42 * up - 0.30 * (ax + ay) / radius).clamp(0.25, 1.15)
        seam = ((distance / radius - 0.82) * 4).clamp(0, 1) * 0.25
        for under, over in ((painted, (base * (light - seam)).clamp(0, 1) * part), (alpha, part)):
            under[..., lines, columns] = under[..., lines, columns] * (1 - part) + over
    return Painted(painted, alpha)


def _reached(start: float, end: float, radius: float, side: int) -> slice:
    """The pixels along one axis that a limb with round ends may touch."""
    low, high = min(start, end) - radius, max(start, end) + radius
    return slice(min(side, max(0, math.floor(low * side) - 1)), min(side, max(0, math.ceil(high * side) + 1)))
