"""What every test rests on: few threads, no network, and types and tensor shapes checked as the tensor rooms run.

This module is imported before any test, so the import hook comes before every module of the package.
``DARKROOM_UNCHECKED=1`` leaves them unchecked, to time the code as it ships.
"""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Threads that wait sleep: spinning ones, gcc's habit, make small operations fifty times slower on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read once, when torch is imported
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
QUIET = str(Path(__file__).parent / "quiet")  # what processes of tests begin with: no network for them, either
os.environ["PYTHONPATH"] = os.pathsep.join([QUIET, *filter(None, [os.environ.get("PYTHONPATH")])])

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

# Where tensors are. The words (contracts) are checked by pydantic, and beartype does not take its ``Self``.
ROOMS = ("protocols", "nn", "latent", "prompt", "synthesis", "data", "judge", "training.objectives")


def of_tensors() -> list[str]:
    """The modules of these rooms that hold tensors; to check every call of captions and layout too takes minutes."""
    [root] = map(Path, importlib.util.find_spec("darkroom").submodule_search_locations)
    names = {path: ".".join(path.relative_to(root).with_suffix("").parts) for path in sorted(root.rglob("*.py"))}
    inside = {path: name for path, name in names.items() if name.startswith(ROOMS)}
    tensors = re.compile(r"^(import torch|from torch|from jaxtyping)\b", re.MULTILINE)
    return [f"darkroom.{name}" for path, name in inside.items() if tensors.search(path.read_text(encoding="utf-8"))]


torch.set_num_threads(min(2, torch.get_num_threads()))  # the promises are about two cores
settings.register_profile("darkroom", deadline=None)  # a busy machine is no failure; pytest-timeout catches a hang
settings.load_profile("darkroom")

if not os.environ.get("DARKROOM_UNCHECKED"):
    assert "darkroom" not in sys.modules, "the package was imported before the hook that checks it"
    install_import_hook(of_tensors(), "beartype.beartype")


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """The suite passes without network: a connection to anything but this machine fails the test that opens it."""
    connect = socket.socket.connect

    def only_here(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"a test reached for the network: {address[0]}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", only_here)
        yield


@pytest.fixture
def data_pack() -> Path:
    """The data pack's folder; for tests marked ``datapack``."""
    return Path(os.environ["DARKROOM_DATA_PACK"])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests of the real data pack skip, with the reason in the summary, where there is none."""
    if item.get_closest_marker("datapack") and not os.environ.get("DARKROOM_DATA_PACK"):
        pytest.skip("needs the data pack: set DARKROOM_DATA_PACK to its folder")
