"""Pairs of scenes that share a subject or a style, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toys import sprite_table

from darkroom.contracts.steering import KEEPS
from darkroom.data.loader import Scenes
from darkroom.data.references import SUBJECT_SHARE, References, in_words, named_first, untold
from darkroom.data.scenes.compose import Composer
from darkroom.data.scenes.spec import ComposerConfig, Scene
from darkroom.data.split import style_trained
from darkroom.data.stock.built import Built
from darkroom.wording.vocabulary import core, everyday

STYLES = ("3d", "flat", "cartoon")


@pytest.fixture(scope="module")
def references() -> References:
    words = tuple(concept.word for concept in everyday()[:30])
    table = sprite_table(STYLES, words=words)
    data = Built(table, None, (None,), None)
    scenes = ComposerConfig(styles=dict.fromkeys(STYLES, 1.0), medium_share=0.3, kinds={"single": 0.6, "pair": 0.4})
    config = replace(scenes, stock=data.stock)
    return References(Scenes(Composer(table), config, run=3))


@pytest.fixture(scope="module")
def pairs(references: References) -> list[tuple[Scene, Scene]]:
    return [(scene, references.reference(scene, i)) for i, scene in enumerate(references.scenes.specs(0, 300))]


def test_a_subject_is_shared_and_nothing_else_of_it(references: References, pairs: list[tuple[Scene, Scene]]) -> None:
    subjects = [pair for pair in pairs if references.kept(pair[0]) == "subject"]
    assert len(subjects) == pytest.approx(SUBJECT_SHARE * len(pairs), abs=0.1 * len(pairs))
    for scene, other in subjects:
        [thing], own = other.objects, named_first(scene)
        assert (thing.concept, thing.colour) == (own.concept, own.colour)
        assert other.seed != scene.seed and (thing.x, thing.y, thing.size) != (own.x, own.y, own.size)
        trained = style_trained(core()[thing.concept].word, other.drawings)
        assert trained or other.drawings == scene.drawings
    others = [other.style != scene.style for scene, other in subjects]
    assert sum(others) / len(others) > 0.4  # and where drawings allow it, the style is another


def test_a_style_is_shared_and_its_things_are_not(references: References, pairs: list[tuple[Scene, Scene]]) -> None:
    styles = [pair for pair in pairs if references.kept(pair[0]) == "style"]
    assert all((other.style, other.drawings) == (scene.style, scene.drawings) for scene, other in styles)
    assert {scene.style for scene, _ in styles} > set(STYLES)  # media among them
    same = [other.objects[0].concept in {thing.concept for thing in scene.objects} for scene, other in styles]
    assert sum(same) / len(same) < 0.2


def test_captions_do_not_say_what_the_reference_tells(references: References, pairs: list[tuple[Scene, Scene]]) -> None:
    for scene, _ in pairs:
        keep = references.kept(scene)
        text = untold(scene, keep, share=0.0)
        if keep == "style":
            assert scene.style not in text, text
        else:
            concept = core()[named_first(scene).concept]
            names = (concept.word, *concept.synonyms)
            twice = [core()[thing.concept] for thing in scene.objects[:2] if thing is not named_first(scene)]
            if not any(concept.word in other.word for other in twice):
                assert not any(f" {name} " in f" {text} ".replace(",", " ") for name in names), text
            assert any(called in text for called in ("something", "a thing", "this")), text


def test_what_is_kept_in_words(references: References, pairs: list[tuple[Scene, Scene]]) -> None:
    scene = next(scene for scene, _ in pairs if named_first(scene).colour is not None)
    thing = named_first(scene)
    assert f"{thing.colour} " in in_words(scene, "subject") and core()[thing.concept].word in in_words(scene, "subject")
    assert in_words(scene, "style") == scene.style


def test_samples_depend_on_their_numbers_alone(references: References) -> None:
    whole, part = references(0, 6), references(4, 2)
    assert whole.captions[4:] == part.captions and whole.said[4:] == part.said and whole.keeps[4:] == part.keeps
    assert torch.equal(whole.references[4:], part.references)
    assert torch.equal(whole.scenes.composed.pixels[4:], part.scenes.composed.pixels)
    assert set(whole.keeps) <= set(range(len(KEEPS)))
