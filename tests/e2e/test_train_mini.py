"""`make train-mini`: every leg of the plan trains, hands over, and the next takes it up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from train_mini import LEGS, replay

from darkroom.cards import read_card


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_plan(tmp_path: Path) -> None:
    took = replay(tmp_path)
    assert took.keys() > LEGS.keys()
    for leg in LEGS:
        lines = [json.loads(line) for line in (tmp_path / leg / "log.jsonl").read_text().splitlines()]
        assert lines and all(value == value and abs(value) < 1e9 for line in lines for value in line.values()), leg
        assert (tmp_path / leg / "handover" / "leg.json").exists()
    flow = [json.loads(line)["flow"] for line in (tmp_path / "base" / "log.jsonl").read_text().splitlines()]
    assert flow[-1] < 0.9 * flow[0]  # it learns

    model, quick = read_card(tmp_path / "model"), read_card(tmp_path / "quick")
    assert "upscaler" in model.files and quick.defaults.sampler == "flow-map" and quick.defaults.steps == 4
    drawn = {name: next((tmp_path / "drawn" / name).glob("*.png")) for name in ("model", "quick")}
    assert Image.open(drawn["model"]).size == (256, 256) and Image.open(drawn["quick"]).size == (128, 128)
    assert all(np.asarray(Image.open(path).convert("RGB")).std() > 0 for path in drawn.values())
    assert Image.open(tmp_path / "sheet.png").size[0] > 500
    assert list((tmp_path / "scores").glob("*.html"))
