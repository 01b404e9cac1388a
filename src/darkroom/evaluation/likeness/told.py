"""A likeness for people: lines of text, an object for programs, and two sheets to look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.data.imported import Imported
from darkroom.evaluation.likeness.own import COPIED, NEAR, Likeness, Named
from darkroom.picture.sheet import contact_sheet
from darkroom.picture.write import write

COLUMNS = 8
ROWS = 10  # of a sheet
SHEET, NEAREST = "likeness.png", "nearest.png"
WIDEST = 32  # characters of a caption in a table


def lines(found: Likeness) -> Iterator[str]:
    """For a terminal."""
    width = min(WIDEST, max(map(len, (*found.spaces, *found.kinds))))
    if found.named is not None:
        yield "Named right by a rule fitted to your pictures (real: those it was not fitted to):"
        yield f"  {'':{width}}  drawn        real"
        yield from (f"  {text[:width]:{width}}  {_row(row)}" for text, row in found.kinds.items())
        yield f"  {'all kinds':{width}}  {_row(found.named)}   by chance {1 / len(found.kinds):.2f}"
    else:
        yield "Not named: these captions are no kinds (two or more captions with ten pictures each would be)."
    yield "Distances of the drawn ones from yours (in brackets: of others of yours, nothing is nearer):"
    yield f"  {'':{width}}  FD-own             KID                precision    recall       diversity"
    for space, (made, real) in ((name, (both.made, both.real)) for name, both in found.spaces.items()):
        far = f"{made.fd_own:8.2f} ({real.fd_own:.2f})".ljust(19) + f"{made.kid:8.3f} ({real.kid:.3f})".ljust(19)
        shares = ((made.precision, real.precision), (made.recall, real.recall), (made.diversity, real.diversity))
        yield f"  {space:{width}}{far}" + " ".join(f"{own:.2f} ({other:.2f})" for own, other in shares)
    if found.near is None:
        yield f"Whether they are copies cannot be told from fewer than {COPIED} of your pictures; look at the nearest."
    else:
        yield f"Nearer to one of yours than {NEAR:.0%} of yours are to another: {found.near:.1%} of the drawn ones."
        yield f"Much more than {NEAR:.0%} would be copies; --out has the nearest ones to look at."


def _row(row: Named) -> str:
    return f"{row.drawn:.2f} ({row.drawn_number})".ljust(13) + f"{row.real:.2f} ({row.real_number})".ljust(12)


def as_json(found: Likeness) -> dict[str, Any]:
    """For programs."""
    return {
        "named": None if found.named is None else asdict(found.named),
        "kinds": {text: asdict(row) for text, row in found.kinds.items()},
        "distances": {name: asdict(both) for name, both in found.spaces.items()},
        "near": found.near,
    }


def sheets(found: Likeness, real: Imported, out: Path) -> tuple[Path, Path]:
    """Writes some of the drawn pictures, a kind a row, and those that are nearest to a real one, each over that one."""
    rows = list(found.kinds)[:ROWS]
    of = [[i for i, caption in enumerate(found.captions) if caption == text][:COLUMNS] for text in rows]
    columns = min(map(len, of), default=COLUMNS)
    shown = [i for row in of for i in row[:columns]] or list(range(min(len(found.pictures), ROWS * COLUMNS)))
    page = contact_sheet([found.pictures[i] for i in shown], [found.captions[i] for i in shown], columns, cell=128)

    nearest = sorted(range(len(found.pictures)), key=found.distance.__getitem__)
    nearest = nearest[: min(3, len(nearest) // COLUMNS) * COLUMNS]
    pictures: list[np.ndarray] = []
    captions: list[str] = []
    for start in range(0, len(nearest), COLUMNS):
        lot = nearest[start : start + COLUMNS]
        pictures += [found.pictures[i] for i in lot]
        captions += [f"{found.captions[i]}\ndrawn; the nearest of yours:" for i in lot]
        pictures += [real.pixels[found.nearest[i]].permute(1, 2, 0).numpy() for i in lot]
        captions += [f"{real.captions[found.nearest[i]]}\nat {found.distance[i]:.2f}" for i in lot]
    pairs = contact_sheet(pictures, captions, COLUMNS, cell=128)
    return write(page, out / SHEET), write(pairs, out / NEAREST, edited=True)  # photos are in it
