"""Talk is reduced to what is to be drawn; a description comes back letter for letter."""

from __future__ import annotations

from dataclasses import replace

import pytest

from darkroom.data.scenes.captions import tell
from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.spec import FULL, scene_seed
from darkroom.evaluation.prompts import prompt_set
from darkroom.wording.reduce import reduced


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (
            "Could you please make me a picture of a really cute red fox sitting in a forest? "
            "I'd love it in watercolour, thanks!",
            "a cute red fox sitting in a forest, in watercolour",
        ),
        ("Please draw a red fox.", "a red fox"),
        ("draw me a red fox", "a red fox"),
        ("Hi! Can you draw two blue cats on a book? Thank you so much!", "two blue cats on a book"),
        ("I want a castle at night, and please make it 3d", "a castle at night, 3d"),
        ("generate an image of a (red:1.3) fox", "a (red:1.3) fox"),
        ("Can you paint a red fox?", "paint a red fox"),  # "paint" says how
        ("make me a photo of a fox", "a photo of a fox"),  # and so does "photo"
        ("I’d like to see three yellow tulips, if possible", "three yellow tulips"),
        ("make a really orange cat for me", "an orange cat"),
        ("Please draw a fox. It is night.", "a fox. It is night."),
        ("show me a fox, please", "a fox"),
        ("a fox. Please make it blue.", "a fox, blue"),
        ("I was wondering if you could create an image showing a robot, it should have a blue hat",
         "a robot, with a blue hat"),
        ("I would like a snowman, please. The background should be light blue.",
         "a snowman. The background should be light blue."),
        ("Would you mind drawing me a unicorn with a crown?", "a unicorn with a crown"),
        ("Can you make it so that a fox is next to a dog?", "a fox is next to a dog"),
        ("Would you please be so kind as to draw a fox", "a fox"),
        ("I need two foxes. Make sure they're next to each other. Thanks!", "two foxes, next to each other"),
        ("What about a green car?", "a green car"),
        ("Please, a dog!", "a dog"),
        ("/imagine prompt: a fox", "a fox"),
    ],
)  # fmt: skip
def test_talk_is_reduced(said: str, left: str) -> None:
    assert reduced(said) == left
    assert reduced(left) == left


@pytest.mark.parametrize(
    "text",
    [
        "a red fox",
        " a  fox ",
        "draw a red fox",
        "show me a red fox",
        "a sign that says please knock",
        "a sign that says please",
        "a card that says thank you",
        "hello kitty",
        "I want to hold your hand",
        "a really cute fox, just behind a tree",
        "My grandmother asked: can you draw a cat?",
        'a sign that says "could you please draw me a fox, thanks"',
        "a fox {please|thanks}",
        "(please make me a fox:1.2)",
        r"a fox \(please\)",
        "",
    ],
)
def test_a_description_is_left_alone(text: str) -> None:
    assert reduced(text) == text


def test_what_stands_in_brackets_and_quotes_is_not_looked_into() -> None:
    left = '{a cat|please a dog} [fox:really:0.5] "thanks, really" __please__ BREAK (a really (red:1.2) hat)'
    assert reduced(f"Could you draw {left}, thanks") == left


@pytest.mark.parametrize("said", ["please make me a picture", "thanks", "Hi! Could you draw something?", "please"])
def test_of_politeness_alone_nothing_is_left(said: str) -> None:
    assert reduced(said) == ""


def test_no_prompt_of_the_dev_set_is_touched() -> None:
    rows = prompt_set("dev")
    assert len(rows) > 400
    assert [text for row in rows for text in (row.prompt, row.foil) if reduced(text) != text] == []


def test_no_composed_caption_is_touched() -> None:
    config = replace(FULL, kinds={kind: share for kind, share in FULL.kinds.items() if kind != "photo"})
    scenes = [draw_scene(scene_seed("preview", 9, i), config) for i in range(1500)]
    told = {tell(scene, paraphrase=paraphrase).text for scene in scenes for paraphrase in (False, True)}
    assert len(told) > 2000
    assert [text for text in told if reduced(text) != text] == []


@pytest.mark.parametrize(
    "piece",
    ["could you ", "please ", "(", "a, please make it ", " ", "“", '"', "really ", "\n", "[({", "thanks, ", "a", ". ",
     "\\", "i'd like it ", "hi ", "__a", "/imagine ", "a really "],
)  # fmt: skip
def test_hostile_prompts_end(piece: str) -> None:
    """Quadratic time would take hours here."""
    text = piece * (100_000 // len(piece))
    left = reduced(text)
    assert len(left) <= len(text) + 2 and reduced(left) is not None
