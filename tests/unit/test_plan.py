"""The training plan's blocks are commands the program understands."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkroom.cli import app, main
from darkroom.contracts.errors import BadFile
from darkroom.training.legs.place import Place
from darkroom.training.legs.plan import legs, next_leg, with_options
from darkroom.training.loop import TrainConfig

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


def test_options_take_the_place_of_a_legs_own() -> None:
    own = ["train", "judge", "--from", "a", "--run", "2"]
    assert with_options(own, {"--from": "b", "--minutes": "7"}) == [*own[:3], "b", *own[4:], "--minutes", "7"]
    assert own[3] == "a"


def test_a_leg_goes_on_from_what_came_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its hand-over under $OUT, as flat as it must be to come back, and the run folder elsewhere."""
    (tmp_path / "plan.md").write_text("```leg gpu (queued)\ntrain judge --data {data} --out {out} --from old\n```\n")
    told: list[dict[str, object]] = []

    def leg(place: Place, config: TrainConfig, start: Path, **more: object) -> str:
        told.append({"place": place, "config": config, "start": start, **more})
        return "a trainer"

    monkeypatch.setattr("darkroom.training.legs.judge.judge_leg", leg)
    monkeypatch.setattr("darkroom.training.console.train", lambda trainer, deliver: told.append({"deliver": deliver}))
    monkeypatch.setattr("darkroom.cli.train.judge.prepare", lambda threads: None)
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    words = ["train", "next", "--plan", str(tmp_path / "plan.md"), "--minutes", "7", "--from", "back", "--run", "3"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--device", "cpu"])
    assert not ended.value.code
    assert told[0]["start"] == Path("back") and told[0]["run"] == 3 and told[0]["config"].minutes == 7  # type: ignore[attr-defined]
    assert told[0]["place"].out == Path("runs/gpu")  # type: ignore[attr-defined]
    assert told[1]["deliver"] == tmp_path / "out" / "gpu"


@pytest.mark.parametrize("leg", legs(PLAN.read_text(encoding="utf-8")), ids=lambda leg: leg.name)
def test_every_leg_of_our_plan_parses(leg) -> None:
    command, bound, _ = app.parse_args(leg.arguments(Path("out"), Path("data")), exit_on_error=False, print_error=False)
    assert command.__name__.startswith("train_")
    assert bound.arguments["out"] == Path("out")
