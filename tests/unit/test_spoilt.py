"""Spoiling a thing: it changes the thing, leaves the rest alone, and slight wear does neither."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
import torch
from torch import Tensor

from darkroom.data.loader import Scenes
from darkroom.data.scenes.compose import Composer
from darkroom.data.scenes.spec import SpecObject
from darkroom.judge.spoilt import WAYS, spoil, spoilt_with, warped, worn
from darkroom.nn.matching import reader_config
from darkroom.training.objectives.judge import JudgedScenes, JudgeObjectiveConfig, joined_lessons
from tests.wardrobe import everything, full_composer, full_table, index, one

BOX = (0.25, 0.25, 0.75, 0.75)
READER = reader_config(512)


@pytest.fixture(scope="module")
def composer() -> Composer:
    return full_composer(full_table())


@pytest.fixture(scope="module")
def picture() -> Tensor:
    """A ring with a cross in it, in two colours: every part of it differs from its neighbours."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 128), torch.linspace(-1, 1, 128), indexing="ij")
    radius = (x.square() + y.square()).sqrt()
    ring = ((radius < 0.48) & (radius > 0.3)).float()
    cross = ((radius < 0.3) & ((x.abs() < 0.06) | (y.abs() < 0.06))).float()
    return torch.stack([1 - ring, 1 - cross, torch.ones_like(x)])


@pytest.mark.parametrize("way", WAYS)
def test_a_spoilt_thing_is_changed_and_nothing_else(picture: Tensor, way: str) -> None:
    for seed in range(8):
        found = spoil(picture, torch.ones_like(picture), BOX, way, Random(seed))
        assert found is not None
        inside = (found - picture)[:, 32:96, 32:96].abs().mean()
        assert inside > 0.05, (way, seed, inside)
        outside = (found - picture).abs()
        outside[:, 29:99, 29:99] = 0
        assert outside.max() == 0
        again = spoil(picture, torch.ones_like(picture), BOX, way, Random(seed))
        assert again is not None and torch.equal(found, again)


def test_half_of_an_erased_thing_is_what_lies_behind(picture: Tensor) -> None:
    behind = torch.full_like(picture, 0.5)
    erased = spoil(picture, behind, BOX, "half erased", Random(3))
    assert erased is not None
    found = erased[:, 34:94, 34:94]
    gone = (found - 0.5).abs().amax(0) < 1e-3
    kept = (found - picture[:, 34:94, 34:94]).abs().amax(0) < 1e-3
    assert 0.4 < gone.float().mean() < 0.75 and 0.2 < kept.float().mean() < 0.6


def test_slight_wear_hides_nothing(picture: Tensor) -> None:
    changes = [(worn(picture, Random(seed)) - picture).abs().mean().item() for seed in range(60)]
    assert max(changes) < 0.08
    assert sum(change > 0 for change in changes) > 30
    paper, everywhere = torch.ones_like(picture), (0.0, 0.0, 1.0, 1.0)
    melted = [spoil(picture, paper, everywhere, "melted", Random(seed)) for seed in range(8)]
    spoilt = [(one - picture).abs().mean() for one in melted if one is not None]
    assert len(spoilt) == 8
    assert min(spoilt) > sorted(changes)[len(changes) // 2]


def test_no_pull_changes_nothing(picture: Tensor) -> None:
    assert torch.allclose(warped(picture, 0.0, 4, Random(0)), picture, atol=1e-4)


def test_an_unknown_way_is_an_error(picture: Tensor) -> None:
    with pytest.raises(ValueError, match="'eaten' is not one of melted"):
        spoil(picture, picture, BOX, "eaten", Random(0))


def test_what_lies_within_a_spoilt_thing_is_gone_with_it(composer: Composer) -> None:
    cat, dog = SpecObject(index("cat"), None, 0.5, 0.5, 0.8), SpecObject(index("dog"), None, 0.5, 0.5, 0.3)
    assert spoilt_with(one(objects=(cat, dog)), composer, 0, "melted") == {0, 1}
    assert spoilt_with(one(objects=(cat, dog)), composer, 1, "melted") == {1}
    assert spoilt_with(one(objects=(cat, dog)), composer, 0, "half erased") == {0}  # the dog is painted over it again
    assert spoilt_with(one(objects=(dog, cat)), composer, 1, "half erased") == {1}  # the dog comes to light


@pytest.mark.parametrize("way", WAYS)
def test_what_hardly_shows_is_not_spoilt(picture: Tensor, way: str) -> None:
    faint = 0.9 + 0.02 * picture
    assert spoil(faint, torch.full_like(faint, 0.9), BOX, way, Random(0)) is None
    assert spoil(picture, torch.ones_like(picture), (0.98, 0.2, 1.4, 0.6), way, Random(0)) is None  # nearly outside


def test_lessons_repeat_and_join(composer: Composer) -> None:
    scenes = Scenes(composer, everything(composer.table.stock), 0, "judge")
    source = JudgedScenes(scenes, JudgeObjectiveConfig(READER, spoilt_share=0.9))
    whole = source(0, 24)
    parts = joined_lessons([source(0, 10), source(10, 14)])
    assert torch.equal(whole.pixels, parts.pixels)
    assert torch.equal(whole.truth.heat, parts.truth.heat) and torch.equal(whole.truth.whose, parts.truth.whose)
    assert whole.captions == parts.captions and whole.mistold == parts.mistold
    assert torch.equal(whole.fitting, parts.fitting) and not whole.fitting.all()
    clean = JudgedScenes(scenes, JudgeObjectiveConfig(READER, spoilt_share=0.0, worn_share=0.0))(0, 24)
    assert torch.equal(clean.pixels, composer.render(scenes.specs(0, 24)).pixels)
    assert len(whole.truth.at) < len(clean.truth.at)  # spoilt things are not asked for
    assert clean.fitting.all()


def test_lots_are_seen_at_one_side_each_and_every_side_has_its_share(composer: Composer) -> None:
    scenes = Scenes(composer, everything(composer.table.stock), 0, "judge")
    source = JudgedScenes(scenes, JudgeObjectiveConfig(READER, sides={128: 0.5, 192: 0.3, 96: 0.2}, lot=8))
    dealt = Counter(source.side(first) for first in range(0, 8000, 8))
    assert [round(dealt[side] / 1000, 1) for side in (128, 192, 96)] == [0.5, 0.3, 0.2]
    assert len({source.side(first) for first in range(16, 24)}) == 1
    first = next(first for first in range(0, 800, 8) if source.side(first) == 192)
    lesson = source(first, 8)
    assert lesson.pixels.shape[-2:] == (192, 192) and lesson.truth.heat.shape[-2:] == (24, 24)
    assert JudgedScenes(scenes, JudgeObjectiveConfig(READER)).side(first) == 128  # what older runs saw
