"""Packed weights come back within their rounding, and everything that is no large matrix exactly as bf16."""

from __future__ import annotations

import pytest
import torch

from darkroom.nn.storage import packed, unpacked


def test_matrices_come_back_within_half_a_step_of_their_row() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(64, 128) * torch.logspace(-4, 2, 64)[:, None]
    back = unpacked(packed({"w": matrix}))["w"]
    step = matrix.abs().amax(1, keepdim=True) / 127
    assert ((back - matrix).abs() <= step * 0.501).all()
    assert packed({"w": matrix})["w"].dtype == torch.int8


def test_small_and_other_shaped_tensors_stay_bf16() -> None:
    tensors = {"bias": torch.randn(64), "conv": torch.randn(32, 32, 3, 3), "small": torch.randn(8, 8)}
    for name, back in unpacked(packed(tensors)).items():
        assert torch.equal(back, tensors[name].bfloat16().float())


def test_a_row_of_zeros_stays_zero() -> None:
    assert not unpacked(packed({"w": torch.zeros(64, 64)}))["w"].any()


def test_a_name_that_looks_like_a_scale_is_kept_apart() -> None:
    with pytest.raises(ValueError, match="rename it"):
        packed({"w.scale": torch.zeros(64, 64)})
    plain = {"norm": torch.ones(4), "norm.scale": torch.ones(4)}
    assert unpacked(plain).keys() == plain.keys()
