"""Reading a sentence for what can be checked: the composer's own captions give back their scenes' facts."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from darkroom.judge.asked import asked
from darkroom.judge.expect import Expectation, Related, Wanted

_WORK = """
import json
from dataclasses import replace
from darkroom.data.scenes.captions import tell
from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.spec import FULL, scene_seed
from darkroom.judge.asked import asked
from darkroom.judge.expect import expected_of
kinds = {kind: FULL.kinds[kind] for kind in ("single", "count", "pair", "wearing", "word")}
config = replace(FULL, kinds=kinds, colour_share=0.5)
found = []
for i in range(4000):
    scene = draw_scene(scene_seed("preview", 9, i), config)
    told, truth = tell(scene), expected_of(scene)
    whole = {fact: value for fact, value in truth.whole.items() if fact in told.facts}
    found.append([told.text, asked(told.text).told(), replace(truth, whole=whole).told()])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def read() -> list[tuple[str, Expectation, Expectation]]:
    """Captions, what is read out of them, and the told part of the truth."""
    done = subprocess.run([sys.executable, "-c", _WORK], stdout=subprocess.PIPE, text=True, check=True)
    return [(text, Expectation.of(found), Expectation.of(truth)) for text, found, truth in json.loads(done.stdout)]


def test_things_and_colours_are_read_out_of_every_caption(read: list[tuple[str, Expectation, Expectation]]) -> None:
    for text, found, truth in read:
        assert {(w.word, w.colour) for w in found.objects} == {(w.word, w.colour) for w in truth.objects}, text


def test_no_caption_of_the_composer_asks_for_anything_unknown(
    read: list[tuple[str, Expectation, Expectation]],
) -> None:
    for text, found, _ in read:
        assert not found.unknown, text


def test_numbers_are_read_where_they_are_said(read: list[tuple[str, Expectation, Expectation]]) -> None:
    counted = 0
    for text, found, truth in read:
        right = {w.word: w.count for w in truth.objects}
        for wanted in found.objects:
            assert wanted.count in (None, right[wanted.word]), text
            counted += wanted.count is not None
    assert counted > 3000


def test_relations_are_read_unless_only_and_stands_between(read: list[tuple[str, Expectation, Expectation]]) -> None:
    for text, found, truth in read:
        loose = [r for r in truth.relations if r.relation == "next to"] and " and " in text
        assert found.relations == truth.relations or (loose and not found.relations), text


