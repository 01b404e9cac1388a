"""No telemetry, and a suite that passes without network (promise 39)."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import darkroom

SRC = Path(darkroom.__file__).parent
CLIENTS = {
    "urllib.request",
    "http.client",
    "ftplib",
    "smtplib",
    "telnetlib",
    "requests",
    "httpx",
    "aiohttp",
    "websockets",
}
LISTENS = {"server/running.py"}


@pytest.mark.parametrize(
    "asked",
    [
        "socket.create_connection(('192.0.2.1', 9), 1)",
        "socket.getaddrinfo('example.org', 80)",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 9))",
    ],
)
def test_a_process_of_a_test_reaches_nobody(asked: str) -> None:
    """What a server or a worker would send out fails there: so every test of them shows that they send nothing."""
    done = subprocess.run([sys.executable, "-c", f"import socket\n{asked}"], capture_output=True, text=True)
    assert done.returncode == 1 and "a test reached for the network" in done.stderr


def test_nothing_here_can_call_out() -> None:
    """No module imports what connections are made with; one listens."""
    for path in SRC.rglob("*.py"):
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        where = path.relative_to(SRC).as_posix()
        assert not {name for name in names if any(name == one or name.startswith(f"{one}.") for one in CLIENTS)}, where
        assert "socket" not in names or where in LISTENS, where
