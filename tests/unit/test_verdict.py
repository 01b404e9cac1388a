"""Whether a picture holds what was asked for: the answer to each fact, from what is seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from darkroom.judge.expect import Expectation, Related, Wanted
from darkroom.judge.sight import Sight, Thing
from darkroom.judge.verdict import all_right, holds_between, judged
from tests.unit.test_judge import PLAIN, a_thing


def test_what_is_asked_for_need_not_be_the_likeliest() -> None:
    unclear = Thing({"fox": 0.5, "dog": 0.2, "cat": 0.12}, {"red": 0.6, "orange": 0.3}, (0.2, 0.2, 0.8, 0.8), 0.0)
    whole = {"light": {"plain": 1.0}, "style": {"3d": 0.6, "flat": 0.3, "simple": 0.1}}
    sight = Sight((unclear,), whole, "")

    def says(*objects: Wanted, **facts: str) -> list[str]:
        return [fact.answer for fact in judged(sight, Expectation(objects, whole=facts))]

    assert says(Wanted("dog", 1, "orange"), style="flat") == ["yes"] * 4
    assert says(Wanted("cat"), Wanted("owl"), style="simple") == ["cannot tell", "no", "no"]
    assert says(Wanted("fox"), Wanted("dog")) == ["yes", "no"]  # it is one of them, and the likelier
    assert says(Wanted("fox", 1, "red"), Wanted("fox", 1, "orange"))[:2] == ["yes", "no"]


def test_what_a_kind_has_no_use_for_is_left_to_another() -> None:
    left, right = (0.0, 0.2, 0.4, 0.8), (0.6, 0.2, 1.0, 0.8)
    cat, either = Thing({"cat": 0.9}, {}, left, 0.0), Thing({"cat": 0.29, "dog": 0.28}, {}, right, 0.0)
    both = Expectation((Wanted("cat"), Wanted("dog")))
    assert all_right(judged(Sight((cat, either), {}, ""), both))
    twice = (Thing({"fox": 0.5, "dog": 0.2}, {}, left, 0.0), Thing({"dog": 0.3, "fox": 0.28}, {}, left, 0.0))
    answers = judged(Sight(twice, {}, ""), Expectation((Wanted("fox"), Wanted("dog"))))
    assert [fact.answer for fact in answers] == ["yes", "no"]  # one animal, seen twice


def test_likely_things_count_as_far_as_they_are_asked_for_and_sure_ones_always() -> None:
    places = ((0.0, 0.0, 0.2, 0.2), (0.4, 0.0, 0.6, 0.2), (0.8, 0.0, 1.0, 0.2))
    for scores, numbers in (((0.9, 0.9, 0.2), [2, 3]), ((0.9, 0.2, 0.2), [1, 2, 3]), ((0.9, 0.9, 0.9), [3])):
        cats = tuple(a_thing("cat", score, "own", box, 0.0) for score, box in zip(scores, places, strict=True))
        held = [n for n in range(1, 7) if all_right(judged(Sight(cats, {}, ""), Expectation((Wanted("cat", n),))))]
        assert held == numbers


def test_who_stands_in_front_is_asked_and_not_named() -> None:
    front, back = (0.3, 0.4, 0.6, 0.9), (0.4, 0.2, 0.9, 0.7)
    for hidden, other, answers in (
        (0.2, 0.0, {"in front of"}),  # that something hides it is likely enough
        (0.2, 0.3, {"behind"}),
        (0.1, 0.0, set()),
        (0.9, 0.0, {"in front of"}),
    ):
        cat, dog = a_thing("cat", 0.9, "own", front, other), a_thing("dog", 0.9, "own", back, hidden)
        held = {r for r in ("in front of", "behind") if holds_between(cat, r, dog)}
        assert held == answers
    apart = a_thing("dog", 0.9, "own", (0.7, 0.0, 0.9, 0.3), 0.9)
    assert not holds_between(a_thing("cat", 0.9, "own", front, 0.0), "in front of", apart)


def test_a_crown_is_worn_where_it_rests_and_not_where_it_floats() -> None:
    owl = a_thing("owl", 0.9, "own", (0.2, 0.4, 0.8, 0.95), 0.0)
    for foot, worn in ((0.5, True), (0.41, True), (0.37, True), (0.34, False)):
        assert holds_between(owl, "wearing", a_thing("crown", 0.9, "own", (0.3, 0.1, 0.7, foot), 0.0)) == worn
    beside = a_thing("crown", 0.9, "own", (0.85, 0.1, 1.0, 0.4), 0.0)
    assert not holds_between(owl, "wearing", beside)


def test_an_unasked_fact_is_not_judged() -> None:
    sight = Sight((a_thing("cat", 0.9, "own", (0.2, 0.2, 0.8, 0.8), 0.0),), {}, "")
    facts = judged(sight, Expectation((Wanted("cat"),)))
    assert [(fact.kind, fact.answer) for fact in facts] == [("presence", "yes")]
    assert not all_right(())  # nothing told is nothing right


def test_two_of_a_kind_in_two_colours_hold_together() -> None:
    left, right = ((x, 0.3, x + 0.3, 0.7) for x in (0.1, 0.6))
    apples = Expectation((Wanted("apple", 1, "red"), Wanted("apple", 1, "green")))
    for colours, holds in ((("red", "green"), True), (("red", "red"), False), (("red", "blue"), False)):
        seen = tuple(a_thing("apple", 0.9, c, box, 0.0) for c, box in zip(colours, (left, right), strict=True))
        assert all_right(judged(Sight(seen, PLAIN, ""), apples)) == holds
    assert not all_right(judged(Sight((a_thing("apple", 0.9, "red", left, 0.0),), PLAIN, ""), apples))


def apples(*seen: tuple[str, float]) -> Sight:
    """Apples of some colours at some places from left to right."""
    return Sight(tuple(a_thing("apple", 0.9, c, (x, 0.3, x + 0.2, 0.7), 0.0) for c, x in seen), PLAIN, "")


def test_a_relation_of_two_of_a_kind_minds_their_colours() -> None:
    expected = Expectation((Wanted("apple", 1, "red"), Wanted("apple", 1, "green")), (Related(0, "left of", 1),))
    assert all_right(judged(apples(("green", 0.7), ("red", 0.1)), expected))
    wrong = judged(apples(("green", 0.1), ("red", 0.7)), expected)
    assert [(f.text, f.answer) for f in wrong if f.kind == "relation"] == [("red apple left of green apple", "no")]


def test_a_relation_is_of_as_many_as_were_asked_for() -> None:
    expected = Expectation((Wanted("apple", 2), Wanted("cat", 1)), (Related("apple", "left of", "cat"),))
    cat = a_thing("cat", 0.9, "own", (0.4, 0.3, 0.6, 0.7), 0.0)
    both, one_on_each_side = ((("red", 0.0), ("red", 0.2)), (("red", 0.0), ("red", 0.8)))
    for seen, answer in ((both, "yes"), (one_on_each_side, "no")):
        sight = apples(*seen)
        facts = judged(replace(sight, things=(*sight.things, cat)), expected)
        assert [f.answer for f in facts if f.kind == "relation"] == [answer]
        any_apple = replace(expected, objects=())  # no number was asked for
        assert all_right(judged(replace(sight, things=(*sight.things, cat)), any_apple))


@pytest.mark.parametrize(("score", "answer"), [(0.08, "no"), (0.12, "cannot tell"), (0.2, "yes")])
def test_what_may_be_there_is_neither_yes_nor_no(score: float, answer: str) -> None:
    sight = Sight((a_thing("cat", score, "red", (0.2, 0.2, 0.8, 0.8), 0.0),), PLAIN, "")
    facts = judged(sight, Expectation((Wanted("cat", 1, "red"),), (Related("cat", "on", "cat"),)))
    assert [fact.answer for fact in facts if fact.kind != "relation"] == [answer] * 3
    other = a_thing("cat", 0.9, "red", (0.8, 0.2, 1.0, 0.8), 0.0)
    counts = [
        judged(replace(sight, things=(other, *sight.things)), Expectation((Wanted("cat", n),)))[1] for n in (2, 3)
    ]
    assert [fact.answer for fact in counts] == [answer, "no"]
    assert all_right(facts[:3]) == (answer == "yes")


def test_a_relation_to_what_may_be_there_cannot_be_told() -> None:
    dog = a_thing("dog", 0.12, "own", (0.6, 0.2, 0.9, 0.8), 0.0)
    cat = a_thing("cat", 0.9, "own", (0.0, 0.2, 0.3, 0.8), 0.0)
    asked = Expectation(relations=(Related("cat", "left of", "dog"),))
    for things, answer in (
        ((cat, dog), "cannot tell"),
        ((cat,), "no"),
        ((cat, replace(dog, words={"dog": 0.9})), "yes"),
    ):
        assert [fact.answer for fact in judged(Sight(things, PLAIN, ""), asked)] == [answer]


@pytest.mark.parametrize(("fact", "value"), [("light", "neon"), ("light", "night"), ("style", "pencil sketch")])
def test_colours_that_cannot_be_seen_cannot_be_told(fact: str, value: str) -> None:
    sight = Sight((a_thing("cat", 0.9, "red", (0.2, 0.2, 0.8, 0.8), 0.0),), {**PLAIN, fact: {value: 1.0}}, "")
    wanted = Expectation((Wanted("cat", None, "red"),))
    assert [(f.kind, f.answer) for f in judged(sight, wanted)] == [("presence", "yes"), ("colour", "cannot tell")]
    day = replace(sight, whole={**PLAIN, "light": {"day": 1.0}})
    assert all_right(judged(day, wanted))


def test_more_than_it_counts_cannot_be_told() -> None:
    sight = apples(*(("red", i / 10) for i in range(7)))
    assert [fact.answer for fact in judged(sight, Expectation((Wanted("apple", 7),)))] == ["yes", "cannot tell"]


def test_colours_on_the_wrong_things_are_not_bound() -> None:
    box = (0.1, 0.3, 0.4, 0.7)
    sight = Sight(
        (a_thing("cat", 0.9, "red", box, 0.0), a_thing("dog", 0.9, "blue", (0.6, 0.3, 0.9, 0.7), 0.0)), PLAIN, ""
    )
    right = Expectation((Wanted("cat", None, "red"), Wanted("dog", None, "blue")), (Related("cat", "left of", "dog"),))
    swapped = Expectation((Wanted("cat", None, "blue"), Wanted("dog", None, "red")))
    assert all_right(judged(sight, right))
    assert {f.kind for f in judged(sight, swapped) if f.answer == "no"} == {"colour", "binding"}
