"""Roles, near words, and the whole view of a prompt."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from darkroom.cards import EMBEDDED, read_card, read_tokenizer
from darkroom.contracts.card import Card
from darkroom.contracts.errors import BadInput
from darkroom.contracts.request import Request
from darkroom.data.scenes.anchors import wearables
from darkroom.wording.anatomy.apart import told_apart
from darkroom.wording.anatomy.facts import facts_of
from darkroom.wording.anatomy.nearest import distance, near
from darkroom.wording.anatomy.roles import roles_of
from darkroom.wording.anatomy.view import View, lines_of, view_of
from darkroom.wording.tokenizer import Tokenizer
from darkroom.wording.vocabulary import WORN, core
from darkroom.wording.wildcards import expanded, expanded_telling


@pytest.fixture(scope="module")
def model() -> tuple[Card, Tokenizer]:
    card = read_card(EMBEDDED)
    return card, read_tokenizer(EMBEDDED, card)


def seen(model: tuple[Card, Tokenizer], text: str, **asked: object) -> View:
    return view_of(Request.checked({"prompt": text, **asked}), *model)


def roles(text: str) -> list[tuple[str, str]]:
    facts = facts_of(text)
    return [(part.role, facts.said[part.start : part.end]) for part in roles_of(facts)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a cute red fox sitting in a forest, in watercolour",
         [("subject", "a cute red fox"), ("motion", "sitting"), ("setting", "in a forest"), ("style", "watercolour")]),
        ("two blue cats left of a big tree at night, close-up, 3d, masterpiece",
         [("subject", "two blue cats"), ("relation", "left of"), ("subject", "a big tree"), ("light", "at night"),
          ("composition", "close-up"), ("style", "3d"), ("quality", "masterpiece")]),
        ("a cat wearing a red top hat on a light blue background, soft studio light",
         [("subject", "a cat"), ("relation", "wearing"), ("subject", "a red top hat"),
          ("ground", "a light blue background"), ("light", "soft studio light")]),
        ("an astronaut in a garden, bokeh, 85mm, in the style of monet",
         [("subject", "an astronaut"), ("setting", "in a garden"), ("composition", "bokeh"), ("composition", "85mm"),
          ("style", "in the style of monet")]),
        ("a fox in paris by the river, cinematic still, by greg rutkowski, ugly",
         [("subject", "a fox"), ("setting", "in paris"), ("setting", "by the river"), ("style", "cinematic still"),
          ("style", "by greg rutkowski"), ("quality", "ugly")]),
        ("a mouse in a castle", [("subject", "a mouse"), ("setting", "in a castle")]),
        ("a red car moving fast, blurry", [("subject", "a red car"), ("motion", "moving fast"), ("quality", "blurry")]),
    ],
)  # fmt: skip
def test_parts_play_roles(text: str, expected: list[tuple[str, str]]) -> None:
    assert roles(text) == expected


@pytest.mark.parametrize("text", ["", "; ; ;", "x" * 3000, "in the " * 500, '"' * 99, "a fox, " * 200, "、。狐"])
def test_roles_never_overlap(text: str) -> None:
    parts = roles_of(facts_of(text))
    assert all(one.end <= other.start for one, other in pairwise(parts))
    assert all(part.start < part.end for part in parts)


@pytest.mark.parametrize(
    ("word", "nearest"),
    [("kitten", "cat"), ("puppies", "dogs"), ("umbrela", "umbrella"), ("elepahnt", "elephant"), ("crimson", "red"),
     ("tiny", "small"), ("flower", "rose")],
)  # fmt: skip
def test_words_near_to_one_that_is_unknown(word: str, nearest: str) -> None:
    known = ["cat", "cats", "dog", "dogs", "umbrella", "elephant", "red", "small", "rose", "tulip", "lorry"]
    assert near(word, known)[0].word == nearest


def test_nothing_is_near_to_what_is_far() -> None:
    known = ["cat", "light", "lorry", "show"]
    assert [near(word, known) for word in ("xylophone", "night", "blurry", "snow", "x" * 200, "狐")] == [[]] * 6
    assert near("kitten", known, things=["dog"]) == []  # the model draws no cats


@pytest.mark.parametrize(
    ("one", "other", "slips"),
    [("fox", "fox", 0), ("fox", "fxo", 1), ("fox", "fax", 1), ("fox", "foxs", 1), ("fox", "ox", 1), ("fox", "cat", 3),
     ("ca", "abc", 3), ("", "ab", 2)],
)  # fmt: skip
def test_distances_are_those_of_optimal_string_alignment(one: str, other: str, slips: int) -> None:
    assert distance(one, other, 9) == distance(other, one, 9) == slips
    assert distance(one, other, 1) == min(slips, 2)


def test_what_can_be_worn_is_what_heads_are_drawn_with() -> None:
    assert {core()[concept].word for concept, _ in wearables()} == WORN


def test_choices_are_told_as_they_were_made() -> None:
    text, made = expanded_telling("a {red|{dark|light} blue} fox {x} and {2$$cat|dog|owl}", 7)
    assert text == expanded("a {red|{dark|light} blue} fox {x} and {2$$cat|dog|owl}", 7)
    assert [choice.written for choice in made] == ["{red|{dark|light} blue}", "{2$$cat|dog|owl}"]
    assert all(choice.made in text for choice in made)
    [deep] = expanded_telling("{" * 20_000 + "a|b" + "}" * 20_000, 0)[1]
    assert deep.made.strip("\\{}") in ("a", "b")
    assert len(expanded_telling("{a|b}" * 5000, 0)[1]) == 5000


def test_a_prompt_is_laid_open(model: tuple[Card, Tokenizer]) -> None:
    view = seen(model, "a (red:1.4) [fox:cat:0.5] BREAK a {snowy|white} hill", seed=3, steps=10)
    assert [spell.step for spell in view.spells] == [1, 6]
    assert [weighted.weight for weighted in view.spells[0].weights] == [1.4]
    assert [read.chunk for read in view.spells[0].read] == [1, 2] and view.seed == 3
    assert next(part.text for part in view.spells[1].roles if part.role == "subject") == "a red cat"
    assert view.choices[0].made in ("snowy", "white")
    assert json.loads(json.dumps(view.as_json()))["limit"] == 48


def test_tokens_are_those_that_drawing_counts_and_nothing_is_clipped(model: tuple[Card, Tokenizer]) -> None:
    words = [f"thing{number}" for number in range(400)]
    view = seen(model, " ".join(words), style="flat")
    [spell] = view.spells
    assert all(read.cut and read.tokens <= 48 for read in spell.read) and len(spell.read) == 16
    kept = " ".join(read.text for read in spell.read).split()
    assert [*kept, *spell.dropped] == [*words[:-1], words[-1] + ",", "flat"]
    short = seen(model, "a red fox", style="3d").spells[0]
    assert [read.tokens for read in short.read] == [model[1].tokens("a red fox, 3d").length]


def test_unknown_words_are_told_with_those_near(model: tuple[Card, Tokenizer]) -> None:
    view = seen(model, 'two kittens, an umbrela and a squirrel that says "xyzzy"')
    told = {unknown.word: [found.word for found in unknown.near] for unknown in view.unknown}
    assert told["kittens"] == ["cats"] and told["umbrela"][0] == "umbrella" and "xyzzy" not in told
    assert [unknown.vocabulary for unknown in view.unknown if unknown.word == "squirrel"] == ["squirrel"]
    lines = "\n".join(lines_of(view))
    assert "2 cats" in lines and "spelt alike: umbrella" in lines


def test_talk_is_told_with_what_it_was_read_as(model: tuple[Card, Tokenizer]) -> None:
    view = seen(model, "Could you draw a fox, please?")
    assert (view.prompt, view.written) == ("a fox", "Could you draw a fox, please?")
    assert seen(model, "Could you draw a fox, please?", verbatim=True).written is None
    with pytest.raises(BadInput, match="names no subject"):
        seen(model, "please make me a picture")
    with pytest.raises(BadInput, match="weight 99"):
        seen(model, "a (fox:99)")
    with pytest.raises(BadInput, match="needs a folder of wildcards"):
        seen(model, "a __colours__ fox")


def test_wildcards_are_told(model: tuple[Card, Tokenizer], tmp_path: Path) -> None:
    (tmp_path / "colours.txt").write_text("red\n", encoding="utf-8")
    request = Request.checked({"prompt": "a __colours__ fox"})
    view = view_of(request, *model, wildcards=tmp_path)
    assert view.prompt == "a red fox" and view.choices == [("__colours__", "red")]


@pytest.mark.parametrize(
    ("text", "words", "apart"),
    [
        ("a purple cake and a blue butterfly", "butterfly", ("a blue butterfly", "a purple cake")),
        ("A red Fox and a green tree, 3d", "red", ("A red Fox, 3d", "a green tree, 3d")),
        ("a fox, a cat and a dog in the snow", "cat", ("a cat, in the snow", "a fox, a dog in the snow")),
        ("two apples to the left of a pear", "apples", ("two apples", "a pear")),
        ("a cat wearing a blue hat", "blue", ("a blue hat", "a cat")),
        ("a red cat and a red dog", "red", None),  # of both
        ("a red apple on a blue background", "red", None),  # of all there is
        ("a cat and a dog in the snow", "snow", None),  # of no thing
        ("", "cat", None),
        ("a gray cat and a dog", "gray", ("a gray cat", "a dog")),
        (
            'a cat and a hat, with the word "OPEN"',
            "hat",
            ('a hat, with the word "OPEN"', 'a cat, the word "OPEN"'),
        ),
        ("two İstanbul cats and a dog", "dog", None),  # longer in lower case
    ],
)
def test_a_thing_and_the_others_are_told_apart(text: str, words: str, apart: tuple[str, str] | None) -> None:
    assert told_apart(text, words) == apart


def test_a_long_sentence_is_told_apart_in_no_time() -> None:
    assert told_apart("a cat and a dog" + ", " * 10_000 + "and " * 2_000, "cat") is not None
