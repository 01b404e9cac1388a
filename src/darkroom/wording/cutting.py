"""Sentences longer than the network reads at once, in parts that it does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from darkroom.wording.syntax import Sentence

MOST_PARTS = 16  # of one prompt: every one of them is looked at in every step
_QUOTED = re.compile(r'(?<!\w)"[^"]*"')
_STOPS = tuple(".,;:!?")
_LETTERS = 10  # of four bytes each, with a space and two quotes: fewer tokens than any part may have


def parts_of(
    chunks: Sequence[Sentence], count: Callable[[str], int], limit: int, whole: re.Pattern[str] | None = None
) -> tuple[list[Sentence], tuple[str, ...]]:
    """The chunks, cut where they have more than ``limit`` tokens, and the words beyond MOST_PARTS parts.

    A cut comes after punctuation where a part has any, between words else, and never in quoted text that fits.
    ``count`` tells the tokens of words, without start and end. ``whole`` finds words that may be parted from the marks
    beside them; None: there are none.
    """
    found = [part for chunk in chunks for part in _parts(chunk, count, limit - 2, whole)]
    left = " ".join(part.text for part in found[MOST_PARTS:])
    return found[:MOST_PARTS], tuple(left.split())


def _parts(
    sentence: Sentence, count: Callable[[str], int], room: int, whole: re.Pattern[str] | None
) -> Iterator[Sentence]:
    if count(sentence.text) <= room:
        yield sentence
        return
    start = used = 0
    stop, since_stop = 0, 0  # the end of the last unit with punctuation, and tokens since then
    for first, last in _units(sentence.text, whole):
        needed = count(sentence.text[first:last])
        if used + needed > room and stop > start:
            yield sentence.cut(start, stop)
            start, used = stop, since_stop
        if used + needed > room and first > start:
            yield sentence.cut(start, first)
            start, used = first, 0
        if needed > room:
            yield from _slices(sentence.cut(first, last))
            start, used, needed = last, 0, 0
        used += needed
        since_stop += needed
        if sentence.text[first:last].endswith(_STOPS):
            stop, since_stop = last, 0
    if sentence.text[start:].strip():
        yield sentence.cut(start, len(sentence.text))


def _units(text: str, whole: re.Pattern[str] | None) -> Iterator[tuple[int, int]]:
    """Where words begin and end; quoted text is of one word, and what ``whole`` finds is a word by itself."""
    quoted = {place for span in _QUOTED.finditer(text) for place in range(*span.span())}
    edges = {edge for found in (whole.finditer(text) if whole else ()) for edge in found.span()}
    start = 0
    for place, letter in enumerate(text):
        if (letter == " " or place in edges) and place not in quoted:
            if place > start:
                yield start, place
            start = place + (letter == " ")
    if start < len(text):
        yield start, len(text)


def _slices(word: Sentence) -> Iterator[Sentence]:
    """A word that does not fit, in pieces that do; those of quoted text are quoted."""
    whole, inner = word.text, word.text.strip('"')
    mark = '"' if _QUOTED.fullmatch(whole) else ""
    text = inner if mark else whole
    for first in range(0, len(text), _LETTERS):
        piece = f"{mark}{text[first : first + _LETTERS]}{mark}"
        yield Sentence(piece, ((len(piece), word.weight(0)),) if word.runs else ())
