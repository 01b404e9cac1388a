"""Letters: every word can be drawn, and a scene shows its word where and in the colour it says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import ImageFont
from torch import Tensor

from darkroom.data.scenes.compose import Composer
from darkroom.data.scenes.letters import WORDS, aspect, fonts, lettered, word_size
from darkroom.data.scenes.spec import Ground, Lettering, Scene
from darkroom.wording.vocabulary import COLOURS
from tests.toys import sprite_table


def a_font(folder: Path, name: str) -> Path:
    """Pillow's own font as a file."""
    face = ImageFont.load_default(20)
    if not isinstance(face, ImageFont.FreeTypeFont) or not face.font_bytes:
        pytest.skip("this Pillow holds no font file to copy")
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(face.font_bytes)
    return folder / name


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer(sprite_table(("3d",), words=("cat",)))


def written(composer: Composer, word: Lettering, ground: str = "white") -> Tensor:
    scene = Scene("word", "3d", (), Ground(ground), named=(), lettering=word)
    return composer.render([scene]).pixels[0]


def word(text: str, colour: str = "red", board: bool = False, tallest: float = 0.42) -> Lettering:
    width, height = word_size(text, 0.8, tallest)
    return Lettering(text, colour, 0.5, 0.5, height, width, 0, board)


def ends(line: Tensor) -> tuple[int, int]:
    found = line.nonzero().flatten()
    return int(found[0]), int(found[-1]) + 1


# -- words and fonts -----------------------------------------------------------------------------------------------


def test_words_are_capital_letters_and_each_stands_there_once() -> None:
    assert len(WORDS) == len(set(WORDS)) > 80
    assert all(text.isascii() and text.isalpha() and text.isupper() and 2 <= len(text) <= 6 for text in WORDS)


def test_every_word_has_ink_and_no_two_look_alike() -> None:
    masks = {text: lettered(text, None, 24, 96) for text in WORDS}
    assert all(0.1 < float(mask.mean()) < 0.9 for mask in masks.values())
    assert len({tuple((mask * 255).int().flatten().tolist()) for mask in masks.values()}) == len(WORDS)


def test_more_letters_are_wider() -> None:
    assert aspect("I", None) < aspect("IN", None) < aspect("INK", None) < aspect("INKINK", None)
    assert aspect("HOTEL", None) == pytest.approx(aspect("HOT", None) * 5 / 3, rel=0.2)


def test_a_words_ink_fills_its_box_whatever_the_size() -> None:
    """Its outermost pixels are inked, and its coverage does not depend on the size."""
    large = lettered("HELLO", None, 64, 240)
    for height, width in ((64, 240), (16, 60), (8, 30)):
        mask = lettered("HELLO", None, height, width)
        assert mask.shape == (height, width) and float(mask.min()) >= 0 and float(mask.max()) < 1 + 1e-6
        assert all(float(edge.max()) > 0.2 for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
        assert float(mask.mean()) == pytest.approx(float(large.mean()), abs=0.02)


def test_a_word_is_as_wide_as_may_be_and_never_taller_than_may_be() -> None:
    for text in WORDS:
        width, height = word_size(text, 0.8, 0.24)
        assert width <= 0.8 + 1e-9 and height <= 0.24 + 1e-9
        assert width == pytest.approx(0.8) or height == pytest.approx(0.24)


def test_fonts_are_the_own_one_and_those_of_the_folder_by_name(tmp_path: Path) -> None:
    assert fonts(None) == fonts(tmp_path) == fonts(tmp_path / "nowhere") == (None,)
    b, a = a_font(tmp_path, "b.ttf"), a_font(tmp_path, "a.otf")
    (tmp_path / "licence.txt").write_text("free")
    assert fonts(tmp_path) == (None, a, b)
    own = lettered("HELLO", None, 24, 90)
    same, other = (lettered(text, a, 24, 90) for text in ("HELLO", "HOTEL"))  # the same font, from a file
    assert float((same - own).abs().mean()) < 0.1 < float((other - own).abs().mean())


# -- in a scene ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "colour"), [("GO", "red"), ("HOTEL", "blue"), ("SUMMER", "green"), ("CAT", "black")])
def test_a_word_is_drawn_in_its_colour_inside_its_box(composer: Composer, text: str, colour: str) -> None:
    asked = word(text, colour)
    pixels = written(composer, asked)
    ink = (pixels - torch.tensor(COLOURS[colour]).view(3, 1, 1) / 255).abs().amax(0) < 0.02
    assert int(ink.sum()) > 150
    changed = (pixels < 0.98).any(0)
    (x0, x1), (y0, y1) = ends(changed.any(0)), ends(changed.any(1))
    assert y1 - y0 <= asked.height * 128 + 1 and x1 - x0 <= asked.width * 128 + 1
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((64, 64), abs=1.5)
    mask = lettered(text, None, y1 - y0, x1 - x0)
    assert float((mask > 0.5)[ink[y0:y1, x0:x1]].float().mean()) > 0.97  # and it is this word


def test_a_longer_word_is_not_taller(composer: Composer) -> None:
    heights = []
    for text in ("GO", "HOT", "HOTEL", "SUMMER"):
        y0, y1 = ends((written(composer, word(text)) < 0.98).any(0).any(1))
        heights.append(y1 - y0)
    assert heights == sorted(heights, reverse=True) and heights[0] > heights[-1]


def test_a_sign_is_light_whatever_stands_behind_it(composer: Composer) -> None:
    pixels = written(composer, word("STOP", "red", board=True, tallest=0.24), "black")
    light = (pixels > 0.9).all(0)
    (x0, x1), (y0, y1) = ends(light.any(0)), ends(light.any(1))
    inside = pixels[:, y0:y1, x0:x1]
    assert 0.2 < (x1 - x0) * (y1 - y0) / 128**2 < 0.7
    assert float((inside.amin(0) < 0.3).float().mean()) > 0.1  # letters
    assert not light[:8].any() and not light[-8:].any()


def test_the_number_picks_the_font(tmp_path: Path) -> None:
    """Modulo those there are; a font that cannot be read is an error only where it is asked for."""
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    composer = Composer(sprite_table(("3d",), words=("cat",)), fonts=(None, broken))
    scene = Scene("word", "3d", (), Ground("white"), named=(), lettering=Lettering("GO", "red", 0.5, 0.5, 0.3, 0.4, 2))
    composer.render([scene])
    with pytest.raises(OSError):
        written(composer, Lettering("GO", "red", 0.5, 0.5, 0.3, 0.4, 3))
