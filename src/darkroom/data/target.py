"""Where a build may write."""

from __future__ import annotations

from pathlib import Path

from darkroom.contracts.errors import BadInput


def check_target(out: Path, source: Path, ours: str) -> None:
    """Raises BadInput where ``out`` lies in the source, or holds files but not ``ours``: another build, or pictures."""
    if out.resolve().is_relative_to(source.resolve()):
        raise BadInput(f"{out}", f"lies in the source {source}", "give --out a folder of its own")
    held = [path.name for path in out.iterdir() if not path.name.startswith(".")] if out.exists() else []
    if held and ours not in held:
        raise BadInput(f"{out}", f"holds something else ({min(held)})", "give --out a folder of its own")
