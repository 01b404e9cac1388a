"""A real studio for tests: server and worker in processes of their own, on a free port of this machine alone."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
START_S, STOP_S = 240, 30  # on a machine that is busy otherwise


@dataclass(frozen=True)
class Running:
    """A studio that runs: where it is, its process, and its data folder."""

    url: str
    process: subprocess.Popen[str]
    data: Path

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])


@contextmanager
def studio(folder: Path, **options: str) -> Iterator[Running]:
    """Runs ``darkroom serve`` with its data in a folder until the block ends; ``keys="keys.txt"`` is --keys keys.txt.

    It is ready to draw when the block begins.
    """
    data = folder / "data"
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    command = [sys.executable, "-m", "darkroom.cli", "serve", "--port", "0", "--data", str(data), *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stderr=log, text=True)
        try:
            yield Running(_address(process, folder / "log"), process, data)
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(process: subprocess.Popen[str], log: Path) -> str:
    """Where it listens, once its worker is ready."""
    until, url = time.monotonic() + START_S, None
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        if url is None:
            found = re.search(r"the studio is at (http://\S+)", log.read_text())
            url = found and found[1]
        elif _has_worker(log.parent / "data" / "jobs.sqlite3", url):
            return url
        time.sleep(0.1)
    raise AssertionError(f"it did not start within {START_S} s: {log.read_text()}")


def _has_worker(jobs: Path, url: str) -> bool:
    """Whether there is one that can draw; asked of the store where the server wants a key."""
    from darkroom.server.keeping.database import Database
    from darkroom.server.keeping.workers import Workers

    with urllib.request.urlopen(f"{url}/health", timeout=60) as reply:
        assert reply.status == 200
    return bool(Workers(Database(jobs)).all())


def guide_examples(running: Running, language: str, holding: str) -> str:
    """The first block of docs/server-apis.md in a language that holds a text, with this studio's address in it."""
    text = (ROOT / "docs" / "server-apis.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    block = next(block for kind, block in blocks if kind == language and holding in block)
    assert "7860" in block
    return block.replace("7860", str(running.port))


def run_example(running: Running, holding: str, folder: Path) -> str:
    """Runs that block of Python in a folder; what it prints."""
    code = guide_examples(running, "python", holding)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout


def curled(running: Running, holding: str) -> Any:
    """What the curl command of that block is answered with."""
    address, *flags = shlex.split(guide_examples(running, "", holding).replace("\\\n", ""))[1:]
    [header, body] = [value for name, value in zip(flags[::2], flags[1::2], strict=True) if name in ("-H", "-d")]
    request = urllib.request.Request(address, body.encode(), dict([header.split(": ")]))
    with urllib.request.urlopen(request, timeout=280) as reply:
        return json.load(reply)
