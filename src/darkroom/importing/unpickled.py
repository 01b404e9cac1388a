"""The child that reads a pickle: ``python -I unpickled.py SOURCE TARGET``. It imports nothing of darkroom.

Before the file is opened it gives up the network (a namespace of its own, where the system lets it), sockets, other
programs, and memory beyond what the file's tensors need. Ends with 1 and a line on stderr for whatever is not weights.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

ROOM = 8 << 30  # bytes of address space that the libraries take
NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000  # of unshare(2)
REFUSED = ("socket.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.", "ctypes.")


def alone() -> None:
    """A namespace without network, where the system has such."""
    if sys.platform == "linux":
        ctypes.CDLL(None).unshare(NEW_USER | NEW_NETWORK)  # where it may not, the hook below still holds


def bounded(size: int) -> None:
    """No more memory than four times the file and what the libraries take; no file larger than twice it."""
    try:
        import resource
    except ImportError:  # a system without
        return
    resource.setrlimit(resource.RLIMIT_AS, (ROOM + 4 * size, ROOM + 4 * size))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * size + (1 << 20), 2 * size + (1 << 20)))


def refuse(event: str, given: tuple[Any, ...]) -> None:
    """The hook that ends whatever reaches out."""
    if event.startswith(REFUSED):
        raise PermissionError(f"it reached for {event}")


def main(source: str, target: str) -> None:
    """Reads the weights of one file and writes them to another."""
    alone()
    import torch
    from safetensors.torch import save_file

    bounded(os.path.getsize(source))
    sys.addaudithook(refuse)
    found = torch.load(source, map_location="cpu", weights_only=True)
    while isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict):
        raise SystemExit("it holds no table of tensors")
    tensors = {name: value for name, value in found.items() if isinstance(value, torch.Tensor)}
    if not tensors or not all(isinstance(name, str) for name in tensors):
        raise SystemExit("it holds no table of tensors")
    save_file({name: value.detach().clone().contiguous() for name, value in tensors.items()}, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
