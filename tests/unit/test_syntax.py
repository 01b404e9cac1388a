"""Weights, switches and chunks of a prompt."""

from __future__ import annotations

import time
from contextlib import suppress
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.contracts.errors import BadInput
from darkroom.contracts.prompt import escaped
from darkroom.wording.cutting import MOST_PARTS, parts_of
from darkroom.wording.syntax import Sentence, wordings
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
    ("(a [fox)", [("a [fox", 1.1)]),
    (r'a sign "\(Hi\)" here', [('a sign "(Hi)" here', 1.0)]),
    ("a sign \u201c(Hi)\u201d here", [('a sign "(Hi)" here', 1.0)]),
    (r"a \BREAK in it", [("a break in it", 1.0)]),
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
    assert [chunk.text for chunk in wordings("a fox :( BREAK a dog", STEPS)[0].chunks] == ["a fox :(", "a dog"]
    assert wordings("(a BREAK b)", STEPS)[0].text == "a break b"
    assert wordings("", STEPS)[0].chunks == (Sentence(""),)


@pytest.mark.parametrize("text", ["(fox:11)", "(fox:-1)", "(fox:1000000)", "(" * 30 + "fox" + ")" * 30, "((fox:5):5)"])
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
    assert said == normalise(text) or "\0" in text  # NUL is refused before


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
    # a hundred thousand deep takes no more than about twice as long as half of them
    front, back = nested.split("{}")
    took = []
    for depth in (50_000, 100_000):
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


def count(text: str) -> int:
    return len(Tokenizer().encode(text))  # an untrained one: every byte is a token


def cut(text: str) -> tuple[list[Sentence], tuple[str, ...]]:
    [wording] = wordings(text, STEPS)
    return parts_of(wording.chunks, count, BUCKETS[-1])


@given(st.text(max_size=300))
def test_every_part_of_a_long_text_fits_and_nothing_is_lost(text: str) -> None:
    parts, left = cut(escaped(text.replace("\0", "")))
    said = normalise(text.replace("\0", ""))
    letters = "".join([*(part.text for part in parts), *left])
    if '"' not in said:  # long quoted text is quoted in each part
        assert "".join(letters.split()) == "".join(said.split())
    for part in parts:
        tokens = Tokenizer().tokens(part.text)
        assert not tokens.dropped and tokens.length <= BUCKETS[-1]


def test_words_that_are_too_long_are_read_in_pieces() -> None:
    parts, left = cut("狐" * 40 + " " + "1" * 100)
    assert "".join(part.text for part in parts) == "狐" * 40 + "1" * 100 and not left
    parts, _ = cut('a sign "' + "OPEN NOW! " * 8 + '"')
    assert parts[0].text == "a sign" and all(part.text[0] == part.text[-1] == '"' for part in parts[1:])


def test_quoted_text_that_fits_is_not_cut() -> None:
    parts, _ = cut('a long sentence about a shop with a sign "OPEN NOW! YES" e')
    assert '"OPEN NOW! YES"' in parts[-1].text


def test_what_is_too_much_is_told() -> None:
    parts, left = cut(" ".join(f"word{n}" for n in range(400)))
    assert len(parts) == MOST_PARTS and left[-1] == "word399"
    assert [*" ".join(part.text for part in parts).split(), *left] == [f"word{n}" for n in range(400)]


def test_a_cut_comes_after_punctuation_where_there_is_any() -> None:
    parts, _ = cut("a red fox on a hill, a blue cat beside a green tree")
    assert [part.text for part in parts] == ["a red fox on a hill,", "a blue cat beside a green tree"]


def test_a_cut_keeps_the_weights() -> None:
    [wording] = wordings("a (red:2) fox, (blue:3) cat", STEPS)
    [sentence] = wording.chunks
    at = sentence.text.index(",") + 1
    first, second = sentence.cut(0, at), sentence.cut(at, len(sentence.text))
    assert (first.text, second.text) == ("a red fox,", "blue cat")
    assert [first.weight(i) for i in (0, 2, 6)] == [1.0, 2.0, 1.0] and len(first.runs) == 3
    assert [second.weight(i) for i in (0, 5)] == [3.0, 1.0]


def test_more_words_at_the_end_count_as_any() -> None:
    [wording] = wordings("a (red:2) fox", STEPS)
    [more] = [chunk.also(", 3d") for chunk in wording.chunks]
    assert more.text == "a red fox, 3d" and more.weight(2) == 2.0 and more.weight(len(more.text) - 1) == 1.0
    assert Sentence("a fox").also(", 3d") == Sentence("a fox, 3d")


def test_the_case_that_was_written_is_kept_beside_the_normal_form() -> None:
    [chunk] = wordings("A (Red:1.5)  Fox, from PARIS", STEPS)[0].chunks
    assert (chunk.text, chunk.spelling) == ("a red fox, from paris", "A Red Fox, from PARIS")
    assert chunk.cut(2, 9).spelling == "Red Fox" and chunk.also(", 3D").spelling == "A Red Fox, from PARIS, 3d"
    assert wordings("a red fox", STEPS)[0].chunks[0].cased == "" and Sentence("x").spelling == "x"
    [odd] = wordings("İstanbul Fox", STEPS)[0].chunks  # whose small letter is two
    assert len(odd.spelling) == len(odd.text) and Sentence("a fox", (), "A Fox") == Sentence("a fox")


def test_letters_of_two_pieces_keep_their_weights() -> None:
    [wording] = wordings("cafe(\u0301:1.3) (fox:2)", STEPS)
    [sentence] = wording.chunks
    assert sentence.text == normalise(sentence.text) == "caf\u00e9 fox"
    assert sentence.weight(5) == 2.0


def test_words_that_count_nothing_are_not_told() -> None:
    [wording] = wordings("a (red:0) fox BREAK a cat", STEPS)
    assert wording.text == "a fox. a cat"
