"""Whether a picture holds what was asked for, fact by fact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from darkroom.data.scenes.layout import GREY
from darkroom.judge.expect import MOST, Expectation, Related, Wanted
from darkroom.judge.sight import FAINT, LOOKS, ONE, Sight, Thing
from darkroom.judge.truth import overlap

Answer = Literal["yes", "no", "cannot tell"]
LIKELY = 0.13
"""Probability from which a thing that is asked for is seen: the question is whether this is a cat, and not what it is
most like. What it is not is hardly ever that likely (the foils of the calibration)."""
PAINTED, SAID = 0.06, 0.15  # the same of its colour; of what hides a thing, and of the picture as a whole
SURE = 0.30  # score from which a thing counts though nobody asked for it: there are more than there should be
MAYBE = 0.09
"""Score from which something may be there: from here to LIKELY the answer is "cannot tell", below it is "no".
Calibration counts who says yes, so its rows are the same with this band as without."""
SAME, SAME_PLACE = 0.6, 0.85  # share of a box within another's: of two of a kind, and of different kinds
RESTS, MEETS = 0.06, 0.20  # of the side: how far above a head a crown may float, and how far what stands on a thing
# may be from its top, for boxes are not exact
RULES = {
    "likely": LIKELY,
    "painted": PAINTED,
    "said": SAID,
    "sure": SURE,
    "maybe": MAYBE,
    "same": SAME,
    "same place": SAME_PLACE,
    "rests": RESTS,
    "meets": MEETS,
    "looks": list(LOOKS),
    "one": ONE,
    "faint": FAINT,
}
"""What a calibration was measured with."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact asked for and what the judge says of it."""

    kind: str
    """presence, one (and no more), count (two to six), colour, binding, relation, style, ground, light, camera, letters
    or unknown"""
    text: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class _Found:
    """Things of one kind: those that are there, surest first, and how many more may be."""

    own: list[Thing]
    perhaps: int


def judged(sight: Sight, expected: Expectation) -> tuple[Fact, ...]:
    """Every fact of an expectation, with the judge's answer."""
    found = _found(sight, expected)
    words = dict.fromkeys(wanted.word for wanted in expected.objects)
    facts = [fact for word in words for fact in _of_kind(sight, expected, word, found[word])]
    if sum(wanted.colour is not None for wanted in expected.objects) > 1:
        colours = [fact for fact in facts if fact.kind == "colour"]
        facts.append(Fact("binding", ", ".join(fact.text for fact in colours), _all(fact.answer for fact in colours)))
    facts += (_related(found, expected, related) for related in expected.relations)
    facts += (
        Fact(fact, value, _said(sight.whole[fact].get(value, 0.0) >= SAID)) for fact, value in expected.whole.items()
    )
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


def _found(sight: Sight, expected: Expectation) -> dict[str, _Found]:
    """What is seen of each kind that is asked for, the likeliest first. A thing counts for one kind only, and one that
    is not sure for a kind of which there are not enough."""
    parties = (party for related in expected.relations for party in (related.first, related.second))
    named = [*(wanted.word for wanted in expected.objects), *(party for party in parties if isinstance(party, str))]
    words = dict.fromkeys(named)
    scored = ((t.words.get(word, 0.0), at, word) for at, t in enumerate(sight.things) for word in words)
    seen: dict[str, list[tuple[float, Thing]]] = {word: [] for word in words}
    taken: set[int] = set()
    for score, at, word in sorted(scored, key=lambda one: -one[0]):
        thing = sight.things[at]
        if score < MAYBE or at in taken or (score < SURE and len(seen[word]) >= _number(expected, word)):
            continue
        others = (other for kind, some in seen.items() if kind != word for _, other in some)
        if any(_twice(thing, other) for _, other in seen[word]) or any(_one_place(thing, other) for other in others):
            taken.add(at)  # of what was counted already
            continue
        taken.add(at)
        seen[word].append((score, thing))
    return {word: _meant_of(things, _number(expected, word)) for word, things in seen.items()}


