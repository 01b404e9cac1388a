"""Mannequins: what is painted is the pose that is told, inside the picture and in its colour."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

import pytest
import torch
from torch import Tensor

from darkroom.data.scenes.figures import BONES, POSES, WOOD, keypoints, paint_figure, posed
from darkroom.data.scenes.spec import Figure
from darkroom.wording.vocabulary import COLOURS

CPU = torch.device("cpu")
SIDE = 128


def figure(pose: str, seed: int = 0, **changes: object) -> Figure:
    """As the layout draws them at their largest."""
    return replace(Figure(pose, posed(Random(seed), pose), 0.5, 0.5, 0.86), **changes)  # type: ignore[arg-type]


def alpha(of: Figure) -> Tensor:
    return paint_figure(of, SIDE, WOOD, CPU).alpha


@pytest.mark.parametrize("pose", POSES)
def test_joints_lie_inside_the_picture_and_so_does_the_paint(pose: str) -> None:
    for seed in range(20):
        points = keypoints(figure(pose, seed)).values()
        assert all(0.05 < x < 0.95 and 0.05 < y < 0.95 for x, y in points)
    painted = alpha(figure(pose))
    frame = torch.cat([painted[0], painted[-1], painted[:, 0], painted[:, -1]])
    assert not frame.any() and float(painted.max()) == 1


@pytest.mark.parametrize("pose", POSES)
def test_flipping_mirrors_joints_and_paint(pose: str) -> None:
    plain, flipped = figure(pose), figure(pose, flip=True)
    for name, (x, y) in keypoints(plain).items():
        assert keypoints(flipped)[name] == pytest.approx((1 - x, y))
    assert torch.allclose(alpha(plain).flip(1), alpha(flipped), atol=1e-4)


@pytest.mark.parametrize("pose", POSES)
def test_paint_covers_every_bone_and_nothing_far_from_them(pose: str) -> None:
    of = figure(pose)
    painted, joints = alpha(of), keypoints(of)
    axis = (torch.arange(SIDE) + 0.5) / SIDE
    away = torch.full((SIDE, SIDE), math.inf)
    for start, end in BONES:
        for step in range(21):
            x, y = (a + (b - a) * step / 20 for a, b in zip(joints[start], joints[end], strict=True))
            assert float(painted[int(y * SIDE), int(x * SIDE)]) > 0.9, (start, end)
            away = torch.minimum(away, ((axis[None, :] - x).square() + (axis[:, None] - y).square()).sqrt())
    assert not painted[away > 0.1 * of.size].any()


def test_bones_are_as_long_in_every_pose() -> None:
    lengths = []
    for pose in POSES:
        joints = keypoints(figure(pose))
        lengths.append([math.dist(joints[a], joints[b]) for a, b in BONES])
    assert all(row == pytest.approx(lengths[0]) for row in lengths)


def test_the_head_is_above_the_feet_and_hands_are_where_the_pose_says() -> None:
    joints = {pose: keypoints(figure(pose)) for pose in POSES}
    assert all(points["crown"][1] < points["pelvis"][1] < points["left ankle"][1] for points in joints.values())
    up = {p for p, at in joints.items() if min(at["left wrist"][1], at["right wrist"][1]) < at["crown"][1]}
    assert up == {"waving", "cheering", "jumping"}
    out = joints["stretching its arms out"]
    assert out["right wrist"][0] - out["left wrist"][0] > 0.6
    thighs = {p: [at[f"{s} knee"][1] - at[f"{s} hip"][1] for s in ("left", "right")] for p, at in joints.items()}
    assert max(thighs["sitting"]) < 0.08 and min(thighs["standing"]) > 0.17


def test_a_pose_is_moved_a_little_and_no_more() -> None:
    for pose, plain in POSES.items():
        found = [posed(Random(seed), pose) for seed in range(10)]
        assert len(set(found)) == 10
        assert all(abs(a - b) <= 6 for angles in found for a, b in zip(angles, plain, strict=True))


def test_poses_look_different() -> None:
    shapes = torch.stack([alpha(figure(pose)) for pose in POSES])
    apart = (shapes[:, None] - shapes[None]).abs().mean((2, 3)) + torch.eye(len(POSES))
    assert float(apart.min()) > 0.01


@pytest.mark.parametrize("name", COLOURS)
def test_it_has_the_asked_colour(name: str) -> None:
    painted = paint_figure(figure("standing"), SIDE, COLOURS[name], CPU)
    seen = painted.alpha > 0.99
    mean = painted.colour[:, seen].mean(1)
    asked = torch.tensor(COLOURS[name]) / 255
    assert float((mean - asked).abs().max()) < 0.3
    assert torch.allclose(mean / mean.max(), asked / asked.max(), atol=0.12)  # the hue stays
    assert bool((painted.colour <= painted.alpha + 1e-5).all())  # premultiplied
