"""Named points where a test can make the k-th occurrence fail, as SQLite tests itself.

``DARKROOM_FAULT=checkpoint.file:3:ENOSPC`` makes the third file of a checkpoint fail for want of room. An action is the
name of an OSError's number (ENOSPC, EIO), OOM (MemoryError), NaN (:func:`at` answers true and its caller spoils its
numbers), SIGKILL, or seconds to sleep. Several are divided by commas; ``k`` may be a range, ``2-4``. Unset: nothing
ever fails.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections import Counter
from functools import lru_cache
from threading import Lock
from typing import NamedTuple

VARIABLE = "DARKROOM_FAULT"
_seen: Counter[str] = Counter()
_counting = Lock()


class _Fault(NamedTuple):
    name: str
    first: int
    last: int
    action: str


def at(name: str) -> bool:
    """Does here what the environment asks for; whether the caller shall spoil its numbers.

    Raises OSError or MemoryError where it is asked for.
    """
    asked = os.environ.get(VARIABLE)
    if not asked:
        return False
    with _counting:
        _seen[name] += 1
        count = _seen[name]
    for fault in _faults(asked):
        if fault.name == name and fault.first <= count <= fault.last:
            return _happens(fault.action)
    return False


@lru_cache(maxsize=8)
def _faults(asked: str) -> tuple[_Fault, ...]:
    found = []
    for part in asked.split(","):
        name, times, action = part.split(":")
        first, _, last = times.partition("-")
        found.append(_Fault(name, int(first), int(last or first), action))
    return tuple(found)


def _happens(action: str) -> bool:
    if action == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "OOM":
        raise MemoryError("a fault that was asked for")
    elif action == "NaN":
        return True
    elif action.isupper():
        number = getattr(errno, action)
        raise OSError(number, os.strerror(number))
    else:
        time.sleep(float(action))
    return False
