"""What ``darkroom doctor`` looks at: one finding for each thing that decides whether and how well darkroom runs here.

Each check is a small function of plain values, so that every answer can be tested; :func:`examine` gathers the values.
A finding with a ``fix`` is a fault. What is merely worth knowing is said in ``found``.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import file_digest
from importlib import metadata
from pathlib import Path

from darkroom.machine.memory import free_memory
from darkroom.machine.threads import cores

PYTHON = ((3, 11), (3, 14))  # as in pyproject.toml, from and below; a test compares them
TORCH = ((2, 9), (2, 14))

GIB = 2**30
NEEDED_MEMORY = 1 * GIB  # PyTorch, the embedded model and one large picture
NEEDED_DISK = 0.5 * GIB
COMPILERS = ("c++", "g++", "clang++", "cl")


@dataclass(frozen=True)
class Finding:
    """One thing looked at. ``fix`` empty: all is well, or the note in ``found`` is enough."""

    what: str
    found: str
    fix: str = ""


def examine() -> list[Finding]:
    """Looks at this machine and at what is installed; changes nothing."""
    versions = installed()
    findings = [python_version(sys.version_info[:3])]
    findings += _torch_findings(versions)
    findings += opencv(versions)
    findings.append(memory(free_memory()))
    findings.append(disk(shutil.disk_usage(Path.cwd()).free))
    findings.append(compiler(os.environ.get("CXX") or next(filter(shutil.which, COMPILERS), None)))
    findings.append(allocator(platform.system(), os.environ))
    findings.append(writable(Path("pictures")))
    return findings


def _torch_findings(versions: Mapping[str, str]) -> list[Finding]:
    """What can only be asked of PyTorch itself, the model included; one finding when it does not start."""
    try:
        import torch

        from darkroom.cards import EMBEDDED
    except Exception as error:  # a broken install fails in many ways, and this is the place to say so
        return [Finding("torch", f"does not start ({error})", "install darkroom again in a fresh environment")]
    cuda = torch.version.cuda
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else []
    return [
        torch_version(torch.__version__, cuda),
        *torchvision(versions.get("torchvision"), cuda, platform.system()),
        device(names, cuda),
        threads(torch.get_num_threads(), cores()),
        instructions(torch.backends.cpu.get_cpu_capability()),
        model(EMBEDDED),
    ]


# --- versions and what does not go together ----------------------------------------------------------------------


def python_version(version: tuple[int, ...]) -> Finding:
    """Whether this Python is one darkroom is tested with."""
    low, below = PYTHON
    fix = "" if low <= version[:2] < below else f"use Python {_dotted(low)} or newer, below {_dotted(below)}"
    return Finding("python", _dotted(version), fix)


def torch_version(version: str, cuda: str | None) -> Finding:
    """Whether this PyTorch is one darkroom is tested with, and what it is built for. ``cuda`` None: built without."""
    low, below = TORCH
    fix = "" if low <= _release(version)[:2] < below else f'pip install "torch>={_dotted(low)},<{_dotted(below)}"'
    return Finding("torch", f"{version}, built for {f'CUDA {cuda}' if cuda else 'CPU'}", fix)


def torchvision(version: str | None, cuda: str | None, system: str) -> list[Finding]:
    """The usual Linux torchvision is built for CUDA; beside a CPU PyTorch its operators are missing, and importing it
    fails inside every library that finds it. ``version`` None: it is not there, which is best."""
    if version is None:
        return []
    clash = system == "Linux" and cuda is None and not version.endswith("+cpu")
    found = f"{version}, built for CUDA beside a CPU torch" if clash else f"{version} (darkroom does not use it)"
    return [Finding("torchvision", found, "pip uninstall torchvision" if clash else "")]


def opencv(versions: Mapping[str, str]) -> list[Finding]:
    """OpenCV is optional; from 5 on its packages hold no face detector."""
    found = {name: version for name, version in versions.items() if name.startswith("opencv-")}
    return [
        Finding("opencv", f'{name} {version} has no face detector; "{name}>=4.10,<5" has one')
        for name, version in sorted(found.items())
        if _release(version)[:1] >= (5,)
    ]


def installed() -> dict[str, str]:
    """Names, lower-case, and versions of every installed distribution."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:  # a half-removed package has none
            found.setdefault(name.lower().replace("_", "-"), distribution.version)
    return found


