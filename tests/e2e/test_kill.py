"""Training that is killed anywhere, or runs out of disk, and goes on as if nothing had been.

The killed processes are forked from one that has torch loaded already: ten kills cost ten forks, not ten starts.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
import torch
from torch import Tensor
from toys import ToyObjective, same_bits, sprite_table, toy_config

import darkroom
from darkroom.data.ahead import Ahead
from darkroom.data.scenes.spec import FULL
from darkroom.data.stock import tables
from darkroom.data.stock.built import DRAWINGS
from darkroom.training import checkpoint
from darkroom.training.loop import Trainer
from darkroom.wording.vocabulary import everyday

SRC = Path(darkroom.__file__).parents[1]
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["toys", "torch._dynamo"])  # which the first step of torch.optim imports

SLOW_SAVE = 0.004  # seconds before each file of a checkpoint: a save is open long enough to be hit
SLOW_STEP = 0.003


class Fed(ToyObjective):
    """Its pictures are made ahead by two other processes, over and over the same ten."""

    def __init__(self, watch: Callable[[int], None]) -> None:
        super().__init__(watch=watch)
        self.ahead = Ahead(numbers, torch.cat, 2)

    def loss(self, first: int, count: int, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        loss, metrics = super().loss(first, count, generator)
        drawn = self.ahead(first, count).to(self.module.out.weight.dtype)
        return loss + self.module(drawn.to(memory_format=torch.channels_last)).float().square().mean(), metrics

    def close(self) -> None:
        self.ahead.close()


def numbers(first: int, count: int) -> Tensor:
    return ((torch.arange(first, first + count) % 10)[:, None] * torch.arange(3 * 64)).sin().view(count, 3, 8, 8)


def train(folder: Path, steps: int, slow: bool) -> None:
    """One process of the run: takes up what is there and trains to the end, noting samples and warnings in files."""
    torch.set_num_threads(1)
    if slow:
        quick = checkpoint._write_synced

        def slowly(path: Path, data: bytes) -> None:
            time.sleep(SLOW_SAVE)
            quick(path, data)

        checkpoint._write_synced = slowly

    def note(first: int) -> None:
        with open(folder / "samples.txt", "a") as file:
            file.write(f"{os.getpid()} {first}\n")
        time.sleep(SLOW_STEP if slow else 0)

    def warn(sentence: str) -> None:
        with open(folder / "warnings.txt", "a") as file:
            file.write(sentence + "\n")

    with closing(Fed(note)) as objective:
        trainer = Trainer(objective, toy_config(steps * 4, accumulate=2, checkpoint_steps=7), folder)
        trainer.resume(warn)
        trainer.run(lambda report: None, warn)


def started(folder: Path, steps: int, slow: bool) -> ForkServerProcess:
    folder.mkdir(exist_ok=True)
    process = PROCESSES.Process(target=train, args=(folder, steps, slow))
    process.start()
    return process


def wait(until: Callable[[], bool], process: ForkServerProcess) -> None:
    end = time.monotonic() + 60
    while not until() and process.is_alive():
        assert time.monotonic() < end, "the training process hangs"
        time.sleep(0.0005)


def staged(folder: Path) -> list[Path]:
    return list((folder / "checkpoints").glob(".*"))


def trained_samples(folder: Path) -> list[int]:
    lines = (folder / "samples.txt").read_text().splitlines() if (folder / "samples.txt").exists() else []
    return [int(line.split()[1]) for line in lines if len(line.split()) == 2]


def killed_at_random(folder: Path, steps: int, kills: int) -> int:
    """Kills the run so many times, then lets it end; how many kills left a checkpoint half written."""
    dice, inside = random.Random(7), 0
    for i in range(kills):
        process = started(folder, steps, slow=True)
        already = len(trained_samples(folder))
        wait(lambda already=already: len(trained_samples(folder)) > already, process)
        if i % 2:  # within a save
            wait(lambda: bool(staged(folder)), process)
            time.sleep(dice.uniform(0, 6 * SLOW_SAVE))
        else:  # anywhere
            time.sleep(dice.uniform(0, 0.25))
        assert process.is_alive(), "the run ended before it could be killed: give it more steps"
        process.kill()
        process.join()
        assert process.exitcode == -9
        inside += bool(staged(folder))
    last = started(folder, steps, slow=False)
    last.join(120)
    assert last.exitcode == 0
    return inside


@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_anywhere_it_ends_in_the_same_bits(tmp_path: Path, kills: int) -> None:
    steps = 60 * kills
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = started(whole, steps, slow=False)
    inside = killed_at_random(killed, steps, kills)
    process.join(120)
    assert process.exitcode == 0
    assert inside >= kills // 5  # or the test would not have shown what it says

    expected, found = (checkpoint.newest(folder / "checkpoints") for folder in (whole, killed))
    assert expected is not None and found is not None
    assert found.state == expected.state and found.state["step"] == steps
    assert found.tensors.keys() == {"masters", "ema", "moments"} == expected.tensors.keys()
    for group, tensors in expected.tensors.items():
        assert same_bits(found.tensors[group], tensors), group
    assert not (killed / "warnings.txt").exists()  # no checkpoint was ever found damaged
    assert staged(killed) == []

    # Every process went on at a checkpoint with the sample after it, and none was left out.
    assert trained_samples(whole) == list(range(0, steps * 4, 2))
    assert sorted(set(trained_samples(killed))) == list(range(0, steps * 4, 2))
    by_process: dict[str, list[int]] = {}
    for line in (killed / "samples.txt").read_text().splitlines():
        by_process.setdefault(line.split()[0], []).append(int(line.split()[1]))
    assert len(by_process) == kills + 1
    for firsts in by_process.values():
        assert firsts[0] % (7 * 4) == 0 and firsts == list(range(firsts[0], firsts[0] + 2 * len(firsts), 2))


# --- the disk ----------------------------------------------------------------------------------------------------


def command_line(folder: Path, *arguments: str, largest_file: int | None = None) -> subprocess.CompletedProcess[str]:
    """``darkroom train autoencoder`` in a process of its own that may write no larger file."""

    def limited() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    command = [sys.executable, "-m", "darkroom.cli", "train", "autoencoder", "--threads", "1"]
    command += ["--data", "data", "--out", "run", "--samples", "4000", "--batch", "2", "--crop", "32", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(SRC), "NO_COLOR": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, preexec_fn=limited
    )


def test_a_full_disk_ends_the_run_in_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    words = (*(concept.word for concept in everyday()[:40]), "woman", "lion", "top hat", "crown")
    drawings = sprite_table(tuple(FULL.styles), words=words)
    tables.save(drawings.sprites, drawings.pixels, tmp_path / "data", DRAWINGS)
    minutes = ("--minutes", "0.01")

    first = command_line(tmp_path, *minutes)
    assert first.returncode == 0, first.stderr
    assert Path(first.stdout.strip()) == Path("run/handover")
    before = checkpoint.newest(tmp_path / "run/checkpoints")
    assert before is not None and 0 < before.state["step"] < 2000
    assert "stopped at step" in first.stderr and "Traceback" not in first.stderr

    full = command_line(tmp_path, *minutes, largest_file=2_000_000)  # the masters are 7 MB
    assert full.returncode == 1
    assert full.stdout == ""
    sentences = full.stderr.splitlines()
    assert sentences[0].startswith(f"resuming run from step {before.state['step']}")
    assert sentences[-1].startswith("error: cannot write the checkpoint of step")
    assert "free some space" in sentences[-1] and "Traceback" not in full.stderr
    after = checkpoint.newest(tmp_path / "run/checkpoints")
    assert after is not None and after.path == before.path
    assert all(same_bits(after.tensors[group], before.tensors[group]) for group in before.tensors)

    again = command_line(tmp_path, *minutes)
    assert again.returncode == 0, again.stderr
    last = checkpoint.newest(tmp_path / "run/checkpoints")
    assert last is not None and last.state["step"] > before.state["step"]
    leg = json.loads((tmp_path / "run/handover/leg.json").read_text())
    assert leg["step"] == last.state["step"]
