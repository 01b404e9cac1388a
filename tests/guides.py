"""The commands of a guide, run as they stand, and the pictures they draw on one sheet.

python -m tests.guides docs/starting-points.md    # redraws its pictures, and shows anew what its commands print
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image, ImageOps

from darkroom.cli import run
from darkroom.picture.read import read
from darkroom.picture.sheet import contact_sheet

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CELL = 192  # pixels a side
GRID = "grid.png"


@dataclass(frozen=True)
class Step:
    """A block of a guide that is run: lines of commands, or Python, where names last from block to block.

    ``shown`` is what the block of text after it shows the last line to print, or the Python; None: there is none.
    """

    python: bool
    text: str
    shown: str | None

    @property
    def lines(self) -> list[str]:
        """What is run, one after the other."""
        return [self.text] if self.python else [line for line in self.text.splitlines() if line.strip()]


def commands(guide: Path) -> list[list[str]]:
    """The command lines of its blocks, in order."""
    return [shlex.split(line) for step in steps(guide) if not step.python for line in step.lines]


def steps(guide: Path) -> list[Step]:
    """Its blocks that are run, in order."""
    blocks = _BLOCK.findall(guide.read_text(encoding="utf-8"))
    after = [*(text if kind == "text" else None for kind, text in blocks[1:]), None]
    found = zip(blocks, after, strict=True)
    return [Step(kind == "python", text, shown) for (kind, text), shown in found if kind in ("", "python")]


def beside(guide: Path, folder: Path) -> None:
    """Puts the photos of the guides where a guide looks for them."""
    (folder / "pictures").mkdir()
    for photo in (guide.parent / "pictures").glob("*.jpg"):
        shutil.copy(photo, folder / "pictures")


def followed(guide: Path, folder: Path, *, anew: bool = False) -> list[tuple[str, Path]]:
    """Runs the commands in a folder; the pictures they drew, each with the name of its own folder.

    Raises RuntimeError, with what it said, for the first that fails, or prints something else than the guide shows;
    ``anew`` writes that into the guide instead.
    """
    drawn: list[tuple[str, Path]] = []
    names: dict[str, Any] = {}
    for step in steps(guide):
        printed = ""
        for line in step.lines:
            printed = _executed(line, folder, names) if step.python else _ran(line, folder)
            if line.startswith(("darkroom generate ", "darkroom refine ")):
                drawn += [(Path(path).parent.name, folder / path) for path in printed.splitlines()]
        if step.shown is not None and anew:
            before, text = f"{step.text}```\n\n```text\n", guide.read_text(encoding="utf-8")
            guide.write_text(text.replace(f"{before}{step.shown}", f"{before}{printed}", 1))
        elif step.shown is not None and printed.strip() != step.shown.strip():
            raise RuntimeError(f"{step.lines[-1]}\nprints\n{printed}and not\n{step.shown}")
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


def _executed(code: str, folder: Path, names: dict[str, Any]) -> str:
    """What Python prints, run in a folder with the names of the blocks before."""
    out = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out):
        exec(compile(code, "<guide>", "exec"), names)
    return out.getvalue()


def main() -> None:
    guide = Path(sys.argv[1])
    if not commands(guide):  # its Python saves the pictures itself
        with tempfile.TemporaryDirectory() as folder:
            beside(guide, Path(folder))
            followed(guide, Path(folder), anew=True)
            shutil.copytree(Path(folder) / "pictures", guide.parent / "pictures", dirs_exist_ok=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        drawn = [one for one in followed(guide, Path(folder), anew=True) if one[1].suffix != ".webp"]  # no film
        laid_out = {f"{name}.png": read(path) for name, path in drawn if path.name == GRID}
        sheets = {**laid_out, f"{guide.stem}.png": _sheet([one for one in drawn if one[1].name != GRID])}
    for name, pixels in sheets.items():
        if f"(pictures/{name})" in guide.read_text(encoding="utf-8"):
            Image.fromarray(pixels).save(out := guide.parent / "pictures" / name, optimize=True)
            print(out)


def _sheet(drawn: list[tuple[str, Path]]) -> np.ndarray:
    """Pictures side by side, each with its name."""
    pixels = [read(path) for _, path in drawn]
    high = [Image.fromarray(p).resize((p.shape[1] * CELL // p.shape[0], CELL)) for p in pixels]
    wide = max(image.width for image in high)
    cells = [ImageOps.pad(image, (wide, CELL), color="white") for image in high]
    return contact_sheet([np.asarray(cell) for cell in cells], [name for name, _ in drawn], columns=4)


if __name__ == "__main__":
    main()
