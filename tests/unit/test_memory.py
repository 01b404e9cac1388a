"""How much memory is free, as Linux tells it."""

from __future__ import annotations

from pathlib import Path

from darkroom.machine.memory import free_memory

MEMINFO = "MemTotal: 16000000 kB\nMemFree: 1000000 kB\nMemAvailable: 8000000 kB\nHugePages_Total: 0\n"


def system(root: Path, limit: str | None = None, used: int = 0, remembered: int = 0) -> Path:
    """A system with so much available, and where a limit is given a container."""
    (root / "proc").mkdir()
    (root / "proc" / "meminfo").write_text(MEMINFO)
    if limit is not None:
        group = root / "sys" / "fs" / "cgroup"
        group.mkdir(parents=True)
        (group / "memory.max").write_text(f"{limit}\n")
        (group / "memory.current").write_text(f"{used}\n")
        (group / "memory.stat").write_text(f"anon {used - remembered}\ninactive_file {remembered}\nactive_file 0\n")
    return root


def test_it_is_what_the_system_calls_available(tmp_path: Path) -> None:
    assert free_memory(system(tmp_path)) == 8_000_000 * 1024


def test_a_container_has_no_more_than_its_limit_leaves(tmp_path: Path) -> None:
    assert free_memory(system(tmp_path, "4000000000", used=3_000_000_000)) == 1_000_000_000


def test_files_that_were_read_give_way(tmp_path: Path) -> None:
    """Else a checkpoint that was looked at once would fit no more."""
    assert free_memory(system(tmp_path, "4000000000", used=3_900_000_000, remembered=3_000_000_000)) == 3_100_000_000


def test_no_limit_is_no_limit_and_a_system_that_does_not_tell_says_nothing(tmp_path: Path) -> None:
    assert free_memory(system(tmp_path, "max", used=1)) == 8_000_000 * 1024
    assert free_memory(tmp_path / "elsewhere") is None
