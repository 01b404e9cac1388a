"""Every command of the guides works as it stands, with the model in the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guides import ROOT, commands, followed

GUIDES = [path for path in sorted((ROOT / "docs").glob("*.md")) if "```\ndarkroom generate" in path.read_text("utf-8")]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_the_commands_of_a_guide_draw(guide: Path, tmp_path: Path) -> None:
    asked = [line for line in commands(guide) if line[:2] == ["darkroom", "generate"]]
    drawn = followed(guide, tmp_path)
    assert len(drawn) >= len(asked) > 0 and all(path.is_file() for _, path in drawn)


def test_there_are_guides() -> None:
    assert {"anatomy", "finishing", "many-pictures", "starting-points", "steering"} <= {g.stem for g in GUIDES}
