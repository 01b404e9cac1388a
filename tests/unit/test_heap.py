"""Memory that is freed and asked for again: kept where it is let, and given back when it is told to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import darkroom

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="another allocator")
SRC = str(Path(darkroom.__file__).parents[1])
PROGRAM = """
import ctypes, json, resource, sys
from darkroom.machine.heap import give_back, keep_pages
libc = ctypes.CDLL(None)
if not hasattr(libc, "mallopt"):
    sys.exit(3)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
keep_pages()

def faults(size=96 << 20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        block = libc.malloc(size)
        ctypes.memset(block, 1, size)
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

first, again, kept = faults(), faults(), resident()
give_back()
print(json.dumps({"again": again, "kept": kept, "left": resident()}))
"""


def told(**environment: str) -> dict[str, int]:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PYTHONPATH": SRC, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    if ended.returncode == 3:
        pytest.skip("the C library is not glibc")
    assert ended.returncode == 0, ended.stderr
    found: dict[str, int] = json.loads(ended.stdout)
    return found


def test_what_is_freed_is_kept_until_it_is_given_back() -> None:
    found = told()
    assert found["again"] < 100  # of 4 times 24,576 pages
    assert found["left"] < found["kept"] - (64 << 20)


def test_who_sets_the_allocator_is_left_alone() -> None:
    assert told(MALLOC_MMAP_THRESHOLD_="131072")["again"] > 4 * 96 * 256 * 0.9 / 512  # pages, or huge ones
