"""Every place where a checkpoint can fail, made to fail: the run that goes on ends as if nothing had been."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor
from toys import ToyObjective, everything, same_bits, toy_config

from darkroom.contracts import faults
from darkroom.contracts.errors import BadInput
from darkroom.training import checkpoint, loop
from darkroom.training.checkpoint import CheckpointError, NoRoom
from darkroom.training.loop import Trainer
from darkroom.training.reports import Progress

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["toys", "torch._dynamo"])
STEPS = 9
POINTS = ("checkpoint.file", "checkpoint.rename", "checkpoint.aside", "checkpoint.placed")


def trainer_in(folder: Path, samples: int = STEPS * 4, accumulate: int = 2) -> Trainer:
    return Trainer(ToyObjective(), toy_config(samples, accumulate=accumulate, checkpoint_steps=3), folder)


def train(folder: Path, fault: str) -> None:
    """One process of the run, with a fault; its warnings go into a file."""
    torch.set_num_threads(1)
    os.environ[faults.VARIABLE] = fault
    trainer = trainer_in(folder)

    def warn(sentence: str) -> None:
        with open(folder / "warnings.txt", "a") as file:
            file.write(sentence + "\n")

    trainer.resume(warn)
    trainer.run(lambda report: None, warn)


def ended(folder: Path, fault: str = "") -> int | None:
    folder.mkdir(exist_ok=True)
    process = PROCESSES.Process(target=train, args=(folder, fault))
    process.start()
    process.join(60)
    return process.exitcode


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> checkpoint.Checkpoint:
    """What an undisturbed run ends with."""
    folder = tmp_path_factory.mktemp("whole")
    assert ended(folder) == 0
    found = checkpoint.newest(folder / "checkpoints", pytest.fail)
    assert found is not None and found.state["step"] == STEPS
    return found


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_every_point_of_a_save(tmp_path: Path, whole: checkpoint.Checkpoint, point: str) -> None:
    """The k-th time such a point is passed, for k = 1, 2, 3 ..., until a run passes it fewer times than that."""
    for k in range(1, 40):
        folder = tmp_path / str(k)
        code = ended(folder, f"{point}:{k}:SIGKILL")
        killed = code == -signal.SIGKILL
        if killed:
            code = ended(folder)
        assert code == 0
        found = checkpoint.newest(folder / "checkpoints", pytest.fail)
        assert found is not None and found.state == whole.state
        assert all(same_bits(found.tensors[group], whole.tensors[group]) for group in whole.tensors)
        assert not (folder / "warnings.txt").exists() and list((folder / "checkpoints").glob(".*")) == []
        if not killed:
            break
    saves = STEPS // 3 + 1  # the last step's is written twice: by the steps, and at the end
    assert k == {"checkpoint.file": 5 * saves, "checkpoint.aside": 1}.get(point, saves) + 1


@pytest.mark.parametrize("point", ["checkpoint.file", "checkpoint.rename"])
def test_a_disk_that_fails_ends_the_run_in_one_sentence(
    tmp_path: Path, whole: checkpoint.Checkpoint, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    faults._seen.clear()
    monkeypatch.setenv(faults.VARIABLE, f"{point}:7:EIO" if point == "checkpoint.file" else f"{point}:2:EIO")
    trainer = trainer_in(tmp_path)
    with pytest.raises(
        CheckpointError, match=r"cannot write the checkpoint of step 6 to .*the last checkpoint is intact"
    ):
        trainer.run(lambda report: None, pytest.fail)
    monkeypatch.delenv(faults.VARIABLE)
    again = trainer_in(tmp_path)
    assert again.resume(pytest.fail) and again.step == 3
    again.run(lambda report: None, pytest.fail)
    found = checkpoint.newest(tmp_path / "checkpoints", pytest.fail)
    assert found is not None and all(same_bits(found.tensors[group], whole.tensors[group]) for group in whole.tensors)


def test_a_full_disk_pauses_training_until_there_is_room(
    tmp_path: Path, whole: checkpoint.Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults._seen.clear()
    monkeypatch.setenv(faults.VARIABLE, "checkpoint.file:7-9:ENOSPC")
    monkeypatch.setattr(loop, "PAUSE", 0.01)
    trainer, warnings = trainer_in(tmp_path), list[str]()
    trainer.run(lambda report: None, warnings.append)
    assert len(warnings) == 3 and all("No space left" in line and "training waits" in line for line in warnings)
    found = checkpoint.newest(tmp_path / "checkpoints", pytest.fail)
    assert found is not None and all(same_bits(found.tensors[group], whole.tensors[group]) for group in whole.tensors)


def test_a_pause_ends_when_the_run_is_told_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults._seen.clear()
    monkeypatch.setenv(faults.VARIABLE, "checkpoint.file:7-1000000:ENOSPC")
    monkeypatch.setattr(loop, "PAUSE", 0.01)
    trainer, warnings = trainer_in(tmp_path), list[str]()

    def warn(sentence: str) -> None:
        warnings.append(sentence)
        if len(warnings) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(NoRoom, match="free some space and resume"):
        trainer.run(lambda report: None, warn)
    kept = checkpoint.newest(tmp_path / "checkpoints", pytest.fail)
    assert kept is not None and kept.state["step"] == 3


def test_losses_that_are_not_finite_are_skipped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever micro-batch it was: what the step had gathered by then is dropped."""
    ends = []
    for occurrence in (3, 4):  # the first and the second of the second step
        faults._seen.clear()
        monkeypatch.setenv(faults.VARIABLE, f"training.loss:{occurrence}:NaN")
        trainer = trainer_in(tmp_path / str(occurrence))
        trainer.run(lambda report: None, pytest.fail)
        assert trainer.skipped == 1 and trainer.step == STEPS
        ends.append(everything(trainer))
    assert same_bits(*ends)


