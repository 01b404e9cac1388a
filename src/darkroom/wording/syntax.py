"""What a prompt says besides words: weights, words that come and go, and chunks.

    (word)            counts 1.1 times as much;  ((word)) 1.21 times
    (word:1.3)        1.3 times, (word:0.5) half
    [word]            1.1 times less
    [from:to:0.5]     "from" in the first half of the steps, then "to"; from 1 up the number counts steps
    [to:0.5]          nothing, then "to";  [from::0.5] "from", then nothing
    BREAK             what follows is read as a sentence of its own
    \\( \\) \\[ \\] \\:    the characters themselves

Weights multiply when they nest. Brackets without a partner are text, and so is everything inside double quotes, which
is text to draw. One pass, then a walk without recursion: 100,000 brackets deep is no deeper than one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from darkroom.contracts.errors import BadInput, shown
from darkroom.wording.tokenizer import normalise

UP = 1.1  # of plain brackets: A1111's, and everybody's since
LIGHTEST, HEAVIEST = 0.0, 10.0
MOST_SWITCHES = 100
CHUNK = "BREAK"
_SPECIAL = re.compile(r"[()\[\]{}|:\\]")
_TOKEN = re.compile(r'\\[()\[\]{}|_$:\\]|(?<!\w)"[^"]*"|[()\[\]:]|\bBREAK\b')
_NUMBER = re.compile(r"\s*\+?([0-9]{1,6}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})\s*")


@dataclass(frozen=True, slots=True)
class Sentence:
    """Words as they are read, in normal form, and how much they count.

    ``runs`` are (end, weight): characters from the end of the run before count so much; none where all count 1.
    """

    text: str
    runs: tuple[tuple[int, float], ...] = ()

    def weight(self, place: int) -> float:
        """How much the word at a character counts."""
        return next((weight for end, weight in self.runs if place < end), 1.0)

    def cut(self, start: int, end: int) -> Sentence:
        """The words from one character to another, without the space around them."""
        text = self.text[start:end]
        start += len(text) - len(text.lstrip())
        text = text.strip()
        ends = ((min(stop - start, len(text)), weight) for stop, weight in self.runs if stop > start)
        return Sentence(text, _once(ends))


@dataclass(frozen=True, slots=True)
class Wording:
    """A prompt while it is the same: its chunks, each a sentence of its own, and the first step it is read in."""

    since: int
    chunks: tuple[Sentence, ...]

    @property
    def text(self) -> str:
        """The words alone."""
        return " ".join(chunk.text for chunk in self.chunks)


@dataclass(slots=True)
class _Group:
    """An open or closed bracket: pieces of text and groups in order; where its colons stand among them."""

    bracket: str = ""
    children: list[str | _Group] = field(default_factory=list)
    colons: list[int] = field(default_factory=list)
    weight: float = 1.0
    when: float | None = None  # of a switch; its middle colon parts what is before from what is after


def wordings(text: str, steps: int) -> tuple[Wording, ...]:
    """A prompt as it is read over ``steps`` steps, earliest first; one where nothing comes or goes.

    Raises BadInput for weights beyond what means anything, and for a prompt that is another one too often.
    """
    root = _tree(text)
    times = sorted({_step(when, steps) for when in _switches(root)} - {0})
    if len(times) > MOST_SWITCHES:
        raise BadInput(f"a prompt that changes {len(times)} times", f"changes more than {MOST_SWITCHES}", "take fewer")
    kept: list[Wording] = []
    for since in (0, *(step for step in times if step < steps)):
        chunks = _chunks(root, since, steps)
        if not kept or kept[-1].chunks != chunks:
            kept.append(Wording(since, chunks))
    return tuple(kept)


def escaped(text: str) -> str:
    """A prompt that says exactly ``text``: none of it is a weight, a choice or a switch."""
    return _SPECIAL.sub(r"\\\g<0>", text).replace(CHUNK, CHUNK.capitalize())


def _step(when: float, steps: int) -> int:
    """Below 1 a share of the steps; from 1 on a number of them."""
    return int(when * steps) if when < 1.0 else min(int(when), steps)


def _tree(text: str) -> _Group:
    open_groups = [_Group()]
    at = 0
    for token in _TOKEN.finditer(text):
        open_groups[-1].children.append(text[at : token.start()])
        at = token.end()
        _take(token[0], open_groups)
    open_groups[-1].children.append(text[at:])
    while len(open_groups) > 1:
        _give_up(open_groups)
    return open_groups[0]


def _take(token: str, open_groups: list[_Group]) -> None:
    group = open_groups[-1]
    if token[0] == "\\":
        group.children.append(token[1])
    elif token in "([":
        open_groups.append(_Group(token))
    elif token == ":":
        group.colons.append(len(group.children))
        group.children.append(token)
    elif token in ")]" and group.bracket == "(["[")]".index(token)]:
        open_groups.pop()
        _close(group)
        open_groups[-1].children.append(group)
    else:  # a bracket that closes nothing, quoted text, BREAK
        group.children.append(token if token != CHUNK or group.bracket else "\0")


def _give_up(open_groups: list[_Group]) -> None:
    """The innermost open bracket is text after all."""
    group = open_groups.pop()
    open_groups[-1].children += [group.bracket, group]


def _close(group: _Group) -> None:
    """What a bracket means, from the number after its last colon."""
    number = None
    if group.colons:
        tail = group.children[group.colons[-1] + 1 :]
        if len(tail) == 1 and isinstance(tail[0], str) and (match := _NUMBER.fullmatch(tail[0])):
            number = float(match[1])
    if group.bracket == "(":
        group.weight = UP if number is None else number
        if number is not None:
            del group.children[group.colons[-1] :]
        return
    if number is None or len(group.colons) > 2:
        group.weight = 1.0 / UP
        return
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
        first, *more = text.split("\0")
        chunks[-1].append((first, weight))
        chunks += [[(part, weight)] for part in more]
    return tuple(said for chunk in chunks if (said := _sentence(chunk)).text) or (Sentence(""),)


def _shown(group: _Group, since: int, steps: int) -> Sequence[str | _Group]:
    if group.when is None:
        return group.children
    colon = group.colons[0] if group.colons else -1  # [to:when] has nothing before
    after = since >= _step(group.when, steps)
    return group.children[colon + 1 :] if after else group.children[: max(colon, 0)]


def _sentence(pieces: Sequence[tuple[str, float]]) -> Sentence:
    """Pieces of one weight joined, single-spaced, each in normal form."""
    text, runs, apart = "", [], False
    for weight, group in groupby(pieces, key=lambda piece: piece[1]):
        raw = "".join(part for part, _ in group)
        words = normalise(raw)
        if words:
            if not LIGHTEST <= weight <= HEAVIEST:
                rule = f"is not between {LIGHTEST:g} and {HEAVIEST:g}"
                fix = "take a number in between, or write \\( for a bracket that is text"
                raise BadInput(f"the weight {weight:g} of {shown(words)}", rule, fix)
            text += " " * (bool(text) and (apart or raw[0].isspace())) + words
            runs.append((len(text), weight))
        apart = (apart if not words else False) or raw[-1:].isspace()
    return Sentence(text, _once(runs))


def _once(runs: Iterable[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    """Runs with neighbours of one weight joined; none where all weigh 1."""
    joined: list[tuple[int, float]] = []
    for end, weight in runs:
        if joined and joined[-1][1] == weight:
            joined.pop()
        joined.append((end, weight))
    return () if all(weight == 1.0 for _, weight in joined) else tuple(joined)
