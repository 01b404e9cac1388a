"""A real server in a process of its own, for tests: on a free port of the loopback, with a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from darkroom.server.keeping.folders import Folders
from darkroom.server.keeping.store import SqliteStore
from darkroom.server.keeping.workers import Workers

ROOT = Path(__file__).parents[1]
SMALL = {"width": 64, "height": 64, "upscale": 1, "steps": 1, "sampler": "euler", "guidance": 1}  # a quick picture
PATIENCE_S = 120.0


class Server:
    """A server that can be killed and started again on the same folder."""

    def __init__(self, data: Path, *flags: str, environment: dict[str, str] | None = None) -> None:
        self.data, self.flags, self.said = data, flags, []  # type: ignore[var-annotated]
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "quiet"), str(ROOT / "src")]),
            "OMP_NUM_THREADS": "1",
            **(environment or {}),
        }
        self.folders = Folders(data)
        self.process: subprocess.Popen[str] | None = None
        self.url = ""

    def start(self) -> Server:
        """Starts it, and waits until it listens."""
        self.data.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "darkroom.cli", "serve", "--port", "0", "--data", str(self.data), *self.flags]
        self.process = subprocess.Popen(
            command, env=self.environment, stderr=subprocess.PIPE, text=True, cwd=self.data.parent
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if line.startswith("the studio is at "):
                self.url = line.split()[-1]
                break
        else:
            raise AssertionError("".join(self.said))
        threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True).start()  # type: ignore[union-attr,arg-type]
        self.until(self.listens)
        return self

    def listens(self) -> bool:
        """Whether it answers."""
        try:
            return self.client().get("/health").status_code == 200
        except httpx.TransportError:
            return False

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    def client(self, **how: Any) -> httpx.Client:
        """A client of it."""
        return httpx.Client(base_url=self.url, timeout=60, **how)

    def kill(self) -> None:
        """Kills it, as a power cut does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self, within_s: float = PATIENCE_S) -> int:
        """Tells it to stop; how it ended."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within_s)

    def store(self) -> SqliteStore:
        """What it keeps, looked at from outside."""
        return SqliteStore(self.folders.jobs)

    def worker(self) -> int:
        """The process of its worker, once it is ready."""
        workers = Workers(self.store().database)
        return self.until(lambda: next((seen.pid for seen in workers.all().values() if alive(seen.pid)), 0))

    @staticmethod
    def until(what: Callable[[], Any], within_s: float = PATIENCE_S) -> Any:
        """What is found, once something is."""
        ends = time.monotonic() + within_s
        while not (found := what()):
            assert time.monotonic() < ends, "it did not happen in time"
            time.sleep(0.03)
        return found

    def drawn(self, *prompts: str, **how: Any) -> list[dict[str, Any]]:
        """Jobs of these prompts, once they are done."""
        with self.client() as client:
            jobs = [client.post("/api/jobs", json={"prompt": prompt, **SMALL, **how}).json() for prompt in prompts]
            self.until(lambda: all(client.get(f"/api/jobs/{job['id']}").json()["ended"] for job in jobs))
            return [client.get(f"/api/jobs/{job['id']}").json() for job in jobs]


def alive(pid: int) -> bool:
    """Whether a process runs, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@dataclass(frozen=True)
class Used:
    """What a process has: bytes of memory, open files, threads."""

    memory: int
    descriptors: int
    threads: int


def used(pid: int) -> Used:
    """What a process has now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    told = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)
            if name in ("VmRSS", "Threads")}  # fmt: skip
    return Used(told["VmRSS"] * 1024, len(os.listdir(f"/proc/{pid}/fd")), told["Threads"])


def percentile(times: list[float], share: int) -> float:
    """What so many of a hundred are not above."""
    return sorted(times)[min(len(times) - 1, len(times) * share // 100)]


@contextmanager
def studio(folder: Path, *flags: str, environment: dict[str, str] | None = None) -> Iterator[Server]:
    """A server that runs, and is gone afterwards."""
    server = Server(folder / "studio", *flags, environment=environment)
    try:
        yield server.start()
    finally:
        if server.process is not None and server.process.poll() is None:
            server.stop()
