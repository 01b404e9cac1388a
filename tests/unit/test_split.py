"""What is held out for ever: its shares, and that no version may change it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import pytest

from darkroom.data.scenes.captions import (
    CAMERA_TEMPLATES,
    GROUND_TEMPLATES,
    LIGHT_TEMPLATES,
    MOTION_TEMPLATES,
    PLACE_TEMPLATES,
    PLAIN_TEMPLATES,
    QUALITY_TEMPLATES,
    STYLE_TEMPLATES,
)
from darkroom.data.scenes.spec import PLACED, RELATIONS
from darkroom.data.split import (
    BASE_STYLES,
    HELD_OUT_CHARACTER,
    HELD_OUT_STYLE,
    _fraction,
    kept_for_bias,
    only_style,
    pair_held_out,
    style_trained,
    template_held_out,
)
from darkroom.data.stock.pack import STYLES
from darkroom.wording.vocabulary import COLOURS, concept_of, core

FROZEN = 357  # concepts when the first model was trained


def grid(kind: str, others: Iterable[str]) -> str:
    """A digest of which pairs of the first concepts are held out."""
    bits = [pair_held_out(kind, concept.word, other) for concept in core()[:FROZEN] for other in others]
    return hashlib.sha256("".join(str(int(bit)) for bit in bits).encode()).hexdigest()[:16]


def test_the_hash_is_the_same_on_every_machine_and_in_every_version() -> None:
    assert _fraction("colour", "cat", "red") == pytest.approx(0.5923531320125855, abs=1e-12)
    assert _fraction("one style", "zebra") == pytest.approx(0.009049915891403719, abs=1e-12)
    assert [c for c in COLOURS if pair_held_out("colour", "cat", c)] == ["green"]
    assert [c for c in COLOURS if pair_held_out("colour", "car", c)] == ["yellow"]
    assert [c for c in COLOURS if pair_held_out("colour", "rocket", c)] == ["orange", "grey"]
    assert [r for r in RELATIONS if pair_held_out("relation", "cat", r)] == ["right of"]
    assert [r for r in RELATIONS if pair_held_out("relation", "rocket", r)] == ["on"]


def test_no_pair_of_the_vocabulary_ever_changes_sides() -> None:
    assert grid("colour", COLOURS) == "c5243c8b1e694b8b"
    assert grid("relation", PLACED) == "05e797d9cc82212e"
    assert grid("relation", ("wearing", "holding")) == "3a2fced4186f3d82"
    styles = ("3d", "cartoon", "flat", "black and white", "simple", "bright")
    assert grid("style", styles) == "6c9c5422012dc1fd"


def test_names_do_not_run_together() -> None:
    assert _fraction("colour", "ab", "c") != _fraction("colour", "a", "bc")
    assert _fraction("colour", "cat", "red") != _fraction("relation", "cat", "red")


@pytest.mark.parametrize("kind", ["colour", "relation", "style"])
def test_a_tenth_of_the_pairs_is_held_out(kind: str) -> None:
    held = sum(pair_held_out(kind, f"concept {i}", f"other {i % 11}") for i in range(20_000))
    assert held / 20_000 == pytest.approx(0.10, abs=0.01)


@pytest.mark.parametrize(
    ("kind", "others"), [("colour", tuple(COLOURS)), ("relation", RELATIONS), ("style", tuple(STYLES))]
)
def test_the_share_also_holds_in_the_vocabulary(kind: str, others: tuple[str, ...]) -> None:
    pairs = [(concept.word, other) for concept in core() for other in others]
    assert sum(pair_held_out(kind, *pair) for pair in pairs) / len(pairs) == pytest.approx(0.10, abs=0.02)


def test_a_twentieth_of_the_concepts_keeps_one_style() -> None:
    held = sum(only_style(f"concept {i}") is not None for i in range(20_000))
    assert held / 20_000 == pytest.approx(0.05, abs=0.007)
    assert 0.03 < sum(only_style(concept.word) is not None for concept in core()) / len(core()) < 0.08


def test_every_concept_keeps_a_style_that_every_leg_has() -> None:
    for word in [*(concept.word for concept in core()), *(f"concept {i}" for i in range(5_000))]:
        assert any(style_trained(word, style) for style in BASE_STYLES), word


def test_concepts_of_one_style_are_trained_in_that_one_only() -> None:
    one_style = {word: style for concept in core() if (style := only_style(word := concept.word))}
    assert one_style["zebra"] == "3d" and one_style["taxi"] == "cartoon" and one_style["house"] == "flat"
    for word, style in one_style.items():
        assert [s for s in STYLES if style_trained(word, s)] == [style]


def test_other_concepts_lose_just_their_held_out_styles() -> None:
    for concept in core():
        word = concept.word
        if only_style(word) is None and not all(pair_held_out("style", word, style) for style in BASE_STYLES):
            for style in STYLES:
                assert style_trained(word, style) != pair_held_out("style", word, style)


def test_some_people_are_kept_to_test_what_tells_genders_apart() -> None:
    people = [concept.word for concept in core() if concept.group == "person"]
    kept = {word for word in people if kept_for_bias(word)}
    assert 0.1 < len(kept) / len(people) < 0.5 and kept & {"doctor", "teacher", "pilot", "cook", "scientist", "singer"}


def test_the_base_styles_are_styles() -> None:
    assert set(BASE_STYLES) <= set(STYLES)


def test_an_unknown_kind_is_an_error_that_names_the_kinds() -> None:
    with pytest.raises(ValueError, match=r"kind 'size' is not a kind of pair; use colour, relation or style"):
        pair_held_out("size", "cat", "large")


def test_the_held_out_style_and_character_are_in_no_training_scene() -> None:
    assert HELD_OUT_STYLE not in {style for pairs in STYLES.values() for _, style in pairs}
    assert HELD_OUT_CHARACTER not in {concept.drawing for concept in core()}
    assert concept_of(HELD_OUT_CHARACTER) is None


def test_the_held_out_templates_are_these() -> None:
    tables = STYLE_TEMPLATES, PLACE_TEMPLATES, LIGHT_TEMPLATES, CAMERA_TEMPLATES, MOTION_TEMPLATES, QUALITY_TEMPLATES
    every = [t for table in tables for templates in table.values() for t in templates]
    every += [*PLAIN_TEMPLATES, *GROUND_TEMPLATES]
    assert {t for t in every if template_held_out(t)} == {
        "{x} rendered in 3d",
        "{x}, a 3d image",
        "{x}. the style is 3d",
        "{x}. the style is cartoon",
        "{x}. the sun is setting",
        "{x} seen from far away",
        "{x}, a cartoon picture",
        "a cartoon-style rendering of {x}",
        "a flat illustration of {x}",
        "a flat drawing of {x}",
        "a black and white drawing of {x}",
        "{x} as a simple picture",
        "a simple rendering of {x}",
        "{x}, in a bright style",
        "{x}, pixel art",
        "{x} as pixel art",
        "an illustration of {x}",
        "a rendering of {x}",
        "{x} against a {g} background",
        "{x} in front of a sunset",
        "{x} against a sunset sky",
        "{x} in a city",
        "{x} in the forest",
        "{x} in the light of the setting sun",
        "{x} in neon light",
        "a top view of {x}",
    }
