"""Whether a picture holds what was asked for, fact by fact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from darkroom.data.scenes.layout import GREY
from darkroom.judge.expect import MOST, Expectation, Related, Wanted
from darkroom.judge.sight import SURE, Sight, Thing
from darkroom.judge.truth import overlap

Answer = Literal["yes", "no", "cannot tell"]
MAYBE = 0.28
"""Heat from which something may be there: from here to SURE the answer is "cannot tell", below it is "no". Calibration
counts who says yes, so its rows are the same with this band as without."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact asked for and what the judge says of it."""

    kind: str
    """presence, one (and no more), count (two to six), colour, binding, relation, style, ground, light, camera, letters
    or unknown"""
    text: str
    answer: Answer


def judged(sight: Sight, expected: Expectation) -> tuple[Fact, ...]:
    """Every fact of an expectation, with the judge's answer."""
    words = dict.fromkeys(wanted.word for wanted in expected.objects)
    facts = [fact for word in words for fact in _of_kind(sight, expected, word)]
    if sum(wanted.colour is not None for wanted in expected.objects) > 1:
        colours = [fact for fact in facts if fact.kind == "colour"]
        facts.append(Fact("binding", ", ".join(fact.text for fact in colours), _all(fact.answer for fact in colours)))
    facts += (_related(sight, expected, related) for related in expected.relations)
    facts += (Fact(fact, value, _said(sight.most(fact) == value)) for fact, value in expected.whole.items())
    if expected.letters is not None:
        facts.append(Fact("letters", expected.letters, _said(sight.word == expected.letters.upper())))
    return (*facts, *(Fact("unknown", word, "cannot tell") for word in expected.unknown))


def all_right(facts: Sequence[Fact]) -> bool:
    """Whether every fact holds, and there is one. What the judge cannot tell does not."""
    return bool(facts) and all(fact.answer == "yes" for fact in facts)


def _said(holds: bool, doubtful: bool = False) -> Answer:
    return "yes" if holds else "cannot tell" if doubtful else "no"


def _all(answers: Iterable[Answer]) -> Answer:
    given = set(answers)
    return "no" if "no" in given else "cannot tell" if "cannot tell" in given else "yes"


def _seen(sight: Sight, word: str) -> tuple[list[Thing], list[Thing]]:
    """The things of a kind that are there, and those that may be."""
    own = [thing for thing in sight.things if thing.word == word and thing.score >= MAYBE]
    return [thing for thing in own if thing.score >= SURE], [thing for thing in own if thing.score < SURE]


def _of_kind(sight: Sight, expected: Expectation, word: str) -> Iterator[Fact]:
    """Whether things of one kind are there, as many as asked for, in the colours asked for."""
    own, perhaps = _seen(sight, word)
    yield Fact("presence", word, _said(bool(own), bool(perhaps)))
    same = [wanted for wanted in expected.objects if wanted.word == word]  # "a red apple and a green apple"
    if any(wanted.count is not None for wanted in same):
        number = sum(wanted.count or 1 for wanted in same)
        doubtful = number > MOST or len(own) < number <= len(own) + len(perhaps)
        holds = len(own) == number <= MOST
        yield Fact("one" if number == 1 else "count", f"{number} {word}", _said(holds, doubtful))
    for wanted in same:
        if wanted.colour is not None:
            painted = sum(thing.colour == wanted.colour for thing in own)
            enough = wanted.count or 1 if len(same) > 1 else max(1, len(own))
            answer = _said(painted >= enough, not own and bool(perhaps))
            yield Fact("colour", f"{wanted.colour} {word}", "cannot tell" if own and _colourless(sight) else answer)


def _colourless(sight: Sight) -> bool:
    """Whether the colours of things cannot be seen: the light is coloured, or the picture is drawn in grey."""
    return sight.most("light") not in ("plain", "day") or sight.most("style") in GREY


def _related(sight: Sight, expected: Expectation, related: Related) -> Fact:
    """Whether a relation holds: some of the things that are meant stand so, as many as asked for of those there are."""
    parties = [_meant(expected, party) for party in (related.first, related.second)]
    text = f"{_named(parties[0])} {related.relation} {_named(parties[1])}"
    there = [
        [thing for thing in _seen(sight, wanted.word)[0] if wanted.colour in (None, thing.colour)] for wanted in parties
    ]
    pairs = [
        (i, j)
        for i, one in enumerate(there[0])
        for j, other in enumerate(there[1])
        if one is not other and holds_between(one, related.relation, other)
    ]
    enough = all(
        len({pair[side] for pair in pairs}) >= min(len(there[side]), parties[side].count or 1) for side in (0, 1)
    )
    missing = [wanted for wanted, things in zip(parties, there, strict=True) if not things]
    doubtful = bool(missing) and all(_seen(sight, wanted.word)[1] for wanted in missing)
    return Fact("relation", text, _said(bool(pairs) and enough, doubtful))


def _meant(expected: Expectation, party: str | int) -> Wanted:
    """The thing a relation means. Its colour counts where it tells it from others of its kind."""
    wanted = [w for w in expected.objects if w.word == party] if isinstance(party, str) else [expected.objects[party]]
    if len(wanted) != 1:
        return Wanted(str(party))
    several = sum(w.word == wanted[0].word for w in expected.objects) > 1
    return wanted[0] if several else replace(wanted[0], colour=None)


def _named(wanted: Wanted) -> str:
    return wanted.word if wanted.colour is None else f"{wanted.colour} {wanted.word}"


def holds_between(one: Thing, relation: str, other: Thing) -> bool:
    """Whether a relation holds, from the two boxes and from who covers whom."""
    a, b = one.box, other.box
    dx, dy = (b[0] + b[2] - a[0] - a[2]) / 2, (b[1] + b[3] - a[1] - a[3]) / 2  # from one's middle to the other's
    beside = abs(dx) > abs(dy)
    shared = min(a[2], b[2]) - max(a[0], b[0])  # of their widths; less than nothing is a gap
    narrower = max(1e-6, min(a[2] - a[0], b[2] - b[0]))
    match relation:
        case "left of":
            return beside and dx > 0
        case "right of":
            return beside and dx < 0
        case "above":
            return not beside and dy > 0
        case "below":
            return not beside and dy < 0
        case "next to":
            return beside and -shared < 0.3
        case "on":  # one's foot is near the other's top
            return not beside and dy > 0 and abs(b[1] - a[3]) < 0.16 and shared > 0.3 * narrower
        case "in front of":
            return other.covered > max(0.5, one.covered) and overlap(b, a) > 0.04
        case "behind":
            return one.covered > max(0.5, other.covered) and overlap(a, b) > 0.04
        case "wearing":  # a good part of what is worn lies on the upper part of who wears it
            return overlap(b, a) > 0.07 and dy < 0.12 and abs(dx) < 0.3 * (a[2] - a[0])
        case "holding":
            return overlap(b, a) > 0.1
    raise ValueError(f"unknown relation {relation!r}")
