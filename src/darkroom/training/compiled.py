"""Compiling a network where the machine can, and training on without where it cannot."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from darkroom.nn.dit import rotary_places


def compiled(module: nn.Module, *inputs: Tensor) -> Callable[..., Any]:
    """``module`` compiled for inputs of these shapes, or ``module`` itself, with a warning, where compiling fails.

    Tried out forwards and backwards on ``inputs``, because the backward pass is compiled when it first runs: without a
    C++ compiler, or on one of inductor's own errors, the run would end at its first step. Leaves no gradients. Too
    little memory is raised: it says nothing of compiling, and uncompiled there is less of it.
    """
    torch.compiler.assume_constant_result(rotary_places)  # or the sines are taken anew for every row and head
    attempt = torch.compile(module, dynamic=False)
    try:
        outputs = attempt(*inputs)
        sum(output.float().mean() for output in outputs).backward()
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:  # dynamo's, inductor's, Triton's; one of the network's own comes again uncompiled
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(
            f"this machine cannot compile the network ({reason}); training runs on uncompiled, slower", stacklevel=2
        )
        return module
    finally:
        module.zero_grad(set_to_none=True)
    return attempt
