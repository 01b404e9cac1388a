"""The word for a drawing's own colour."""

from __future__ import annotations

import numpy as np
import pytest

from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.spec import Shape, Stock, scene_seed
from darkroom.data.split import pair_held_out
from darkroom.data.stock.colours import colour_word
from darkroom.wording.vocabulary import COLOURS, core
from tests.wardrobe import FULL, replace


def plain(rgb: tuple[int, int, int], share: float = 1.0, rest: tuple[int, int, int] = (0, 0, 0)) -> np.ndarray:
    """A square of one colour, a share of it, with another below; nothing is seen around it."""
    rgba = np.zeros((128, 128, 4), np.uint8)
    rgba[20:120, 20:120] = (*rest, 255)
    rgba[20 : 20 + round(100 * share), 20:120] = (*rgb, 255)
    return rgba


@pytest.mark.parametrize("word", COLOURS)
def test_what_the_composer_paints_has_the_colour_it_is_told(word: str) -> None:
    assert colour_word(plain(COLOURS[word])) == word


@pytest.mark.parametrize(
    ("rgb", "word"),
    [((20, 90, 30), "green"), ((170, 220, 120), "green"), ((255, 225, 90), "yellow"), ((120, 190, 250), "blue"),
     ((120, 15, 20), "red"), ((255, 175, 190), "pink"), ((95, 60, 35), "brown"), ((200, 165, 120), "brown"),
     ((90, 40, 130), "purple"), ((15, 15, 40), "black"), ((110, 108, 115), "grey"), ((250, 245, 240), "white")],
)  # fmt: skip
def test_shades_have_their_colour_s_word(rgb: tuple[int, int, int], word: str) -> None:
    assert colour_word(plain(rgb)) == word


def test_a_leaf_leaves_an_apple_red_and_a_flag_has_no_one_colour() -> None:
    assert colour_word(plain((222, 45, 45), 0.8, (60, 170, 70))) == "red"
    assert colour_word(plain((222, 45, 45), 0.5, (60, 170, 70))) is None
    assert colour_word(np.zeros((8, 8, 4), np.uint8)) is None
    assert colour_word(plain((250, 220, 180))) is None  # an egg


def test_a_natural_colour_is_told_more_often_than_chance_but_never_one_held_out() -> None:
    green = {(c.index, style): (Shape(colour="green"),) for c in core() for style in FULL.styles}
    told = {}
    for name, stock in (("green", Stock(green)), ("any", Stock())):
        config = replace(FULL, stock=stock, kinds={"single": 1.0}, medium_share=0.0, colour_share=1.0)
        scenes = [draw_scene(scene_seed("train", 0, i), config) for i in range(800)]
        things = [(core()[t.concept].word, t.colour) for scene in scenes for t in scene.objects if t.colour]
        assert not any(pair_held_out("colour", word, colour) for word, colour in things)
        told[name] = sum(colour == "green" for _, colour in things) / len(things)
    assert 0.05 < told["any"] < 0.14 and 0.25 < told["green"] < 0.40
