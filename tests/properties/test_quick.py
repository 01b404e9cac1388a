"""Quicker kernels under layers and blocks that are not ours: the same pictures, and nothing that is bound is missed."""

from __future__ import annotations

import importlib
from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from darkroom.nn.public.branches import Branch, bound
from darkroom.nn.public.int8 import in_int8
from darkroom.nn.public.quick import LARGE, QuickConv2d, QuickLinear, quickened, there
from tests.public import needs_public

pytestmark = pytest.mark.skipif(not there(), reason="this build of PyTorch has no such kernels")
FORMATS = (torch.bfloat16, torch.float32)


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def of_diffusers(name: str, *arguments: Any, **more: Any) -> Any:
    """A block of diffusers with other weights than zeros, and a quickened copy of it."""
    path = {"ResnetBlock2D": "resnet", "Upsample2D": "upsampling", "GEGLU": "activations"}[name]
    module = importlib.import_module(f"diffusers.models.{path}")
    torch.manual_seed(0)
    block = getattr(module, name)(*arguments, **more).eval().requires_grad_(False)
    return block, quickened(nn.Sequential(deepcopy(block)))[0]


@torch.inference_mode()
@settings(max_examples=60)
@given(
    st.sampled_from(FORMATS),
    st.sampled_from([(1, 0), (3, 1), (3, 0)]),
    st.sampled_from([1, 2]),
    st.sampled_from([1, 4]),
    st.booleans(),
    st.integers(1, 3),
    st.integers(3, 20),
)
def test_a_convolution_gives_what_it_gave(
    dtype: torch.dtype, kernel: tuple[int, int], stride: int, groups: int, bias: bool, batch: int, side: int
) -> None:
    size, padding = kernel
    plain = nn.Conv2d(8, 12, size, stride, padding, groups=groups, bias=bias).to(
        dtype, memory_format=torch.channels_last
    )
    quick = quickened(nn.Sequential(deepcopy(plain).requires_grad_(False)))[0]
    for again in (0, 3):  # the weights lie as the first picture's size asks; others are of other sizes
        x = drawn(batch, 8, side + again, side + again, dtype=dtype).contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(quick(x), plain(x), rtol=1.6e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-5)


@torch.inference_mode()
@settings(max_examples=40)
@given(st.sampled_from(FORMATS), st.booleans(), st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_a_linear_layer_gives_what_it_gave(dtype: torch.dtype, bias: bool, rows: list[int]) -> None:
    plain = nn.Linear(16, 24, bias=bias).to(dtype)
    quick = quickened(nn.Sequential(deepcopy(plain)))[0]
    x = drawn(*rows, 16, dtype=dtype)
    assert isinstance(quick, QuickLinear)
    torch.testing.assert_close(quick(x), plain(x), rtol=1.6e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-5)


def test_the_weights_of_a_convolution_are_what_they_were_after_any_use() -> None:
    network = quickened(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Linear(6, 6)).requires_grad_(False))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    x = drawn(1, 8, 6, 6)
    with torch.inference_mode():
        first = network(x)
    assert network[0].weight.is_mkldnn
    after = network.state_dict()
    assert not network[0].weight.is_mkldnn
    assert all(torch.equal(before[name], after[name]) for name in before)
    with torch.inference_mode():
        assert torch.equal(network(x), first)
    twice = network.double()  # while the weights lie in blocks
    assert twice(x.double()).dtype == torch.float64
    torch.testing.assert_close(twice(x.double()).float(), first, rtol=1e-4, atol=1e-5)


def test_gradients_go_through_as_before() -> None:
    conv = QuickConv2d(8, 8, 3, padding=1)
    x = drawn(1, 8, 6, 6)
    with torch.no_grad():
        conv(x)
    x.requires_grad_(True)
    conv(x).sum().backward()
    assert x.grad is not None
    assert bool(x.grad.abs().sum() > 0)


def test_what_is_not_known_stays_what_it_is() -> None:
    class Own(nn.Linear):
        pass

    network = quickened(in_int8(nn.Sequential(Own(4, 4), nn.Linear(32, 32), nn.LayerNorm(4))))
    assert [type(layer).__name__ for layer in network] == ["Own", "Int8Linear", "LayerNorm"]


def test_number_formats_without_such_kernels_go_the_old_way() -> None:
    plain = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Linear(6, 6)).double()
    quick = quickened(deepcopy(plain))
    x = drawn(1, 8, 6, 6, dtype=torch.float64)
    with torch.inference_mode():
        assert torch.equal(quick(x), plain(x))


