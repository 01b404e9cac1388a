"""docs/public-checkpoints.md, followed as a new user would, with checkpoints made here."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.program import ran
from tests.public import as_trained, in_one_file, needs_public, saved

pytestmark = needs_public
GUIDE = Path(__file__).parents[2] / "docs" / "public-checkpoints.md"


def commands() -> list[list[str]]:
    """The commands of the guide, in its order."""
    blocks = re.findall(r"^```\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("darkroom ")]
    return [shlex.split(line)[1:] for line in lines]


def test_every_command_of_the_guide_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path / "store"))
    pipeline = as_trained("sd1")
    saved(pipeline, tmp_path / "my-checkpoint")
    in_one_file(pipeline, "sd1", tmp_path / "painter.safetensors")
    given = commands()
    assert len(given) == 7
    for command in given:
        small = ["--size", "64", "--steps", "2"] if command[0] == "generate" and "--steps" not in command else []
        small += ["--size", "64"] if command[0] == "generate" and not small else []
        assert ran(*command, *small) == 0, command
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 2
