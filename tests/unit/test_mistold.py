"""Captions with one fact changed, and the loss that tells them from the right ones."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from darkroom.data.scenes.captions import caption
from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.spec import Ground, Scene, SpecObject, scene_seed
from darkroom.judge.mistold import mistold
from darkroom.training.objectives.pairs import pair_loss
from darkroom.wording.vocabulary import COLOURS, concept_of
from tests.wardrobe import everything, full_stock, index, one

SCENES = 600


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    config = everything(full_stock(), colour_share=0.5)
    return [draw_scene(scene_seed("judge", 0, i), config) for i in range(SCENES)]


def test_most_scenes_can_be_mistold_and_none_as_they_are(scenes: list[Scene]) -> None:
    told = [mistold(scene) for scene in scenes]
    assert sum(text is not None for text in told) > 0.85 * SCENES
    assert all(text != caption(scene) for text, scene in zip(told, scenes, strict=True))
    assert told == [mistold(scene) for scene in scenes]
    assert all(text is None for text, scene in zip(told, scenes, strict=True) if scene.photo is not None)


def test_a_bare_thing_is_mistold_as_another_of_its_group() -> None:
    for seed in range(60):
        scene = one("cat", seed=seed, style="3d")
        text = mistold(scene)
        assert text is not None
        if not any(word in text for word in ("cat", "kitten")):
            words = re.findall(r"[a-z-]+", text)
            assert any((c := concept_of(word)) and c.group == "animal" for word in words) or "with" in words, text


def test_every_kind_of_fact_is_changed_in_some_scene() -> None:
    pair = Scene(
        "pair",
        "3d",
        (SpecObject(index("cat"), "red", 0.3, 0.5, 0.4), SpecObject(index("dog"), "blue", 0.7, 0.5, 0.4)),
        Ground("white"),
        relation="left of",
        named=(0, 1),
    )
    changed = {"thing": 0, "colour": 0, "swapped": 0, "relation": 0, "style": 0, "ground": 0}
    for seed in range(400):
        scene = replace(pair, seed=seed)
        text = mistold(scene)
        assert text is not None
        if "red dog" in text and "blue cat" in text:
            changed["swapped"] += 1
        elif any(f"{c} cat" in text or f"{c} dog" in text for c in COLOURS if c not in ("red", "blue")):
            changed["colour"] += 1
        elif not ("red cat" in text or "red kitten" in text) or not ("blue dog" in text or "blue puppy" in text):
            changed["thing"] += 1
        elif re.search("red .* right .*blue", text):
            changed["relation"] += 1
        elif "white" not in text and "white" in caption(scene):
            changed["ground"] += 1
        else:
            changed["style"] += 1
    assert all(number > 10 for number in changed.values()), changed


def test_a_count_is_mistold_by_one_or_as_other_things() -> None:
    things = tuple(SpecObject(index("apple"), None, 0.2 + 0.3 * i, 0.5, 0.25) for i in range(3))
    told = {mistold(Scene("count", "3d", things, Ground("white"), named=(0, 1, 2), seed=seed)) for seed in range(200)}
    assert any("two apples" in text for text in told if text) and any("four apples" in text for text in told if text)
    assert any("three" in text and "apples" not in text for text in told if text)


def test_the_loss_falls_when_each_picture_takes_its_own_sentence() -> None:
    own, wrong = ["a cat", "a dog", "a fox"], ["two cats"]
    right = torch.full((3, 4), -8.0)
    right[range(3), range(3)] = 8.0
    assert pair_loss(right, [*own, *wrong], own).item() < 0.01
    assert pair_loss(-right, [*own, *wrong], own).item() > 10
    fooled = right.clone()
    fooled[0, 3] = 8.0  # the mistold one
    assert pair_loss(fooled, [*own, *wrong], own).item() > 2
    spoilt = torch.tensor([True, False, True])
    assert pair_loss(right, [*own, *wrong], own, spoilt).item() > 2  # says yes to what was spoilt


def test_a_sentence_that_reads_like_the_own_one_is_not_counted() -> None:
    own = ["a cat", "a cat", "a fox"]
    logits = torch.full((3, 4), -8.0)
    logits[range(3), range(3)] = 8.0
    logits[0, 1] = logits[1, 0] = 8.0  # the same words
    logits[2, 3] = 8.0  # somebody's mistold caption is the fox's right one
    assert pair_loss(logits, [*own, "a fox"], own).item() < 0.01
