"""Sheets and films of saved pictures: read back, so that drawing any number of them costs no memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from darkroom.contracts.errors import DarkroomError
from darkroom.drawing.speaker import Speaker
from darkroom.picture.metadata import read_recipe
from darkroom.picture.read import read
from darkroom.picture.sheet import contact_sheet
from darkroom.picture.write import write_film, write_sheet

PER_SHEET = 48  # pictures; a dozen rows of four, which a screen shows in two or three goes
COLUMNS = 4
FRAME = 120  # milliseconds of a film's frame


def contact_sheets(paths: Sequence[Path], out: Path, say: Speaker) -> list[Path]:
    """Sheets of pictures in their order, of PER_SHEET each, with prompts and seeds; those gone by now are left out."""
    made: list[Path] = []
    for start in range(0, len(paths), PER_SHEET):
        pixels, captions, edited = [], [], False
        for path in paths[start : start + PER_SHEET]:
            try:
                recipe = read_recipe(path)
                pixels.append(read(path))
            except DarkroomError:
                continue  # someone moved it meanwhile
            captions.append(f"{recipe.prompt.text}  {recipe.seed}")
            edited |= recipe.init_image is not None
        if pixels:
            sheet = contact_sheet(pixels, captions, columns=min(COLUMNS, len(captions)))
            made.append(write_sheet(sheet, out, edited=edited))
            say.saved(made[-1])
    return made


def film(paths: Sequence[Path], out: Path, say: Speaker) -> Path | None:
    """The pictures one after the other, there and back again; None where fewer than two are left."""
    frames, edited = [], False
    for path in paths:
        try:
            edited |= read_recipe(path).init_image is not None
            frames.append(read(path))
        except DarkroomError:
            continue  # someone moved it meanwhile
    if len(frames) < 2:
        return None
    made = write_film([*frames, *frames[-2:0:-1]], out, FRAME, edited=edited)
    say.saved(made)
    return made
