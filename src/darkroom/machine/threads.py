"""How many cores there are, and how torch's threads wait for each other; to be said before torch is imported."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

# Threads of one operation wait for the last of them. By default they spin, and where another program holds a core they
# spin for its whole time slice: four pictures took 42 s instead of .4 s beside one busy process, on two cores. Where
# they sleep at once, each wait costs a waking: on some machines twice the time of a picture. Measured on two cores of a
# Xeon, seconds a picture alone and beside a busy process: 1,000 spins .48 and .49, 5,000 .27 and .90, 20,000 .24 and
# 1.7.
# (GNU OpenMP's name; the one torch's Linux builds carry.)
FREE, TAKEN = "5000", "1000"
FULL = 0.75  # of the machine's cores that others want at this moment, from which they count as taken
LOOKS, APART_S = 5, 0.001  # at how many want one; the middle one counts


def share_cores() -> None:
    """Lets waiting threads sleep after a short spin, a shorter one where the cores are taken by others already, unless
    the user has said otherwise."""
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = TAKEN if wanting() >= FULL * (os.cpu_count() or 1) else FREE


def wanting() -> float:
    """How many others want a core just now; 0 where the system does not say. (The load of the last minute would count
    what has ended since, such as this program's last run.)"""
    looks = []
    for _ in range(LOOKS):
        try:
            running = Path("/proc/loadavg").read_text().split()[3].partition("/")[0]
        except (OSError, IndexError):
            return 0.0
        looks.append(int(running) - 1)  # this one looks
        time.sleep(APART_S)
    return statistics.median(looks)


def cores() -> int:
    """The cores this process may run on, which in a container can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
