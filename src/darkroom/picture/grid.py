"""Labelled grids: pictures in rows and columns, what each column and each row stands for at its head."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from PIL import Image, ImageDraw

from darkroom.contracts.errors import BadInput
from darkroom.picture.sheet import GREY, INK, MAX_CELL, Line, Type, fitted, wrapped

GROUND, EMPTY = (236, 236, 236), (222, 222, 222)  # neutral: pictures on white and on black both have an edge
MOST_ALONG = 500  # rows, or columns; with the narrowest of them a page is as wide as a PNG that any reader takes
MOST_PIXELS = 36_000_000  # of all pictures of a page; of many, each is shown smaller
NARROWEST = 64  # pixels of a column, so that its head can be read
HEAD_LINES, TITLE_LINES = 3, 3
WIDEST_HEAD = 320  # pixels of the heads of rows


@dataclass(frozen=True, slots=True)
class Heads:
    """What columns, or rows, stand for: the name of it, and the value of each."""

    title: str
    values: Sequence[str]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of a page, in pixels; right and bottom are outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything of a page stands: lines of text, each in a box of its own, and cells by column and row.

    ``scale`` is how large pictures are shown: small ones are as much smaller than others as they are.
    """

    width: int
    height: int
    scale: float
    texts: list[tuple[Box, Line, Type]]
    cells: dict[tuple[int, int], Box]