def test_the_whole_picture_s_facts_are_read(read: list[tuple[str, Expectation, Expectation]]) -> None:
    for text, found, truth in read:
        assert found.whole == truth.whole, text
        assert found.letters == truth.letters, text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Two purple CATS  on a book", Expectation((Wanted("cat", 2, "purple"), Wanted("book", 1)),
                                                   (Related("cat", "on", "book"),))),
        ("a fox wearing a crown in the snow at night, oil painting",
         Expectation((Wanted("fox", 1), Wanted("crown", 1)), (Related("fox", "wearing", "crown"),),
                     {"style": "oil painting", "ground": "snow", "light": "night"})),
        ("cats", Expectation((Wanted("cat"),))),
        ("three tiny red apples", Expectation((Wanted("apple", 3, "red"),))),
        ("a kitten is to the left of a puppy",
         Expectation((Wanted("cat", 1), Wanted("dog", 1)), (Related("cat", "left of", "dog"),))),
        ('a sign that says "open"', Expectation(letters="OPEN")),
        ("something nice, please", Expectation()),
        ("a wombat on a hill", Expectation(unknown=("wombat", "hill"))),
        ("a dog in a bathtub", Expectation((Wanted("dog", 1), Wanted("bathtub", 1)))),
        ("a garden without a cat, no dogs", Expectation(unknown=("garden",))),
        ("a cat not a dog", Expectation((Wanted("cat", 1),))),
        ("a cat without a dog or a lion", Expectation((Wanted("cat", 1),))),
        ("no cats but a dog", Expectation((Wanted("dog", 1),))),
        # what only describes another noun
        ("a chicken sandwich", Expectation((Wanted("sandwich", 1),))),
        ("an apple pie", Expectation((Wanted("pie", 1),))),
        ("a red apple pie", Expectation((Wanted("pie", 1),))),
        ("a cat lover", Expectation(unknown=("lover",))),
        ("the cat's toy", Expectation(unknown=("toy",))),
        ("a cat-like robot", Expectation((Wanted("robot", 1),))),
        ("a snow leopard", Expectation((Wanted("leopard", 1),))),
        ("a snowy owl", Expectation((Wanted("owl", 1),))),
        # what a picture is made with, and what is written in it
        ("a pencil drawing of a cat", Expectation((Wanted("cat", 1),), whole={"style": "pencil sketch"})),
        ("a crayon drawing of a cat", Expectation((Wanted("cat", 1),))),
        ("a cat drawing", Expectation((Wanted("cat", 1),))),
        ('the letter "A"', Expectation(letters="A")),
        ('a dog with the word "ZOO" in red letters', Expectation((Wanted("dog", 1),), letters="ZOO")),
        # colours
        ("a gray cat", Expectation((Wanted("cat", 1, "grey"),))),
        ("a black and white cat", Expectation((Wanted("cat", 1),))),
        ("a cat in black and white", Expectation((Wanted("cat", 1),), whole={"style": "black and white"})),
        ("a red and blue parrot", Expectation((Wanted("parrot", 1),))),
        ("a red, white and blue balloon", Expectation((Wanted("balloon", 1),))),
        ("a pair of red gloves", Expectation((Wanted("pair of gloves", 1, "red"),))),
        # numbers and adjectives
        ("two puppies", Expectation((Wanted("dog", 2),))),
        ("three donuts", Expectation((Wanted("doughnut", 3),))),
        ("a couple of dogs", Expectation((Wanted("dog", 2),))),
        ("nine cats", Expectation((Wanted("cat", 9),))),
        ("a cute fluffy cat", Expectation((Wanted("cat", 1),))),
        ("a flying fox", Expectation((Wanted("fox", 1),))),
        ("a cat chases two dogs", Expectation((Wanted("cat", 1), Wanted("dog", 2)))),
        ("two cats chase a mouse", Expectation((Wanted("cat", 2), Wanted("mouse", 1)))),
        ("a dog riding a horse", Expectation((Wanted("dog", 1), Wanted("horse", 1)))),
        # relations
        ("a cat standing to the left of a dog",
         Expectation((Wanted("cat", 1), Wanted("dog", 1)), (Related("cat", "left of", "dog"),))),
        ("a cat that sits on a book",
         Expectation((Wanted("cat", 1), Wanted("book", 1)), (Related("cat", "on", "book"),))),
        ("a fox is hiding behind a tree",
         Expectation((Wanted("fox", 1), Wanted("tree", 1)), (Related("fox", "behind", "tree"),))),
        ("a red apple left of a green apple",
         Expectation((Wanted("apple", 1, "red"), Wanted("apple", 1, "green")), (Related(0, "left of", 1),))),
        ("a cat on a book, the cat is next to a dog",
         Expectation((Wanted("cat", 1), Wanted("book", 1), Wanted("dog", 1)),
                     (Related("cat", "on", "book"), Related("cat", "next to", "dog")))),
        # what no row of the vocabulary means
        ("a cup", Expectation((Wanted("cup of coffee", 1),))),
        ("a trophy and a cup", Expectation((Wanted("trophy", 1), Wanted("cup of coffee", 1)))),
        ("an orange on a table", Expectation(unknown=("orange", "table"))),
    ],
)  # fmt: skip
def test_sentences_of_people(text: str, expected: Expectation) -> None:
    assert asked(text) == expected


@pytest.mark.parametrize(
    "text", ["a woman with dark skin wearing a crown", "a woman that is wearing a crown", "a woman who wears a crown"]
)
def test_a_skin_tone_and_a_that_stand_between_two_related_things(text: str) -> None:
    assert asked(text).relations == (Related("woman", "wearing", "crown"),)


def test_long_and_hostile_sentences_are_read_in_little_time() -> None:
    started = time.process_time()
    for part in ("a cat and ", "a ", "red and ", "chicken ", "not ", '"', "a sitting ", "pair of "):
        asked((part * 32_000)[:32_000])
    assert time.process_time() - started < 20
