"""Contact sheets: many small pictures with their captions on one white page."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from darkroom.contracts.errors import BadInput
from darkroom.picture.read import MAX_PIXELS

PAPER, INK, GREY, HAIRLINE = (255, 255, 255), (28, 28, 30), (112, 112, 116), (226, 226, 229)
MIN_CELL, MAX_CELL = 96, 512
TITLE_SCALE = 1.6
_FOLDED = str.maketrans({"×": "x", "–": "-", "—": "-", "−": "-", "\u00a0": " ", "\ufe0f": None, "\u200d": None})

Colour = tuple[int, int, int]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size * Type.fineness)


@dataclass(frozen=True, slots=True)
class Type:
    """Type of one size. Letters are set several times too large and shrunk: at reading size the font's hinting would
    space them unevenly."""

    size: int
    fineness = 4

    @property
    def leading(self) -> int:
        return round(self.size * 1.4)

    def width(self, text: str) -> float:
        return _font(self.size).getlength(text) / self.fineness

    def draw(self, page: Image.Image, x: int, y: int, text: str, ink: Colour) -> None:
        large = (self.fineness * (math.ceil(self.width(text)) + self.size), self.fineness * self.leading)
        mask = Image.new("L", large)
        ImageDraw.Draw(mask).text((0, 0), text, 255, _font(self.size))
        page.paste(ink, (x, y), mask.reduce(self.fineness))


@dataclass(frozen=True, slots=True)
class _Measures:
    """The page's measures; all follow from the cell."""

    cell: int
    columns: int

    @property
    def type(self) -> Type:
        return Type(min(max(self.cell // 14, 13), 22))  # about 22 characters a line; small cells stay readable

    @property
    def title(self) -> Type:
        return Type(round(self.type.size * TITLE_SCALE))

    @property
    def gutter(self) -> int:
        return max(self.cell // 10, 16)

    @property
    def margin(self) -> int:
        return 2 * self.gutter

    @property
    def gap(self) -> int:  # between a picture and its caption
        return round(self.type.size * 0.6)

    @property
    def row_gap(self) -> int:
        return round(1.5 * self.gutter)

    @property
    def width(self) -> int:
        return 2 * self.margin + self.columns * self.cell + (self.columns - 1) * self.gutter


@dataclass(frozen=True, slots=True)
class Line:
    text: str
    ink: Colour


@dataclass(frozen=True, slots=True)
class _Row:
    """Pictures that stand on one line, and the captions under them."""

    pictures: list[Image.Image]
    captions: list[list[Line]]

    @property
    def picture_height(self) -> int:
        return max(picture.height for picture in self.pictures)

    def height(self, measures: _Measures) -> int:
        lines = max(len(caption) for caption in self.captions)
        return self.picture_height + (measures.gap + lines * measures.type.leading if lines else 0)

    def draw(self, page: Image.Image, y: int, measures: _Measures) -> None:
        for column, (picture, caption) in enumerate(zip(self.pictures, self.captions, strict=True)):
            x = measures.margin + column * (measures.cell + measures.gutter)
            _paste_framed(page, picture, x, y + self.picture_height - picture.height)
            below = y + self.picture_height + measures.gap
            for number, line in enumerate(caption):
                measures.type.draw(page, x - 1, below + number * measures.type.leading, line.text, line.ink)


def contact_sheet(
    pictures: Sequence[np.ndarray],
    captions: Sequence[str],
    columns: int = 4,
    *,
    cell: int | None = None,
    title: str = "",
    max_lines: int = 4,
) -> np.ndarray:
    """A white page of pictures, (height, width, 3) uint8.

    ``captions`` has one text per picture; after a newline the text goes on in grey. A caption longer than
    ``max_lines`` ends in an ellipsis. ``cell`` is the side of the square each picture is fitted into; None takes the
    largest picture's longer side, within 96 to 512. Characters the built-in font lacks lose their accents or show
    as boxes.
    """
    _check(pictures, captions, columns, cell, max_lines)
    longest = max(max(picture.shape[:2]) for picture in pictures)
    measures = _Measures(cell or min(max(longest, MIN_CELL), MAX_CELL), min(columns, len(pictures)))
    shown = [fitted(picture, measures.cell) for picture in pictures]
    lines = [wrapped(caption, measures.type, measures.cell, max_lines) for caption in captions]
    starts = range(0, len(pictures), measures.columns)
    rows = [_Row(shown[at : at + measures.columns], lines[at : at + measures.columns]) for at in starts]
    head = wrapped(title, measures.title, measures.width - 2 * measures.margin, 2)
    head_height = len(head) * measures.title.leading + (measures.gutter if head else 0)
    body_height = sum(row.height(measures) for row in rows) + measures.row_gap * (len(rows) - 1)
    height = 2 * measures.margin + head_height + body_height
    if measures.width * height > MAX_PIXELS:
        raise BadInput(f"a sheet of {len(pictures)} pictures", "is too large", "make several, or give a smaller cell")

    page = Image.new("RGB", (measures.width, height), PAPER)
    for number, line in enumerate(head):
        y = measures.margin + number * measures.title.leading
        measures.title.draw(page, measures.margin - 1, y, line.text, line.ink)
    y = measures.margin + head_height
    for row in rows:
        row.draw(page, y, measures)
        y += row.height(measures) + measures.row_gap
    return np.array(page)


def _check(
    pictures: Sequence[np.ndarray], captions: Sequence[str], columns: int, cell: int | None, max_lines: int
) -> None:
    if not pictures:
        raise BadInput("a sheet of no pictures", "cannot be made", "give at least one")
    if len(captions) != len(pictures):
        raise BadInput(f"{len(captions)} captions", f"do not match {len(pictures)} pictures", "give one for each")
    for name, value in (("columns", columns), ("max_lines", max_lines)):
        if value < 1:
            raise BadInput(f"{name} {value}", "is below 1", "try 4")
    if cell is not None and not MIN_CELL <= cell <= MAX_CELL:
        raise BadInput(f"cell {cell}", f"is not between {MIN_CELL} and {MAX_CELL}", "try 192")


def fitted(picture: np.ndarray, cell: int) -> Image.Image:
    """The picture on paper, as large as the cell allows; small ones are not blown up into blocks or blur."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*PAPER, 255)), image)
    image = image.convert("RGB")
    image.thumbnail((cell, cell), Image.Resampling.LANCZOS)
    return image


def _paste_framed(page: Image.Image, picture: Image.Image, x: int, y: int) -> None:
    """A hairline around the picture, outside it: pictures on white would have no edge."""
    page.paste(picture, (x, y))
    ImageDraw.Draw(page).rectangle((x - 1, y - 1, x + picture.width, y + picture.height), outline=HAIRLINE)


def wrapped(text: str, type: Type, width: int, max_lines: int) -> list[Line]:
    """Lines no wider than ``width``: the first paragraph in ink, the rest in grey."""
    lines: list[Line] = []
    limit = max_lines * width  # no letter is narrower than a pixel: more characters could not be shown
    for number, paragraph in enumerate(_drawable(text[:limit]).split("\n")):
        broken = _broken(paragraph, type, width, max_lines + 1 - len(lines))
        lines += [Line(line, GREY if number else INK) for line in broken]
        if len(lines) > max_lines:
            last = lines[max_lines - 1]
            return [*lines[: max_lines - 1], Line(shortened(last.text, type, width), last.ink)]
    return lines


def shortened(line: str, type: Type, width: int) -> str:
    """A line that ends in an ellipsis, after a whole word where there is one."""
    while line and type.width(line + "…") > width:
        line = line.rpartition(" ")[0] or line[:-1]
    return line.rstrip(" ,;:.-") + "…"


def _broken(paragraph: str, type: Type, width: int, max_lines: int) -> list[str]:
    """A paragraph as at most ``max_lines`` lines; a word wider than a line is broken where it must be."""
    lines: list[str] = []
    line = ""
    for word in paragraph.split():
        longer = f"{line} {word}" if line else word
        if type.width(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        while type.width(word) > width and len(lines) < max_lines:
            fits = 1
            while type.width(word[: fits + 1]) <= width:
                fits += 1
            lines.append(word[:fits])
            word = word[fits:]
        line = word
        if len(lines) >= max_lines:
            return lines
    return [*lines, line] if line else lines


def _drawable(text: str) -> str:
    """Text the built-in font, which knows little more than ASCII, can show: without accents, without joiners."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_FOLDED))
    kept = (c for c in decomposed if not unicodedata.combining(c) and (c in "\n\t" or unicodedata.category(c) != "Cc"))
    return "".join(kept)
