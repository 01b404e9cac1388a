"""How many cores there are, and how torch's threads wait for each other; to be said before torch is imported."""

from __future__ import annotations

import os

# Threads of one operation wait for the last of them. By default they spin, and where another program holds a core they
# spin for its whole time slice: four pictures took 42 s instead of .4 s beside one busy process, on two cores. Where
# they sleep at once, each wait costs a waking: on some machines twice the time of a picture. Measured on two cores of a
# Xeon, seconds a picture alone and beside a busy process: 1,000 spins .48 and .49, 5,000 .27 and .90, 20,000 .24 and
# 1.7.
# (GNU OpenMP's name; the one torch's Linux builds carry.)
FREE, TAKEN = "5000", "1000"
FULL = 0.75  # of the cores, by the load of the last minute, from which they count as taken


def share_cores() -> None:
    """Lets waiting threads sleep after a short spin, a shorter one where the cores are taken by others already, unless
    the user has said otherwise."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", TAKEN if load() >= FULL * cores() else FREE)


def load() -> float:
    """How many processes wanted a core, over the last minute; 0 where the system does not say."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return 0.0


def cores() -> int:
    """The cores this process may run on, which in a container can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
