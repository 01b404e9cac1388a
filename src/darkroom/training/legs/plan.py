"""The queue of training legs in ``docs/training-plan.md``, read by ``darkroom train next`` and ``make gpu-leg``.

A leg is a fenced block that starts with ``leg NAME (queued)`` or ``leg NAME (done)`` and holds the arguments of one
``darkroom train`` command. ``{out}`` stands for where this machine wants the run folder, ``{data}`` for the built data.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from darkroom.contracts.errors import BadFile

PLAN = Path("docs/training-plan.md")
_BLOCK = re.compile(r"^```leg (?P<name>[\w.-]+) \((?P<state>queued|done)\)\n(?P<command>.*?)^```", re.M | re.S)


@dataclass(frozen=True, slots=True)
class PlannedLeg:
    """One leg of the plan."""

    name: str
    queued: bool
    command: str

    def arguments(self, out: Path, data: Path) -> list[str]:
        """The command's arguments with the places filled in."""
        return [part.format(out=out, data=data) for part in shlex.split(self.command)]


def with_options(arguments: Sequence[str], options: Mapping[str, str]) -> list[str]:
    """Arguments with these options, in place of their own values where they have them."""
    found = list(arguments)
    for name, value in options.items():
        if name in found:
            found[found.index(name) + 1] = value
        else:
            found += [name, value]
    return found


def legs(text: str) -> list[PlannedLeg]:
    """Every leg of a plan, in order."""
    return [PlannedLeg(m["name"], m["state"] == "queued", m["command"].strip()) for m in _BLOCK.finditer(text)]


def next_leg(path: Path = PLAN, name: str | None = None) -> PlannedLeg:
    """The first queued leg, or the queued one of that name. Raises BadFile when there is none, or no plan."""
    try:
        queued = [leg for leg in legs(path.read_text(encoding="utf-8")) if leg.queued]
    except OSError as error:
        raise BadFile(f"{path}", f"cannot be read ({error.strerror})", "run from the repository's root") from error
    if not queued:
        raise BadFile(f"{path}", "has no queued leg", "add one")
    if name is None:
        return queued[0]
    for leg in queued:
        if leg.name == name:
            return leg
    raise BadFile(f"{path}", f"has no queued leg {name!r}", f"take one of {', '.join(leg.name for leg in queued)}")
