"""Waiting threads are told to sleep, before torch is there to be told, and not against the user's word."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = "import darkroom, os, sys; {first}; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"


@pytest.mark.parametrize(
    ("said", "answer"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
)
def test_spins_are_short_unless_the_user_says_otherwise(said: dict[str, str], answer: str) -> None:
    code = CODE.format(first="from darkroom.machine.threads import share_cores; share_cores()")
    clean = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**clean, **said}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [answer, "False"]
