"""Contact sheets: every picture whole, no caption over another or over a picture."""

from __future__ import annotations

import numpy as np
import pytest

from darkroom.contracts.errors import BadInput
from darkroom.picture.sheet import contact_sheet

RED, GREEN, BLUE = (250, 0, 0), (0, 250, 0), (0, 0, 250)
LONG = "a very long caption of a picture with a great many words in it, more than anybody would care to read " * 400


def flat(colour: tuple[int, int, int], height: int = 100, width: int = 100) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def box(page: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of a colour; also asserts that it fills a rectangle."""
    rows, columns = np.nonzero((page == colour).all(-1))
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    assert len(rows) == (bottom - top) * (right - left)
    return top, bottom, left, right


@pytest.mark.parametrize("captions", [["", "", ""], ["one", "two", "three"], [LONG, "x" * 32_000, "a\nb\nc\nd\ne\nf"]])
@pytest.mark.parametrize("columns", [1, 2, 8])
def test_pictures_are_whole_and_captions_stay_below_them(captions: list[str], columns: int) -> None:
    page = contact_sheet([flat(RED), flat(GREEN), flat(BLUE)], captions, columns)
    boxes = [box(page, colour) for colour in (RED, GREEN, BLUE)]
    for top, bottom, left, right in boxes:
        assert (bottom - top, right - left) == (100, 100)
    ink = page.max(-1) < 200  # text; hairlines are lighter
    for at, (_, bottom, left, right) in enumerate(boxes):
        below = boxes[at + columns][0] if at + columns < len(boxes) else page.shape[0]
        ink[bottom:below, left - 1 : right + 1] = False  # the caption's own place
    assert not ink.any()


def test_the_page_is_white_and_fits_what_it_holds() -> None:
    page = contact_sheet([flat(RED)] * 5, ["fox"] * 5, columns=3, title="five")
    assert page.dtype == np.uint8 and page.shape[2] == 3
    for edge in (page[0], page[-1], page[:, 0], page[:, -1]):
        assert (edge == 255).all()


def test_pictures_of_many_shapes_stand_in_their_cells() -> None:
    pictures = [flat(RED, 50, 200), flat(GREEN, 200, 50), flat(BLUE, 600, 600)]
    page = contact_sheet(pictures, ["a", "b", "c"], columns=3, cell=128)
    sizes = [(b - t, r - left) for t, b, left, r in (box(page, colour) for colour in (RED, GREEN, BLUE))]
    assert sizes == [(32, 128), (128, 32), (128, 128)]
    assert len({box(page, colour)[1] for colour in (RED, GREEN, BLUE)}) == 1  # on one line


def test_transparency_shows_the_paper() -> None:
    clear = np.zeros((100, 100, 4), np.uint8)
    assert (contact_sheet([clear], [""])[40:60, 40:60] == 255).all()


def test_any_character_may_be_asked_for() -> None:
    page = contact_sheet([flat(RED)], ["é × – 狐 🦊 \u202e\0\x1b\u0301 ﷽"])
    assert box(page, RED)[1] - box(page, RED)[0] == 100


def test_equal_sheets_are_equal() -> None:
    assert np.array_equal(contact_sheet([flat(RED)], ["fox"]), contact_sheet([flat(RED)], ["fox"]))


def test_bad_sheets_are_said() -> None:
    for arguments, said in (
        (([], []), "no pictures"),
        (([flat(RED)], []), "0 captions do not match 1 pictures"),
        (([flat(RED)], ["a"], 0), "columns 0 is below 1"),
        (([flat(RED, 64, 512)] * 2000, [""] * 2000, 2000), "too large"),
    ):
        with pytest.raises(BadInput, match=said):
            contact_sheet(*arguments)
    with pytest.raises(BadInput, match="cell 20"):
        contact_sheet([flat(RED)], ["a"], cell=20)
