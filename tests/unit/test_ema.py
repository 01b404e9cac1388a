"""The average of weights: its profile over the steps is the power function it claims to be."""

from __future__ import annotations

import math

import pytest
import torch

from darkroom.training.ema import PowerEMA


def profile(steps: int, gamma: float) -> torch.Tensor:
    """How much each step's masters count in the average after ``steps`` steps, found by feeding one-hot masters."""
    ema = PowerEMA({"w": torch.zeros(steps, dtype=torch.float64)}, gamma)
    for step in range(1, steps + 1):
        ema.update({"w": torch.nn.functional.one_hot(torch.tensor(step - 1), steps).double()}, step)
    return ema.average["w"]


@pytest.mark.parametrize("gamma", [0.0, 6.94, 16.97])
def test_the_profile_is_a_power_of_the_step(gamma: float) -> None:
    steps = 400
    weights = profile(steps, gamma)
    assert weights.sum().item() == pytest.approx(1)
    t = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    expected = t**gamma / (t**gamma).sum()
    # The recursion is the exact power function only as steps grow: compare as distributions.
    assert (weights.cumsum(0) - expected.cumsum(0)).abs().max() < 0.02
    if gamma == 0:
        assert torch.allclose(weights, torch.full((steps,), 1 / steps, dtype=torch.float64))


def test_the_default_spans_about_the_last_tenth() -> None:
    """Relative width of t**gamma on [0, 1] (arXiv:2312.02696, eq. 15): .05 for the default."""
    steps = 1000
    weights, t = profile(steps, 16.97), torch.arange(1, steps + 1).double() / steps
    mean = (weights * t).sum()
    width = ((weights * (t - mean) ** 2).sum()).sqrt().item()
    gamma = 16.97
    assert math.sqrt(gamma + 1) / (gamma + 2) / math.sqrt(gamma + 3) == pytest.approx(0.05, rel=1e-3)
    assert width == pytest.approx(0.05, rel=0.03)
    assert mean.item() == pytest.approx((gamma + 1) / (gamma + 2), rel=0.01)


def test_the_first_step_forgets_the_start() -> None:
    ema = PowerEMA({"w": torch.full((3,), 1e9)})
    ema.update({"w": torch.tensor([1.0, -2.0, 3.0])}, 1)
    assert ema.average["w"].tolist() == [1.0, -2.0, 3.0]


def test_it_copies_what_it_starts_from_and_stays_between_old_and_new() -> None:
    masters = {"w": torch.zeros(2)}
    ema = PowerEMA(masters)
    masters["w"] += 1
    assert ema.average["w"].tolist() == [0, 0]
    ema.update(masters, 50)
    assert ((ema.average["w"] > 0) & (ema.average["w"] < 1)).all()
    assert masters["w"].tolist() == [1, 1]


def test_a_restored_average_goes_on_in_the_same_bits() -> None:
    generator = torch.Generator().manual_seed(0)
    walk = [{"a": torch.randn(5, generator=generator), "b": torch.randn(2, 3, generator=generator)} for _ in range(20)]
    whole = PowerEMA(walk[0])
    for step, masters in enumerate(walk[:10], 1):
        whole.update(masters, step)
    resumed = PowerEMA(walk[3])
    resumed.restore({name: tensor.clone() for name, tensor in whole.average.items()})
    for step, masters in enumerate(walk[10:], 11):
        whole.update(masters, step)
        resumed.update(masters, step)
    assert all(torch.equal(whole.average[name], resumed.average[name]) for name in walk[0])
