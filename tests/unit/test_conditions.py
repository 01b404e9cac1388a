"""Conditions: masks leave something to draw, and a control map is the truth about its scene."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from darkroom.data.scenes.compose import Composer
from darkroom.data.scenes.conditions import CONTROLS, OF_PIXELS, concept_colour, control_map, keep_mask
from darkroom.data.scenes.figures import BONES, POSES, keypoints
from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.rooms import DEPTH, cast
from darkroom.data.scenes.spec import Box, BoxRoom, Figure, Ground, Scene, SpecObject
from darkroom.data.stock.drawings import Sprite, SpriteTable, alpha_box, premultiplied
from darkroom.training.legs.beside.control import shown_by
from darkroom.wording.vocabulary import core
from tests.tiny_pack import drawing
from tests.wardrobe import everything, full_composer, full_table

CPU = torch.device("cpu")
SQUARE, WIDE = 0, 1


@pytest.fixture(scope="module")
def composer() -> Composer:
    """A red square and a wide blue box."""
    pictures = [drawing((220, 30, 30), (32, 32, 96, 96)), drawing((30, 60, 220), (16, 48, 112, 80))]
    sprites = tuple(Sprite(i, i, "3d", alpha_box(rgba), f"s{i}") for i, rgba in enumerate(pictures))
    return Composer(SpriteTable(sprites, torch.from_numpy(np.stack([premultiplied(rgba) for rgba in pictures]))))


@pytest.fixture(scope="module")
def full() -> tuple[Composer, list[Scene]]:
    """Scenes of every kind."""
    table = full_table()
    config = everything(table.stock)
    config = replace(config, kinds=dict.fromkeys(config.kinds, 1.0))
    return full_composer(table), [draw_scene(seed, config) for seed in range(60)]


def scene(*things: SpecObject, **changes: object) -> Scene:
    return replace(Scene("single", "3d", things, Ground("white")), **changes)  # type: ignore[arg-type]


def square(x: float = 0.5, y: float = 0.5, size: float = 0.5, concept: int = SQUARE) -> SpecObject:
    return SpecObject(concept, None, x, y, size)


def control(kind: str, of: Scene, composer: Composer) -> Tensor:
    return control_map(kind, of, composer.render([of]).pixels[0], composer)


# -- masks ---------------------------------------------------------------------------------------------------------


def is_box(mask: Tensor) -> bool:
    """Whether the ones of a mask fill a box."""
    rows, columns = mask.any(1).sum(), mask.any(0).sum()
    return bool(mask.sum() == rows * columns)


@pytest.mark.parametrize("side", [64, 128])
def test_masks_are_binary_and_leave_and_ask_for_something(side: int) -> None:
    for seed in range(300):
        mask = keep_mask(seed, side, CPU)
        assert mask.shape == (side, side) and set(mask.unique().tolist()) == {0.0, 1.0}
        assert 0.03 < float(mask.mean()) < 0.97 and 0.03 < 1 - float(mask.mean()) < 0.97, seed


def test_boxes_strokes_and_borders_turn_up_alike() -> None:
    kinds = Counter(
        "box" if is_box(hole := 1 - keep_mask(seed, 64, CPU)) and not hole[0].all() and not hole[:, 0].all()
        else "border" if is_box(1 - hole) else "strokes"
        for seed in range(300)
    )  # fmt: skip
    assert all(0.2 < kinds[kind] / 300 < 0.47 for kind in ("box", "border", "strokes")), kinds


def test_masks_repeat_and_are_the_same_at_any_size() -> None:
    for seed in range(20):
        assert torch.equal(keep_mask(seed, 64, CPU), keep_mask(seed, 64, CPU))
        halved = F.avg_pool2d(keep_mask(seed, 128, CPU)[None], 2)[0]
        assert float((halved - keep_mask(seed, 64, CPU)).abs().mean()) < 0.02
    assert not torch.equal(keep_mask(1, 64, CPU), keep_mask(2, 64, CPU))


# -- control maps --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CONTROLS)
def test_every_map_of_every_kind_of_scene_is_a_picture(kind: str, full: tuple[Composer, list[Scene]]) -> None:
    composer, scenes = full
    assert {of.kind for of in scenes} == {"single", "count", "pair", "wearing", "figure", "boxes", "word", "photo"}
    for of in scenes[:30]:
        found = control(kind, of, composer)
        assert found.shape == (3, 128, 128)
        assert float(found.min()) >= 0 and float(found.max()) <= 1 + 1e-6
        assert torch.equal(found, control(kind, of, composer))


def test_an_unknown_kind_is_an_error_that_names_the_kinds(composer: Composer) -> None:
    with pytest.raises(ValueError, match="control 'canny' is not one of edges, scribble, palette, layout, depth, pose"):
        control("canny", scene(square()), composer)


def outline() -> Tensor:
    """The outline of the square in the middle, one pixel on either side of its edge."""
    inner, outer = torch.zeros(128, 128), torch.zeros(128, 128)
    inner[33:95, 33:95], outer[31:97, 31:97] = 1, 1
    return outer - inner


@pytest.mark.parametrize("ground", ["white", "black", "light blue"])
def test_edges_of_a_square_are_its_outline(composer: Composer, ground: str) -> None:
    lines = control("edges", scene(square(), ground=Ground(ground)), composer)
    assert set(lines.unique().tolist()) == {0.0, 1.0}
    assert not (lines[0] * (1 - outline())).any()
    for side in (lines[0, 30:34, 40:88], lines[0, 94:98, 40:88], lines[0, 40:88, 30:34].T, lines[0, 40:88, 94:98].T):
        assert bool(side.any(0).all())  # closed


def test_a_scribble_is_a_thick_outline_nearby(composer: Composer) -> None:
    lines = control("scribble", scene(square()), composer)[0]
    near = F.max_pool2d(outline()[None], 13, 1, 6)[0]
    assert float((lines * near).sum() / lines.sum()) > 0.95
    assert float(lines.sum()) > 1.5 * float(control("edges", scene(square()), composer)[0].sum())


def test_layout_boxes_are_the_visible_boxes(composer: Composer) -> None:
    of = scene(square(0.3, 0.4, 0.4), square(0.7, 0.6, 0.5, WIDE), named=(0, 1))
    found = control("layout", of, composer)
    for thing, (wide, high) in zip(of.objects, ((0.4, 0.4), (0.5, 0.5 / 3)), strict=True):
        expected = torch.tensor(concept_colour(thing.concept)).view(3, 1) / 255
        inside = (found - expected[..., None]).abs().amax(0) < 0.01
        x0, x1 = (thing.x + sign * wide / 2 for sign in (-1, 1))
        y0, y1 = (thing.y + sign * high / 2 for sign in (-1, 1))
        rows, columns = inside.any(1).nonzero(), inside.any(0).nonzero()
        edges = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        assert [int(edge) for edge in edges] == pytest.approx([v * 128 for v in (x0, y0, x1, y1)], abs=1.01)
    assert float((found.amax(0) == 0).float().mean()) > 0.6


def test_concepts_have_colours_of_their_own_far_from_black() -> None:
    colours = torch.tensor([concept_colour(concept.index) for concept in core()])
    assert float(colours.min()) >= 0 and float(colours.max()) <= 255 and float(colours.amax(1).min()) > 100
    apart = torch.cdist(colours, colours) + 999 * torch.eye(len(colours))
    assert float(apart.min()) > 1
    neighbours = (colours[1:] - colours[:-1]).norm(dim=1)
    assert float(neighbours.min()) > 60


def test_the_silhouette_is_all_that_things_cover(full: tuple[Composer, list[Scene]]) -> None:
    """Found from pictures alone: where the ground does not show through."""
    composer, scenes = full
    judged = 0
    for of in scenes:
        if of.room is not None or of.photo is not None or of.lettering is not None:
            continue
        bare = replace(of, style=of.drawings, drawn=None, light=None, camera=None, motion=None, quality=None)
        light, dark = composer.render([replace(bare, ground=Ground(name)) for name in ("white", "black")]).pixels
        covered = 1 - (light[0] - dark[0]) / ((255 - 22) / 255)
        assert float((control("silhouette", of, composer)[0] - covered).abs().max()) < 0.01, of
        judged += 1
    assert judged > 20


def test_depth_puts_what_is_in_front_nearer(composer: Composer) -> None:
    back, front = square(0.6, 0.42, 0.5), square(0.42, 0.64, 0.45, WIDE)
    pair = scene(back, front, kind="pair", relation="in front of", named=(1, 0))
    near = control("depth", pair, composer)[0]
    at = [(int(thing.y * 128), int(thing.x * 128)) for thing in (back, front)]
    assert float(near[at[1]]) == 1.0 > float(near[at[0]]) == 0.75 > float(near[2, 2]) == 0.0
    beside = control("depth", replace(pair, relation="left of"), composer)[0]
    assert float(beside[at[0]]) == float(beside[at[1]]) == 0.75


def test_depth_of_a_box_room_is_as_it_was_cast(composer: Composer) -> None:
    room = BoxRoom("white", (Box("red", 0.0, 3.5, 0.7, 0.8, 20.0),))
    near = control("depth", scene(kind="boxes", room=room, ground=Ground("room"), named=()), composer)[0]
    assert torch.allclose(near, 1 - cast(room, 128, CPU).depth / DEPTH, atol=1e-6)
    assert float(near[110, 64]) > float(near[85, 64]) > float(near[40, 64]) - 1e-6


def test_the_pose_shows_each_bone_of_a_mannequin_and_of_nothing_else(composer: Composer) -> None:
    assert not control("pose", scene(square()), composer).any()
    figure = Figure("walking", tuple(map(float, POSES["walking"])), 0.5, 0.5, 0.8)
    found = control("pose", scene(kind="figure", figure=figure, named=()), composer)
    joints = keypoints(figure)
    for (start, end), colour in BONES.items():
        x, y = ((a + b) / 2 for a, b in zip(joints[start], joints[end], strict=True))
        assert found[:, int(y * 128), int(x * 128)] == pytest.approx(torch.tensor(colour) / 255, abs=0.01), (start, end)
    assert 0.01 < float((found.amax(0) > 0).float().mean()) < 0.15


def test_the_palette_is_the_mean_of_each_of_64_patches(full: tuple[Composer, list[Scene]]) -> None:
    composer, scenes = full
    for of in scenes[:5]:
        pixels = composer.render([of]).pixels[0]
        found = control_map("palette", of, pixels, composer)
        assert torch.allclose(F.avg_pool2d(found, 16), F.avg_pool2d(pixels, 16), atol=1e-5)
        patches = found.view(3, 8, 16, 8, 16)
        assert torch.equal(patches, patches[:, :, :1, :, :1].expand_as(patches))


@pytest.mark.parametrize("kind", [kind for kind in CONTROLS if kind not in OF_PIXELS])
def test_every_scene_that_a_control_learns_from_has_its_map(kind: str) -> None:
    table = full_table()
    composer, config = full_composer(table), everything(table.stock)
    config = shown_by(replace(config, kinds=dict.fromkeys(config.kinds, 1.0)), kind)
    assert all(control(kind, draw_scene(seed, config), composer).any() for seed in range(60))
