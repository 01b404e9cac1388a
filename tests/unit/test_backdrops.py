"""Backdrops: a place is the same place at any size, and what a view or a motion adds is all that changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from darkroom.data.scenes.backdrops import VARIANTS, Backdrops, brightness
from darkroom.data.scenes.layout import LIGHT_ENOUGH
from darkroom.data.scenes.spec import GROUNDS, PLACES, Ground
from tests.wardrobe import one

CPU = torch.device("cpu")
SIDES = (64, 128, 256)


@pytest.fixture(scope="module")
def backdrops() -> dict[int, Backdrops]:
    return {side: Backdrops(side, CPU) for side in SIDES}


def halved(picture: Tensor) -> Tensor:
    return F.avg_pool2d(picture[None], 2)[0]


def painted(backdrops: Backdrops, ground: Ground, **changes: object) -> Tensor:
    return backdrops.paint(one(ground=ground, **changes))


# -- places --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_a_place_is_the_same_at_any_size(backdrops: dict[int, Backdrops], place: str) -> None:
    """Measured: 0.013 for the sea, whose crests are a pixel high at 64; two variants differ by 0.03 and more."""
    for variant in range(0, VARIANTS, 3):
        small, middle, large = (backdrops[side].place(place, variant) for side in SIDES)
        assert float((halved(middle) - small).abs().mean()) < 0.02, variant
        assert float((halved(large) - middle).abs().mean()) < 0.01, variant


@pytest.mark.parametrize("place", PLACES)
def test_a_place_is_a_picture(backdrops: dict[int, Backdrops], place: str) -> None:
    for side in SIDES:
        pixels = backdrops[side].place(place, 5)
        assert pixels.shape == (3, side, side)
        assert float(pixels.min()) >= 0 and float(pixels.max()) <= 1
        assert float(pixels.std()) > 0.03


@pytest.mark.parametrize("place", PLACES)
def test_variants_of_a_place_differ(backdrops: dict[int, Backdrops], place: str) -> None:
    shown = torch.stack([backdrops[64].place(place, variant) for variant in range(8)])
    apart = (shown[:, None] - shown[None]).abs().mean((2, 3, 4)) + torch.eye(8)
    assert float(apart.min()) > 0.003


def test_a_place_is_painted_once_and_left_alone(backdrops: dict[int, Backdrops]) -> None:
    kept = backdrops[64].place("forest", 1)
    before = kept.clone()
    for seed in range(30):
        painted(backdrops[64], Ground("forest"), seed=seed, motion="fast").zero_()
    assert backdrops[64].place("forest", 1) is kept and torch.equal(kept, before)


def test_the_seed_picks_the_variant(backdrops: dict[int, Backdrops]) -> None:
    found = {
        float(painted(backdrops[64], Ground("sunset"), seed=seed).double().sum()) for seed in (*range(12), *range(12))
    }
    assert 8 < len(found) <= 12


def test_pictures_of_places_are_not_mirrored_top_to_bottom(backdrops: dict[int, Backdrops]) -> None:
    """The sky is above: in each of these the upper third is the lighter or the bluer one."""
    for place in ("city", "forest", "sea"):
        pixels = backdrops[64].place(place, 0)
        assert float(pixels[2, :21].mean()) > float(pixels[2, -21:].mean()) + 0.1


# -- how light a ground is -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GROUNDS)
@pytest.mark.parametrize("other", [None, "white", "black"])
def test_brightness_is_the_mean_of_what_is_painted(
    backdrops: dict[int, Backdrops], name: str, other: str | None
) -> None:
    ground = Ground(name, other)
    assert brightness(ground) == pytest.approx(float(painted(backdrops[64], ground).mean()), abs=0.01)


def test_places_that_count_as_light_are_painted_light(backdrops: dict[int, Backdrops]) -> None:
    for place in PLACES:
        means = [float(backdrops[64].place(place, variant).mean()) for variant in range(VARIANTS)]
        if brightness(Ground(place)) >= LIGHT_ENOUGH:
            assert min(means) > LIGHT_ENOUGH, place
        else:  # the sea is dark in its lower half only
            assert min(means) < LIGHT_ENOUGH, place
            assert float(backdrops[64].place(place, 0)[:, 40:].mean()) < LIGHT_ENOUGH, place


# -- what a view or a motion leaves --------------------------------------------------------------------------------


def test_seen_from_above_there_are_tiles_and_a_shadow_under_the_thing(backdrops: dict[int, Backdrops]) -> None:
    for name in ("white", "black"):
        above = painted(backdrops[128], Ground(name), camera="from above")
        plain = painted(backdrops[128], Ground(name))
        assert float(above.min()) >= 0 and float(above.max()) <= 1
        darker = (plain - above).mean(0)
        if name == "white":
            assert float(darker[64, 64]) > 0.2 > float(darker[5, 5])
        assert len(above[0, 3].unique()) > 1  # a row far from the thing crosses gaps between tiles
        assert torch.equal(above[0, 3] == plain[0, 3], above[1, 3] == plain[1, 3])


def test_other_views_leave_the_ground_alone(backdrops: dict[int, Backdrops]) -> None:
    plain = painted(backdrops[64], Ground("red"))
    for camera in ("close-up", "wide"):
        assert torch.equal(painted(backdrops[64], Ground("red"), camera=camera), plain)


@pytest.mark.parametrize("name", ["white", "red", "black", "snow", "night sky"])
def test_streaks_are_level_lines_and_change_nothing_else(backdrops: dict[int, Backdrops], name: str) -> None:
    share = {}
    for motion in ("fast", "slow"):
        changed, level = 0.0, 0.0
        for seed in range(6):
            scene = one(ground=Ground(name), seed=seed)
            plain = backdrops[128].paint(scene)
            moved = (backdrops[128].paint(replace(scene, motion=motion)) - plain).abs().amax(0)
            assert float(moved.max()) > 0.03
            changed += float((moved > 0.01).float().mean()) / 6
            runs = (moved > 0.01).sum(1)  # how long the line in each row is
            level += float(runs.max()) / 6
        share[motion] = changed
        assert level > (50 if motion == "fast" else 10)
    assert share["slow"] < 0.03 < share["fast"] < 0.25


def test_streaks_are_dark_on_light_and_light_on_dark(backdrops: dict[int, Backdrops]) -> None:
    for name, sign in (("white", -1), ("yellow", -1), ("black", 1), ("blue", 1)):
        change = painted(backdrops[64], Ground(name), motion="fast") - painted(backdrops[64], Ground(name))
        assert sign * float(change.mean()) > 0, name
