"""What is remembered of each who uses A1111's API, until the server stops: the model chosen, and the calls awaited."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from darkroom.server.awaited import Awaited
from darkroom.server.studio import Owner


@dataclass
class Desk:
    """One owner's."""

    model: str = "default"
    calls: list[Awaited] = field(default_factory=list)

    @property
    def jobs(self) -> list[str]:
        """The jobs that are awaited, the oldest call's first."""
        return [job for call in self.calls for job in call.jobs]


async def _desk(asking: Request, owner: Owner) -> Desk:
    state = asking.app.state
    if not hasattr(state, "desks"):
        state.desks = {}
    desk: Desk = state.desks.setdefault(owner, Desk())
    return desk


AnyDesk = Annotated[Desk, Depends(_desk)]
