"""Grids: one request with some of its fields laid out along up to three axes.

    steps=4,8,16          these values
    guidance=1..5         1, 2, 3, 4, 5; 1..2:0.25 goes by quarters
    seed=0-7              as --seed reads them
    prompt=fox,cat,dog    the word fox of the prompt, and cat and dog in its place
    prompt="red, big",blue    a value with a comma stands in double quotes, in which "" is one of them
    style="",3d           an empty value, in quotes, leaves the field out

Everything else, the seed too, is the same in all cells.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

from darkroom.contracts.errors import BadInput, shown
from darkroom.contracts.request import Request, parse_seeds
from darkroom.requests.spelling import Asked, kind_of, named, names, value_of

MOST_CELLS = 10_000
LETTERS = ("x", "y", "z")
_FILES = ("init_image", "mask", "lora", "control", "image_prompt", "embedding", "vae")
_NUMBER = r"(-?[0-9]{1,12}(?:\.[0-9]{1,12})?)"
_RANGE = re.compile(rf"\s*{_NUMBER}\s*\.\.\s*{_NUMBER}\s*(?::\s*{_NUMBER}\s*)?")


@dataclass(frozen=True, slots=True)
class Axis:
    """A field and its values, as text; of the prompt, what is replaced and what replaces it."""

    letter: str
    field: str
    values: tuple[str, ...]

    @property
    def title(self) -> str:
        """The field in words."""
        return self.field.replace("_", " ")

    @property
    def labels(self) -> list[str]:
        """The values as they are shown; of files their names."""
        shown = [Path(value).name if self.field in _FILES else value for value in self.values]
        return [" ".join(label.split()) or "none" for label in shown]

    def told(self, value: str) -> dict[str, Any]:
        """What a value tells; the prompt's replace words of a prompt, which :class:`Grid` does."""
        if value == "" and self.field != "negative":
            return {}
        return {self.field: value}


def parse_axis(letter: str, text: str) -> Axis:
    """The axis of "steps=4,8,16". Raises BadInput, with the nearest name, for what is none."""
    known = [name for name in names() if name != "count"]
    name, equals, rest = text.partition("=")
    if name.strip() == "count":
        raise BadInput(f"--{letter} count", "would draw the same again", f"lay out seeds: --{letter} seed=0-3")
    if not equals or not rest.strip():
        raise BadInput(f"--{letter} {shown(text)}", "names no field with its values", f"write --{letter} steps=4,8,16")
    field = named(name, f"field of --{letter}", known)
    values = _values(letter, field, rest)
    for value in values:
        if value == "" and field in ("prompt", "seed", "size"):
            raise BadInput(f"--{letter} {shown(text)}", "holds an empty value", "leave it out")
        if value and field != "prompt":
            try:
                value_of(field, value)
            except BadInput as error:
                raise BadInput(f"--{letter}: {error.value}", error.rule, error.fix) from None
    if len(set(values)) < len(values):
        raise BadInput(f"--{letter} {shown(text)}", "names one value twice", "name each once")
    if field == "prompt" and len(values) < 2:
        rule = "names nothing to put in its place"
        raise BadInput(f"--{letter} {shown(text)}", rule, f"write --{letter} prompt=fox,cat")
    return Axis(letter, field, values)


def _values(letter: str, field: str, text: str) -> tuple[str, ...]:
    if field == "seed":
        return tuple(map(str, parse_seeds(text)))
    try:
        [cells] = csv.reader([text], strict=True, skipinitialspace=True)
    except (csv.Error, ValueError):
        fix = 'write a value with commas as "a, b", and a quote in it twice'
        raise BadInput(f"--{letter} {shown(text)}", "is no list of values", fix) from None
    if "" in cells and '""' not in text:
        raise BadInput(f"--{letter} {shown(text)}", "holds an empty value", 'leave it out, or write it as ""')
    values: list[str] = []
    for cell in cells:
        values += _range(letter, field, cell) if kind_of(field) in ("integer", "number") else [cell.strip()]
        if len(values) > MOST_CELLS:
            raise BadInput(f"--{letter} {shown(text)}", f"has more than {MOST_CELLS:,} values", "give fewer")
    return tuple(values)


def _range(letter: str, field: str, text: str) -> list[str]:
    """The numbers of "1..5" or "1..2:0.25", both ends included where the steps meet them; any other text is itself."""
    match = _RANGE.fullmatch(text)
    if not match:
        return [text.strip()]
    first, last = Decimal(match[1]), Decimal(match[2])
    step = Decimal(match[3]) if match[3] else Decimal(1 if first <= last else -1)
    if step == 0 or (last - first) * step < 0:
        raise BadInput(f"--{letter} {shown(text)}", "never arrives", f"write {last}..{first}, or another step")
    count = math.floor((last - first) / step) + 1
    if count > MOST_CELLS:
        raise BadInput(
            f"--{letter} {shown(text)}", f"has {count:,} values, more than {MOST_CELLS:,}", "take larger steps"
        )
    return [f"{(first + number * step).normalize():f}" for number in range(count)]


@dataclass(frozen=True, slots=True)
class Cell:
    """One place of a grid: its position along x, y and z, and its request, or why there is none."""

    place: tuple[int, int, int]
    request: Request | BadInput


