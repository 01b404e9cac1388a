"""The number format that is quickest, from what the system says of the processor."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from darkroom.machine import formats


@pytest.mark.parametrize(
    ("said", "dtype"),
    [
        ("processor : 0\nflags\t: fpu avx512f avx512_bf16 amx_tile\n", torch.bfloat16),
        ("processor : 0\nFeatures\t: fp asimd bf16\n", torch.bfloat16),
        ("processor : 0\nflags\t: fpu avx2 avx512f\nmodel name : a bf16 one\n", torch.float32),
        (None, torch.float32),
    ],
)
def test_bf16_where_there_are_units_for_it(
    said: str | None, dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if said is not None:
        (tmp_path / "cpuinfo").write_text(said)
    monkeypatch.setattr(formats, "_SAID", tmp_path / "cpuinfo")
    formats.quick_dtype.cache_clear()
    try:
        assert formats.quick_dtype() is dtype
    finally:
        formats.quick_dtype.cache_clear()
