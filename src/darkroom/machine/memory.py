"""How much memory this process may still take."""

from __future__ import annotations

from pathlib import Path


def free_memory(system: Path = Path("/")) -> int | None:
    """Bytes this process may still take: what the system calls available, or less inside a container.

    Files that were read and are still remembered do not count as used, by a container's account either: they give way.
    ``system`` is where Linux tells; None: this system does not tell.
    """
    try:
        free = _table(system / "proc" / "meminfo")["MemAvailable:"] * 1024
    except (OSError, KeyError, ValueError):
        return None
    try:
        group = system / "sys" / "fs" / "cgroup"
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        told = _table(group / "memory.stat")
        return max(0, min(free, limit - used + told["inactive_file"] + told["active_file"]))
    except (OSError, KeyError, ValueError):  # no control group, or "max": no limit
        return free


def _table(path: Path) -> dict[str, int]:
    """The first number after each name of a file."""
    return {name: int(number) for name, number, *_ in map(str.split, path.read_text().splitlines())}
