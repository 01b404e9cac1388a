"""Labelled grids: every label whole or shortened, none over another or over a picture."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.contracts.errors import BadInput
from darkroom.picture.grid import GROUND, MOST_ALONG, Box, Heads, grid_sheet, lay_out

LONG = "a very long prompt of a fox that sits in the snow beside a river, number "
WORDS = st.text(st.sampled_from("ab Wi,…é狐"), max_size=120)
HEADS = st.one_of(st.none(), st.builds(Heads, WORDS, st.lists(WORDS, min_size=1, max_size=5)))


def overlap(one: Box, other: Box) -> bool:
    across = min(one.right, other.right) > max(one.left, other.left)
    return across and min(one.bottom, other.bottom) > max(one.top, other.top)


@given(largest=st.tuples(st.integers(1, 2048), st.integers(1, 2048)), columns=HEADS, rows=HEADS, title=WORDS)
def test_nothing_of_a_page_is_over_anything_else(
    largest: tuple[int, int], columns: Heads | None, rows: Heads | None, title: str
) -> None:
    layout = lay_out(largest, columns, rows, title)
    boxes = [box for box, _, _ in layout.texts] + list(layout.cells.values())
    assert not [pair for pair in combinations(boxes, 2) if overlap(*pair)]
    assert all(box.left >= 0 and box.right <= layout.width for box in boxes)
    assert all(box.top >= 0 and box.bottom <= layout.height for box in boxes)
    for box, line, type in layout.texts:
        assert type.width(line.text) <= box.width


def test_ink_stays_in_the_boxes() -> None:
    columns, rows = (Heads("a title", [LONG + str(i) for i in range(n)]) for n in (3, 4))
    layout = lay_out((90, 70), columns, rows, LONG)
    page = grid_sheet(lambda x, y: np.full((70, 90, 3), 255, np.uint8), (90, 70), columns, rows, LONG)
    assert page.shape == (layout.height, layout.width, 3)
    for box in [box for box, _, _ in layout.texts] + list(layout.cells.values()):
        page[box.top : box.bottom, max(0, box.left - 1) : box.right + 1] = GROUND
    assert (page == GROUND).all()


def test_long_values_that_begin_alike_are_told_apart() -> None:
    layout = lay_out((100, 100), Heads("prompt", [LONG + str(i) for i in range(9)]), None)
    heads = [line.text for _, line, _ in layout.texts][1:]
    assert len(heads) == len(set(heads)) == 9


def test_each_picture_stands_in_its_cell_and_an_empty_one_says_why() -> None:
    columns, rows = Heads("x", ["1", "2"]), Heads("y", ["3", "4", "5"])

    def cell(x: int, y: int) -> np.ndarray | str:
        return "it failed" if (x, y) == (1, 2) else np.full((80, 100, 3), 10 * (2 * y + x), np.uint8)

    layout, page = lay_out((100, 80), columns, rows), grid_sheet(cell, (100, 80), columns, rows)
    for (x, y), box in layout.cells.items():
        inside = page[box.top : box.bottom, box.left : box.right]
        if (x, y) == (1, 2):
            assert len(np.unique(inside)) > 5 and not (inside == GROUND).all(-1).any()
        else:
            assert (inside == 10 * (2 * y + x)).all() and inside.shape == (80, 100, 3)


def test_smaller_pictures_stay_smaller_on_a_page_of_many() -> None:
    heads = Heads("x", [str(i) for i in range(100)])
    sizes = []

    def cell(x: int, y: int) -> np.ndarray:
        side = 512 if x % 2 else 256
        return np.zeros((side, side, 3), np.uint8)

    page = grid_sheet(cell, (512, 512), heads, Heads("y", heads.values))
    layout = lay_out((512, 512), heads, Heads("y", heads.values))
    assert page.size < 3 * 64_000_000
    for x in (0, 1):
        box = layout.cells[x, 50]
        sizes.append(int((page[(box.top + box.bottom) // 2, box.left : box.right] == 0).all(-1).sum()))
    assert sizes[1] == pytest.approx(2 * sizes[0], abs=1) and sizes[1] > 30


def test_more_than_a_line_shows_is_refused() -> None:
    with pytest.raises(BadInput, match="501 values along one side"):
        lay_out((64, 64), None, Heads("seed", [str(i) for i in range(MOST_ALONG + 1)]))
