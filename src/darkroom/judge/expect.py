"""What a picture should hold, said fact by fact; and its foils, which differ in one fact."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from darkroom.contracts.errors import BadInput, shown
from darkroom.data.scenes.spec import MEDIA, RELATIONS, Relation, Scene
from darkroom.judge.truth import WHOLE
from darkroom.wording.anatomy.facts import Related, Wanted
from darkroom.wording.vocabulary import COLOURS, GRADIENT, concept_of, core

FACTS = {"style": "style", "background": "ground", "light": "light", "camera": "camera"}
"""Facts of the whole picture as prompt files name them, and as the judge does."""


MOST = 6  # of one thing that the judge counts


@dataclass(frozen=True)
class Expectation:
    """What a picture should hold; everything may be left out."""

    objects: tuple[Wanted, ...] = ()
    relations: tuple[Related, ...] = ()
    whole: Mapping[str, str] = field(default_factory=dict)  # fact of the whole picture (WHOLE) -> value
    letters: str | None = None
    unknown: tuple[str, ...] = ()  # words asked for that the judge does not know

    @classmethod
    def of(cls, told: Any) -> Expectation:
        """From the ``expect`` of a prompt file. Unknown concepts are kept by name.

        Raises BadInput for anything else that is not as it should be: a key, a kind of value, a word, a number.
        """
        _keys("expect", told, ("objects", "relations", *FACTS, "letters"))
        unknown: dict[str, None] = {}
        objects: list[Wanted] = []
        places: list[int | None] = []  # of the objects told, among those that are known
        for item in _list("objects", told):
            _keys("an object", item, ("concept", "count", "colour"))
            word = _word(item.get("concept"), unknown)
            places.append(None if word is None else len(objects))
            wanted = Wanted(word or "", _count(item.get("count")), _colour(item.get("colour")))
            objects += [wanted] if word is not None else []
        relations = []
        for item in _list("relations", told):
            if not isinstance(item, list) or len(item) != 3:
                raise BadInput(f"relation {shown(item)}", "is no list of three", 'write ["cat", "left of", "dog"]')
            one, relation, other = item
            _known("relation", relation, RELATIONS)
            first, second = (_party(party, places, unknown) for party in (one, other))
            if first is not None and second is not None:
                relations.append(Related(first, relation, second))
        whole = {}
        for name, fact in FACTS.items():
            if told.get(name) is not None:
                whole[fact] = _known(name, _british(told[name]), WHOLE[fact])
        return cls(tuple(objects), tuple(relations), whole, _letters(told.get("letters")), tuple(unknown))

    def told(self) -> dict[str, Any]:
        """As the ``expect`` of a prompt file; :meth:`of` reads it back."""
        objects = [
            {k: v for k, v in (("concept", w.word), ("count", w.count), ("colour", w.colour)) if v is not None}
            for w in self.objects
        ]
        objects += [{"concept": word} for word in self.unknown]
        found: dict[str, Any] = {"objects": objects} if objects else {}
        if self.relations:
            found["relations"] = [[r.first, r.relation, r.second] for r in self.relations]
        found |= {name: self.whole[fact] for name, fact in FACTS.items() if fact in self.whole}
        return found if self.letters is None else {**found, "letters": self.letters}


def _known(what: str, value: Any, known: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in known:
        raise BadInput(f"{what} {shown(value)}", "is none the judge knows", f"use {', '.join(known)}")
    return value


def _keys(what: str, told: Any, known: Sequence[str]) -> None:
    if not isinstance(told, Mapping):
        raise BadInput(f"{what} {shown(told)}", "is no JSON object", f"give one with {', '.join(known)}")
    for key in told:
        _known(f"the key of {what}", key, known)


def _list(name: str, told: Mapping[str, Any]) -> list[Any]:
    value = told.get(name, [])
    if not isinstance(value, list):
        raise BadInput(f"{name} {shown(value)}", "is no list", f'write "{name}": [...]')
    return value


def _word(name: Any, unknown: dict[str, None]) -> str | None:
    """The concept's own word; None, and the name noted, where the judge does not know it."""
    if not isinstance(name, str) or not name.strip():
        raise BadInput(f"concept {shown(name)}", "is no word", 'name a thing: {"concept": "cat"}')
    concept = concept_of(name)
    if concept is None:
        unknown[name] = None
        return None
    return concept.word


def _party(party: Any, places: Sequence[int | None], unknown: dict[str, None]) -> str | int | None:
    """One side of a relation: a word, or the place of an object counted from 0."""
    if not isinstance(party, int) or isinstance(party, bool):
        return _word(party, unknown)
    if not 0 <= party < len(places):
        raise BadInput(f"object {party} of a relation", f"is none of the {len(places)} objects", "count from 0")
    return places[party]


