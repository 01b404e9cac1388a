"""One command from a folder of pictures to a model that draws them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import saved, tiny_model

import darkroom
from darkroom.cli import main
from darkroom.cli.train.options import MALLOC
from darkroom.contracts.errors import BadInput
from darkroom.model import read_card
from darkroom.training.handover import weights_of
from darkroom.training.legs.own import length_for, own_leg, prepared
from darkroom.training.legs.place import Place
from darkroom.training.loop import TrainConfig

NAMES = ("mug", "shirt", "lamp", "mug", "shirt", "lamp")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Six captioned pictures and one that is broken."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, name in enumerate(NAMES):
        pixels = np.random.default_rng(i).integers(0, 256, (140, 150, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"a photo of a {name}", encoding="utf-8")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with the allocator's settings: training would start the process anew for them."""
    monkeypatch.chdir(tmp_path)
    for name, value in MALLOC.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture
def train(here: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """Calls ``darkroom train``: what it printed, and said."""

    def train(*arguments: str) -> tuple[str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["train", *arguments, "--no-compiled", "--batch", "4"])
        captured = capfd.readouterr()
        assert not ended.value.code, captured.err
        return captured.out.strip(), captured.err

    return train


def test_a_folder_becomes_a_model(pictures: Path, tmp_path: Path, train: Callable[..., tuple[str, str]]) -> None:
    start = saved(tiny_model(), tmp_path / "start")
    command = ("--data", "pictures", "--from", "start", "--name", "shop", "--samples", "24")
    out, said = train(*command, "--minutes", "0.001")  # it is stopped
    assert out == "runs/own/model" and "6 pictures in runs/own/data" in said and "broken.png" in said
    assert "stopped at step 1 with 20 samples left" in said
    once = weights_of(tmp_path / "runs/own/handover", "denoiser")

    out, said = train(*command)  # it goes on
    assert "resuming runs/own from step 1: 4 of 24 samples done" in said and "done after 24 samples" in said
    after = weights_of(tmp_path / "runs/own/handover", "denoiser")
    assert any(not torch.equal(after[name], once[name]) for name in once)

    card = read_card(tmp_path / out)
    assert card.name == "shop" and card.training[-1].samples == 24
    assert set(card.words) == {"a", "photo", "of", "mug", "shirt", "lamp"}
    model = darkroom.load(str(tmp_path / out))
    image = model.generate("a photo of a mug", seed=1, steps=2)
    assert image.pixels.shape == (128, 128, 3)
    # The autoencoder is the start's; the denoiser learnt.
    before = weights_of(start, "denoiser")
    assert before.keys() == after.keys() and any(not torch.equal(before[name], after[name]) for name in before)


def test_from_scratch_only_the_denoiser_begins_anew(pictures: Path, tmp_path: Path) -> None:
    start = saved(tiny_model(), tmp_path / "start")
    data = prepared(pictures, tmp_path / "run", lambda line: None)
    trainer = own_leg(
        Place(data, tmp_path / "run", torch.device("cpu")), TrainConfig(8, 4), start, scratch=True, compiled=False
    )
    masters = trainer.masters.masters
    assert trainer.origin.keys() == {"autoencoder", "text"}
    words = weights_of(start, "text")
    assert all(torch.equal(masters[f"text.{name}"], weight.float()) for name, weight in words.items())
    assert not masters["denoiser.out.weight"].any()  # as a denoiser begins
    assert prepared(data, tmp_path / "elsewhere", pytest.fail) == data  # built already


def test_few_pictures_are_looked_at_often_and_many_not_for_ever(pictures: Path, tmp_path: Path) -> None:
    data = prepared(pictures, tmp_path / "run", lambda line: None)
    assert length_for(data) == 10_000
    lines = (data / "pictures.jsonl").read_text().splitlines()
    (data / "pictures.jsonl").write_text("\n".join(lines * 100), encoding="utf-8")
    assert length_for(data) == 36_000


def test_what_cannot_be_trained_on_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, sentence in (
        (["--data", "nowhere"], "error: --data nowhere is no folder; name the folder that holds your pictures"),
        (["--data", ".", "--from", "defualt"], "did you mean 'default'?"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["train", *arguments])
        assert ended.value.code in (1, 2) and sentence in capsys.readouterr().err
    with pytest.raises(BadInput, match="holds no usable picture"):
        prepared(here, here.parent / "out", lambda line: None)
