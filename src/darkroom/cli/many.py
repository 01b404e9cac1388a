"""``darkroom generate`` with ``--batch``, ``--x``, ``--y`` or ``--z``: many pictures of one command."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from darkroom.contracts.errors import BadInput
from darkroom.contracts.request import CHOSEN_SEEDS
from darkroom.requests.spelling import Asked


def draw_many(
    said: Mapping[str, Any],
    batch: str | None,
    axes: Mapping[str, str],
    out: Path,
    *,
    judge: Path | None,
    wildcards: Path | None,
    sheet: bool,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Draws a batch file, or the grid of axes such as {"x": "steps=4,8"}; ``said`` is what the flags tell of a picture,
    None of them what they do not."""
    from darkroom.picture.inputs import Inputs

    asked = Asked({}).but(said)
    inputs = Inputs(wildcards)
    if batch is not None:
        if axes:
            raise BadInput(f"--{next(iter(axes))}", "and --batch are two ways to draw many", "give one of them")
        from darkroom.drawing.batch import draw_batch  # torch is imported here
        from darkroom.requests.rows import BatchFile

        file = BatchFile(batch)
        file.check()
        draw_batch(file, asked, out, judge=judge, inputs=inputs, sheet=sheet, as_json=as_json, dry_run=dry_run)
        return
    if sheet:
        raise BadInput("--sheet", "is what a grid is anyway", "leave it out")
    from darkroom.requests.axes import grid_of

    grid = grid_of(asked, axes, secrets.randbelow(CHOSEN_SEEDS), secrets.randbelow(CHOSEN_SEEDS))
    from darkroom.drawing.grid import draw_grid

    draw_grid(grid, out, judge=judge, inputs=inputs, as_json=as_json, dry_run=dry_run)
