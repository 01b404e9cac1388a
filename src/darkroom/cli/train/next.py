"""``darkroom train next``: the leg that a plan queues."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from darkroom.cli.train.options import (
    Data,
    Device,
    From,
    Minutes,
    train_app,
)


@train_app.command(name="next")
def train_next(
    *,
    plan: Path = Path("docs/training-plan.md"),
    data: Data = Path("runs/data"),
    minutes: Minutes = None,
    device: Device = None,
    run: int | None = None,
    start: From = None,
    leg: str | None = None,
) -> None:
    """Run the first queued leg of a training plan, or another one; its run folder goes under runs.

    Where $OUT is set the hand-over is also put there, as OUT/LEG, at every checkpoint.

    Examples:

        darkroom train next --leg gpu-judge --minutes 7 --device cuda
        darkroom train next --leg gpu-judge --minutes 7 --device cuda --from runs/back/gpu-judge --run 3

    Parameters
    ----------
    run
        Number of the scenes, in place of the leg's own.
    start
        Hand-over to start from, in place of the leg's own: where an earlier call of the same leg ended.
    leg
        Another queued leg than the first, by name.
    plan
        The file that holds the plan.
    """
    from darkroom.training.legs.plan import next_leg, with_options

    planned = next_leg(plan, leg)
    options = {"--minutes": minutes, "--device": device, "--run": run, "--from": start}
    if out := os.environ.get("OUT"):
        options["--deliver"] = Path(out) / planned.name
    given = {name: str(value) for name, value in options.items() if value is not None}
    arguments = with_options(planned.arguments(Path("runs") / planned.name, data), given)
    print(f"leg {planned.name}: darkroom {shlex.join(arguments)}", file=sys.stderr)
    train_app(arguments[1:], exit_on_error=False, print_error=False)
