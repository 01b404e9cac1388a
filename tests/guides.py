"""The commands of a guide, run as they stand, and the pictures they draw on one sheet.

python -m tests.guides docs/starting-points.md    # redraws docs/pictures/starting-points.png
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from darkroom.picture.read import read
from darkroom.picture.sheet import contact_sheet

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)
CELL = 192  # pixels a side


def commands(guide: Path) -> list[list[str]]:
    """The command lines of its blocks, in order."""
    lines = [line for block in _BLOCK.findall(guide.read_text(encoding="utf-8")) for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.strip()]


def followed(guide: Path, folder: Path) -> list[tuple[str, Path]]:
    """Runs the commands in a folder; the pictures they drew, each with the name of its own folder.

    Raises RuntimeError, with what it said, for the first that fails.
    """
    drawn: list[tuple[str, Path]] = []
    for program, *arguments in commands(guide):
        start = [sys.executable, "-m", "darkroom.cli"] if program == "darkroom" else [sys.executable]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        done = subprocess.run([*start, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{shlex.join([program, *arguments])}\n{done.stderr}")
        drawn += [(Path(line).parent.name, folder / line) for line in done.stdout.splitlines()]
    return drawn


def main() -> None:
    guide = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        drawn = followed(guide, Path(folder))
        pixels = [read(path) for _, path in drawn]
        high = [Image.fromarray(p).resize((p.shape[1] * CELL // p.shape[0], CELL)) for p in pixels]
        wide = max(image.width for image in high)
        cells = [ImageOps.pad(image, (wide, CELL), color="white") for image in high]
    sheet = contact_sheet([np.asarray(cell) for cell in cells], [name for name, _ in drawn], columns=4)
    out = guide.parent / "pictures" / f"{guide.stem}.png"
    out.parent.mkdir(exist_ok=True)
    Image.fromarray(sheet).save(out, optimize=True)
    print(out)


if __name__ == "__main__":
    main()
