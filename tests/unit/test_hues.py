"""Pictures in other hues: greys stay, forms stay, and nothing is asked that names a colour."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
import torch

from darkroom.data.loader import Scenes
from darkroom.judge.hues import COLOURED, can_be_turned, names_a_colour, rotation, turned
from darkroom.judge.truth import IGNORED
from darkroom.nn.matching import reader_config
from darkroom.training.objectives.judge import JudgedScenes, JudgeObjectiveConfig
from tests.wardrobe import everything, full_composer, full_table

READER = reader_config(512)


@pytest.mark.parametrize("degrees", [40.0, 120.0, 211.0])
def test_a_turn_keeps_greys_and_light_and_comes_back(degrees: float) -> None:
    turn = rotation(degrees)
    grey = torch.full((3,), 0.4)
    assert torch.allclose(turn @ grey, grey, atol=1e-6)
    assert torch.allclose(turn @ turn.T, torch.eye(3), atol=1e-6) and torch.linalg.det(turn) == pytest.approx(1)
    assert torch.allclose(rotation(-degrees) @ turn, torch.eye(3), atol=1e-6)
    assert torch.allclose(turn.sum(0), torch.ones(3), atol=1e-6)  # so the mean of the three stays


def test_a_third_of_a_turn_makes_red_green() -> None:
    assert torch.allclose(rotation(120.0) @ torch.eye(3)[0], torch.eye(3)[1], atol=1e-6)


def test_pictures_are_turned_or_greyed() -> None:
    picture = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    spreads = []
    for seed in range(60):
        found = turned(picture, Random(seed))
        assert found.min() >= 0 and found.max() <= 1 and not torch.allclose(found, picture, atol=0.05)
        spreads.append(float(found.std(0).mean() / picture.std(0).mean()))
    assert 5 < sum(spread < 0.25 for spread in spreads) < 30  # greyed
    assert all(spread < 0.25 or spread > 0.7 for spread in spreads)


def test_captions_that_a_turn_makes_wrong_are_known() -> None:
    assert names_a_colour("a red fox") and not names_a_colour("a fox, 3d")
    assert can_be_turned("a red fox") and not can_be_turned("a red fox on a white background")


def test_of_pictures_in_other_hues_nothing_is_asked_that_names_a_colour() -> None:
    composer = full_composer(full_table())
    scenes = Scenes(composer, everything(composer.table.stock, colour_share=0.5), 0, "judge")
    plain = JudgeObjectiveConfig(READER, spoilt_share=0.0, worn_share=0.0)
    before = JudgedScenes(scenes, plain)(0, 64)
    after = JudgedScenes(scenes, replace(plain, hues_share=0.5))(0, 64)
    other = {i for i in range(64) if not torch.equal(before.pixels[i], after.pixels[i])}
    assert 8 < len(other) < 48
    assert torch.equal(before.truth.heat, after.truth.heat) and torch.equal(before.truth.concept, after.truth.concept)
    for thing, (picture, _, _) in enumerate(after.truth.at.tolist()):
        expected = IGNORED if picture in other else int(before.truth.colour[thing])
        assert int(after.truth.colour[thing]) == expected
    for name, values in after.truth.whole.items():
        for i in range(64):
            gone = name in COLOURED and i in other
            assert int(values[i]) == (IGNORED if gone else int(before.truth.whole[name][i]))
    for i, text in enumerate(after.captions):
        assert bool(after.fitting[i]) == (i not in other or not names_a_colour(text))
    assert len(after.mistold) < len(before.mistold)
    assert not all(after.fitting) and any(bool(after.fitting[i]) for i in other)