# --- the machine -------------------------------------------------------------------------------------------------


def device(names: list[str], cuda: str | None) -> Finding:
    """Where training runs: the GPUs PyTorch sees, by name, or the CPU. Drawing is always on the CPU."""
    if names:
        return Finding("device", ", ".join(names))
    return Finding("device", f"cpu (this torch is built for CUDA {cuda} and sees no GPU)" if cuda else "cpu")


def threads(count: int, usable_cores: int) -> Finding:
    """How many threads one operation uses, against the cores this process may use."""
    note = "; more threads than cores is slow: set OMP_NUM_THREADS" if count > usable_cores else ""
    return Finding("threads", f"{count} on {usable_cores} core{'s' * (usable_cores > 1)}{note}")


def instructions(capability: str) -> Finding:
    """The widest vector instructions PyTorch uses on this CPU."""
    note = " (no wide vector instructions: drawing will be slow)" if capability in ("DEFAULT", "NO AVX") else ""
    return Finding("cpu", f"{capability}{note}")


def memory(free: int | None) -> Finding:
    """Free memory in bytes; None: this system does not tell."""
    if free is None:
        return Finding("memory", "not known here")
    fix = "" if free >= NEEDED_MEMORY else "close other programs; drawing needs about 1 GiB"
    return Finding("memory", f"{free / GIB:.1f} GiB free", fix)


def disk(free: float) -> Finding:
    """Free bytes where pictures will be written."""
    fix = "" if free >= NEEDED_DISK else "free some space, or draw into another folder with --out"
    return Finding("disk", f"{free / GIB:.1f} GiB free here", fix)


def compiler(name: str | None) -> Finding:
    """torch.compile makes training faster and needs a C++ compiler; without one training runs eagerly."""
    return Finding("compiler", name or "no C++ compiler: training works, uncompiled and slower")


def allocator(system: str, environment: Mapping[str, str]) -> Finding:
    """Who gives out memory: training on a CPU loses a quarter of its time to glibc's habit of giving pages back."""
    preloaded = environment.get("LD_PRELOAD", "")
    for name in ("jemalloc", "tcmalloc", "mimalloc"):
        if name in preloaded:
            return Finding("allocator", name)
    if system != "Linux":
        return Finding("allocator", "the system's own")
    return Finding("allocator", "glibc's; `darkroom train` starts itself with settings that keep pages")


# --- files -------------------------------------------------------------------------------------------------------


def model(folder: Path) -> Finding:
    """Whether a model folder is complete and every file has its card's sha256; the weights are not loaded."""
    from darkroom.cards import CARD, read_card
    from darkroom.contracts.errors import DarkroomError

    again = "install darkroom again"
    if not (folder / CARD).is_file():
        return Finding("model", "the embedded model is missing", again)
    try:
        card = read_card(folder)
    except DarkroomError as error:
        return Finding("model", str(error), again)
    for entry in card.files.values():
        try:
            with open(folder / entry.path, "rb") as file:
                sound = file_digest(file, "sha256").hexdigest() == entry.sha256
        except OSError as error:
            return Finding("model", f"{entry.path} cannot be read ({error.strerror})", again)
        if not sound:
            return Finding("model", f"{entry.path} is damaged", again)
    size = sum(entry.bytes for entry in card.files.values()) / 1e6
    return Finding("model", f"{card.name}, {size:.1f} MB, all {len(card.files)} files sound")


def writable(folder: Path) -> Finding:
    """Whether pictures can be written to a folder, which need not exist yet; nothing is created."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        return Finding("pictures", f"{there} is not a folder", "rename it, or draw into another folder with --out")
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding("pictures", f"{there} cannot be written", "draw into another folder with --out")
    return Finding("pictures", f"go to {folder}/")


def _release(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: (2, 13, 0) of "2.13.0+cpu"."""
    numbers = []
    for part in version.split("+")[0].split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
