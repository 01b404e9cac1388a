"""A studio of its own for a test: a real server with a real worker, in processes of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
PATIENCE_S = 180.0


@contextmanager
def studio(folder: Path, **options: object) -> Iterator[str]:
    """The address of a server of the data folder ``folder``; ``options`` are those of ``darkroom serve``."""
    told = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "darkroom.cli", "serve", "--port", "0", "--data", str(folder), *told]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    log = folder.with_suffix(".log")
    with log.open("w") as out:
        server = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        yield _address(server, log)
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    """Where a server listens, once it does."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and server.poll() is None:
        if found := re.search(r"the studio is at (\S+)", log.read_text()):
            try:
                httpx.get(f"{found[1]}/health")
                return found[1]
            except httpx.TransportError:
                pass
        time.sleep(0.1)
    raise AssertionError(f"no server came: {log.read_text()}")
