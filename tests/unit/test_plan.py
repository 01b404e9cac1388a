"""The training plan's blocks are commands the program understands."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkroom.cli import app
from darkroom.contracts.errors import BadFile
from darkroom.training.plan import legs, next_leg

PLAN = Path(__file__).parents[2] / "docs" / "training-plan.md"

TEXT = """
```leg first (done)
train text --out {out}
```
words
```leg second (queued)
train diffusion --data {data}
  --styles "3d:.5,black and white:.5" --out {out}
```
"""


def test_blocks_are_read_in_order() -> None:
    first, second = legs(TEXT)
    assert (first.name, first.queued) == ("first", False)
    assert second.arguments(Path("o"), Path("d")) == [
        "train", "diffusion", "--data", "d", "--styles", "3d:.5,black and white:.5", "--out", "o",
    ]  # fmt: skip


def test_the_next_leg_is_the_first_queued_one(tmp_path: Path) -> None:
    (tmp_path / "plan.md").write_text(TEXT)
    assert next_leg(tmp_path / "plan.md").name == "second"
    assert next_leg(tmp_path / "plan.md", "second").name == "second"
    with pytest.raises(BadFile, match="no queued leg 'first'; take one of second"):
        next_leg(tmp_path / "plan.md", "first")
    (tmp_path / "plan.md").write_text(TEXT.replace("queued", "done"))
    with pytest.raises(BadFile, match="no queued leg; add one"):
        next_leg(tmp_path / "plan.md")


@pytest.mark.parametrize("leg", legs(PLAN.read_text(encoding="utf-8")), ids=lambda leg: leg.name)
def test_every_leg_of_our_plan_parses(leg) -> None:
    command, bound, _ = app.parse_args(leg.arguments(Path("out"), Path("data")), exit_on_error=False, print_error=False)
    assert command.__name__.startswith("train_")
    assert bound.arguments["out"] == Path("out")
