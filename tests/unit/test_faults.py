"""Faults that are asked for happen where and when they are asked for, and nowhere else."""

from __future__ import annotations

import errno
import time
from collections import Counter

import pytest

from darkroom.contracts import faults


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "_seen", Counter())


def test_nothing_fails_where_nothing_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(faults.VARIABLE, raising=False)
    assert [faults.at("disk") for _ in range(10)] == [False] * 10


def test_the_kth_time_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(faults.VARIABLE, "disk:2:ENOSPC,loss:1-2:NaN,memory:1:OOM")
    assert not faults.at("disk")
    with pytest.raises(OSError, match="space") as full:
        faults.at("disk")
    assert full.value.errno == errno.ENOSPC
    assert not faults.at("disk") and not faults.at("door")
    assert [faults.at("loss") for _ in range(4)] == [True, True, False, False]
    with pytest.raises(MemoryError):
        faults.at("memory")


def test_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setenv(faults.VARIABLE, "disk:3:.25")
    for _ in range(5):
        faults.at("disk")
    assert slept == [0.25]
