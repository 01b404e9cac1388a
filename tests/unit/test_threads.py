"""Waiting threads are told to sleep, before torch is there to be told, and not against the user's word."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = (
    "import darkroom, os, sys; os.getloadavg = lambda: ({load}, 0.0, 0.0); os.sched_getaffinity = lambda _: {{0, 1}}; "
    "from darkroom.machine.threads import share_cores; share_cores(); "
    "print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
)


@pytest.mark.parametrize(
    ("said", "load", "answer"),
    [
        ({}, 0.2, "5000"),
        ({}, 1.6, "1000"),
        ({"GOMP_SPINCOUNT": "7"}, 0.2, "7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, 0.2, "None"),
    ],
)
def test_spins_are_short_unless_the_user_says_otherwise(said: dict[str, str], load: float, answer: str) -> None:
    clean = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    code = CODE.format(load=load)
    done = subprocess.run(
        [sys.executable, "-c", code], env={**clean, **said}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [answer, "False"]
