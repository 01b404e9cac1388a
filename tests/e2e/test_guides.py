"""Every command of the guides works as it stands, with the model in the package."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.guides import ROOT, beside, commands, followed

ELSEWHERE = ("public-checkpoints",)  # followed in test_public_guide.py, with checkpoints made there
GUIDES = [
    path
    for path in sorted((ROOT / "docs").glob("*.md"))
    if "```\ndarkroom generate" in path.read_text("utf-8") and path.stem not in ELSEWHERE
]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_the_commands_of_a_guide_draw(guide: Path, tmp_path: Path) -> None:
    asked = [line for line in commands(guide) if line[:2] == ["darkroom", "generate"]]
    drawn = followed(guide, tmp_path)
    assert len(drawn) >= len(asked) > 0 and all(path.is_file() for _, path in drawn)


def test_one_prompt_is_followed_all_the_way(tmp_path: Path) -> None:
    guide = ROOT / "docs" / "how-it-works.md"
    beside(guide, tmp_path)
    followed(guide, tmp_path)  # what it prints is what the guide shows
    pictures = set(re.findall(r"\]\((pictures/\S+)\)", guide.read_text("utf-8")))
    made = {f"pictures/{path.name}" for path in (tmp_path / "pictures").glob("*.png")}
    assert len(pictures) > 5 and made == pictures  # all of them, and no other
    for name in pictures:  # they are those of the guide, but for another machine's last digits
        new, old = (Image.open(folder / name).convert("RGB") for folder in (tmp_path, guide.parent))
        assert new.size == old.size and float(np.abs(np.asarray(new, float) - np.asarray(old, float)).mean()) < 8


def test_there_are_guides() -> None:
    first = {"anatomy", "finishing", "judging", "many-pictures", "prompts", "sampling", "starting-points", "steering"}
    assert first <= {guide.stem for guide in GUIDES}
