"""Two processes that train one run together, beside one that does it alone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from toys import ToyModule, ToyObjective, same_bits, sprite_table, toy_config

import darkroom
from darkroom.contracts.errors import BadInput
from darkroom.data.scenes.spec import FULL
from darkroom.data.stock import tables
from darkroom.data.stock.built import DRAWINGS
from darkroom.training import checkpoint
from darkroom.training.checkpoint import Checkpoint
from darkroom.training.distributed import ALONE, Group, check_shared, joined, shared_out
from darkroom.training.loop import Trainer
from darkroom.training.optim import OptimConfig
from darkroom.wording.vocabulary import everyday

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["toys", "torch._dynamo", "torch.distributed"])
SRC = Path(darkroom.__file__).parents[1]
WIDTH = 40  # wide enough for Muon
STEPS = 12


class Wide(ToyModule):
    """With three matrices for Muon, to be shared out."""

    def __init__(self) -> None:
        super().__init__(WIDTH)
        self.middle = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.middle(self.conv(x).relu().mean((2, 3)))) * self.scale


def train(folder: Path, rank: int, size: int, port: int, steps: int, poisoned: int, slow: float) -> None:
    """One process of a run, as torchrun would start it."""
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))

    def watch(first: int) -> None:
        with open(folder / f"samples-{rank}-of-{size}.txt", "a") as file:
            file.write(f"{first}\n")
        time.sleep(slow)

    objective = ToyObjective(poison=lambda first: first == poisoned, watch=watch)
    torch.manual_seed(0)
    objective.module = Wide()
    optim = OptimConfig(rate=1e-2, warmup_steps=3, muon=True, decay_share=0.0)  # whatever the run's length
    config = toy_config(steps * 8, batch=8, accumulate=2, optim=optim, log_steps=3)
    trainer = Trainer(objective, config, folder, group=joined(torch.device("cpu")))
    reports: list[object] = []
    trainer.resume(pytest.fail)
    trainer.run(reports.append, pytest.fail)
    assert bool(reports) == (rank == 0) and bool(objective.previews) == (rank == 0)


def together(
    folder: Path,
    size: int,
    steps: int = STEPS,
    poisoned: int = -1,
    slow: float = 0.0,
    meanwhile: Callable[..., None] | None = None,
) -> Checkpoint:
    """Trains with so many processes and gives the last checkpoint."""
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        PROCESSES.Process(target=train, args=(folder, rank, size, port, steps, poisoned, slow)) for rank in range(size)
    ]
    for process in processes:
        process.start()
    try:
        if meanwhile is not None:
            meanwhile(processes)
        for process in processes:
            process.join(120)
            assert process.exitcode == 0
    finally:
        for process in processes:
            process.kill()
    found = checkpoint.newest(folder / "checkpoints", pytest.fail)
    assert found is not None
    return found


def same(a: Checkpoint, b: Checkpoint) -> bool:
    assert a.state == b.state and a.tensors.keys() == b.tensors.keys() == {"masters", "ema", "moments"}
    return all(same_bits(a.tensors[group], b.tensors[group]) for group in a.tensors)


def test_two_processes_do_what_one_does(tmp_path: Path) -> None:
    alone, both = together(tmp_path / "alone", 1), together(tmp_path / "both", 2)
    muon = [name for name in alone.tensors["moments"] if name.endswith("momentum_buffer")]
    assert len(muon) == 3  # of which one process held two and the other one
    assert alone.state["step"] == STEPS and same(alone, both)
    # Each did its own half of every step.
    halves = [[int(line) for line in (tmp_path / f"both/samples-{r}-of-2.txt").read_text().split()] for r in (0, 1)]
    assert halves == [list(range(0, STEPS * 8, 8)), list(range(4, STEPS * 8, 8))]
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("alone", "both")]
    assert len(logs[0]) == len(logs[1]) == STEPS // 3
    for ours, theirs in zip(*logs, strict=True):
        assert ours.split('"loss"')[1] == theirs.split('"loss"')[1]


def test_a_run_may_change_how_many_train_it(tmp_path: Path) -> None:
    together(tmp_path / "changing", 1, steps=STEPS // 2)
    # The length is a setting that resuming checks: given anew, as one would on purpose.
    (tmp_path / "changing" / "config.json").unlink()
    assert same(together(tmp_path / "changing", 2), together(tmp_path / "whole", 2))


def test_a_loss_that_is_not_finite_in_one_is_skipped_by_both(tmp_path: Path) -> None:
    poisoned = 5 * 8 + 4  # in the second one's half
    alone, both = together(tmp_path / "alone", 1, poisoned=poisoned), together(tmp_path / "both", 2, poisoned=poisoned)
    assert alone.state["skipped"] == 1 and same(alone, both)


def test_told_to_stop_one_stops_all_at_the_same_step(tmp_path: Path) -> None:
    folder = tmp_path / "stopped"

    def stop(processes: list[multiprocessing.Process]) -> None:
        told = folder / "samples-1-of-2.txt"
        end = time.monotonic() + 60
        while not (told.exists() and len(told.read_text().split()) > 3):
            assert time.monotonic() < end and all(process.is_alive() for process in processes)
            time.sleep(0.005)
        os.kill(processes[1].pid or 0, signal.SIGTERM)

    stopped = together(folder, 2, steps=2000, slow=0.01, meanwhile=stop)
    assert 3 < stopped.state["step"] < 2000
    halves = [(folder / f"samples-{rank}-of-2.txt").read_text().split() for rank in (0, 1)]
    assert len(halves[0]) == len(halves[1]) == stopped.state["step"]


@pytest.mark.slow
def test_the_command_under_torchrun(tmp_path: Path) -> None:
    """As its owner would type it: the hand-over is the one of a single process, and only one process speaks."""
    words = (*(concept.word for concept in everyday()[:40]), "woman", "lion", "top hat", "crown")
    drawings = sprite_table(tuple(FULL.styles), words=words)
    tables.save(drawings.sprites, drawings.pixels, tmp_path / "data", DRAWINGS)
    leg = ["-m", "darkroom.cli", "train", "autoencoder", "--threads", "1", "--samples", "48", "--batch", "8"]
    leg += ["--accumulate", "2", "--crop", "32", "--data", "data"]
    runs = {
        "alone": [sys.executable, *leg],
        "both": [str(Path(sys.executable).parent / "torchrun"), "--standalone", "--nproc-per-node", "2", *leg],
    }
    environment = {**os.environ, "PYTHONPATH": str(SRC), "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    for name, command in runs.items():
        done = subprocess.run(
            [*command, "--out", name], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{name}/handover\n"
        assert done.stderr.count("48 samples from the start") == 1
    files = [(tmp_path / name / "handover/autoencoder.safetensors").read_bytes() for name in runs]
    assert files[0] == files[1]


def test_shares() -> None:
    assert [list(Group(rank, 3).share(6)) for rank in range(3)] == [[0, 1], [2, 3], [4, 5]]
    second = Group(1, 2)
    firsts = [32]
    for _ in range(5):  # a batch of 64 in micro-batches of 16
        firsts.append(second.after(firsts[-1], 16, 64))
    assert firsts == [32, 48, 96, 112, 160, 176]
    assert ALONE.after(16, 16, 64) == 32 and ALONE.after(48, 16, 64) == 64
    check_shared(4, second)
    with pytest.raises(
        BadInput, match="accumulate 3 cannot be shared out evenly among 2 processes; give --accumulate 2"
    ):
        check_shared(3, second)


def test_work_is_shared_out_evenly() -> None:
    costs = {"a": 5.0, "b": 4.0, "c": 3.0, "d": 3.0, "e": 3.0}
    found = shared_out(costs, 2)
    load = [sum(cost for name, cost in costs.items() if found[name] == rank) for rank in (0, 1)]
    assert sorted(load) == [8.0, 10.0]
    assert shared_out(costs, 1) == dict.fromkeys(costs, 0)
