"""The core vocabulary: frozen, unambiguous, findable in sentences, and drawn."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path

import pytest

from darkroom.data.split import BASE_STYLES
from darkroom.data.stock.pack import STYLES, Pack
from darkroom.wording.vocabulary import (
    BARE,
    COLOURS,
    HELD,
    Concept,
    article,
    concept_of,
    concepts_in,
    core,
    everyday,
    plural,
)

FROZEN = 357  # rows when the first model was trained; later rows are appended


def names(concept: Concept) -> list[str]:
    """Everything a user may call the concept, each once."""
    return list(dict.fromkeys((concept.word, concept.plural, *concept.synonyms, *concept.synonyms_plural)))


def test_the_first_rows_never_change_because_weights_know_them_by_number() -> None:
    words = "\n".join(concept.word for concept in core()[:FROZEN])
    assert hashlib.sha256(words.encode()).hexdigest().startswith("931ce34c38957bc1")
    assert [concept.index for concept in core()] == list(range(len(core())))


def test_exactly_a_hundred_concepts_are_everyday() -> None:
    assert len(everyday()) == 100
    assert all(concept.everyday for concept in everyday())
    assert {"cat", "car", "house", "apple", "star"} <= {concept.word for concept in everyday()}


def test_no_name_means_two_concepts_or_stands_twice() -> None:
    counts = Counter(name.lower() for concept in core() for name in names(concept))
    assert [name for name, count in counts.items() if count > 1] == []
    for concept in core():
        assert len(set(concept.synonyms)) == len(concept.synonyms), concept.word
        assert not {concept.word, concept.plural} & set(concept.synonyms), concept.word


def test_no_drawing_serves_two_concepts() -> None:
    counts = Counter(concept.drawing for concept in core())
    assert [drawing for drawing, count in counts.items() if count > 1] == []


def test_no_name_holds_a_colour_word_and_all_are_typed_as_users_type() -> None:
    for concept in core():
        for name in names(concept):
            assert not set(re.findall(r"[a-z]+", name.lower())) & set(COLOURS), name
            assert name == name.lower().strip(), name


def test_groups_are_the_seven_known_ones() -> None:
    assert {c.group for c in core()} == {"animal", "food", "vehicle", "place", "plant", "thing", "person"}


def test_every_name_is_found_and_means_only_its_own_concept() -> None:
    for concept in core():
        for name in names(concept):
            assert concept_of(f" {name.title()} ") is concept
            assert concepts_in(f"A large purple {name.upper()}, on red") == [concept], name


@pytest.mark.parametrize(
    ("name", "several"),
    [
        ("puppy", "puppies"),
        ("donkey", "donkeys"),
        ("bus", "buses"),
        ("sandwich", "sandwiches"),
        ("tomato", "tomatoes"),
        ("burrito", "burritos"),
        ("glass of wine", "glasses of wine"),
        ("bunch of flowers", "bunches of flowers"),
        ("die", "dice"),
    ],
)
def test_plurals(name: str, several: str) -> None:
    assert plural(name) == several


def test_several_of_a_synonym_are_understood() -> None:
    assert found("two puppies and three donuts") == ["dog", "doughnut"]
    grapes = concept_of("grapes")
    assert grapes is not None and grapes.synonyms_plural == ()  # a name without an article has no plural


def test_what_is_held_is_in_the_vocabulary() -> None:
    assert {concept.word for concept in core()} >= HELD


def found(text: str) -> list[str]:
    return [concept.word for concept in concepts_in(text)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a pine tree", ["pine tree"]),
        ("a tree", ["tree"]),
        ("a palm tree next to a tree", ["palm tree", "tree"]),
        ("a hot dog and a dog", ["hot dog", "dog"]),
        ("a teddy bear above a bear", ["teddy bear", "bear"]),
        ("a police car, not a car", ["police car", "car"]),
        ("a racing car", ["racing car"]),
        ("a christmas tree", ["christmas tree"]),
        ("a mobile phone", ["mobile phone"]),
        ("a hatching chick and a chick", ["hatching chick", "chick"]),
        ("an alarm clock", ["alarm clock"]),
        ("a pair of sunglasses", ["pair of sunglasses"]),
        ("three slices of pizza", ["slice of pizza"]),
        ("a chicken leg behind a chicken", ["chicken leg", "chicken"]),
        ("a cat, a dog, and the CAT again", ["cat", "dog"]),  # each once, in order of mention
        ("a dog left of a cat", ["dog", "cat"]),
        ("a yo-yo and a t-shirt", ["yo-yo", "t-shirt"]),
        ("a carpet, a scar, a start and a catalogue", []),  # whole words only
        ("nothing of ours", []),
        ("", []),
    ],
)
def test_the_longest_name_wins_and_order_is_kept(text: str, words: list[str]) -> None:
    assert found(text) == words


def test_words_outside_the_vocabulary_are_no_concept() -> None:
    assert concept_of("submarine") is None
    assert concept_of("") is None


AN = (
    "accordion, airplane, alarm clock, alien, ambulance, anchor, ant, apple, artist, astronaut, avocado, axe, "
    "eagle, ear of corn, egg, eggplant, elephant, envelope, hourglass, ice cream cone, ice skate, octopus, "
    "office worker, old man, old woman, onion, otter, owl, ox, umbrella"
)


def test_each_core_word_has_its_article() -> None:
    vowels = AN.split(", ")
    for concept in core():
        expected = "" if concept.word in {"bowling pins", "sushi"} else "an" if concept.word in vowels else "a"
        assert concept.article == expected, concept.word


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("unicorn", "a"),
        ("ufo", "a"),
        ("hourglass", "an"),
        ("umbrella", "an"),
        ("honey pot", "a"),
        ("orange unicorn", "an"),
        ("large hourglass", "a"),
        ("Owl", "an"),
        ("x-ray", "an"),
        ("onion", "an"),
    ],
)
def test_the_article_follows_the_first_sound(words: str, expected: str) -> None:
    assert article(words) == expected


def test_names_without_an_article_are_names() -> None:
    known = {name for concept in core() for name in (concept.word, *concept.synonyms)}
    assert known >= BARE
    assert "grapes" in BARE and "bunch of grapes" not in BARE


@pytest.mark.datapack
def test_every_concept_is_drawn_in_every_base_style(data_pack: Path) -> None:
    drawn = {(row["source"], row["style"], row["name"]) for row in Pack(data_pack).rows("sprites")}
    missing = [
        (concept.drawing, style)
        for concept in core()
        for style in BASE_STYLES
        if not any((*pair, concept.drawing) in drawn for pair in STYLES[style])
    ]
    assert missing == []
