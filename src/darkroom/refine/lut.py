"""Tables of colours in .cube files (Adobe, "Cube LUT Specification" 1.0, 2013): read, and looked up.

Accepted besides: a byte order mark, any line ends, and the ranges that DaVinci Resolve writes (LUT_1D_INPUT_RANGE,
LUT_3D_INPUT_RANGE). A file holds one table, of one dimension or of three.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from darkroom.contracts.errors import BadFile, shown
from darkroom.refine.colour import Array, in_strips

MAX_BYTES = 32 * 1024 * 1024  # 64 x 64 x 64 lines of three long numbers take half of it
SIZES = {1: (2, 65_536), 3: (2, 64)}  # by dimension
_NUMBERS = re.compile(r"[0-9+\-.eE \t]+")
_RANGES = ("DOMAIN_MIN", "DOMAIN_MAX", "LUT_1D_INPUT_RANGE", "LUT_3D_INPUT_RANGE")


@dataclass(frozen=True)
class Table:
    """``colours`` are (size, 3), a curve for each of red, green and blue, or (size, size, size, 3), by blue, green and
    red. ``low`` and ``high``, (3,) each, are the colours of its first and last entry."""

    colours: Array
    low: Array
    high: Array


def parse_cube(data: bytes, name: str) -> Table:
    """The table in a .cube file's bytes. Raises BadFile; nothing is allocated before sizes and counts agree."""
    if len(data) > MAX_BYTES:
        raise BadFile(name, f"is larger than {MAX_BYTES // 2**20} MiB", "give a smaller table")
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise BadFile(name, "is no text, and a .cube file is", "give a .cube file") from None
    said, rows = _keywords(lines, name)
    sizes = {dimension: said[f"LUT_{dimension}D_SIZE"] for dimension in SIZES if f"LUT_{dimension}D_SIZE" in said}
    if len(sizes) != 1:
        found = (
            "names no LUT_1D_SIZE and no LUT_3D_SIZE" if not sizes else "holds two tables, of one dimension and of 3"
        )
        raise BadFile(name, found, "give a .cube file with one table")
    [(dimension, written)] = sizes.items()
    least, most = SIZES[dimension]
    if len(written) > 6 or not written.isdecimal() or not least <= int(written) <= most:
        rule = f"has LUT_{dimension}D_SIZE {shown(written)}, which is not from {least} to {most}"
        raise BadFile(name, rule, "give another table")
    size = int(written)
    if len(rows) != size**dimension:
        rule = f"holds {len(rows)} lines of colours, and its size asks for {size**dimension}"
        raise BadFile(name, rule, "copy it again")
    low, high = _domain(said, dimension, name)
    colours = _colours(rows, name).reshape(*[size] * dimension, 3)
    return Table(colours, low, high)


def _keywords(lines: list[str], name: str) -> tuple[dict[str, str], list[str]]:
    """What stands before the colours, by keyword, and the lines of colours."""
    said: dict[str, str] = {}
    rows: list[str] = []
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if _NUMBERS.fullmatch(line):
            rows.append(line)
            continue
        keyword, _, value = line.partition(" ") if " " in line else line.partition("\t")
        known = keyword in _RANGES or keyword in ("TITLE", "LUT_1D_SIZE", "LUT_3D_SIZE")
        if not known or (rows and keyword != "TITLE") or (keyword in said and keyword != "TITLE"):
            raise BadFile(name, f"holds {shown(line)} in line {number}, which means nothing there", "give a .cube file")
        said[keyword] = value.strip()
    return said, rows


def _domain(said: dict[str, str], dimension: int, name: str) -> tuple[Array, Array]:
    """The colours of the table's first and last entry."""
    low, high = np.zeros(3), np.ones(3)
    if (both := said.get(f"LUT_{dimension}D_INPUT_RANGE")) is not None:
        ends = _numbers(both, 2, name)
        low[:], high[:] = ends
    if (least := said.get("DOMAIN_MIN")) is not None:
        low = _numbers(least, 3, name)
    if (most := said.get("DOMAIN_MAX")) is not None:
        high = _numbers(most, 3, name)
    if not (high - low > 1e-6).all():
        raise BadFile(name, "has a domain that ends where it begins, or before", "correct DOMAIN_MIN and DOMAIN_MAX")
    return low, high


def _numbers(text: str, count: int, name: str) -> Array:
    try:
        found = np.array([float(word) for word in text.split()])
    except ValueError:
        found = np.empty(0)
    if found.shape != (count,) or not _NUMBERS.fullmatch(text) or not (np.abs(found) <= 1e6).all():
        raise BadFile(name, f"has {shown(text)} where {count} numbers must stand", "copy it again")
    return found


def _colours(rows: list[str], name: str) -> Array:
    """(rows, 3) of rows that hold three numbers each, none beyond a million."""
    try:
        found = np.array([[float(word) for word in row.split()] for row in rows])
    except ValueError:
        found = np.empty(0)
    if found.ndim != 2 or found.shape[1] != 3 or not (np.abs(found) <= 1e6).all():
        raise BadFile(name, "has a line of colours that is not three plain numbers", "copy it again")
    return found


def graded(pixels: Array, table: Table, amount: float) -> Array:
    """(height, width, 3) float32 sRGB in [0, 1] with that much of what the table makes of it."""
    if amount == 0:
        return pixels
    look = along if table.colours.ndim == 2 else tetrahedral

    def change(colours: Array) -> Array:
        scaled = np.clip((colours - table.low) / (table.high - table.low), 0.0, 1.0)
        found = np.clip(look(table.colours, scaled), 0.0, 1.0)
        return found if amount == 1 else colours + amount * (found - colours)

    return in_strips(change, pixels)


def along(curves: Array, colours: Array) -> Array:
    """(..., 3) in [0, 1] looked up in (size, 3), linearly between entries."""
    at = np.linspace(0.0, 1.0, len(curves))
    return np.stack([np.interp(colours[..., i], at, curves[:, i]) for i in range(3)], -1)


def tetrahedral(cube: Array, colours: Array) -> Array:
    """(..., 3) red, green, blue in [0, 1] looked up in (size, size, size, 3), by blue, green and red.

    Each cell of the cube is six tetrahedra along its diagonal, which keeps greys between greys (Kasson, Nin, Plouffe
    and Hafner 1995, "Performing color space conversions with three-dimensional linear interpolation"): from the lower
    corner one goes along the axes in the order of the fractions, the largest first.
    """
    size = len(cube)
    scaled = colours.reshape(-1, 3) * (size - 1)
    cell = np.minimum(scaled.astype(np.int64), size - 2)
    fraction = scaled - cell
    steps = np.array([1, size, size * size])  # of red, green, blue in the flat table
    flat = cube.reshape(-1, 3)
    order = np.argsort(-fraction, 1, kind="stable")
    sorted_fraction = np.take_along_axis(fraction, order, 1)
    place = cell @ steps
    found = (1 - sorted_fraction[:, :1]) * flat[place]
    for i in range(3):
        place = place + steps[order[:, i]]
        after = sorted_fraction[:, i + 1 : i + 2] if i < 2 else 0.0
        found = found + (sorted_fraction[:, i : i + 1] - after) * flat[place]
    return found.reshape(colours.shape)
