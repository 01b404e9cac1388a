"""Weights, switches and chunks of a prompt."""

from __future__ import annotations

import time
from contextlib import suppress
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.contracts.errors import BadInput
from darkroom.wording.syntax import Sentence, escaped, wordings
from darkroom.wording.tokenizer import BUCKETS, START, Tokenizer, normalise

STEPS = 8
# What is said in the first step: the words of each run, and how much they count.
READ: list[tuple[str, list[tuple[str, float]]]] = [
    ("a red fox", [("a red fox", 1.0)]),
    ("a (red:1.3) fox", [("a ", 1.0), ("red ", 1.3), ("fox", 1.0)]),
    ("a ((red)) [fox]", [("a ", 1.0), ("red ", 1.21), ("fox", 1 / 1.1)]),
    ("a (red:1) fox", [("a red fox", 1.0)]),
    ("a (big (red:2):0.5) fox", [("a ", 1.0), ("big ", 0.5), ("red fox", 1.0)]),
    ("super(man:1.2)", [("super", 1.0), ("man", 1.2)]),
    ("( red :.5)fox", [("red ", 0.5), ("fox", 1.0)]),
    (r"a \(red\) \[fox\] \{x\|y\} \_", [("a (red) [fox] {x|y} _", 1.0)]),
    ('a "quoted (text)" fox', [('a "quoted (text)" fox', 1.0)]),
    ("((a fox", [("((a fox", 1.0)]),
    ("a fox)] (red:", [("a fox)] (red:", 1.0)]),
    ("(a] fox)", [("a] fox", 1.1)]),
    ("at 12:30", [("at 12:30", 1.0)]),
    ("(at 12:30 sharp)", [("at 12:30 sharp", 1.1)]),
    ("[a:b]", [("a:b", 1 / 1.1)]),
    ("A  Red\tFOX", [("a red fox", 1.0)]),
]


def runs(sentence: Sentence) -> list[tuple[str, float]]:
    if not sentence.runs:
        return [(sentence.text, 1.0)]
    ends = [0, *(end for end, _ in sentence.runs)]
    words = [sentence.text[a:b] for a, b in pairwise(ends)]
    # the space before a run belongs to the run it begins
    return [(words[i], weight) for i, (_, weight) in enumerate(sentence.runs)]


@pytest.mark.parametrize(("text", "expected"), READ)
def test_what_is_read_and_how_much_it_counts(text: str, expected: list[tuple[str, float]]) -> None:
    [wording] = wordings(text, STEPS)
    [sentence] = wording.chunks
    found = runs(sentence)
    assert "".join(words for words, _ in found) == "".join(words for words, _ in expected)
    for place, letter in enumerate(sentence.text):
        if letter != " ":
            ends = list(accumulate(len(words) for words, _ in expected))
            weight = next(weight for end, (_, weight) in zip(ends, expected, strict=True) if place < end)
            assert sentence.weight(place) == pytest.approx(weight), (place, letter)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[cat:dog:0.5] on a hill", [(0, "cat on a hill"), (4, "dog on a hill")]),
        ("a [hat:0.3] cat", [(0, "a cat"), (2, "a hat cat")]),
        ("a [hat::6] cat", [(0, "a hat cat"), (6, "a cat")]),
        ("[[cat:dog:.25]:bird:.75]", [(0, "cat"), (2, "dog"), (6, "bird")]),
        ("[cat:dog:100]", [(0, "cat")]),
        ("[cat:dog:0]", [(0, "dog")]),
        ("[cat:cat:0.5]", [(0, "cat")]),
        ("[a:b:c:0.5]", [(0, "a:b:c:0.5")]),  # one colon too many: brackets that weigh less
    ],
)
def test_words_come_and_go(text: str, expected: list[tuple[int, str]]) -> None:
    assert [(wording.since, wording.text) for wording in wordings(text, STEPS)] == expected


def test_a_chunk_is_a_sentence_of_its_own() -> None:
    [wording] = wordings("a cat BREAK BREAK (a dog:1.5) BREAK", STEPS)
    assert [chunk.text for chunk in wording.chunks] == ["a cat", "a dog"]
    assert wording.chunks[1].weight(0) == 1.5 and not wording.chunks[0].runs
    assert wordings("BREAKFAST breaks", STEPS)[0].text == "breakfast breaks"
    assert wordings("", STEPS)[0].chunks == (Sentence(""),)