BLOCKS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any], tuple[tuple[int, ...], ...]]] = {
    "as wide": ("ResnetBlock2D", (), {"in_channels": 32, "temb_channels": 16}, ((2, 32, 9, 8), (2, 16))),
    "wider": (
        "ResnetBlock2D",
        (),
        {"in_channels": 32, "out_channels": 64, "temb_channels": 16, "output_scale_factor": 1.5},
        ((2, 32, 9, 8), (2, 16)),
    ),
    "without a time": (
        "ResnetBlock2D",
        (),
        {"in_channels": 32, "temb_channels": None, "time_embedding_norm": "group"},
        ((2, 32, 9, 8),),
    ),
    "halved": ("ResnetBlock2D", (), {"in_channels": 32, "temb_channels": 16, "down": True}, ((2, 32, 8, 8), (2, 16))),
    "scaled by the time": (
        "ResnetBlock2D",
        (),
        {"in_channels": 32, "temb_channels": 16, "time_embedding_norm": "scale_shift"},
        ((2, 32, 8, 8), (2, 16)),
    ),
    "upsampling, large": ("Upsample2D", (16,), {"use_conv": True, "out_channels": 24}, ((2, 16, 64, LARGE // 64),)),
    "upsampling, small": ("Upsample2D", (16,), {"use_conv": True}, ((2, 16, 5, 7),)),
    "upsampling alone": ("Upsample2D", (16,), {}, ((1, 16, 64, LARGE // 64),)),
    "gated": ("GEGLU", (16, 32), {}, ((2, 7, 16),)),
    "gated, no bias": ("GEGLU", (16, 32), {"bias": False}, ((2, 7, 16),)),
}


@needs_public
@pytest.mark.parametrize("dtype", FORMATS, ids=["bf16", "fp32"])
@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_of_diffusers_makes_the_same(name: str, dtype: torch.dtype) -> None:
    """Nearer to what it makes in fp64 than its own way is, or as near."""
    kind, arguments, more, shapes = BLOCKS[name]
    plain, quick = of_diffusers(kind, *arguments, **more)
    x = [drawn(*shape, seed=i) for i, shape in enumerate(shapes)]
    x += [None] * (kind == "ResnetBlock2D" and len(shapes) == 1)  # type: ignore[list-item]

    def asked(block: nn.Module, dtype: torch.dtype) -> Tensor:
        return block.to(dtype)(*(one if one is None else one.to(dtype) for one in x)).double()

    with torch.inference_mode():
        true = asked(deepcopy(plain), torch.float64)
        off, before = ((asked(one, dtype) - true).abs().mean() for one in (quick, plain))
    assert off <= 1.3 * before + 2e-7


@needs_public
@pytest.mark.parametrize("name", ["as wide", "upsampling, large", "gated"])
def test_what_is_bound_to_a_layer_within_a_block_is_felt(name: str) -> None:
    kind, arguments, more, shapes = BLOCKS[name]
    plain, quick = of_diffusers(kind, *arguments, **more)
    layer = {"ResnetBlock2D": "conv2", "Upsample2D": "conv", "GEGLU": "proj"}[kind]
    weight = plain.get_submodule(layer).weight
    branch = Branch(drawn(4, *weight.shape[1:]) * 0.1, drawn(len(weight), 4, *(1,) * (weight.ndim - 2)) * 0.1, 1.0)
    x = [drawn(*shape, seed=i) for i, shape in enumerate(shapes)]
    with torch.inference_mode():
        bare = quick(*x)
        for block in (plain, quick):
            with bound(block, [({layer: branch}, 0.7)]):
                felt = block(*x)
            if block is plain:
                wanted = felt
        torch.testing.assert_close(felt, wanted, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(felt, bare, atol=1e-2)
        torch.testing.assert_close(quick(*x), bare, rtol=0, atol=0)


@needs_public
def test_the_weights_of_an_upsampling_are_taken_anew_when_they_change() -> None:
    plain, quick = of_diffusers("Upsample2D", 16, use_conv=True)
    x = drawn(1, 16, 64, LARGE // 64)
    with torch.inference_mode():
        quick(x)
        for block in (plain, quick):
            block.load_state_dict({name: tensor * 2 for name, tensor in block.state_dict().items()}, assign=True)
        torch.testing.assert_close(quick(x), plain(x), rtol=1e-4, atol=1e-4)
