"""The upscaler's network: branches that fold into one kernel, gradients, sizes, and tiles without seams."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from darkroom.nn.upscaler import EDGES, BranchedConv, BranchedUpscaler, Upscaler, UpscalerConfig, bicubic, nano


def branched(config: UpscalerConfig | None = None) -> BranchedUpscaler:
    """In double precision, with biases that are not zero."""
    torch.manual_seed(0)
    network = BranchedUpscaler(config or nano()).double()
    with torch.no_grad():
        for layer in network.layers:
            layer.bias.normal_(std=0.1)  # type: ignore[union-attr, operator]
    return network


def by_branches(layer: BranchedConv, x: Tensor) -> Tensor:
    """What the branches say they do, each computed by itself, one convolution after the other."""
    found = F.conv2d(x, layer.plain.weight, layer.bias, padding=1)
    found = found + F.conv2d(layer.widen(x), layer.narrow.weight, padding=1)
    for mixed, strength, edge in zip(layer.mix(x).chunk(len(EDGES), 1), layer.strength, EDGES, strict=True):
        kernel = torch.tensor(edge, dtype=x.dtype).expand(layer.outputs, 1, 3, 3)
        found = found + strength[:, None, None] * F.conv2d(mixed, kernel, padding=1, groups=layer.outputs)
    return found + x if layer.inputs == layer.outputs else found


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 8), (8, 8), (8, 12)])
def test_a_convolution_is_the_sum_of_its_branches_to_the_rim(inputs: int, outputs: int) -> None:
    torch.manual_seed(1)
    layer = BranchedConv(inputs, outputs, 2).double()
    with torch.no_grad():
        layer.bias.normal_()
    x = torch.randn(2, inputs, 7, 9, dtype=torch.float64)
    torch.testing.assert_close(layer(x), by_branches(layer, x), rtol=1e-12, atol=1e-12)


def test_every_branch_counts() -> None:
    layer = BranchedConv(4, 4, 2).double()
    before = layer.kernel()
    for name, parameter in layer.named_parameters():
        if name == "bias":
            continue
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.zero_()
        assert not torch.equal(layer.kernel(), before), name
        with torch.no_grad():
            parameter.copy_(kept)


def test_the_folded_network_is_the_one_that_was_trained() -> None:
    network = branched()
    folded = network.folded()
    assert type(folded) is Upscaler and {p.shape[2:] for p in folded.parameters() if p.ndim == 4} == {(3, 3)}
    pixels = torch.rand(2, 3, 11, 14, dtype=torch.float64)
    torch.testing.assert_close(folded(pixels), network(pixels), rtol=1e-12, atol=1e-12)
    assert (network(pixels) - bicubic(pixels)).abs().max() > 1e-3  # it does something
    fresh = Upscaler(nano()).double()
    fresh.load_state_dict(folded.state_dict())
    assert torch.equal(fresh(pixels), folded(pixels))


def test_every_parameter_gets_a_finite_gradient() -> None:
    network = branched()
    network(torch.rand(2, 3, 8, 8, dtype=torch.float64)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_the_default_has_the_size_it_is_meant_to_have() -> None:
    weights = sum(p.numel() for p in Upscaler().parameters())
    assert 0.2e6 <= weights <= 0.4e6 and 2 * weights < 1e6  # in bf16, bytes


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (17, 6), (33, 64)])
def test_any_size_is_doubled(size: tuple[int, int]) -> None:
    made = Upscaler(nano())(torch.rand(1, 3, *size))
    assert made.shape == (1, 3, 2 * size[0], 2 * size[1]) and torch.isfinite(made).all()


def test_tiles_that_overlap_by_the_reach_have_no_seam() -> None:
    network = branched().folded()
    pixels = torch.rand(1, 3, 40, 30, dtype=torch.float64)
    whole, reach, cut = network(pixels), network.config.reach, 18
    above, below = network(pixels[:, :, : cut + reach]), network(pixels[:, :, cut - reach :])
    tiled = torch.cat([above[:, :, : 2 * cut], below[:, :, 2 * reach :]], 2)
    torch.testing.assert_close(tiled, whole, rtol=1e-12, atol=1e-12)
    short = network(pixels[:, :, cut - reach + 1 :])[:, :, 2 * (reach - 1) :]
    assert (short - whole[:, :, 2 * cut :]).abs().max() > 1e-9  # and a pixel less would not do


def test_half_precision_keeps_the_picture_exact_where_there_is_nothing_to_add() -> None:
    network = Upscaler(nano())
    with torch.no_grad():
        for parameter in network.layers[-1].parameters():
            parameter.zero_()
    pixels = torch.rand(1, 3, 9, 9)
    assert torch.equal(network.bfloat16()(pixels), bicubic(pixels))


def test_the_bicubic_enlargement_keeps_a_ramp_and_a_plain_ground() -> None:
    ramp = torch.linspace(0, 1, 20, dtype=torch.float64).expand(1, 3, 20, 20)
    steps = bicubic(ramp)[0, 0, 20, 8:32].diff()
    torch.testing.assert_close(steps, torch.full_like(steps, 0.5 / 19), rtol=1e-6, atol=1e-9)
    ground = torch.full((1, 3, 6, 6), 0.3, dtype=torch.float64)
    torch.testing.assert_close(bicubic(ground), torch.full((1, 3, 12, 12), 0.3, dtype=torch.float64))