@dataclass(frozen=True, slots=True)
class Grid:
    """One request laid out along axes; an axis None has one place. The seeds in ``base`` are the same in all cells."""

    base: Asked
    axes: tuple[Axis | None, Axis | None, Axis | None]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Places along x, y and z."""
        x, y, z = (1 if axis is None else len(axis.values) for axis in self.axes)
        return x, y, z

    def cells(self) -> Iterator[Cell]:
        """The cells: x runs fastest, z slowest."""
        wide, high, deep = self.shape
        for z, y, x in product(range(deep), range(high), range(wide)):
            yield Cell((x, y, z), self._request((x, y, z)))

    def _request(self, place: tuple[int, int, int]) -> Request | BadInput:
        told: dict[str, Any] = {}
        swapped: dict[str, str] = {}
        left_out: set[str] = set()
        for axis, at in zip(self.axes, place, strict=True):
            if axis is None:
                continue
            if axis.field == "prompt":
                swapped[axis.values[0]] = axis.values[at]
            else:
                told |= axis.told(axis.values[at])
                left_out |= set() if axis.told(axis.values[at]) else {axis.field}
        fields = {name: value for name, value in self.base.fields.items() if name not in left_out}
        if swapped:
            fields["prompt"] = replaced(str(fields["prompt"]), swapped)
        try:
            [request] = Asked(fields, self.base.seed).but(told).requests(0)
        except BadInput as error:
            return error
        return request

    def prompt(self, z: int) -> str:
        """The prompt of the cells of a z value, where no other axis replaces words in it."""
        text, deepest = str(self.base.fields.get("prompt", "")), self.axes[2]
        if deepest is None or deepest.field != "prompt":
            return text
        return replaced(text, {deepest.values[0]: deepest.values[z]})

    def told(self, z: int) -> dict[str, Any]:
        """What the sheet of a z value was made of, for its metadata."""
        axes = {a.letter: {"field": a.field, "values": list(a.values)} for a in self.axes if a is not None}
        base = {name: value for name, value in self.base.fields.items() if value is not None}
        made = {"base": {**base, "seed": self.base.seed}, "axes": axes}
        deepest = self.axes[2]
        return made | ({"z": deepest.values[z]} if deepest is not None else {})


def replaced(text: str, swapped: Mapping[str, str]) -> str:
    """A text with each of these words replaced wherever it stands, all at once: what came in is not replaced again."""
    return re.sub("|".join(map(re.escape, swapped)), lambda found: swapped[found[0]], text)


def grid_of(base: Asked, texts: Mapping[str, str], seed: int, variation_seed: int) -> Grid:
    """The grid of a request and axes such as {"x": "steps=4,8"}; ``seed`` and ``variation_seed`` are those of all cells
    where none is given. Raises BadInput for axes that do not fit together, or too many cells."""
    axes = {letter: parse_axis(letter, text) for letter, text in texts.items()}
    if not {"x", "y"} & axes.keys():
        raise BadInput("--z", "needs --x or --y: it makes a sheet of each value", "give one of them")
    count = math.prod(len(axis.values) for axis in axes.values())
    if count > MOST_CELLS:
        raise BadInput(f"a grid of {count:,} pictures", f"is more than {MOST_CELLS:,}", "give fewer values")
    _check_fields(list(axes.values()))
    given = {axis.field for axis in axes.values()}
    fields = dict(base.fields)
    if "prompt" in given:
        _check_swaps([axis for axis in axes.values() if axis.field == "prompt"], fields.get("prompt"))
    if "seed" in given and (base.seed is not None or base.count != 1):
        raise BadInput("--seed", "and an axis of seeds say two different things", "leave --seed out")
    varied = "variation" in given or fields.get("variation") is not None
    if varied and "variation_seed" not in given | fields.keys():
        fields["variation_seed"] = variation_seed
    if base.count != 1 or (base.seed is not None and len(parse_seeds(base.seed)) > 1):
        what = "--count" if base.count != 1 else "--seed"
        raise BadInput(what, "asks for several pictures of each cell", "make it an axis: --z seed=0-3")
    x, y, z = (axes.get(letter) for letter in LETTERS)
    return Grid(Asked(fields, base.seed or str(seed)), (x, y, z))


def _check_fields(axes: list[Axis]) -> None:
    """Refuses two axes of one field, or of a size and one of its sides; words of the prompt may be on several."""
    for one, other in ((a, b) for a in axes for b in axes if a.letter < b.letter):
        both = {one.field, other.field}
        if (one.field == other.field and one.field != "prompt") or ("size" in both and both & {"width", "height"}):
            rule = f"and --{other.letter} say two different things of one picture"
            raise BadInput(f"--{one.letter}", rule, "lay out another field")


def _check_swaps(axes: list[Axis], prompt: Any) -> None:
    """Refuses words to replace that the prompt does not hold, or of which one holds another."""
    text = prompt if isinstance(prompt, str) else ""
    searched = [axis.values[0] for axis in axes]
    for at, (axis, word) in enumerate(zip(axes, searched, strict=True)):
        if word not in text:
            rule = f"replaces {shown(word)}, and the prompt does not hold it"
            raise BadInput(f"--{axis.letter} prompt", rule, "name first what stands in the prompt")
        if any(word in other for other in searched[:at] + searched[at + 1 :]):
            raise BadInput(
                f"--{axis.letter} prompt", f"replaces {shown(word)}, and so does another axis", "take others"
            )
