"""Which number formats this processor has units for."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

_SAID = Path("/proc/cpuinfo")
_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}  # as Linux names them, the last on ARM


@cache
def quick_dtype() -> torch.dtype:
    """bf16 where the processor multiplies it by itself, which takes a third to two thirds of the time; else, and where
    the system does not say, fp32: without such units bf16 is the slower one."""
    try:
        lines = _SAID.read_text().splitlines()
    except OSError:
        return torch.float32
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return torch.bfloat16 if _BF16 & set(flags.split()) else torch.float32
