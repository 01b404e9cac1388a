"""One command from a judge's verdicts to a model that draws by them, stopped and gone on with on the way."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from program import ran
from safetensors import safe_open
from taught import random_judge
from tiny import saved, tiny_model

from darkroom.cards import EMBEDDED
from darkroom.cli import main
from darkroom.contracts.request import Request
from darkroom.generate import asked, run
from darkroom.judge.judge import load_judge
from darkroom.model import Model, load


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny_model(dtype=torch.float32), tmp_path_factory.mktemp("start"))


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    codec = tiny_model(dtype=torch.float32).codec.network  # type: ignore[attr-defined]
    with torch.no_grad():
        small = codec.decode(torch.randn(24, 4, 8, 8, generator=torch.Generator().manual_seed(0)))
    return random_judge(tmp_path_factory.mktemp("judge"), F.interpolate(small.clamp(0, 1), (128, 128)))


def pixels(model: Model, **fields: object) -> torch.Tensor:
    request = Request.checked({"prompt": "a red fox", "seed": 3, "steps": 3, "upscale": 1, **fields})
    return torch.from_numpy(run(asked(request, model), model.evaluate).pixels.copy())


@pytest.mark.parametrize("method", ["dpo", pytest.param("policy", marks=pytest.mark.slow)])
def test_verdicts_become_a_file_that_draws_otherwise(
    method: str,
    start: Path,
    judge: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["train", "preference", "--reward", str(judge), "--model", str(start), "--method", method, "--rank", "2"]
    command += ["--sentences", "8", "--each", "4", "--steps", "3", "--samples", "192", "--batch", "16", "--drift", "9"]
    command += ["--rate", "0.05", "--kinds", "single:1", "--no-compiled"]
    for minutes, said in (("0.001", r"stopped at step \d+ with"), ("5", "done after 192 samples")):
        with pytest.raises(SystemExit) as ended:
            main([*command, "--minutes", minutes])
        captured = capfd.readouterr()
        assert not ended.value.code and re.search(said, captured.err), captured.err
    out = captured.out.strip()
    assert out == "runs/preference/preference.safetensors" and list(Path("runs/preference/previews").glob("*.png"))
    lines = [json.loads(line) for line in Path("runs/preference/log.jsonl").read_text().splitlines()]
    assert lines and all(0 <= line["drift"] < 9 for line in lines)
    with safe_open(out, "pt") as opened:
        metadata, names = opened.metadata(), list(opened.keys())
    assert f"prefers what the judge {load_judge(judge).sha256[:12]} finds right" in metadata["modelspec.description"]
    assert names and all(name.startswith("transformer.") for name in names)  # of the denoiser alone

    before = {path.name: path.read_bytes() for path in start.iterdir()}
    model = load(str(start))
    plain, nought, whole = (pixels(model), *(pixels(model, lora=f"{out}:{scale}") for scale in (0, 1)))
    assert torch.equal(plain, nought) and not torch.equal(plain, whole)
    assert {path.name: path.read_bytes() for path in start.iterdir()} == before
    assert ran(*command, "--seed", "1") != 0  # another run's folder
    assert re.search("made otherwise|another configuration", capfd.readouterr().err)


def test_what_cannot_be_is_said_before_anything_is_drawn(
    start: Path, judge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    flow_map = saved(tiny_model(dtype=torch.float32, flow_map=(1.0, 6.0)), tmp_path / "flow-map")
    usual = ("train", "preference", "--model", start, "--reward")
    for arguments, sentence in (
        ((*usual, EMBEDDED), "is the judge that scores in `darkroom evaluate`"),
        ((*usual, tmp_path / "none"), "holds no judge (no such file or directory); give the folder of a packed judge"),
        ((*usual, judge, "--each", "1"), "each 1 is not from 2 to 64; give a number in between"),
        ((*usual, judge, "--method", "policy", "--batch", "60"), "does not divide a round: 448 steps of 64 pictures"),
        (("train", "preference", "--model", flow_map, "--reward", judge), "is a flow map, which this training would"),
    ):
        assert ran(*arguments) != 0
        assert sentence in capfd.readouterr().err, arguments
    assert not (tmp_path / "runs").exists()
