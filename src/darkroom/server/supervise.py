"""Workers, kept alive: started, watched, started again; what they held is put back into the queue."""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from darkroom.contracts.errors import BadInput, DarkroomError
from darkroom.contracts.files import sweep
from darkroom.server.keeping.store import SqliteStore
from darkroom.server.keeping.workers import Workers
from darkroom.server.settings import Settings

LOOK_S = 0.2
SOON_S = 5.0  # after its start: a worker that dies so early is started again ever more slowly
SLOWEST_S = 8.0
TIDY_S = 600.0
START_S = 300.0  # for a worker's first sign of life: it reads weights


class Supervisor:
    """The worker of a server, from :meth:`start` to :meth:`stop`; a thread looks after it."""

    def __init__(self, settings: Settings, store: SqliteStore) -> None:
        self.settings, self.store, self.workers = settings, store, Workers(store.database)
        self.deaths = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._name, self._began, self._soon = "", 0.0, 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._lock: IO[str] | None = None

    def start(self) -> None:
        """Takes the data folder for this server alone, clears up after one that was killed, and starts a worker.

        Raises BadInput where another server has the folder.
        """
        folders = self.settings.folders
        folders.data.mkdir(parents=True, exist_ok=True)
        self._lock = (folders.data / "server.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadInput(
                f"--data {folders.data}", "belongs to a server that runs", "stop it, or give another folder"
            ) from error
        for folder in (folders.inputs, *folders.pictures.glob("*")):
            sweep(folder, older_than_s=0.0)
        for name, seen in self.workers.all().items():
            if _ended(seen.pid, name):
                self.store.release(name)  # it was well: its jobs are not to blame
                self.workers.dismiss(name)
            else:
                self._buried(name)
        self._begin()
        self._thread.start()

    def stop(self) -> None:
        """Lets the worker finish what it can within the grace time, and ends it; a second call does nothing."""
        if self._stopping.is_set() or self._process is None:
            return
        self._stopping.set()
        self._thread.join()
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(self.settings.grace_s + 5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.store.release(self._name)
        self.workers.dismiss(self._name)
        if self._lock is not None:
            self._lock.close()

    @property
    def alive(self) -> bool:
        """Whether a worker is ready."""
        return self._name in self.workers.all()

    def _begin(self) -> None:
        self._name, self._began = f"cpu-{secrets.token_hex(4)}", time.monotonic()
        told = ["--data", str(self.settings.folders.data), "--name", self._name]
        told += ["--width", str(self.settings.width), "--grace", str(self.settings.grace_s)]
        self._process = subprocess.Popen([sys.executable, "-m", "darkroom.worker", *told], stdin=subprocess.PIPE)

    def _watch(self) -> None:
        tidied = time.monotonic()
        while not self._stopping.wait(LOOK_S):
            if time.monotonic() - tidied > TIDY_S:
                with suppress(DarkroomError):  # a full disk: it is tried again
                    self.store.tidy()
                tidied = time.monotonic()
            assert self._process is not None
            if self._process.poll() is None and self._hangs():
                self._process.kill()
                self._process.wait()
            if self._process.poll() is None:
                continue
            self._buried(self._name)
            early = time.monotonic() - self._began < SOON_S
            self._soon = self._soon + 1 if early else 0
            if self._stopping.wait(min(SLOWEST_S, 0.25 * 2**self._soon) if early else 0.0):
                return
            self._begin()

    def _hangs(self) -> bool:
        seen = self.workers.all().get(self._name)
        if seen is None:
            return time.monotonic() - self._began > START_S
        return time.time() - seen.beat > self.settings.hang_s

    def _buried(self, name: str) -> None:
        """Puts what a worker held that is gone back into the queue."""
        if self.store.lose(name):
            self.deaths += 1
        self.workers.dismiss(name)


def _ended(pid: int, name: str) -> bool:
    """Ends a worker that outlived its server; whether the process of that number was still it."""
    with suppress(OSError):
        if name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
            return True
    return False
