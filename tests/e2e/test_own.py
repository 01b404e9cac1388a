"""One command from a folder of pictures to a model that draws them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import saved, tiny_model

import darkroom
from darkroom.cards import read_card
from darkroom.cli import main
from darkroom.contracts.errors import BadInput
from darkroom.training.handover import weights_of
from darkroom.training.legs.own import length_for, own_leg, prepared
from darkroom.training.legs.place import Place
from darkroom.training.loop import TrainConfig, Trainer, TrainingError

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
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
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
    stopped = re.search(r"stopped at step (\d) with", said)
    assert stopped and int(stopped[1]) < 6
    once = weights_of(tmp_path / "runs/own/handover", "denoiser")

    out, said = train(*command)  # it goes on
    assert f"resuming runs/own from step {stopped[1]}" in said and "done after 24 samples" in said
    after = weights_of(tmp_path / "runs/own/handover", "denoiser")
    assert any(not torch.equal(after[name], once[name]) for name in once)

    card = read_card(tmp_path / out)
    assert card.name == "shop" and card.training[-1].samples == 24
    assert set(card.words) == {"a", "photo", "of", "mug", "shirt", "lamp"}
    model = darkroom.load(str(tmp_path / out))
    image = model.generate("a photo of a mug", seed=1, steps=2)
    assert image.pixels.shape == (256, 256, 3)
    # The autoencoder and the upscaler are the start's; the denoiser learnt.
    for part in ("autoencoder", "upscaler"):
        theirs, ours = weights_of(start, part), weights_of(tmp_path / out, part)
        assert theirs.keys() == ours.keys() and all(torch.equal(theirs[name], ours[name]) for name in theirs)
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
        (["--data", ".", "--batch", "0"], "batch 0 is not from 1 to"),
        (["--data", ".", "--samples", "0"], "samples 0 is not from 1 to"),
        (["--data", ".", "--rate", "9"], "rate 9.0 is not from"),
        (["--data", ".", "--name", ""], "name"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["train", *arguments])
        assert ended.value.code in (1, 2) and sentence in capsys.readouterr().err
    assert list(here.iterdir()) == []
    with pytest.raises(BadInput, match="holds no usable picture"):
        prepared(here, here.parent / "out", lambda line: None)


def test_a_flow_map_is_not_trained_as_a_denoiser(pictures: Path, tmp_path: Path) -> None:
    start = saved(tiny_model(flow_map=(1.0, 6.0)), tmp_path / "start")
    data = prepared(pictures, tmp_path / "run", lambda line: None)
    with pytest.raises(BadInput, match="is a flow map, which this training would undo"):
        own_leg(Place(data, tmp_path / "run", torch.device("cpu")), TrainConfig(8, 4), start, scratch=False)


def test_other_pictures_or_another_autoencoder_are_noticed(pictures: Path, tmp_path: Path) -> None:
    starts = [saved(tiny_model(seed), tmp_path / f"start-{seed}") for seed in (0, 1)]

    def trainer(start: Path) -> Trainer:
        data = prepared(pictures, tmp_path / "run", lambda line: None)
        place = Place(data, tmp_path / "run", torch.device("cpu"))
        return own_leg(place, TrainConfig(8, 4), start, scratch=False, compiled=False)

    trainer(starts[0]).run(lambda report: None, pytest.fail)
    assert trainer(starts[0]).resume(pytest.fail)
    with pytest.raises(TrainingError, match="trained with another autoencoder"):
        trainer(starts[1]).resume(pytest.fail)
    (pictures / "5.txt").write_text("a photo of " + "a very " * 200 + "long scarf", encoding="utf-8")
    with pytest.raises(TrainingError, match="another configuration") as changed:
        trainer(starts[0])
    assert len(str(changed.value)) < 800
