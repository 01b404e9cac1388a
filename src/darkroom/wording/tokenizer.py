"""Our own byte-fallback BPE tokenizer: from a sentence to the ids and spellings the text encoder reads.

Ids: 0 pad, 1 start, 2 end, 3 mask, then the 256 bytes, then the learned merges. Every byte is in the vocabulary, so no
text is unknown. Merges stay inside words and a word carries the space before it (" fox"), as in GPT-2's byte-level BPE;
the first word is given a space too, so that "fox" has one spelling wherever it stands.

Text inside double quotes is text to draw: it keeps its case and is split into single characters. A double quote right
after a letter or digit is an inch mark, not an opening quote, and an unclosed quote is a plain character.

The surface form is what :func:`normalise` returns; ``decode(encode(text)) == normalise(text)`` for every string.
Everything here is linear in the length of the text: words are cut at :data:`WORD_CHARACTERS`, so the work per word is
bounded.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple

PAD, START, END, MASK = range(4)
SPECIALS = ("pad", "start", "end", "mask")
FIRST_BYTE = len(SPECIALS)
FIRST_MERGE = FIRST_BYTE + 256

BUCKETS = (16, 32, 48)  # padded text lengths: design/model.md gives the text encoder 48 tokens
SPELLING = 12  # bytes of a word the character CNN sees
WORD_CHARACTERS = 16  # a longer word is read as several: bounds the work per word; "tyrannosaurus" has 13
PIECE_BYTES = 1 + 4 * WORD_CHARACTERS  # a space and the longest word in UTF-8
LARGEST = 65_536  # ids fit 16 bits
CACHED_WORDS = 65_536

FORMAT, VERSION = "darkroom-tokenizer", 1

# The first alternative is a quoted span, its quotes included; the rest are words, and together match every character.
_SPLIT = re.compile(
    r' ?(?<!\w)"[^"]*"'
    rf"| ?[^\W\d_]{{1,{WORD_CHARACTERS}}}"  # letters
    r"| ?[\d_]"  # digits one by one: 12 is not a third kind of 1
    r"| ?[^\w ]"  # punctuation, marks, emoji one by one
    r"| "
)
_QUOTED_SPAN = re.compile(r'(?<!\w)"[^"]*"')
_QUOTED_WORD = re.compile(rf"[^ ]{{1,{WORD_CHARACTERS}}}| ")
CURLY_QUOTES = str.maketrans(dict.fromkeys("“”„‟＂", '"'))  # telephones type these
_SURROGATE = re.compile(r"[\ud800-\udfff]")  # has no UTF-8 form; JSON and command lines can deliver one


class TokenizerError(ValueError):
    """A value the tokenizer cannot use: the message says the value, the rule and the fix."""


class _Word(NamedTuple):
    """One unit of the text: its characters with the space before it, and whether it is read letter by letter."""

    text: str
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Tokens:
    """One text as the encoder takes it, padded to a bucket. Start and end tokens included in ``length``.

    ``characters`` holds, for each token, the first :data:`SPELLING` bytes, each plus one, of the whole word the token
    is a piece of (0 pads; all zero for start, end and pad). ``dropped`` holds the words that did not fit, in order.
    ``weights`` says how much each token counts; empty: all the same.
    """

    ids: tuple[int, ...]
    length: int
    characters: tuple[tuple[int, ...], ...]
    dropped: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()


def normalise(text: str, *, lower: bool = True) -> str:
    """NFKC, straight double quotes, single spaces, and (where ``lower``) no capitals outside of them. Idempotent."""
    if not text.isascii():
        text = _compose(_SURROGATE.sub("\ufffd", text)).translate(CURLY_QUOTES)
    text = " ".join(text.split())
    out: list[str] = []
    at = 0
    for span in _QUOTED_SPAN.finditer(text):
        out += (_lower(text[at : span.start()]), span.group())
        at = span.end()
    return "".join((*out, _lower(text[at:]))) if lower else text


def _lower(text: str) -> str:
    lowered = text.lower()
    return lowered if lowered.isascii() else _compose(lowered)  # lower-casing can leave composed form


def _compose(text: str) -> str:
    """``unicodedata.normalize("NFKC", text)`` in linear time.

    CPython puts combining marks into order with an insertion sort, quadratic in a long run of them. We decompose one
    character at a time and sort each run of marks first (a stable sort by class: the definition of canonical order).
    """
    if text.isascii():
        return text
    decomposed = "".join(unicodedata.normalize("NFKD", character) for character in text)
    ordered: list[str] = []
    for _, run in groupby(decomposed, key=lambda character: unicodedata.combining(character) > 0):
        ordered += sorted(run, key=unicodedata.combining)  # a run of letters is all class 0 and stays as it is
    return unicodedata.normalize("NFC", "".join(ordered))


def _words(text: str) -> Iterator[_Word]:
    """The words of a normalised text, quoted spans opened. Joined, their texts are a space and the text."""
    if not text:
        return
    for match in _SPLIT.finditer(" " + text):
        found = match.group()
        opening = found.find('"')
        if opening < 0 or len(found) < opening + 2:
            yield _Word(found)
            continue
        yield _Word(found[: opening + 1])
        for word in _QUOTED_WORD.findall(found[opening + 1 : -1]):
            yield _Word(word, quoted=True)
        yield _Word('"')


def _readable(piece: bytes) -> str:
    return piece.decode("utf-8", "backslashreplace")


class Tokenizer:
    """A trained vocabulary. Built complete, not changed afterwards, safe to pickle and to share."""

    __slots__ = ("_cache", "_pieces", "_ranks", "merges")

    def __init__(self, merges: Iterable[tuple[int, int]] = ()) -> None:
        """``merges`` are the pairs of ids joined, in order; the n-th becomes id ``FIRST_MERGE + n``."""
        self.merges: tuple[tuple[int, int], ...] = tuple(merges)
        if FIRST_MERGE + len(self.merges) > LARGEST:
            raise TokenizerError(
                f"{len(self.merges)} merges are too many: at most {LARGEST - FIRST_MERGE}; train a smaller vocabulary"
            )
        self._pieces: list[bytes] = [b""] * FIRST_BYTE + [bytes([byte]) for byte in range(256)]
        self._ranks: dict[tuple[int, int], int] = {}
        for new, pair in enumerate(self.merges, start=FIRST_MERGE):
            self._check_merge(new, pair)
            self._ranks[pair] = new
            self._pieces.append(self._pieces[pair[0]] + self._pieces[pair[1]])
        self._cache: dict[str, tuple[int, ...]] = {}

    def _check_merge(self, new: int, pair: tuple[int, int]) -> None:
        where = f"merge {new - FIRST_MERGE} joins {pair}"
        if not all(FIRST_BYTE <= part < new for part in pair):
            raise TokenizerError(f"{where}: both must be ids from {FIRST_BYTE} to {new - 1}; restore the original file")
        if pair in self._ranks:
            raise TokenizerError(f"{where}, as merge {self._ranks[pair] - FIRST_MERGE} does; remove one and retrain")
        if (length := len(self._pieces[pair[0]]) + len(self._pieces[pair[1]])) > PIECE_BYTES:
            raise TokenizerError(f"{where} to {length} bytes: at most {PIECE_BYTES}; restore the original file")

    def __len__(self) -> int:
        """The number of ids: the rows an embedding needs."""
        return len(self._pieces)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and self.merges == other.merges

    def __hash__(self) -> int:
        return hash(self.merges)

    def __repr__(self) -> str:
        return f"Tokenizer({len(self)} ids, sha256 {self.sha256[:12]})"

    # Training

    @classmethod
    def train(cls, texts: Iterable[str], size: int = 4096) -> Tokenizer:
        """Learn up to ``size`` ids from ``texts``. Fewer when no pair of pieces is seen twice: ask ``len``.

        The most frequent pair is joined first; of equally frequent ones, the one with the smaller ids. The order of
        the texts therefore does not matter.
        """
        if not FIRST_MERGE <= size <= LARGEST:
            nearest = min(max(size, FIRST_MERGE), LARGEST)
            raise TokenizerError(f"size {size} is not between {FIRST_MERGE} and {LARGEST}; try {nearest}")
        counted: Counter[_Word] = Counter()
        for text in texts:
            counted.update(_words(normalise(text)))
        units: Counter[str] = Counter()
        for word, count in counted.items():
            for unit in word.text if word.quoted else (word.text,):
                units[unit] += count
        return cls(_learn(units, size - FIRST_MERGE))

    # Text to ids and back
    def encode(self, text: str) -> list[int]:
        """The ids of ``text``, without start and end."""
        return [token for word in _words(normalise(text)) for token in self._word_ids(word)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``; start, end, mask and pad say nothing. Broken UTF-8 becomes U+FFFD."""
        return b"".join(map(self._piece, ids)).decode("utf-8", "replace").removeprefix(" ")

    def pieces(self, text: str) -> list[str]:
        """The pieces ``encode`` makes, to read: a piece that is no whole character shows its bytes as \\xNN."""
        return [_readable(self._pieces[token]) for token in self.encode(text)]

    def tokens(
        self,
        text: str,
        buckets: Sequence[int] = BUCKETS,
        limit: int | None = None,
        weigh: Callable[[int], float] | None = None,
    ) -> Tokens:
        """``text`` between start and end, padded to the smallest of ``buckets`` that holds it.

        ``limit`` is the most tokens to use, start and end included; None means the largest bucket. Words go in from
        the front, whole; from the first that does not fit on, all are in ``dropped``. ``weigh``: how much the word at a
        character of the normal form counts; None: all the same.
        """
        limit = _checked_limit(buckets, limit)
        ids, spellings, weights = [START], [(0,) * SPELLING], [1.0]
        dropped: list[str] = []
        words = _words(normalise(text))
        place = -1  # the first word has a space that the text has not
        for word in words:
            found = self._word_ids(word)
            if len(ids) + len(found) >= limit:  # one place is kept for the end token
                dropped = "".join((word.text, *(rest.text for rest in words))).split()
                break
            ids += found
            spellings += [_spelling(word)] * len(found)
            weights += [1.0 if weigh is None else weigh(place + word.text.startswith(" "))] * len(found)
            place += len(word.text)
        ids.append(END)
        length = len(ids)
        padding = next(bucket for bucket in buckets if bucket >= length) - length
        return Tokens(
            ids=(*ids, *[PAD] * padding),
            length=length,
            characters=(*spellings, *[(0,) * SPELLING] * (padding + 1)),
            dropped=tuple(dropped),
            weights=() if weigh is None else (*weights, *[1.0] * (padding + 1)),
        )

    def _word_ids(self, word: _Word) -> tuple[int, ...]:
        if not word.quoted:
            return self._unit_ids(word.text)
        return tuple(token for character in word.text for token in self._unit_ids(character))

    def _unit_ids(self, unit: str) -> tuple[int, ...]:
        found = self._cache.get(unit)
        if found is None:
            found = self._merge(unit)
            if len(self._cache) >= CACHED_WORDS:
                self._cache.clear()
            self._cache[unit] = found
        return found

    def _merge(self, unit: str) -> tuple[int, ...]:
        ids = [FIRST_BYTE + byte for byte in unit.encode("utf-8")]
        while len(ids) > 1:
            new, pair = min((self._ranks.get(pair, LARGEST), pair) for pair in pairwise(ids))
            if new == LARGEST:
                break
            ids = _join(ids, pair, new)
        return tuple(ids)

    def _piece(self, token: int) -> bytes:
        if not 0 <= token < len(self._pieces):
            raise TokenizerError(
                f"token {token} is not between 0 and {len(self) - 1}; decode with the tokenizer that made it"
            )
        return self._pieces[token]

    # The file

    def to_json(self) -> str:
        """The vocabulary as readable, canonical JSON: one merge a line, as [left id, right id, what it spells]."""
        rows = [
            json.dumps([*pair, _readable(self._pieces[new])], ensure_ascii=False)
            for new, pair in enumerate(self.merges, start=FIRST_MERGE)
        ]
        merges = "[\n" + ",\n".join(rows) + "\n]" if rows else "[]"
        specials = json.dumps(SPECIALS)
        return f'{{\n"format": "{FORMAT}",\n"version": {VERSION},\n"specials": {specials},\n"merges": {merges}\n}}\n'

    @classmethod
    def from_json(cls, text: str | bytes) -> Tokenizer:
        """The vocabulary :meth:`to_json` wrote; a :class:`TokenizerError` says what is wrong with any other text."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise TokenizerError(f"the tokenizer file is not JSON ({error}); restore the original file") from None
        if not isinstance(data, dict):
            raise TokenizerError(f"the tokenizer file holds a {type(data).__name__}, not an object; {_RESTORE}")
        for key, expected in (("format", FORMAT), ("version", VERSION), ("specials", list(SPECIALS))):
            if data.get(key) != expected or type(data.get(key)) is not type(expected):
                raise TokenizerError(f"{key} is {_shown(data.get(key))}, not {_shown(expected)}; {_RESTORE}")
        if unknown := sorted(data.keys() - {"format", "version", "specials", "merges"}):
            raise TokenizerError(f"{_shown(unknown[0])} is no part of a tokenizer file; remove it")
        rows = data.get("merges")
        if not isinstance(rows, list):
            raise TokenizerError(f"merges is {_shown(rows)}, not a list; {_RESTORE}")
        for at, row in enumerate(rows):
            if not (isinstance(row, list) and [type(part) for part in row] == [int, int, str]):
                raise TokenizerError(f"merge {at} is {_shown(row)}, not [left id, right id, spelling]; {_RESTORE}")
        tokenizer = cls((left, right) for left, right, _ in rows)
        for at, (piece, row) in enumerate(zip(tokenizer._pieces[FIRST_MERGE:], rows, strict=True)):
            if (spelt := _readable(piece)) != row[2]:
                raise TokenizerError(f"merge {at} says {_shown(row[2])} but spells {_shown(spelt)}; {_RESTORE}")
        return tokenizer

    @property
    def sha256(self) -> str:
        """The name of this vocabulary: the hash of :meth:`to_json`."""
        return hashlib.sha256(self.to_json().encode("utf-8")).hexdigest()


_RESTORE = "restore the original file"


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."


def _checked_limit(buckets: Sequence[int], limit: int | None) -> int:
    if not buckets or buckets[0] < 2 or any(a >= b for a, b in pairwise(buckets)):
        raise TokenizerError(f"buckets {tuple(buckets)} do not rise from 2 or more; try {BUCKETS}")
    if limit is None:
        return buckets[-1]
    if not 2 <= limit <= buckets[-1]:
        raise TokenizerError(f"limit {limit} is not between 2 and the largest bucket; try {buckets[-1]}")
    return limit


def _spelling(word: _Word) -> tuple[int, ...]:
    surface = word.text if word.quoted else word.text.removeprefix(" ")
    found = tuple(byte + 1 for byte in surface.encode("utf-8")[:SPELLING])
    return found + (0,) * (SPELLING - len(found))


def _join(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """``ids`` with each ``pair`` replaced by ``new``, from the left."""
    joined: list[int] = []
    at = 0
    while at < len(ids):
        if at + 1 < len(ids) and ids[at] == pair[0] and ids[at + 1] == pair[1]:
            joined.append(new)
            at += 2
        else:
            joined.append(ids[at])
            at += 1
    return joined


def _learn(units: Counter[str], most: int) -> list[tuple[int, int]]:
    """Byte-pair encoding (Sennrich et al., arXiv:1508.07909, algorithm 1) with incremental pair counts.

    The heap is lazy: a join only lowers the counts of pairs already in it (pairs with the new id are new), so an entry
    is never too low, and one that is too high is pushed again with its true count.
    """
    words = [[FIRST_BYTE + byte for byte in unit.encode("utf-8")] for unit in units]
    counts = list(units.values())
    pairs: Counter[tuple[int, int]] = Counter()
    holders: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for index, word in enumerate(words):
        for pair in pairwise(word):
            pairs[pair] += counts[index]
            holders[pair].add(index)
    heap = [(-count, pair) for pair, count in pairs.items()]
    heapq.heapify(heap)
    merges: list[tuple[int, int]] = []
    while heap and len(merges) < most:
        negative, best = heapq.heappop(heap)
        if -negative != pairs[best]:
            heapq.heappush(heap, (-pairs[best], best))
            continue
        if pairs[best] < 2:  # a pair seen once spells nothing worth an id
            break
        new = FIRST_MERGE + len(merges)
        merges.append(best)
        born: set[tuple[int, int]] = set()
        for index in holders.pop(best):
            before, after = words[index], _join(words[index], best, new)
            words[index] = after
            for pair in pairwise(before):
                pairs[pair] -= counts[index]
            for pair in pairwise(after):
                pairs[pair] += counts[index]
                holders[pair].add(index)
            born.update(pair for pair in pairwise(after) if new in pair)
        for pair in born:
            heapq.heappush(heap, (-pairs[pair], pair))
    return merges
