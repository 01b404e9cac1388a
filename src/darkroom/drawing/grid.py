"""A grid: one request laid out along axes. Its cells are drawn together, and each z value becomes a labelled sheet."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from darkroom.contracts.errors import BadInput, DarkroomError, Stopped, Unfinished, reason
from darkroom.contracts.files import check_folder
from darkroom.contracts.recipe import Recipe
from darkroom.drawing.pace import Load
from darkroom.drawing.reading import read_prompt
from darkroom.drawing.results import Judging, Models, Wanted, opening_of, raise_fault, results
from darkroom.drawing.speaker import Speaker, pictures
from darkroom.picture.grid import MOST_ALONG, Heads, grid_sheet
from darkroom.picture.image import Image
from darkroom.picture.inputs import Inputs
from darkroom.picture.read import read
from darkroom.picture.write import place_of, write_grid, write_new
from darkroom.requests.axes import Axis, Grid

Place = tuple[int, int, int]  # along x, y and z


@dataclass
class _Done:
    """What a grid has come to so far, by place; and the sheets by their place along z."""

    drawn: dict[Place, Path] = field(default_factory=dict)
    failed: dict[Place, str] = field(default_factory=dict)
    sheets: dict[int, Path] = field(default_factory=dict)
    ended: Counter[int] = field(default_factory=Counter)  # cells, by their place along z


def draw_grid(
    grid: Grid,
    out: Path,
    *,
    judge: Path | None = None,
    inputs: Inputs | None = None,
    as_json: bool = False,
    dry_run: bool = False,
) -> None:
    """Draws a grid into a folder, or says what that would be: each cell is saved as a picture, each z value as a sheet.

    ``judge`` and ``inputs`` are as for ``draw``. A value that no cell can be drawn with is refused before anything is
    drawn; a cell that cannot be drawn, or fails, leaves its place empty. Raises DarkroomError; once drawing has begun
    it is Unfinished, with what was saved.
    """
    for axis, places in zip(grid.axes[:2], grid.shape[:2], strict=True):
        if axis is not None and places > MOST_ALONG:
            rule = f"has {places:,} values, and a sheet shows {MOST_ALONG} in a line"
            raise BadInput(f"--{axis.letter}", rule, "lay them out along --z")
    if not dry_run:
        check_folder(out)
    drawing = _Drawing(grid, out, Judging(judge), inputs or Inputs(), Speaker(quiet=as_json))
    total = drawing.looked_through()
    if dry_run:
        recipes = [json.loads(one.recipe.to_json()) for one in drawing.wanted()]
        print(json.dumps(recipes, indent=1, ensure_ascii=False))
        return
    drawing.draw(total)
    if failed := drawing.done.failed:
        said = f"{pictures(len(failed))} of {len(failed) + len(drawing.done.drawn)} failed"
        raise Unfinished(said, fix="their places on the sheet are empty", done=drawing.as_json())
    if as_json:
        print(json.dumps(drawing.as_json()))


class _Drawing:
    """One go at a grid."""

    def __init__(self, grid: Grid, out: Path, judging: Judging, inputs: Inputs, say: Speaker) -> None:
        self.grid, self.out, self.say = grid, out, say
        self.judging, self.inputs, self.models = judging, inputs, Models()
        self.done = _Done()
        self.notes: list[str] = []
        self._largest = (1, 1)

    def as_json(self) -> dict[str, Any]:
        """For a program: every cell's outcome, and the sheets in the order of z."""
        told = {place: {"path": str(path)} for place, path in self.done.drawn.items()}
        told |= {place: {"error": said} for place, said in self.done.failed.items()}
        in_order = sorted(told, key=lambda place: place[::-1])
        values = [{axis.letter: axis.values[at] for axis, at in self._values(place)} for place in in_order]
        cells = [{**said, **told[place]} for said, place in zip(values, in_order, strict=True)]
        sheets = [str(self.done.sheets[z]) for z in sorted(self.done.sheets)]
        return {"cells": cells, "sheets": sheets, "notes": self.notes}

    def looked_through(self) -> Load:
        """What is to be drawn. Raises BadInput for a value that no cell can be drawn with."""
        total = Load()
        sound: list[set[int]] = [set(), set(), set()]
        first: Recipe | None = None
        for place, found in self._cells():
            if isinstance(found, Exception):
                continue
            for seen, at in zip(sound, place, strict=True):
                seen.add(at)
            total.add(found.load(self.models.opened(found.request)))
            width, height = self._largest
            self._largest = max(width, found.recipe.width), max(height, found.recipe.height)
            first = first or found.recipe
            fresh = read_prompt(self.models.opened(found.request), found.recipe).notes
            self.notes += [note for note in fresh if note not in self.notes]
        self._refuse(sound)
        self.say.notes(self.notes)
        sheets = self.grid.shape[2]
        on = "1 sheet" if sheets == 1 else f"{sheets} sheets"
        self.say.line("grid", f"{pictures(total.pictures)} on {on}, {total.evaluations} evaluations")
        return total

    def _refuse(self, sound: list[set[int]]) -> None:
        """Raises BadInput, with the reason, where a value of an axis is in no cell that can be drawn."""
        if all(len(seen) == places for seen, places in zip(sound, self.grid.shape, strict=True)):
            return
        for place, found in self._cells():
            for axis, at, seen in zip(self.grid.axes, place, sound, strict=True):
                if isinstance(found, Exception) and at not in seen:
                    where = "" if axis is None or not any(sound) else f"--{axis.letter} {axis.field}: "
                    raise BadInput(f"{where}{reason(found)}")

    def wanted(self) -> Iterator[Wanted[Place]]:
        """The cells that can be drawn, x fastest; those that cannot be are noted."""
        for place, found in self._cells():
            if isinstance(found, Wanted):
                yield found
            elif place not in self.done.failed:
                self._fail(place, found)

    def _cells(self) -> Iterator[tuple[Place, Wanted[Place] | Exception]]:
        for cell in self.grid.cells():
            try:
                if isinstance(cell.request, BadInput):
                    raise cell.request
                recipe = self.models.opened(cell.request).resolve(cell.request, self.inputs)
                yield cell.place, Wanted(cell.request, recipe, cell.place)
            except (DarkroomError, OSError) as error:
                yield cell.place, error

    def draw(self, total: Load) -> None:
        """Draws the cells, saves each as it ends, and makes each sheet when all of its cells have ended."""
        self.say.begins(total)
        try:
            for _, some in groupby(self.wanted(), key=lambda one: opening_of(one.request)):
                self._draw(some)
            self.say.ends()
            self._sheets(all_ended=True)
        except KeyboardInterrupt:
            self.say.clear()
            kept = f"{pictures(len(self.done.drawn))} kept"
            raise Stopped("stopped", fix=kept, done=self.as_json()) from None
        except (DarkroomError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            raise Unfinished(reason(error), done=self.as_json()) from error

    def _draw(self, some: Iterator[Wanted[Place]]) -> None:
        """Draws cells of one model."""
        first = next(some)
        model = self.models.opened(first.request)
        for one, result, watched in results(chain([first], some), model, self.judging, self.inputs, self.say):
            if isinstance(result, Exception):
                raise_fault(result)
                self._fail(one.what, result)
                watched.ended(drawn=False)
            else:
                self.done.drawn[one.what] = path = self._written(one.what, result)
                self.done.ended[one.what[2]] += 1
                self.say.saved(path)
                self.say.judged(result.recipe)
                watched.ended(drawn=True)
            self._sheets()

    def _written(self, place: Place, image: Image) -> Path:
        """Saves a cell under the number it has on its sheets, read from left to right."""
        (wide, high, deep), (x, y, z) = self.grid.shape, place
        number = place_of(x + wide * (y + high * z), wide * high * deep)
        return write_new(image.pixels, self.out, image.recipe, number=number)

    def _sheets(self, *, all_ended: bool = False) -> None:
        """Writes the sheets whose cells have all ended; pictures are read back, so that a grid of any size is small."""
        wide, high, deep = self.grid.shape
        for z in range(len(self.done.sheets), deep):
            if not all_ended and self.done.ended[z] < wide * high:
                return
            self.done.sheets[z] = self._sheet(z)
            self.say.saved(self.done.sheets[z])

    def _sheet(self, z: int) -> Path:
        x_axis, y_axis, _ = self.grid.axes

        def cell(x: int, y: int) -> Any:
            if (path := self.done.drawn.get((x, y, z))) is None:
                return self.done.failed.get((x, y, z), "not drawn")
            try:
                return read(path)
            except DarkroomError as error:  # someone moved it meanwhile
                return str(error)

        told = self.grid.told(z)
        edited = "init_image" in told["base"] or any(axis["field"] == "init_image" for axis in told["axes"].values())
        pixels = grid_sheet(cell, self._largest, _heads(x_axis), _heads(y_axis), self._title(z))
        return write_grid(pixels, self.out, told, edited=edited)

    def _title(self, z: int) -> str:
        """What all cells of a sheet share: the prompt, and below it the z value and what else was asked for."""
        prompt = self.grid.prompt(z)
        fields, laid_out = self.grid.base.fields, {axis.field for axis in self.grid.axes if axis is not None}
        deepest = self.grid.axes[2]
        said = [] if deepest is None or deepest.field == "prompt" else [f"{deepest.title} {deepest.labels[z]}"]
        said += [] if "seed" in laid_out else [f"seed {self.grid.base.seed}"]
        for name, value in fields.items():
            if name not in {"prompt", "model", *laid_out} and isinstance(value, str | int | float):
                said.append(f"{name.replace('_', ' ')} {value}")
        return f"{' '.join(prompt.split())}\n{', '.join(said)}"

    def _fail(self, place: Place, error: Exception) -> None:
        said = self.done.failed[place] = reason(error)
        self.done.ended[place[2]] += 1
        self.say.failed(", ".join(f"{axis.title} {axis.labels[at]}" for axis, at in self._values(place)), said)

    def _values(self, place: Place) -> list[tuple[Axis, int]]:
        """The axes, each with the number of its value at a place."""
        return [(axis, at) for axis, at in zip(self.grid.axes, place, strict=True) if axis is not None]


def _heads(axis: Axis | None) -> Heads | None:
    return None if axis is None else Heads(axis.title, axis.labels)
