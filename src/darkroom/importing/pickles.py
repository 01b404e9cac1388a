"""Checkpoints as pickles (``.ckpt``, ``.pt``), made into safetensors by a process of its own.

A pickle is a program. PyTorch's reader for weights alone takes nothing in it but tensors and plain containers, and it
runs in a child (``unpickled.py``) that has given up network, programs and memory before it begins. What comes out is
checked like any file from elsewhere. What it refuses is refused: there is no second, unsafe way.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from darkroom.contracts.errors import BadFile

PICKLES = (".ckpt", ".pt", ".pth", ".bin")
LONGEST_S = 1800.0
SAID = 300  # characters of what the child says
SAFER = "take the safetensors file of the same checkpoint"


def converted(path: Path, folder: Path) -> Path:
    """The tensors of a pickle as a safetensors file in a folder. Raises BadFile for one that holds anything else."""
    target = folder / f"{path.stem}.safetensors"
    child = Path(__file__).with_name("unpickled.py")
    command = [sys.executable, "-I", str(child), str(path.resolve()), str(target)]
    bare = {"PATH": "", "HOME": str(folder), "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, cwd=folder, env=bare, capture_output=True, text=True, timeout=LONGEST_S)
    except subprocess.TimeoutExpired as error:
        raise BadFile(f"{path}", f"took longer than {LONGEST_S:g} s to read", SAFER) from error
    if done.returncode or not target.is_file():
        lines = done.stderr.strip().splitlines() or [f"the process ended with {done.returncode}"]
        said = " ".join(lines[-1].split())[:SAID]
        raise BadFile(f"{path}", f"holds more than weights, or is damaged ({said})", SAFER)
    return target
