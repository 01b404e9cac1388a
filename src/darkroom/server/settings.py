"""How a server is set up."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from darkroom.contracts.errors import BadFile, BadInput, reason, shown
from darkroom.server.keeping.folders import Folders, default_data

PORT = 7860
LOOPBACK = "127.0.0.1"
LOCAL = "local"  # whose jobs are, where nobody needs a key
SHORTEST_KEY = 16  # characters


@dataclass(frozen=True)
class Settings:
    """A server's settings."""

    folders: Folders = field(default_factory=lambda: Folders(default_data()))
    host: str = LOOPBACK
    port: int = PORT
    names: tuple[str, ...] = ()  # that it is called by, beside the loopback's and ``host``
    keys: Mapping[str, str] = field(default_factory=dict)  # SHA-256 of each key, and whose it is; empty: none is asked
    most_queued: int = 10_000  # jobs that wait
    most_queued_each: int = 1_000  # of one key
    most_work: int = 2048 * 2048 * 120  # pixels times steps of one job
    most_bytes: int = 32 * 2**20  # of what is sent along with one request
    width: int = 32  # jobs that a worker draws at once
    grace_s: float = 10.0  # for what runs when the server is told to stop
    hang_s: float = 900.0  # without a sign of life, after which a worker is taken for dead

    def __post_init__(self) -> None:
        if not self.keys and not is_loopback(self.host):
            rule = "lets others in, and no key is asked of them"
            raise BadInput(f"--host {shown(self.host)}", rule, "give --keys FILE, or leave --host out")

    def owner(self, key: str | None) -> str | None:
        """Whose a key is; None: nobody's. Without keys everybody is ``local``."""
        if not self.keys:
            return LOCAL
        digest = sha256((key or "").encode()).hexdigest()
        found = [name for known, name in self.keys.items() if secrets.compare_digest(known, digest)]
        return found[0] if found else None


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def read_keys(path: Path) -> dict[str, str]:
    """The keys of a file with a line for each, a name and a key: ``anna 6f1c...``. Lines that begin with # say nothing.

    Raises BadFile for what cannot be read so, and for keys that can be guessed.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(f"{path}", f"cannot be read ({reason(error)})", "give a file with a line 'name key'") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, key = line.strip().partition(" ")
        key = key.strip()
        if len(key) < SHORTEST_KEY or not key.isascii() or not name.isprintable() or len(name) > 100:
            rule = f"is no name and a key of {SHORTEST_KEY} ASCII characters or more"
            raise BadFile(f"line {number} of {path}", rule, f"take one like '{name[:20]} {secrets.token_urlsafe(24)}'")
        found[sha256(key.encode()).hexdigest()] = name
    if not found:
        raise BadFile(f"{path}", "holds no key", "write a line 'name key' into it")
    return found
