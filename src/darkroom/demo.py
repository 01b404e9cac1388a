"""``make demo``: four pictures and a contact sheet, by the same path as ``darkroom generate``."""

from __future__ import annotations

import sys
from pathlib import Path

from darkroom.contracts.errors import DarkroomError
from darkroom.contracts.request import Request
from darkroom.machine.heap import keep_pages
from darkroom.machine.threads import share_cores

PROMPTS = (
    "a fox, 3d",
    "a green car on a light blue background",
    "four stars, cartoon",
    "a castle, flat",
)
SEED = 7


def main(out: Path = Path("pictures")) -> None:
    """Draws the four and prints where they are."""
    share_cores()
    keep_pages()
    from darkroom.drawing import draw  # imports torch

    requests = [Request.model_validate({"prompt": prompt, "seed": SEED}) for prompt in PROMPTS]
    try:
        draw(requests, None, out, sheet=True)
    except DarkroomError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
