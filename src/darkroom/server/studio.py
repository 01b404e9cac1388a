"""What every route has at hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from darkroom.contracts.errors import DarkroomError
from darkroom.server.follow import Follower
from darkroom.server.keeping.gallery import Gallery
from darkroom.server.keeping.store import SqliteStore
from darkroom.server.keeping.workers import Workers
from darkroom.server.settings import Settings
from darkroom.server.supervise import Supervisor


class Draining(DarkroomError):
    """The server is about to stop."""

    code = "draining"


@dataclass
class Studio:
    """A server's parts."""

    settings: Settings
    store: SqliteStore = field(init=False)
    gallery: Gallery = field(init=False)
    workers: Workers = field(init=False)
    supervisor: Supervisor = field(init=False)
    follower: Follower = field(init=False)
    draining: bool = False

    def __post_init__(self) -> None:
        settings = self.settings
        limits = {"most_queued": settings.most_queued, "most_queued_each": settings.most_queued_each}
        self.store = SqliteStore(settings.folders.jobs, **limits)
        self.gallery, self.workers = Gallery(self.store.database), Workers(self.store.database)
        self.supervisor, self.follower = Supervisor(settings, self.store), Follower(self.store, lambda: self.draining)

    def check_open(self) -> None:
        """Raises Draining where no new work is taken."""
        if self.draining:
            raise Draining("the server", "is about to stop and takes no new work", "try again in a moment")


def _studio(request: Request) -> Studio:
    studio: Studio = request.app.state.studio
    return studio


def _owner(request: Request) -> str:
    owner: str = request.scope["state"]["owner"]
    return owner


AnyStudio = Annotated[Studio, Depends(_studio)]
Owner = Annotated[str, Depends(_owner)]
