"""How glibc's allocator keeps memory that networks hand back and ask for again, thousands of times a picture."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # malloc.h, as mallopt(3) counts them
AHEAD = 256 * 2**20  # bytes that are fetched from the system at once


def keep_pages() -> None:
    """Lets this process keep the memory it frees, unless the user has set the allocator (MALLOC_...); on systems with
    another one nothing changes.

    By default, what is larger than 32 MB comes from the system anew each time, page by page, and goes straight back:
    about a quarter of a training step, and two fifths of the time a picture of half a megapixel takes to decode.
    """
    libc = _glibc()
    if libc is not None and not any(name.startswith("MALLOC_") for name in os.environ):
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, -1)
        libc.mallopt(_TOP_PAD, AHEAD)


def give_back() -> None:
    """Gives what is kept and not in use back to the system: for a process that will be idle for a while."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> Any:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
