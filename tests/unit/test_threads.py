"""Waiting threads are told to sleep, before torch is there to be told, and not against the user's word."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from darkroom.machine.threads import wanting

CODE = (
    "import darkroom, os, sys; from darkroom.machine import threads; os.cpu_count = lambda: 2; "
    "threads.wanting = lambda: {others}; threads.share_cores(); "
    "print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
)


@pytest.mark.parametrize(
    ("said", "others", "answer"),
    [
        ({}, 1, "5000"),
        ({}, 2, "1000"),
        ({"GOMP_SPINCOUNT": "7"}, 0, "7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, 0, "None"),
    ],
)
def test_spins_are_short_unless_the_user_says_otherwise(said: dict[str, str], others: int, answer: str) -> None:
    clean = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    code = CODE.format(others=others)
    done = subprocess.run(
        [sys.executable, "-c", code], env={**clean, **said}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [answer, "False"]


def test_whoever_runs_wants_a_core() -> None:
    """Two that count for ever are seen, and gone when they are gone."""
    busy = [
        subprocess.Popen([sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE)
        for _ in "ab"
    ]
    try:
        for one in busy:
            assert one.stdout is not None
            one.stdout.readline()
        assert wanting() >= 1  # where there is one core, and this looks, one of them waits for it
    finally:
        for one in busy:
            one.kill()
            one.communicate()
