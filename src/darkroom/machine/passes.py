"""How many rows find room in one pass: what a row takes is measured as passes happen, what is free is asked.

The first pass of a kind has one row, and is measured: by how much the process's highest use of memory rose above what
it used before, once memory that lay about unused was given back. Later ones have as many rows as find room in a share
of what is free. Where the system does not tell (it is no Linux), passes are as large as they may be.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path

from darkroom.machine.heap import give_back
from darkroom.machine.memory import free_memory

SHARE = 0.5  # of what is free that one pass may take: others grow meanwhile
KINDS = 1000  # that are remembered
ASKED_S = 0.1  # after which it is asked anew what is free
_SELF = Path("/proc/self")


class Passes:
    """What passes of each kind took; a kind is whatever tells apart those that need other amounts."""

    def __init__(self, free: Callable[[], int | None] = free_memory) -> None:
        """``free`` bytes; None: nobody knows."""
        self._free, self._asked = free, float("-inf")
        self._known: int | None = None
        self._kinds: OrderedDict[Hashable, tuple[int, float]] = OrderedDict()  # rows that were measured; bytes of a row

    def most(self, kind: Hashable) -> int | None:
        """How many rows of a kind find room, at least one; None: nobody knows."""
        if (free := self._now()) is None:
            return None
        if kind not in self._kinds:
            return 1
        self._kinds.move_to_end(kind)
        return max(1, int(SHARE * free / max(1.0, self._kinds[kind][1])))

    def knows(self, kind: Hashable, rows: int) -> bool:
        """Whether a pass of so many rows needs no measuring any more; it has to be the only one that runs then."""
        return rows <= self._kinds.get(kind, (0, 0.0))[0]

    @contextmanager
    def measured(self, kind: Hashable, rows: int) -> Iterator[None]:
        """Measures what happens within, a pass of so many rows, where none so large was measured before."""
        seen, each = self._kinds.get(kind, (0, 0.0))
        if rows <= seen:
            yield
            return
        before = _settled()
        yield  # what fails was not measured
        if before is not None and (highest := _status("VmHWM:")) is not None:
            self._kinds[kind] = rows, max(each, (highest - before) / rows)
            while len(self._kinds) > KINDS:
                self._kinds.popitem(last=False)

    def _now(self) -> int | None:
        if time.monotonic() - self._asked >= ASKED_S:
            self._known, self._asked = self._free(), time.monotonic()
        return self._known


def _settled() -> int | None:
    """Bytes this process uses, once its allocator gave back what it kept, and from which on the highest use is counted;
    None: the system does not tell."""
    give_back()
    try:
        (_SELF / "clear_refs").write_text("5")  # Linux' proc(5): resets the highest use
    except OSError:
        return None
    return _status("VmRSS:")


def _status(name: str) -> int | None:
    """A number of bytes of the process's status."""
    try:
        lines = (_SELF / "status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), None)
