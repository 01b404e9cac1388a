"""What a prompt says besides words: weights, words that come and go, and chunks.

    (word)            counts 1.1 times as much;  ((word)) 1.21 times
    (word:1.3)        1.3 times, (word:0.5) half
    [word]            1.1 times less
    [from:to:0.5]     "from" in the first half of the steps, then "to"; from 1 up the number counts steps
    [to:0.5]          nothing, then "to";  [from::0.5] "from", then nothing
    BREAK             what follows is read as a sentence of its own; within closed brackets it is a word
    \\( \\[ \\{ \\| \\: \\_ \\BREAK  the characters themselves

Weights multiply when they nest, and a word counts as its first letter does. Brackets without a partner are text, and
so is everything inside double quotes, which is text to draw. One pass, then a walk without recursion: 100,000 brackets
deep is no deeper than one.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from darkroom.contracts.errors import BadInput, shown
from darkroom.wording.tokenizer import CURLY_QUOTES, normalise

UP = 1.1  # of plain brackets: A1111's, and everybody's since
LIGHTEST, HEAVIEST = 0.0, 10.0
MOST_SWITCHES = 100
CHUNK = "BREAK"
_END = "\0"  # of a chunk; no prompt holds it
_ESCAPE = re.compile(r"\\([()\[\]{}|_$:\\]|BREAK\b)")
_TOKEN = re.compile(_ESCAPE.pattern + r'|(?<!\w)"[^"]*"|[()\[\]:]|\bBREAK\b')
_NUMBER = re.compile(r"\s*([-+]?(?:[0-9]{1,9}(?:\.[0-9]{0,20})?|\.[0-9]{1,20}))\s*")


@dataclass(frozen=True, slots=True)
class Sentence:
    """Words as they are read, in normal form, and how much they count.

    ``runs`` are (end, weight): characters from the end of the run before count so much; none where all count 1.
    ``cased`` are the same characters in the case they were written in, for readers that know it; empty: as in ``text``.
    """

    text: str
    runs: tuple[tuple[int, float], ...] = ()
    cased: str = field(default="", compare=False)

    @property
    def spelling(self) -> str:
        """The words in the case they were written in."""
        return self.cased or self.text

    def weight(self, place: int) -> float:
        """How much the word that begins at a character counts."""
        at = bisect_right(self.runs, place, key=lambda run: run[0])
        return self.runs[at][1] if at < len(self.runs) else 1.0

    def cut(self, start: int, end: int) -> Sentence:
        """The words from one character to another, without the space around them."""
        text = self.text[start:end]
        start += len(text) - len(text.lstrip())
        text = text.strip()
        end = start + len(text)
        first, last = (bisect_right(self.runs, place, key=lambda run: run[0]) for place in (start, end - 1))
        runs = _once((min(stop, end) - start, weight) for stop, weight in self.runs[first : last + 1])
        return Sentence(text, runs, self.cased[start:end])

    def also(self, words: str) -> Sentence:
        """With more words at its end, which count 1."""
        text = self.text + normalise(words)
        runs = _once([*self.runs, (len(text), 1.0)]) if self.runs else ()
        return Sentence(text, runs, self.cased and self.cased + normalise(words))

    @property
    def counted(self) -> str:
        """The words that count at all."""
        starts = [0, *(end for end, _ in self.runs)]
        parts = (self.text[start:end] for start, (end, weight) in zip(starts, self.runs, strict=False) if weight > 0)
        return " ".join("".join(parts).split()) if self.runs else self.text


@dataclass(frozen=True, slots=True)
class Wording:
    """A prompt while it is the same: its chunks, each a sentence of its own, and the first step it is read in."""

    since: int
    chunks: tuple[Sentence, ...]

    @property
    def text(self) -> str:
        """The words that count, its chunks as sentences."""
        return ". ".join(chunk.counted for chunk in self.chunks)


@dataclass(slots=True)
class _Group:
    """An open or closed bracket: pieces of text and groups in order; where its colons stand among them."""

    bracket: str = ""
    children: list[str | _Group] = field(default_factory=list)
    colons: list[int] = field(default_factory=list)
    weight: float = 1.0
    when: float | None = None  # of a switch; its first colon parts what is before from what is after


def wordings(text: str, steps: int) -> tuple[Wording, ...]:
    """A prompt as it is read over ``steps`` steps, earliest first; one where nothing comes or goes.

    Raises BadInput for weights beyond what means anything, and for a prompt that is another one too often.
    """
    root = _tree(text.translate(CURLY_QUOTES))
    times = sorted({_step(when, steps) for when in _switches(root)} - {0})
    if len(times) > MOST_SWITCHES:
        raise BadInput(f"a prompt that changes {len(times)} times", f"changes more than {MOST_SWITCHES}", "take fewer")
    kept: list[Wording] = []
    for since in (0, *(step for step in times if step < steps)):
        chunks = _chunks(root, since, steps)
        if not kept or kept[-1].chunks != chunks:
            kept.append(Wording(since, chunks))
    return tuple(kept)


def _step(when: float, steps: int) -> int:
    """Below 1 a share of the steps; from 1 on a number of them."""
    return int(when * steps + 1e-9) if when < 1.0 else min(int(when), steps)


def _tree(text: str) -> _Group:
    groups = [_Group()]
    depth = {"(": 0, "[": 0}
    at = 0
    for token in _TOKEN.finditer(text):
        groups[-1].children.append(text[at : token.start()])
        at = token.end()
        _take(token[0], groups, depth)
    groups[-1].children.append(text[at:])
    while len(groups) > 1:
        _give_up(groups)
    return groups[0]


def _take(token: str, groups: list[_Group], depth: dict[str, int]) -> None:
    group = groups[-1]
    if token in depth:
        groups.append(_Group(token))
        depth[token] += 1
    elif token == ":":
        group.colons.append(len(group.children))
        group.children.append(token)
    elif token in ")]" and depth[opening := "(["[")]".index(token)]]:
        while groups[-1].bracket != opening:  # what was opened within and not closed is text
            depth[groups[-1].bracket] -= 1
            _give_up(groups)
        depth[opening] -= 1
        closed = groups.pop()
        _close(closed)
        groups[-1].children.append(closed)
    elif token == CHUNK:
        group.children.append(_END)
    else:  # quoted text, an escaped character, a bracket that closes nothing
        group.children.append(_ESCAPE.sub(r"\1", token))


def _give_up(groups: list[_Group]) -> None:
    """The innermost open bracket is text after all."""
    group = groups.pop()
    groups[-1].children += [group.bracket, group]


def _close(group: _Group) -> None:
    """What a bracket means, from the number after its last colon."""
    group.children = [CHUNK if child == _END else child for child in group.children]
    number = None
    if group.colons:
        tail = group.children[group.colons[-1] + 1 :]
        if len(tail) == 1 and isinstance(tail[0], str) and (match := _NUMBER.fullmatch(tail[0])):
            number = float(match[1])
    if group.bracket == "(":
        group.weight = UP if number is None else number
        if number is not None:
            del group.children[group.colons[-1] :]
    elif number is None or number < 0 or len(group.colons) > 2:
        group.weight = 1.0 / UP
    else:
        group.when = number
        del group.children[group.colons.pop() :]


def _switches(root: _Group) -> set[float]:
    found: set[float] = set()
    waiting = [root]
    while waiting:
        group = waiting.pop()
        if group.when is not None:
            found.add(group.when)
        waiting += [child for child in group.children if isinstance(child, _Group)]
    return found


def _chunks(root: _Group, since: int, steps: int) -> tuple[Sentence, ...]:
    """The words of a step, with their weights, in chunks."""
    pieces: list[tuple[str, float]] = []
    waiting: list[tuple[str | _Group, float]] = [(root, 1.0)]
    while waiting:
        child, weight = waiting.pop()
        if isinstance(child, str):
            pieces.append((child, weight))
        else:
            waiting += [(piece, weight * child.weight) for piece in reversed(_shown(child, since, steps))]
    chunks: list[list[tuple[str, float]]] = [[]]
    for text, weight in pieces:
        if text == _END:
            chunks.append([])
        else:
            chunks[-1].append((text, weight))
    return tuple(said for chunk in chunks if (said := _sentence(chunk)).text) or (Sentence(""),)


def _shown(group: _Group, since: int, steps: int) -> Sequence[str | _Group]:
    if group.when is None:
        return group.children
    colon = group.colons[0] if group.colons else -1  # [to:when] has nothing before
    after = since >= _step(group.when, steps)
    return group.children[colon + 1 :] if after else group.children[: max(colon, 0)]


def _sentence(pieces: Sequence[tuple[str, float]]) -> Sentence:
    """Pieces of one weight joined, single-spaced, in normal form."""
    parts: list[str] = []
    cased: list[str] = []
    runs: list[tuple[int, float]] = []
    length, apart = 0, False
    for weight, group in groupby(pieces, key=lambda piece: piece[1]):
        raw = "".join(part for part, _ in group)
        words = normalise(raw)
        if words:
            if not LIGHTEST <= weight <= HEAVIEST:
                rule = f"is not between {LIGHTEST:g} and {HEAVIEST:g}"
                fix = "take a number in between, or write \\( for a bracket that is text"
                raise BadInput(f"the weight {weight:g} of {shown(words)}", rule, fix)
            space = " " if length and (apart or raw[0].isspace()) else ""
            spaced = space + words
            parts.append(spaced)
            cased.append(space + normalise(raw, lower=False))
            length += len(spaced)
            runs.append((length, weight))
        apart = (apart and not words) or raw[-1:].isspace()
    text, written = "".join(parts), "".join(cased)
    if len(runs) > 1 and (whole := normalise(text)) != text:  # letters of two pieces that make one, a quote of three
        runs = [(len(normalise(text[:end])), weight) for end, weight in runs[:-1]] + [(len(whole), runs[-1][1])]
        text = whole
    same = written.lower() == text.lower() and len(written) == len(text)  # some letters have no partner of one letter
    return Sentence(text, _once(runs), written if same and written != text else "")


def _once(runs: Iterable[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    """Runs with neighbours of one weight joined; none where all weigh 1."""
    joined: list[tuple[int, float]] = []
    for end, weight in runs:
        if joined and joined[-1][1] == weight:
            joined.pop()
        joined.append((end, weight))
    return () if all(weight == 1.0 for _, weight in joined) else tuple(joined)
