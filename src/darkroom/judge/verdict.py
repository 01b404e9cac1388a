"""Whether a picture holds what was asked for, fact by fact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from darkroom.judge.expect import Expectation
from darkroom.judge.sight import SURE, Sight, Thing
from darkroom.judge.truth import overlap

Answer = Literal["yes", "no", "cannot tell"]


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
    facts: list[Fact] = []

    def say(kind: str, text: str, holds: bool) -> None:
        facts.append(Fact(kind, text, "yes" if holds else "no"))

    there = [thing for thing in sight.things if thing.score >= SURE]
    for word in dict.fromkeys(wanted.word for wanted in expected.objects):
        own = [thing for thing in there if thing.word == word]
        say("presence", word, bool(own))
        same = [wanted for wanted in expected.objects if wanted.word == word]  # "a red apple and a green apple"
        if any(wanted.count is not None for wanted in same):
            number = sum(wanted.count or 1 for wanted in same)
            say("one" if number == 1 else "count", f"{number} {word}", len(own) == number)
        for wanted in same:
            if wanted.colour is not None:
                painted = sum(thing.colour == wanted.colour for thing in own)
                enough = wanted.count or 1 if len(same) > 1 else max(1, len(own))
                say("colour", f"{wanted.colour} {word}", painted >= enough)
    if sum(wanted.colour is not None for wanted in expected.objects) > 1:
        colours = [fact for fact in facts if fact.kind == "colour"]
        say("binding", ", ".join(fact.text for fact in colours), all(fact.answer == "yes" for fact in colours))
    for related in expected.relations:
        one = _surest([thing for thing in there if thing.word == related.first])
        other = _surest([thing for thing in there if thing.word == related.second and thing is not one])
        holds = one is not None and other is not None and holds_between(one, related.relation, other)
        say("relation", f"{related.first} {related.relation} {related.second}", holds)
    for fact, value in expected.whole.items():
        say(fact, value, sight.most(fact) == value)
    if expected.letters is not None:
        say("letters", expected.letters, sight.word == expected.letters.upper())
    return (*facts, *(Fact("unknown", word, "cannot tell") for word in expected.unknown))


def all_right(facts: Sequence[Fact]) -> bool:
    """Whether every fact the judge can tell holds, and there is one."""
    told = [fact for fact in facts if fact.answer != "cannot tell"]
    return bool(told) and all(fact.answer == "yes" for fact in told)


def _surest(things: Sequence[Thing]) -> Thing | None:
    return max(things, key=lambda thing: thing.score, default=None)


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
