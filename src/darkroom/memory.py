"""How much memory this process may still take."""

from __future__ import annotations

from pathlib import Path


def free_memory() -> int | None:
    """Bytes this process may still take: what the system calls available, or less inside a container.

    None: this system does not tell.
    """
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    try:
        group = Path("/sys/fs/cgroup")
        limit, used = ((group / name).read_text() for name in ("memory.max", "memory.current"))
        return min(free, int(limit) - int(used))
    except (OSError, ValueError):  # no control group, or "max": no limit
        return free
