"""darkroom.wording: the tokenizer and the parse step."""

from __future__ import annotations

import itertools
import json
import pickle
import random
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest

from darkroom.wording import tokenizer as module
from darkroom.wording.parse import ParsedPrompt, parse
from darkroom.wording.tokenizer import (
    END,
    FIRST_BYTE,
    FIRST_MERGE,
    MASK,
    PAD,
    START,
    Tokenizer,
    TokenizerError,
    normalise,
)

ANIMALS = ("fox", "cat", "dog", "owl", "tiger", "penguin", "giraffe", "octopus")
COLOURS = ("red", "blue", "green", "yellow", "purple", "orange")
PLACES = ("left of", "right of", "above", "below", "in front of", "next to")


def captions() -> list[str]:
    """Every phrase of a small template language, in a fixed order."""
    return [
        f"A photo of a {colour} {one} {place} a {other}, at night"
        for colour, one, place, other in itertools.product(COLOURS, ANIMALS, PLACES, ANIMALS)
    ]


@pytest.fixture(scope="module")
def trained() -> Tokenizer:
    return Tokenizer.train(captions(), size=512)


def textbook_bpe(texts: list[str], merges: int) -> list[tuple[int, int]]:
    """BPE as in the paper: recount every pair before each join. Words by spaces only: for plain lower-case texts."""
    words = Counter(" " + word for text in texts for word in text.split())
    split = {word: [FIRST_BYTE + byte for byte in word.encode()] for word in words}
    found: list[tuple[int, int]] = []
    while len(found) < merges:
        pairs: Counter[tuple[int, int]] = Counter()
        for word, ids in split.items():
            for pair in itertools.pairwise(ids):
                pairs[pair] += words[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
        if best is None or pairs[best] < 2:
            break
        new = FIRST_MERGE + len(found)
        found.append(best)
        for word, ids in split.items():
            joined: list[int] = []
            for token in ids:
                # `aaa` joins from the left: a token that was just made is not an old one
                if joined and (joined[-1], token) == best:
                    joined[-1] = new
                else:
                    joined.append(token)
            split[word] = joined
    return found


# Training


def test_incremental_counts_find_the_textbook_merges() -> None:
    source = random.Random(0)
    texts = [" ".join("".join(source.choices("aab", k=source.randint(1, 9))) for _ in range(12)) for _ in range(30)]
    texts += ["banana bandana cabana", "aaa aaaa aaaaa", "a fox a fox"]
    assert list(Tokenizer.train(texts, size=FIRST_MERGE + 120).merges) == textbook_bpe(texts, 120)


def test_training_is_the_same_in_any_order_and_in_another_interpreter(trained: Tokenizer) -> None:
    shuffled = captions()
    random.Random(1).shuffle(shuffled)
    assert Tokenizer.train(iter(shuffled), size=512) == trained
    code = (
        "from darkroom.wording.tokenizer import Tokenizer\n"
        "texts = ['aab abb bab', 'bba aba', 'a b ab ba', 'cab bac'] * 3\n"
        "print(Tokenizer.train(texts, size=300).sha256)"
    )
    runs = {fresh_python(code, seed) for seed in ("1", "2")}
    assert len(runs) == 1


def test_ties_go_to_the_smaller_ids() -> None:
    assert Tokenizer.train(["zy zy ba ba"], size=FIRST_MERGE + 1).merges == ((FIRST_BYTE + 32, FIRST_BYTE + ord("b")),)


def test_training_stops_at_the_size_or_when_nothing_repeats(trained: Tokenizer) -> None:
    assert len(Tokenizer.train(captions(), size=300)) == 300
    once = Tokenizer.train(["quartz jumped"], size=4096)
    assert len(once) == FIRST_MERGE
    assert len(Tokenizer.train([])) == FIRST_MERGE
    for repeated in (*ANIMALS, *COLOURS, "photo", "night"):
        assert trained.pieces(repeated) == [f" {repeated}"], "512 ids are enough for each word of the language"


def test_merges_stay_inside_words_and_out_of_quotes(trained: Tokenizer) -> None:
    assert all(piece.rfind(" ") <= 0 for piece in trained.pieces(captions()[0]))
    quoted = Tokenizer.train(['a sign that says "STOP"'] * 50, size=400)
    assert quoted.pieces('"STOP"') == [' "', "S", "T", "O", "P", '"']


@pytest.mark.parametrize("size", [0, 259, 65_537])
def test_a_size_out_of_range_is_refused(size: int) -> None:
    with pytest.raises(TokenizerError, match=rf"size {size} is not between 260 and 65536; try (260|65536)"):
        Tokenizer.train(["a fox"], size=size)


# Text to ids


def test_ids_are_specials_then_bytes_then_merges(trained: Tokenizer) -> None:
    assert (PAD, START, END, MASK) == (0, 1, 2, 3)
    assert Tokenizer().encode("b") == [4 + ord(" "), 4 + ord("b")]
    assert trained.encode("fox")[0] >= 260


def test_a_word_is_spelt_the_same_wherever_it_stands(trained: Tokenizer) -> None:
    (fox,) = trained.encode("fox")
    assert trained.encode("FOX, a  Fox\n") == [fox, *trained.encode("x,")[2:], *trained.encode("a"), fox]


def test_merges_apply_in_the_order_they_were_learned() -> None:
    a, b, c = (FIRST_BYTE + ord(letter) for letter in "abc")
    tokenizer = Tokenizer([(b, c), (a, b), (a, FIRST_MERGE)])
    assert tokenizer.pieces("xabc ab") == [" ", "x", "abc", " ", "ab"]


def test_unknown_letters_fall_back_to_bytes(trained: Tokenizer) -> None:
    assert trained.encode("🦊")[-4:] == [FIRST_BYTE + byte for byte in "🦊".encode()]
    assert trained.decode(trained.encode("🦊 né")) == "🦊 né"
    assert trained.pieces("🦊")[-1] == "\\x8a"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('A sign "STOP Now"', 'a sign "STOP Now"'),
        ("A sign “STOP”", 'a sign "STOP"'),
        ('an Unclosed "Quote', 'an unclosed "quote'),
        ('a 5" by 7" Print', 'a 5" by 7" print'),
        ('"A" B "C" D', '"A" b "C" d'),
        ("  Ｆｕｌｌ\twidth\n\nＡ ", "full width a"),
        ("ÀÉ Straße ﬁne", "àé straße fine"),
        ("lone \ud800 half", "lone \ufffd half"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(text) == expected
    assert normalise(expected) == expected
    assert Tokenizer().decode(Tokenizer().encode(text)) == expected


def test_quoted_text_is_single_characters_with_case_kept(trained: Tokenizer) -> None:
    assert trained.pieces('a "Red Fox" fox') == [" a", " ", '"', *"Red Fox", '"', " fox"]
    assert trained.encode('"Fox"') != trained.encode('"fox"')
    assert trained.encode("Fox") == trained.encode("fox")
    assert trained.pieces("fox") == [" fox"]


def test_an_inch_mark_opens_no_quotation(trained: Tokenizer) -> None:
    assert trained.pieces('a 5" fox 7" owl') == [" a", " ", "5", '"', " fox", " ", "7", '"', " owl"]


def test_digits_stand_alone() -> None:
    assert Tokenizer.train(["in 1024"] * 9).pieces("in 1024")[-4:] == [" 1", "0", "2", "4"]


def test_a_long_word_is_read_in_parts() -> None:
    tokenizer = Tokenizer.train(["ab" * 200] * 9)
    assert max(map(len, tokenizer.pieces("ab" * 200))) == 17
    assert Tokenizer.from_json(tokenizer.to_json()) == tokenizer
    assert Tokenizer().tokens("x" * 40, buckets=(20,)).dropped == ("x" * 24,), "the first part is kept"


def test_decode_skips_specials_and_refuses_strangers(trained: Tokenizer) -> None:
    fox = trained.encode("a fox")
    assert trained.decode([START, *fox[:1], MASK, *fox[1:], END, PAD, PAD]) == "a fox"
    assert trained.decode([FIRST_BYTE + 0xFF]) == "\ufffd"
    for stranger in (-1, len(trained)):
        with pytest.raises(TokenizerError, match=rf"token {stranger} is not between 0 and {len(trained) - 1}"):
            trained.decode([stranger])


# Buckets


def test_tokens_pad_to_the_smallest_bucket_that_fits(trained: Tokenizer) -> None:
    for words, bucket in ((0, 16), (14, 16), (15, 32), (30, 32), (31, 48), (46, 48)):
        tokens = trained.tokens(" ".join(["fox"] * words))
        assert (len(tokens.ids), tokens.length, tokens.dropped) == (bucket, words + 2, ())
        assert tokens.ids[0] == START
        assert tokens.ids[tokens.length - 1] == END
        assert set(tokens.ids[tokens.length :]) <= {PAD}
        assert len(tokens.characters) == bucket
        assert list(tokens.ids[1 : tokens.length - 1]) == trained.encode(" ".join(["fox"] * words))


def test_words_that_do_not_fit_are_listed_whole(trained: Tokenizer) -> None:
    text = " ".join(["fox"] * 45 + ["zzyzx", "owl,", '"NO', 'Entry"'])
    tokens = trained.tokens(text)
    assert tokens.dropped == ("zzyzx", "owl,", '"NO', 'Entry"')
    assert tokens.length == 47, "no part of zzyzx is kept, and no later word jumps the queue"
    assert tokens.ids[46:] == (END, PAD)
    kept = trained.decode(tokens.ids)
    assert " ".join((kept, *tokens.dropped)) == normalise(text)


def test_limit_and_buckets_can_be_chosen_and_are_checked(trained: Tokenizer) -> None:
    tokens = trained.tokens("fox owl cat dog", buckets=(4, 8), limit=5)
    assert (len(tokens.ids), tokens.length, tokens.dropped) == (8, 5, ("dog",))
    assert trained.tokens("fox owl cat dog", buckets=(4,)).dropped == ("cat", "dog")
    for buckets in ((), (16, 16), (32, 16), (1,)):
        with pytest.raises(TokenizerError, match="do not rise from 2 or more"):
            trained.tokens("fox", buckets=buckets)
    for limit in (1, 49):
        with pytest.raises(TokenizerError, match=rf"limit {limit} is not between 2 and the largest bucket; try 48"):
            trained.tokens("fox", limit=limit)


def test_characters_spell_the_whole_word_of_each_token() -> None:
    tokens = Tokenizer().tokens('ox "Hi É" extraordinarily')  # an untrained one: every token is a byte

    def spelt(row: tuple[int, ...]) -> str:
        assert len(row) == 12
        assert all(value == 0 for value in row[len(bytes(filter(None, row))) :])
        return bytes(value - 1 for value in row if value).decode()

    found = [spelt(row) for row in tokens.characters[: tokens.length]]
    expected = ["", *["ox"] * 3, '"', '"', "Hi", "Hi", " ", "É", "É", '"', *["extraordinar"] * 16, ""]
    assert found == expected, "start and end spell nothing; quoted letters belong to their word; 12 bytes at most"
    assert set(tokens.characters[tokens.length :]) == {(0,) * 12}
    nul = Tokenizer().tokens("\0").characters[2]
    assert nul == (1,) + (0,) * 11, "a NUL byte is not the padding"


# Linear time (promise 26)


def steps_of(action: Callable[[], object]) -> int:
    """Lines of the tokenizer's own code that ``action`` runs: an exact count, where a clock would be a guess."""
    steps = 0

    def on_line(frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        nonlocal steps
        steps += event == "line"
        return on_line

    def on_call(frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        return on_line if frame.f_code.co_filename == module.__file__ else None

    previous = sys.gettrace()
    sys.settrace(on_call)
    try:
        action()
    finally:
        sys.settrace(previous)
    return steps


def distinct_words(characters: int) -> str:
    source = random.Random(7)
    return "".join(source.choice("abcdefgh ") for _ in range(characters))


HARD: dict[str, Callable[[int], str]] = {
    "distinct words": distinct_words,
    "one long word": lambda n: "abcdefgh" * (n // 8),
    "brackets": lambda n: "(" * (n // 2) + ")" * (n // 2),
    "quotes": lambda n: 'x" "' * (n // 4),
    "a quoted book": lambda n: '"' + distinct_words(n - 2) + '"',
    "marks": lambda n: "a" + "\u0316\u0300" * (n // 2),
    "emoji": lambda n: "🦊" * n,
}


@pytest.mark.parametrize("name", HARD)
def test_encoding_takes_steps_in_proportion_to_length(trained: Tokenizer, name: str) -> None:
    short, long = (HARD[name](length) for length in (8_000, 32_000))
    uses: tuple[Callable[[Tokenizer, str], object], ...] = (Tokenizer.encode, Tokenizer.tokens)
    for use in uses:
        fresh_short, fresh_long = Tokenizer(trained.merges), Tokenizer(trained.merges)
        few = steps_of(partial(use, fresh_short, short))
        many = steps_of(partial(use, fresh_long, long))
        assert few > 0
        assert many <= 4.2 * few + 2_000, f"{name}: {few} steps for 8,000 characters, {many} for 32,000"


@pytest.mark.parametrize("name", HARD)
def test_the_c_code_below_is_not_quadratic_either(trained: Tokenizer, name: str) -> None:
    # Plain NFKC on this run of marks, which is quadratic, takes over 20 s here; every case takes us under one.
    started = time.process_time()
    trained.encode(HARD[name](200_000))
    assert time.process_time() - started < 8


def test_the_word_cache_is_bounded_and_changes_nothing(trained: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHED_WORDS", 10)
    small = Tokenizer(trained.merges)
    text = distinct_words(2_000)
    assert small.encode(text) == small.encode(text) == trained.encode(text)
    assert len(small._cache) <= 10


def test_composing_is_nfkc() -> None:
    assert normalise("a\u0300\u0316") == unicodedata.normalize("NFKC", "a\u0300\u0316")
    for text in ("e\u0316\u0301", "\u0f73\u0f71", "한글 각", "\u1112\u1161\u11ab", "ﷺ", "q\u0307\u0323", "\u0344"):
        assert module._compose(text) == unicodedata.normalize("NFKC", text)


# The file


def test_json_round_trip_is_canonical_and_readable(trained: Tokenizer) -> None:
    text = trained.to_json()
    again = Tokenizer.from_json(text)
    assert again == trained
    assert again.to_json() == text
    assert again.encode("a red fox") == trained.encode("a red fox")
    assert Tokenizer.from_json(text.encode()).sha256 == trained.sha256
    assert Tokenizer.from_json(json.dumps(json.loads(text), indent=4)).sha256 == trained.sha256, "spacing is no part"
    assert '" fox"]' in text, "a reader can find the word"
    assert Tokenizer.from_json(Tokenizer().to_json()) == Tokenizer()
    odd = Tokenizer.train(['"🦊\\" é \u2028'] * 3, size=280)
    assert Tokenizer.from_json(odd.to_json()) == odd


def test_the_hash_names_the_vocabulary(trained: Tokenizer) -> None:
    # Written down: a change of this value means that every trained text encoder stops matching its tokenizer.
    first = Tokenizer.train(["a red fox", "a red fox left of a blue owl", 'a sign "GO"'], size=270)
    assert first.sha256 == "5cd6e64083e1ad6041eaffe5fa20739c08545edfd7de8315b0735b45fac91419"
    assert Tokenizer(trained.merges[:-1]).sha256 != trained.sha256


def test_it_pickles_and_compares(trained: Tokenizer) -> None:
    again = pickle.loads(pickle.dumps(trained))
    assert again == trained
    assert hash(again) == hash(trained)
    assert trained != Tokenizer()
    assert trained != "tokenizer"


def damaged(**changes: object) -> str:
    whole = {"format": "darkroom-tokenizer", "version": 1, "specials": ["pad", "start", "end", "mask"]}
    whole["merges"] = [[101, 102, "ab"], [260, 103, "abc"]]
    kept = {key: value for key, value in (whole | changes).items() if value is not ...}
    return json.dumps(kept)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON .*restore"),
        (damaged()[:-5], "not JSON .*restore"),
        (b"\xff\xfe\x00", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "holds a list, not an object"),
        (damaged(format="other"), "format is 'other', not 'darkroom-tokenizer'"),
        (damaged(format=...), "format is None"),
        (damaged(version=2), "version is 2, not 1"),
        (damaged(version=True), "version is True, not 1"),
        (damaged(specials=["pad", "start", "mask", "end"]), "specials is .*not"),
        (damaged(extra=1), "'extra' is no part of a tokenizer file; remove it"),
        (damaged(merges=...), "merges is None, not a list"),
        (damaged(merges={"a": 1}), "not a list"),
        (damaged(merges=[[101, 102]]), r"merge 0 is \[101, 102\], not \[left id, right id, spelling\]"),
        (damaged(merges=[[101, 102.0, "ab"]]), "merge 0 is"),
        (damaged(merges=[[101, True, "ab"]]), "merge 0 is"),
        (damaged(merges=[[101, 102, "ax"]]), "merge 0 says 'ax' but spells 'ab'"),
        (damaged(merges=[[101, 260, "ab"]]), r"merge 0 joins \(101, 260\): both must be ids from 4 to 259"),
        (damaged(merges=[[101, 3, "a"]]), "both must be ids from 4 to 259"),
        (damaged(merges=[[101, -1, "a"]]), "both must be ids from 4 to 259"),
        (damaged(merges=[[101, 102, "ab"], [101, 102, "ab"]]), r"merge 1 joins \(101, 102\), as merge 0 does"),
        (damaged(merges=[[101, 101, ""], *[[260 + n, 260 + n, ""] for n in range(60)]]), "to 128 bytes: at most 65"),
    ],
)
def test_damaged_json_is_refused_with_the_reason(text: str | bytes, message: str) -> None:
    assert Tokenizer.from_json(damaged()).pieces("xabc") == [" ", "x", "abc"]
    with pytest.raises(TokenizerError, match=message):
        Tokenizer.from_json(text)


def test_too_many_merges_are_refused() -> None:
    pairs = itertools.islice(itertools.product(range(4, 260), range(4, 260)), 65_277)
    with pytest.raises(TokenizerError, match="65277 merges are too many: at most 65276"):
        Tokenizer(pairs)


# The parse step


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  a red\n\tfox \r\n", "a red fox"),
        ("a\0b\x07c\x7f\x9bd", "abcd"),
        ("a\x85b\u2028c\u00a0d", "a b c d"),
        ("((a fox:1.3)), [owl|cat] {x} __y__ {{7*7}}", "((a fox:1.3)), [owl|cat] {x} __y__ {{7*7}}"),
        ("ثعلب أحمر", "ثعلب أحمر"),
        ("a \u202efox\u202c \u2066owl\u2069", "a fox owl"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ('A "STOP" Sign', 'A "STOP" Sign'),
        ("\ud83e half", "\ufffd half"),
        ("", ""),
    ],
)
def test_parse_cleans_and_leaves_the_rest_literal(text: str, expected: str) -> None:
    assert parse(text, negative=text) == ParsedPrompt(expected, expected)
    assert parse(expected).text == expected
    assert parse(text).negative == ""


def test_a_hundred_thousand_brackets_are_text() -> None:
    text = "(" * 50_000 + "fox" + ")" * 50_000
    started = time.process_time()
    assert parse(text).text == text
    assert time.process_time() - started < 2


# The room


def fresh_python(code: str, seed: str = "0") -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_the_room_does_not_load_torch() -> None:
    heavy = fresh_python(
        "import sys, darkroom.wording.tokenizer, darkroom.wording.parse\n"
        "print([name for name in ('torch', 'numpy', 'jaxtyping') if name in sys.modules])"
    )
    assert heavy == "[]"
