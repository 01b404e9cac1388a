"""Compiling where the machine can, training on where it cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import darkroom
from darkroom.training.compiled import compiled

SRC = Path(darkroom.__file__).parents[1]


class Two(nn.Module):
    """A network with two outputs, as the denoiser in training."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.layer(x)
        return y, y.relu()


@pytest.mark.parametrize("when", ["forwards", "backwards"])
def test_what_cannot_be_compiled_is_trained_uncompiled(monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    def broken(module: nn.Module, **_: Any) -> Any:
        def forward(*inputs: Tensor) -> tuple[Tensor, Tensor]:
            if when == "forwards":
                raise RuntimeError("InvalidCxxCompiler: no working C++ compiler\nand a page more")
            y, z = module(*inputs)
            y.register_hook(fails)
            return y, z

        def fails(_: Tensor) -> None:
            raise RuntimeError("InvalidCxxCompiler: no working C++ compiler\nand a page more")

        return forward

    monkeypatch.setattr(torch, "compile", broken)
    module, x = Two(), torch.randn(3, 4)
    with pytest.warns(
        UserWarning, match=r"cannot compile the network \(InvalidCxxCompiler: no working C\+\+ compiler\)"
    ):
        found = compiled(module, x)
    assert found is module
    assert all(p.grad is None for p in module.parameters())


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("2 GiB wanted"), ValueError("no Triton here"), KeyError("gcc")]
)
def test_too_little_memory_is_no_reason_to_go_on_and_everything_else_is(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(module: nn.Module, **_: Any) -> Any:
        def forward(*inputs: Tensor) -> Any:
            raise error

        return forward

    monkeypatch.setattr(torch, "compile", broken)
    module = Two()
    if isinstance(error, torch.OutOfMemoryError):
        with pytest.raises(torch.OutOfMemoryError):
            compiled(module, torch.randn(3, 4))
    else:
        with pytest.warns(UserWarning, match="cannot compile the network"):
            assert compiled(module, torch.randn(3, 4)) is module


def test_trying_it_out_leaves_no_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda module, **_: module.forward)
    module = Two()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compiled(module, torch.randn(3, 4)) == module.forward
    assert all(p.grad is None for p in module.parameters())


COMPILES = """
import torch, warnings
from darkroom.nn import text
from darkroom.nn.dit import sized
from darkroom.training.compiled import compiled
from darkroom.training.objectives.diffusion import DiffusionTraining

torch.manual_seed(0)
torch.set_num_threads(1)
module = DiffusionTraining(sized("nano", 4), text.nano())
with torch.no_grad():
    for parameter in module.parameters():
        if not parameter.any():
            parameter.normal_(std=0.05)
module.bfloat16()
caption = (torch.randint(4, 512, (4, 16)), torch.randint(1, 257, (4, 16, 12)), torch.ones(4, 16, dtype=torch.bool))
inputs = (torch.randn(4, 4, 16, 16).bfloat16(), torch.rand(4), *caption)
warnings.filterwarnings("error", message="this machine cannot compile")
fast = compiled(module, *inputs)
assert fast is not module
for quick, plain in zip(fast(*inputs), module(*inputs), strict=True):
    # bf16, fused: fewer roundings than eager; a few times 2**-8 of the largest value
    assert (quick - plain).abs().max() <= 8 / 256 * plain.abs().max()
print("the same")
"""


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="inductor needs a C++ compiler")
def test_the_denoiser_compiles_in_bf16_and_says_the_same(tmp_path: Path) -> None:
    """Inductor (torch 2.13, CPU) fails on a bias gradient that is stored twice: the network must not ask for one.

    In a process of its own: the type checks of these tests do not compile.
    """
    environment = {**os.environ, "PYTHONPATH": str(SRC), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", COMPILES], env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.stdout == "the same\n", done.stderr[-2000:]