@pytest.mark.parametrize("text", ["(fox:11)", "(" * 30 + "fox" + ")" * 30, "((fox:5):5)"])
def test_weights_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"the weight .* of 'fox' is not between 0 and 10; take a number in between"):
        wordings(text, STEPS)


def test_a_prompt_that_changes_all_the_time_is_refused() -> None:
    text = " ".join(f"[a:b:{n}]" for n in range(1, 150))
    with pytest.raises(BadInput, match="a prompt that changes 149 times"):
        wordings(text, 1000)


@given(st.text(max_size=200))
def test_any_text_can_be_said_as_it_is(text: str) -> None:
    said = " ".join(wording.text for wording in wordings(escaped(text), STEPS))
    assert said == normalise(text) or '"' in text or "\0" in text  # quoted text is read as it is; NUL is refused before


@given(st.text(alphabet='()[]:.5a "\\', max_size=60))
def test_whatever_is_typed_is_read_or_refused(text: str) -> None:
    try:
        found = wordings(text, STEPS)
    except BadInput:
        return
    assert found[0].since == 0 and [w.since for w in found] == sorted({w.since for w in found})
    for wording in found:
        for sentence in wording.chunks:
            assert not sentence.runs or sentence.runs[-1][0] == len(sentence.text)


@pytest.mark.parametrize("nested", ["({}:1)", "[{}]", "({})", "({}", "(a {})"])
def test_depth_costs_nothing(nested: str) -> None:
    # a hundred thousand deep, and twice as many take no more than about twice as long
    front, back = nested.split("{}")
    took = []
    for depth in (100_000, 200_000):
        start = time.process_time()
        with suppress(BadInput):  # too heavy, which is found after all was read
            wordings(front * depth + "fox" + back * depth, STEPS)
        took.append(time.process_time() - start)
    assert took[1] < 8 * took[0] + 1.0


# -- tokens --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["a red fox, two blue cats and one green tree on a white background"] * 3, 400)


def test_weights_do_not_change_the_tokens(tokenizer: Tokenizer) -> None:
    plain = tokenizer.tokens("a red fox, 3d")
    [wording] = wordings("a (red:1.5) fox, (3d:0.5)", STEPS)
    [sentence] = wording.chunks
    found = tokenizer.tokens(sentence.text, weigh=sentence.weight)
    assert (found.ids, found.characters, found.length) == (plain.ids, plain.characters, plain.length)
    assert plain.weights == () and len(found.weights) == len(found.ids)
    pieces = ["", *tokenizer.pieces("a red fox, 3d"), ""]
    heavy = {piece.strip() for piece, weight in zip(pieces, found.weights, strict=False) if weight == 1.5}
    light = "".join(piece for piece, weight in zip(pieces, found.weights, strict=False) if weight == 0.5)
    assert "".join(sorted(heavy)) and "red".startswith(min(heavy)) and light.strip() == "3d"
    assert found.ids[0] == START and found.weights[0] == 1.0 and found.weights[-1] == 1.0


@given(st.lists(st.sampled_from(["fox", "red", ",", ".", "tree", "extraordinary", "12"]), max_size=120))
def test_long_texts_are_cut_so_that_every_part_fits(words: list[str]) -> None:
    tokenizer = Tokenizer()  # every byte is a token
    text = normalise(" ".join(words))
    cuts = tokenizer.cuts(text)
    assert cuts[-1] == len(text) and cuts == sorted(set(cuts))
    sentence = Sentence(text)
    parts = [sentence.cut(a, b) for a, b in zip([0, *cuts], cuts, strict=False)]
    assert " ".join(part.text for part in parts if part.text).split() == text.split()
    for part in parts:
        tokens = tokenizer.tokens(part.text)
        assert not tokens.dropped and tokens.length <= BUCKETS[-1]


def test_a_cut_comes_after_punctuation_where_there_is_any() -> None:
    tokenizer = Tokenizer()
    text = "a red fox on a hill, a blue cat beside a green tree"
    first, *_ = tokenizer.cuts(text)
    assert text[:first] == "a red fox on a hill,"


def test_a_cut_keeps_the_weights() -> None:
    [wording] = wordings("a (red:2) fox, (blue:3) cat", STEPS)
    [sentence] = wording.chunks
    at = sentence.text.index(",") + 1
    first, second = sentence.cut(0, at), sentence.cut(at, len(sentence.text))
    assert (first.text, second.text) == ("a red fox,", "blue cat")
    assert [first.weight(i) for i in (0, 2, 6)] == [1.0, 2.0, 1.0]
    assert [second.weight(i) for i in (0, 5)] == [3.0, 1.0]