def grid_sheet(
    cell: Callable[[int, int], np.ndarray | str],
    largest: tuple[int, int],
    columns: Heads | None,
    rows: Heads | None,
    title: str = "",
) -> np.ndarray:
    """A page of pictures, (height, width, 3) uint8.

    ``cell`` gives the picture, uint8 (height, width, 3 or 4), of a column and a row, or in words why there is none;
    they are asked for one at a time. ``largest`` are the width and height in pixels that none exceeds. ``columns`` and
    ``rows`` None: there is one, without a head. Of the title what follows a newline is grey. Raises BadInput for more
    than MOST_ALONG columns or rows.
    """
    layout = lay_out(largest, columns, rows, title)
    page = Image.new("RGB", (layout.width, layout.height), GROUND)
    for box, line, type in layout.texts:
        type.draw(page, box.left, box.top, line.text, line.ink)
    for (column, row), box in layout.cells.items():
        found = cell(column, row)
        if isinstance(found, str):
            _draw_empty(page, box, found)
            continue
        shown = fitted(found, max(1, round(max(found.shape[:2]) * layout.scale)))
        page.paste(shown, (box.left + (box.width - shown.width) // 2, box.top + (box.height - shown.height) // 2))
    return np.array(page)


def lay_out(largest: tuple[int, int], columns: Heads | None, rows: Heads | None, title: str = "") -> Layout:
    """Where everything of such a page stands."""
    wide, high = (1 if heads is None else len(heads.values) for heads in (columns, rows))
    if max(wide, high) > MOST_ALONG:
        rule = f"are more than the {MOST_ALONG} that a sheet shows in a line"
        raise BadInput(f"{max(wide, high):,} values along one side", rule, "lay them out along --z")
    scale = min(1.0, MAX_CELL / max(largest), math.sqrt(MOST_PIXELS / (wide * high * math.prod(largest))))
    width, height = (max(1, math.ceil(side * scale)) for side in largest)
    column = max(width, NARROWEST)
    type = Type(min(max(column // 14, 13), 22))
    gutter, margin = max(column // 32, 6), max(column // 10, 16)

    beside = _beside(rows, type, column)
    left = margin + beside + (2 * gutter if beside else 0)
    right = left + wide * column + (wide - 1) * gutter
    texts: list[tuple[Box, Line, Type]] = []

    y = margin
    large = Type(round(type.size * 1.3))
    for line in wrapped(title, large, max(right - margin, 3 * column), TITLE_LINES):
        texts.append((_box(margin, y, large, line.text), line, large))
        y += large.leading
    y += gutter * 2 if title else 0

    if columns is not None:
        for line in wrapped(columns.title, type, right - left, 1):
            texts.append((_box(left, y, type, line.text), Line(line.text, GREY), type))
        y += type.leading
    heads = [] if columns is None else _heads(columns.values, type, column, HEAD_LINES)
    corner = [] if rows is None else wrapped(rows.title, type, beside, HEAD_LINES)
    band = max([len(corner), *map(len, heads)]) * type.leading
    for at, lines in enumerate(heads):
        x = left + at * (column + gutter)
        for number, text in enumerate(lines):
            down = y + band - (len(lines) - number) * type.leading
            texts.append((_centred(x, x + column, down, type, text), Line(text, INK), type))
    for number, found in enumerate(corner):
        down = y + band - (len(corner) - number) * type.leading
        texts.append((_ending(margin + beside, down, type, found.text), Line(found.text, GREY), type))
    y += band + (gutter if band else 0)

    row_height = max(height, type.leading)
    sides = [] if rows is None else _heads(rows.values, type, beside, max(1, row_height // type.leading))
    for at, lines in enumerate(sides):
        down = y + at * (row_height + gutter) + (row_height - len(lines) * type.leading) // 2
        for number, text in enumerate(lines):
            box = _ending(margin + beside, down + number * type.leading, type, text)
            texts.append((box, Line(text, INK), type))
    cells = {}
    for i, j in product(range(wide), range(high)):
        x = left + i * (column + gutter) + (column - width) // 2
        top = y + j * (row_height + gutter) + (row_height - height) // 2
        cells[i, j] = Box(x, top, x + width, top + height)
    furthest = max([right, *(box.right for box, _, _ in texts)])
    return Layout(furthest + margin, y + high * (row_height + gutter) - gutter + margin, scale, texts, cells)


def _beside(rows: Heads | None, type: Type, column: int) -> int:
    """How wide the heads of the rows are: as the longest is, within bounds."""
    if rows is None:
        return 0
    natural = max(math.ceil(type.width(text[:1000])) for text in (rows.title, *rows.values))
    return min(natural, max(column, 200), WIDEST_HEAD)


def _heads(values: Sequence[str], type: Type, width: int, most: int) -> list[list[str]]:
    """The lines of each value; those that would look alike once they are shortened lose what they begin with."""
    shown = [[line.text for line in wrapped(value, type, width, most)] for value in values]
    if len({tuple(lines) for lines in shown}) == len(set(values)):
        return shown
    first, last = min(values), max(values)  # what these two begin with, all do
    same = next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    common = first[:same]
    common = common[: common.rfind(" ") + 1] or common
    return [
        [line.text for line in wrapped("…" + value[len(common) :], type, width, most)] if common else lines
        for value, lines in zip(values, shown, strict=True)
    ]


def _box(x: int, y: int, type: Type, text: str) -> Box:
    return Box(x, y, x + math.ceil(type.width(text)), y + type.leading)


def _centred(left: int, right: int, y: int, type: Type, text: str) -> Box:
    return _box(left + max(0, (right - left - math.ceil(type.width(text))) // 2), y, type, text)


def _ending(right: int, y: int, type: Type, text: str) -> Box:
    return _box(right - math.ceil(type.width(text)), y, type, text)


def _draw_empty(page: Image.Image, box: Box, why: str) -> None:
    """An empty cell, and why it is empty, as far as there is room to say it."""
    ImageDraw.Draw(page).rectangle((box.left, box.top, box.right - 1, box.bottom - 1), fill=EMPTY)
    type = Type(min(max(box.width // 16, 11), 18))
    inset = max(4, box.width // 16)
    most = (box.height - 2 * inset) // type.leading
    if box.width < 3 * type.size or most < 1:
        return
    lines = wrapped(why, type, box.width - 2 * inset, most)
    for number, line in enumerate(lines):
        type.draw(page, box.left + inset, box.top + inset + number * type.leading, line.text, GREY)