def test_what_is_only_looked_at_does_not_end_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults._seen.clear()
    monkeypatch.setenv(faults.VARIABLE, "training.log:1:ENOSPC")
    trainer, warnings = trainer_in(tmp_path), list[str]()

    def fails(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trainer.objective, "preview", fails)
    trainer.run(lambda report: None, warnings.append, fails)
    assert trainer.step == STEPS and len((tmp_path / "log.jsonl").read_text().splitlines()) == 0
    whats = ["the log", *["the hand-over"] * 3, "the preview"]
    assert sorted(warnings) == sorted(
        f"{what} was not written (no space left on device); training goes on" for what in whats
    )


class Numbered(ToyObjective):
    """Pictures that follow from their number alone."""

    def loss(self, first: int, count: int, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        numbers = torch.arange(first, first + count, dtype=torch.float32)
        x = (numbers[:, None] * torch.arange(1, 3 * 64 + 1)).sin().view(count, 3, 8, 8)
        loss = self.module(x.to(memory_format=torch.channels_last)).square().sum(1).mean()
        return loss, {"loss": torch.stack([loss.detach() * count, torch.tensor(float(count))])}


def test_micro_batches_add_up_to_their_batch(tmp_path: Path) -> None:
    """The loss is a mean over samples: its micro-batches' mean is the same, but for the order of the sums."""
    ends, losses = [], []
    for accumulate in (1, 2, 4):
        config = toy_config(40, accumulate=accumulate, dtype="float32")
        trainer = Trainer(Numbered(), config, tmp_path / str(accumulate))
        reports: list[Progress] = []
        trainer.run(reports.append, pytest.fail)
        ends.append(everything(trainer))
        losses.append([report.metrics["loss"] for report in reports])
    for end, loss in zip(ends[1:], losses[1:], strict=True):
        assert loss == pytest.approx(losses[0], rel=1e-5)
        for name, tensor in ends[0].items():
            torch.testing.assert_close(end[name], tensor, rtol=1e-3, atol=1e-5)
    with pytest.raises(BadInput, match="batch 4 cannot be cut into 3 equal micro-batches"):
        toy_config(40, accumulate=3)
