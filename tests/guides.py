"""The commands of a guide, run as they stand, and the pictures they draw on one sheet.

python -m tests.guides docs/starting-points.md    # redraws its pictures, and shows anew what its commands print
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image, ImageOps

from darkroom.cli import run
from darkroom.picture.read import read
from darkroom.picture.sheet import contact_sheet

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CELL = 192  # pixels a side


def commands(guide: Path) -> list[list[str]]:
    """The command lines of its blocks, in order."""
    return [shlex.split(line) for lines, _ in _steps(guide) for line in lines]


def _steps(guide: Path) -> list[tuple[list[str], str | None]]:
    """Its blocks of command lines, each with what the block of text after it shows the last of them to print; None:
    there is none."""
    blocks = _BLOCK.findall(guide.read_text(encoding="utf-8"))
    after = [*(text if kind == "text" else None for kind, text in blocks[1:]), None]
    steps = zip(blocks, after, strict=True)
    return [([line for line in text.splitlines() if line.strip()], out) for (kind, text), out in steps if not kind]


def followed(guide: Path, folder: Path, *, anew: bool = False) -> list[tuple[str, Path]]:
    """Runs the commands in a folder; the pictures they drew, each with the name of its own folder.

    Raises RuntimeError, with what it said, for the first that fails, or prints something else than the guide shows;
    ``anew`` writes that into the guide instead.
    """
    drawn: list[tuple[str, Path]] = []
    for lines, shown in _steps(guide):
        for line in lines:
            printed = _ran(line, folder)
            if line.startswith(("darkroom generate ", "darkroom refine ")):
                drawn += [(Path(path).parent.name, folder / path) for path in printed.splitlines()]
        if shown is not None and anew:
            text = guide.read_text(encoding="utf-8")
            guide.write_text(
                text.replace(f"{lines[-1]}\n```\n\n```text\n{shown}", f"{lines[-1]}\n```\n\n```text\n{printed}", 1)
            )
        elif shown is not None and printed.strip() != shown.strip():
            raise RuntimeError(f"{line}\nprints\n{printed}and not\n{shown}")
    return drawn


def _ran(line: str, folder: Path) -> str:
    """What a command prints, run in a folder; in this process, which has torch already, where it is darkroom's own."""
    program, *arguments = shlex.split(line)
    if program != "darkroom":
        done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{line}\n{done.stderr}")
        return done.stdout
    out, said, code = io.StringIO(), io.StringIO(), None
    settings = mock.patch.dict(os.environ, {"DARKROOM_CONFIG": str(folder / "config")})
    with settings, contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        try:
            run.main(arguments)
        except SystemExit as ended:
            code = ended.code
    if code:
        raise RuntimeError(f"{line}\n{said.getvalue()}")
    return out.getvalue()


def main() -> None:
    guide = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        drawn = [one for one in followed(guide, Path(folder), anew=True) if one[1].suffix != ".webp"]  # no film
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
