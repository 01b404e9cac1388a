"""Box rooms: depths agree with geometry done by hand, and boxes stand where they are named."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.rooms import COLOURS_OF_WALLS, DEPTH, EYE, FIELD, HALF_WIDTH, HEIGHT, TILT, Cast, cast
from darkroom.data.scenes.spec import Box, BoxRoom, ComposerConfig
from darkroom.wording.vocabulary import COLOURS

CPU = torch.device("cpu")
SIDE = 128
BOX = Box("red", 0.0, 3.5, 0.7, 0.8, 0.0)


def room(*boxes: Box, walls: str = "white", side: int = SIDE) -> Cast:
    return cast(BoxRoom(walls, boxes), side, CPU)


def ray(column: int, row: int) -> tuple[float, float]:
    """x and y of the ray through the middle of a pixel, at one metre."""
    return ((column + 0.5) / SIDE - 0.5) * FIELD, -((row + 0.5) / SIDE - 0.5) * FIELD - TILT


def seen(box: Box) -> Tensor:
    """Where a box alone is."""
    return room(box).depth < room().depth - 0.02


@pytest.fixture(scope="module")
def rooms() -> list[BoxRoom]:
    config = ComposerConfig(kinds={"boxes": 1.0})
    return [found for seed in range(60) if (found := draw_scene(seed, config).room)]


@pytest.mark.parametrize(
    ("surface", "column", "row"),
    [
        *(("floor", 64, 120), ("floor", 30, 110), ("floor", 90, 90)),
        *(("back", 64, 45), ("back", 40, 60), ("back", 90, 35)),
        *(("left", 3, 50), ("left", 8, 60), ("right", 125, 50), ("right", 120, 40), ("ceiling", 64, 5)),
    ],
)
def test_the_empty_room_is_as_deep_as_geometry_says(surface: str, column: int, row: int) -> None:
    x, y = ray(column, row)
    expected = {
        "floor": EYE / -y,
        "back": DEPTH,
        "left": HALF_WIDTH / -x,
        "right": HALF_WIDTH / x,
        "ceiling": (HEIGHT - EYE) / y,
    }[surface]
    assert float(room().depth[row, column]) == pytest.approx(expected, rel=0.003)
    assert expected == min(v for v in (EYE / -y, DEPTH, HALF_WIDTH / abs(x), (HEIGHT - EYE) / y) if v > 0)


def test_the_front_and_the_top_of_a_box_are_where_geometry_says() -> None:
    depth = room(BOX).depth
    front = BOX.z - BOX.width / 2
    for height in (0.1, 0.4, 0.7):
        row = round((-((height - EYE) / front) - TILT) / FIELD * SIDE + SIDE / 2 - 0.5)
        assert float(depth[row, 64]) == pytest.approx(front, abs=0.01)
    row = round((-((BOX.height - EYE) / BOX.z) - TILT) / FIELD * SIDE + SIDE / 2 - 0.5)  # the middle of its top
    assert float(depth[row, 64]) == pytest.approx((EYE - BOX.height) / -ray(64, row)[1], abs=0.02)


def test_a_box_is_nearer_than_what_it_hides_and_hides_nothing_else() -> None:
    empty, full = room().depth, room(BOX).depth
    hidden = full != empty
    assert 0.02 < float(hidden.float().mean()) < 0.2
    assert bool((full[hidden] < empty[hidden]).all())
    assert float(full[hidden].min()) == pytest.approx(BOX.z - BOX.width / 2, abs=0.01)


def test_a_nearer_box_hides_a_farther_one_whatever_their_order() -> None:
    far = replace(BOX, colour="blue", z=4.4, height=1.3)
    one, other = room(BOX, far), room(far, BOX)
    assert torch.equal(one.depth, other.depth)
    assert torch.equal(one.depth, torch.minimum(room(BOX).depth, room(far).depth))


def test_a_quarter_turn_changes_nothing_and_half_of_it_does() -> None:
    for turn in (0.0, 20.0, 37.5):
        plain, turned = room(replace(BOX, turn=turn)).depth, room(replace(BOX, turn=turn + 90)).depth
        assert float(((plain - turned).abs() > 1e-3).float().mean()) < 0.001  # but for a pixel of the outline
    assert float((room(BOX).depth - room(replace(BOX, turn=45.0)).depth).abs().max()) > 0.1


def test_boxes_stand_from_left_to_right_in_the_order_they_are_named(rooms: list[BoxRoom]) -> None:
    assert Counter(len(of.boxes) for of in rooms).keys() == {1, 2, 3}
    for of in rooms:
        columns = [seen(box).float().sum(0) for box in of.boxes]
        middles = [float((c * torch.arange(SIDE)).sum() / c.sum()) for c in columns]
        assert all(b - a > 12 for a, b in pairwise(middles)), of


def test_every_box_can_be_seen(rooms: list[BoxRoom]) -> None:
    for of in rooms:
        whole = cast(of, SIDE, CPU)
        for box in of.boxes:
            shown = seen(box) & (whole.depth == room(box, walls=of.walls).depth)
            assert float(shown.float().sum()) > 0.5 * float(seen(box).float().sum()), of


@pytest.mark.parametrize("name", [colour for colour in COLOURS if colour != "brown"])
def test_a_box_has_its_colour(name: str) -> None:
    box = replace(BOX, colour=name, turn=30.0)
    mean = room(box).pixels[:, seen(box)].mean(1)
    assert float((mean - torch.tensor(COLOURS[name]) / 255).abs().max()) < 0.15


@pytest.mark.parametrize("walls", COLOURS_OF_WALLS)
def test_walls_have_their_colour(walls: str) -> None:
    pixels = room(walls=walls).pixels
    back = pixels[:, 30:60, 40:90].mean((1, 2))
    assert float((back - torch.tensor(COLOURS_OF_WALLS[walls]) / 255).abs().max()) < 0.25
    assert float(pixels.min()) >= 0 and float(pixels.max()) <= 1


def test_any_size_shows_the_same_room() -> None:
    small, large = room(BOX, side=64), room(BOX, side=128)
    for a, b in zip(small, large, strict=True):
        assert float((torch.nn.functional.avg_pool2d(b[None], 2)[0] - a).abs().mean()) < 0.02
