"""Laws of the tokenizer and the parse step, over arbitrary Unicode."""

from __future__ import annotations

import random
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from darkroom.wording.parse import parse
from darkroom.wording.tokenizer import END, PAD, SPELLING, START, Tokenizer, _compose, _words, normalise

CORPUS = [
    "a red fox left of a blue owl, at night",
    "the orange cat on a green car",
    'a sign that says "STOP"',
    "un café près de la forêt 🦊🦊",
] * 4
TRAINED = Tokenizer.train(CORPUS, size=380)
TOKENIZERS = pytest.mark.parametrize("tokenizer", [Tokenizer(), TRAINED], ids=["bytes", "trained"])

anything = st.text(st.characters(), max_size=80)  # lone surrogates included
lively = st.lists(
    st.sampled_from(
        ["red ", "fox", '"', '" ', ' "', "“", "\n", " ", "5", "Σ", "İ", "é", "e\u0301", "\u0316", "🦊", "_", "(", "ﷺ"]
    )
    | st.characters(),
    max_size=60,
).map("".join)
texts = anything | lively


@TOKENIZERS
@given(text=texts)
@example(text='"')
@example(text='" "')
@example(text='"a"b"c"')
@example(text=' "A" ')
@example(text="\u0301")
@example(text="\u00a8a")
@example(text="\ud800")
@settings(max_examples=400, deadline=None)
def test_decode_undoes_encode(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == normalise(text)


@given(text=texts)
@settings(max_examples=400, deadline=None)
def test_normalise_is_idempotent_and_leaves_single_spaces(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert once == " ".join(once.split())
    assert unicodedata.is_normalized("NFKC", once)


@given(text=st.text(max_size=60) | lively)
@settings(max_examples=400, deadline=None)
def test_composing_is_nfkc(text: str) -> None:
    assert _compose(text) == unicodedata.normalize("NFKC", text)


@given(text=texts)
@settings(max_examples=300, deadline=None)
def test_words_cover_the_text(text: str) -> None:
    text = normalise(text)
    assert "".join(word.text for word in _words(text)) == (" " + text if text else "")
    assert all(word.text for word in _words(text))


@TOKENIZERS
@given(text=texts, limit=st.integers(2, 48))
@settings(max_examples=400, deadline=None)
def test_tokens_keep_or_list_every_word(tokenizer: Tokenizer, text: str, limit: int) -> None:
    tokens = tokenizer.tokens(text, limit=limit)
    assert tokens.length <= limit
    assert len(tokens.ids) == min(bucket for bucket in (16, 32, 48) if bucket >= tokens.length)
    assert (tokens.ids[0], tokens.ids[tokens.length - 1]) == (START, END)
    assert set(tokens.ids[tokens.length :]) <= {PAD}
    inner = tokens.ids[1 : tokens.length - 1]
    assert PAD not in inner
    assert list(inner) == tokenizer.encode(text)[: len(inner)]
    assert "".join((tokenizer.decode(inner), *tokens.dropped)).replace(" ", "") == normalise(text).replace(" ", "")
    assert [any(row) for row in tokens.characters] == [0 < at < tokens.length - 1 for at in range(len(tokens.ids))]
    assert all(len(row) == SPELLING and all(0 <= value <= 256 for value in row) for row in tokens.characters)


@given(corpus=st.lists(texts, max_size=12), size=st.integers(260, 330), source=st.randoms())
@settings(max_examples=100, deadline=None)
def test_training_ignores_order_and_survives_the_file(corpus: list[str], size: int, source: random.Random) -> None:
    tokenizer = Tokenizer.train(corpus, size)
    shuffled = list(corpus)
    source.shuffle(shuffled)
    assert Tokenizer.train(shuffled, size).to_json() == tokenizer.to_json()
    assert len(tokenizer) <= size
    again = Tokenizer.from_json(tokenizer.to_json())
    assert again == tokenizer
    assert again.to_json() == tokenizer.to_json()
    for text in corpus:
        assert again.decode(again.encode(text)) == normalise(text)


@given(text=texts)
@settings(max_examples=300, deadline=None)
def test_parse_is_idempotent_printable_and_encodable(text: str) -> None:
    once = parse(text).text
    assert parse(once).text == once
    assert not any(unicodedata.category(character) == "Cc" for character in once)
    assert once.encode("utf-8").decode("utf-8") == once