def _twice(one: Thing, other: Thing) -> bool:
    """Whether two of a kind are one thing seen twice: most of either lies within the other."""
    return max(overlap(one.box, other.box), overlap(other.box, one.box)) >= SAME


def _one_place(one: Thing, other: Thing) -> bool:
    """Whether two of different kinds are one thing taken for both: most of each lies within the other."""
    return min(overlap(one.box, other.box), overlap(other.box, one.box)) >= SAME_PLACE


def _meant_of(things: Sequence[tuple[float, Thing]], number: int) -> _Found:
    """Of things of a kind, surest first, those that are there: the sure ones, and likely ones up to ``number``."""
    likely = [thing for score, thing in things if score >= LIKELY]
    sure = sum(score >= SURE for score, _ in things)
    own = likely[: max(sure, number)]
    return _Found(own, len(things) - len(likely))


def _number(expected: Expectation, word: str) -> int:
    """How many of a kind are asked for: of "a red apple and a green apple" two."""
    return max(1, sum(wanted.count or 1 for wanted in expected.objects if wanted.word == word))


def _of_kind(sight: Sight, expected: Expectation, word: str, found: _Found) -> Iterator[Fact]:
    """Whether things of one kind are there, as many as asked for, in the colours asked for."""
    own, perhaps = found.own, found.perhaps
    yield Fact("presence", word, _said(bool(own), bool(perhaps)))
    same = [wanted for wanted in expected.objects if wanted.word == word]
    if any(wanted.count is not None for wanted in same):
        number = _number(expected, word)
        doubtful = number > MOST or len(own) < number <= len(own) + perhaps
        holds = len(own) == number <= MOST
        yield Fact("one" if number == 1 else "count", f"{number} {word}", _said(holds, doubtful))
    for wanted in same:
        if wanted.colour is not None:
            painted = sum(_is(thing, wanted, same) for thing in own)
            enough = wanted.count or 1 if len(same) > 1 else max(1, len(own))
            answer = _said(painted >= enough, not own and bool(perhaps))
            yield Fact("colour", f"{wanted.colour} {word}", "cannot tell" if own and _colourless(sight) else answer)


def _is(thing: Thing, wanted: Wanted, kind: Sequence[Wanted]) -> bool:
    """Whether a thing has the colour asked for, and not rather that of another of its kind."""
    if wanted.colour is None:
        return True
    rivals = (thing.colours.get(other.colour or "", 0.0) for other in kind)
    return thing.colours.get(wanted.colour, 0.0) >= max(PAINTED, *rivals)


def _colourless(sight: Sight) -> bool:
    """Whether the colours of things cannot be seen: the light is coloured, or the picture is drawn in grey."""
    return sight.most("light") not in ("plain", "day") or sight.most("style") in GREY


def _related(found: Mapping[str, _Found], expected: Expectation, related: Related) -> Fact:
    """Whether a relation holds: some of the things that are meant stand so, as many as asked for of those there are."""
    parties = [_meant(expected, party) for party in (related.first, related.second)]
    text = f"{_named(parties[0])} {related.relation} {_named(parties[1])}"
    kinds = [[wanted for wanted in expected.objects if wanted.word == party.word] for party in parties]
    there = [
        [thing for thing in found[wanted.word].own if _is(thing, wanted, kind)]
        for wanted, kind in zip(parties, kinds, strict=True)
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
    doubtful = bool(missing) and all(found[wanted.word].perhaps for wanted in missing)
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
            return not beside and dy > 0 and abs(b[1] - a[3]) < MEETS and shared > 0.3 * narrower
        case "in front of":
            return other.covered > max(SAID, one.covered) and overlap(b, a) > 0.04
        case "behind":
            return one.covered > max(SAID, other.covered) and overlap(a, b) > 0.04
        case "wearing":  # what is worn lies on the upper part of who wears it, or rests there
            touches = overlap(b, a) > 0.07 or abs(b[3] - a[1]) < RESTS
            return touches and dy < 0.12 and abs(dx) < 0.3 * (a[2] - a[0])
        case "holding":
            return overlap(b, a) > 0.1
    raise ValueError(f"unknown relation {relation!r}")
