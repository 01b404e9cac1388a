"""A server, from its first to its last moment."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn

from darkroom.contracts.errors import BadInput, reason
from darkroom.server.app import application
from darkroom.server.settings import Settings
from darkroom.server.studio import Studio

KEEP_ALIVE_S = 15
MOST_AT_ONCE = 500  # connections; what is beyond is answered 503 at once


def run(settings: Settings, ready: Callable[[str], None]) -> None:
    """Serves until it is told to stop (SIGTERM, Ctrl-C). ``ready`` is told the address once it listens.

    Raises BadInput where the address is taken, or the data folder belongs to another server.
    """
    listener = _listening(settings)
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    studio = Studio(settings)
    config = uvicorn.Config(
        application(studio),
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=1,  # streams of events have no end of their own
        limit_concurrency=MOST_AT_ONCE,
        lifespan="off",
    )
    studio.supervisor.start()
    try:
        _Draining(config, studio, lambda: ready(f"http://{shown}:{port}")).run(sockets=[listener])
    finally:
        studio.draining = True
        studio.supervisor.stop()


class _Draining(uvicorn.Server):
    """Told to stop, it first lets the worker finish what it can, and says 503 to new work meanwhile."""

    def __init__(self, config: uvicorn.Config, studio: Studio, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._studio, self._ready = studio, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens, and says so."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins it, a second one ends it at once."""
        if self._studio.draining:
            super().handle_exit(sig, frame)
            return
        self._studio.draining = True
        threading.Thread(target=self._drain, args=[sig, frame], daemon=True).start()

    def _drain(self, sig: int, frame: FrameType | None) -> None:
        self._studio.supervisor.stop()
        super().handle_exit(sig, frame)


def _listening(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host.strip("[]"), settings.port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        where = f"{settings.host}:{settings.port}"
        raise BadInput(where, f"cannot be listened at ({reason(error)})", "give another --port, or --host") from error
    return listener