def _count(value: Any) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST):
        return value
    raise BadInput(f"count {shown(value)}", f"is no whole number from 1 to {MOST}", "the judge counts no others")


def _colour(value: Any) -> str | None:
    return None if value is None else _known("colour", _british(value), tuple(COLOURS))


def _british(value: Any) -> Any:
    return value.replace("gray", "grey") if isinstance(value, str) else value


def _letters(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and re.fullmatch("[A-Za-z]{1,12}", value)):
        return value
    raise BadInput(f"letters {shown(value)}", "is no word of 1 to 12 letters from A to Z", 'write "letters": "OPEN"')


def expected_of(scene: Scene) -> Expectation:
    """All that a judge can check of a composed scene."""
    things = [scene.objects[i] for i in scene.named]
    words = [core()[thing.concept].word for thing in things]
    objects = tuple(Wanted(word, 1, thing.colour) for word, thing in zip(words, things, strict=True))
    if scene.kind == "count":
        objects = (replace(objects[0], count=len(things)),)
    relations: tuple[Related, ...] = ()
    if scene.relation is not None and len(words) == 2:
        relations = (Related(words[0], scene.relation, words[1]),)
    whole = {name: str(getattr(scene, name)) for name in ("light", "camera") if getattr(scene, name) is not None}
    if scene.objects or scene.style in MEDIA:
        whole["style"] = scene.style
    if scene.photo is None and scene.style != "pencil sketch" and (scene.light is None or scene.ground.place):
        whole["ground"] = GRADIENT if scene.ground.name_to is not None else scene.ground.name
    return Expectation(objects, relations, whole, scene.lettering.text if scene.lettering is not None else None)


# --- foils -------------------------------------------------------------------------------------------------------

OPPOSITES: dict[str, Relation] = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
    "on": "below",
    "in front of": "behind",
    "behind": "in front of",
    "next to": "above",
    "wearing": "left of",
}
"""What is never true of two things of which the other is."""


def foils(expected: Expectation) -> Iterator[tuple[str, Expectation]]:
    """(kind, expectation) with one fact changed, for each fact that can be.

    What is true of a picture is false of its foils: a judge that says yes to them says yes to anything.
    """
    words = [wanted.word for wanted in expected.objects]
    for i, wanted in enumerate(expected.objects):
        other = _other_word(wanted.word, words)
        renamed = tuple(
            replace(r, first=_renamed(r.first, wanted.word, other), second=_renamed(r.second, wanted.word, other))
            for r in expected.relations
        )
        yield "presence", replace(_with(expected, i, replace(wanted, word=other)), relations=renamed)
        if wanted.count is not None:
            for count in (wanted.count - 1, wanted.count + 1):
                if 2 <= count <= MOST:
                    kind = "one" if wanted.count == 1 else "count"
                    yield kind, _with(expected, i, replace(wanted, count=count))
        if wanted.colour is not None:
            yield (
                "colour",
                _with(expected, i, replace(wanted, colour=_other(wanted.colour, tuple(COLOURS), wanted.word))),
            )
    painted = [i for i, wanted in enumerate(expected.objects) if wanted.colour is not None]
    if len(painted) == 2:
        one, two = (expected.objects[i] for i in painted)
        if one.colour != two.colour:
            swapped = _with(expected, painted[0], replace(one, colour=two.colour))
            yield "binding", _with(swapped, painted[1], replace(two, colour=one.colour))
    for i, related in enumerate(expected.relations):
        if related.relation in OPPOSITES:
            turned = replace(related, relation=OPPOSITES[related.relation])
            yield (
                "relation",
                replace(expected, relations=(*expected.relations[:i], turned, *expected.relations[i + 1 :])),
            )
    for fact, value in expected.whole.items():
        yield fact, replace(expected, whole={**expected.whole, fact: _other(value, WHOLE[fact], "".join(words))})


def _renamed(party: str | int, word: str, other: str) -> str | int:
    return other if party == word else party


def _with(expected: Expectation, i: int, wanted: Wanted) -> Expectation:
    return replace(expected, objects=(*expected.objects[:i], wanted, *expected.objects[i + 1 :]))


def _other(value: str, values: Sequence[str], salt: str) -> str:
    """Another of the values, by a fixed rule."""
    others = [v for v in values if v != value]
    return others[sum(map(ord, salt)) % len(others)]


def _other_word(word: str, taken: Sequence[str]) -> str:
    """Another concept of the same group, by a fixed rule."""
    concept = concept_of(word)
    assert concept is not None
    others = [c.word for c in core() if c.group == concept.group and c.word not in taken]
    return others[concept.index * 7 % len(others)]
