"""Batches made ahead by other processes are the very same batches."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import NamedTuple

import pytest
import torch

from darkroom.data.ahead import Ahead
from darkroom.data.loader import Scenes, joined
from tests.wardrobe import everything, full_composer, full_table

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forks")


def numbers(first: int, count: int) -> list[int]:
    return [sample * sample for sample in range(first, first + count)]


def flat(parts: object) -> list[int]:
    return [n for part in parts for n in part]  # type: ignore[attr-defined]


def test_batches_come_in_order_and_may_go_back() -> None:
    ahead = Ahead(numbers, flat, 2)
    for first in (0, 150, 300, 0, 40):
        assert ahead(first, 150) == numbers(first, 150)
    ahead.close()


def test_scenes_made_ahead_have_the_same_bits() -> None:
    composer = full_composer(full_table(), 64)
    scenes = Scenes(composer, everything(composer.table.stock), 3)
    ahead = Ahead(scenes, joined, 1)
    made, own = ahead(70, 70), scenes(70, 70)
    ahead.close()
    assert made.captions == own.captions and made.scenes == own.scenes
    assert all(torch.equal(a, b) for a, b in zip(made.composed, own.composed, strict=True))


def test_many_batches_ahead_come_in_order() -> None:
    ahead = Ahead(numbers, flat, 3)
    for first in range(0, 400, 10):  # smaller than a chunk: the workers are kept busy with many
        assert ahead(first, 10) == numbers(first, 10)
    assert len(ahead._jobs) >= 2 * 3
    ahead.close()


class Mixed(NamedTuple):
    """Every kind of thing a batch can hold."""

    floats: torch.Tensor
    flags: torch.Tensor
    none: torch.Tensor
    words: list[str]
    by_name: dict[str, torch.Tensor]


def mixed(first: int, count: int) -> Mixed:
    odd = torch.arange(first, first + count)[1:]
    return Mixed(
        odd[:, None].bfloat16().expand(-1, 3), odd % 2 == 0, odd[:0].float(), [f"{first}"], {"a": odd, "b": odd.sum()}
    )


def test_what_a_worker_makes_comes_through_bit_by_bit() -> None:
    ahead = Ahead(mixed, lambda parts: parts[0], 1)
    made, own = ahead(7, 6), mixed(7, 6)
    ahead.close()
    assert made.words == own.words
    for got, want in zip((*made[:3], *made.by_name.values()), (*own[:3], *own.by_name.values()), strict=True):
        assert got.dtype == want.dtype and torch.equal(got, want)


_STOPPED = """
import multiprocessing, os, signal, time
from darkroom.data import ahead
from darkroom.data.ahead import Ahead
first, begin = multiprocessing.Lock(), ahead._begin
def late(*arguments):  # the second worker is still being born when the signal comes
    first.acquire(block=False) or time.sleep(0.3)
    begin(*arguments)
ahead._begin = late
def slow(first, count):
    time.sleep(0.3)
    return [first]
made = Ahead(slow, lambda parts: [p for part in parts for p in part], 2)
signal.signal(signal.SIGTERM, lambda *_: None)  # as the trainer does, once it runs
os.killpg(0, signal.SIGTERM)
print(made(0, 4), made(4, 4))
made.close()
"""


def test_workers_outlive_a_signal_to_the_whole_group() -> None:
    command = [sys.executable, "-c", _STOPPED]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=False, start_new_session=True)
    assert done.stdout == "[0] [4]\n"


def test_closing_waits_for_no_batch_that_nobody_asked_for() -> None:
    ahead = Ahead(slowly, flat, 1)
    assert ahead(0, 1) == [0]
    start = time.monotonic()
    ahead.close()
    assert time.monotonic() - start < 1.0
    with pytest.raises(RuntimeError):
        ahead(1, 1)


def slowly(first: int, count: int) -> list[int]:
    time.sleep(0.2)
    return [first]


def broken(first: int, count: int) -> list[int]:
    raise ValueError(f"sample {first} cannot be made")


def test_an_error_of_the_source_is_raised_where_the_batch_is_asked_for() -> None:
    ahead = Ahead(broken, flat, 1)
    with pytest.raises(ValueError, match="sample 0 cannot be made"):
        ahead(0, 4)
    ahead.close()


def test_no_worker_is_refused() -> None:
    with pytest.raises(ValueError, match="0 workers make nothing"):
        Ahead(numbers, flat, 0)


_KILLED = """
import os, time
from darkroom.data.ahead import Ahead
def pids(first, count): return [os.getpid()]
ahead = Ahead(pids, lambda parts: [p for part in parts for p in part], 1)
print(ahead(0, 4)[0], flush=True)
os.kill(os.getpid(), 9)
"""


def test_workers_die_with_their_parent() -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED], stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    worker = int(done.stdout)
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail(f"worker {worker} outlived its parent")


_BROKEN = """
import os, signal
from darkroom.data.ahead import Ahead
def pids(first, count): return [os.getpid()]
ahead = Ahead(pids, lambda parts: [p for part in parts for p in part], 2)
os.kill(ahead(0, 4)[0], signal.SIGKILL)
try:
    for first in range(4, 400, 4): ahead(first, 4)
except Exception as error:
    print(type(error).__name__)
ahead.close()
print("closed")
"""


def test_a_worker_that_is_killed_ends_the_others() -> None:
    command = [sys.executable, "-c", _BROKEN]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.stdout == "BrokenProcessPool\nclosed\n"
