"""How many cores there are, and how torch's threads wait for each other; to be said before torch is imported."""

from __future__ import annotations

import os

# Threads of one operation wait for the last of them. By default they spin, and where another program holds a core they
# spin for its whole time slice: four pictures took 42 s instead of .4 s beside one busy process, on two cores. A short
# spin keeps what is gained when cores are free. (GNU OpenMP's name; the one torch's Linux builds carry.)
SPINS = "1000"


def share_cores() -> None:
    """Lets waiting threads sleep after a short spin, unless the user has said otherwise."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def cores() -> int:
    """The cores this process may run on, which in a container can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
