"""What `darkroom train` is asked and cannot do is one sentence, said before anything is read or written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from darkroom.cli import main, train
from darkroom.cli.train import train_app
from darkroom.contracts.errors import BadInput
from darkroom.nn.autoencoder import AutoencoderConfig
from darkroom.training.handover import network_of, opened_autoencoder
from darkroom.training.legs.place import device_named
from darkroom.training.objectives.autoencoder import AutoencoderObjectiveConfig


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In an empty folder."""
    monkeypatch.chdir(tmp_path)


DIFFUSION = ("diffusion", "--autoencoder", "a", "--text", "t")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("text", "--batch", "0"), "batch 0 is not from 1 to 65,536; give a number in between"),
        (("judge", "--samples", "-5"), "samples -5 is not from 1 to"),
        (("text", "--rate", "nan"), "rate nan is not from 1e-09 to 1; give a number in between"),
        ((*DIFFUSION, "--decay", "2"), "decay 2.0 is not from 0 to 1"),
        ((*DIFFUSION, "--workers", "100000"), "workers 100000 is not from 0 to"),
        ((*DIFFUSION, "--run", "-1"), "run -1 is not from 0 to 65,535"),
        (("judge", "--run", "65536"), "run 65536 is not from 0 to 65,535"),
        (("text", "--threads", "0"), "threads 0 is not from 1 to"),
        (("text", "--threads", "100000"), "threads 100000 is not from 1 to"),
        (("autoencoder", "--crop", "0"), "crop 0 is not from 16 to 128"),
        (("autoencoder", "--crop", "63"), "crop 63 is not a multiple of 8; try 56"),
        (("autoencoder", "--fine-grain", "2"), "fine-grain 2.0 is not from 0 to 1"),
        (("autoencoder", "--channels", "0"), "channels 0 is not from 1 to 64"),
        (("text", "--device", "gpu"), "device 'gpu' is none of cpu, cuda"),
        ((*DIFFUSION, "--kinds", "sngle:1"), "unknown kind 'sngle'; did you mean 'single'?"),
        ((*DIFFUSION, "--styles", "3d:.5,carton:.5"), "unknown style 'carton'; did you mean 'cartoon'?"),
        ((*DIFFUSION, "--kinds", "single:-1"), "the share of single -1.0 is not from 0 to"),
        ((*DIFFUSION, "--kinds", "single:0"), "shares 'single:0' are all zero; give one of them a share"),
    ],
)
def test_values_have_bounds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", *arguments])
    said = capsys.readouterr()
    assert ended.value.code == 2 and said.out == ""
    assert said.err.startswith(f"error: {sentence}") and said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_named(None) == torch.device("cpu")
    with pytest.raises(BadInput, match="device 'cuda' is not there: PyTorch finds no GPU; give --device cpu"):
        device_named("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(device_named(name)) for name in (None, "cuda", "cuda:1", "cpu")] == ["cuda", "cuda", "cuda:1", "cpu"]
    with pytest.raises(BadInput, match="device 'cuda:2' is none of cpu, cuda, cuda:0, cuda:1"):
        device_named("cuda:2")


def test_crops_within_bounds_are_taken() -> None:
    assert [AutoencoderObjectiveConfig(crop=side).crop for side in (16, 64, 128)] == [16, 64, 128]


def test_a_hand_over_of_another_leg_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "leg.json").write_text(json.dumps({"name": "text", "networks": {"text": {}}}))
    with pytest.raises(
        BadInput, match=r"holds no autoencoder but text; give the handover folder of a `darkroom train a"
    ):
        opened_autoencoder(tmp_path)
    with pytest.raises(BadInput, match=r"holds no denoiser but text; .* `darkroom train diffusion` run"):
        network_of(tmp_path, "denoiser", AutoencoderConfig)


@pytest.mark.parametrize("verb", ["autoencoder", "text", "diffusion", "flow-map", "judge", "next"])
def test_every_option_is_described(verb: str) -> None:
    arguments = train_app[verb].assemble_argument_collection(parse_docstring=True)
    assert [a.name for a in arguments if not a.parameter.help] == []
    assert "Examples" in (getattr(train, f"train_{verb.replace('-', '_')}").__doc__ or "")
