"""Conversions between what networks predict and the clean estimate."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from darkroom.protocols import Level
from darkroom.synthesis.prediction import KINDS, PredictionKind, from_x0, to_eps, to_x0, training_target

kinds = st.sampled_from(KINDS)
# any pair, not only those of a schedule; 1e-3 keeps the condition number of "eps", 1 / alpha, at 1e3
coefficients = st.floats(1e-3, 2.0)
TOLERANCE = 1e-11  # 1e3 (condition) * a few * 2e-16 * numbers of size 10, with room


def drawn(seed: int) -> tuple[Tensor, Tensor]:
    """x0 (3, 5) of size about 2, and noise."""
    generator = torch.Generator().manual_seed(seed)
    both = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)
    return 2 * both[0], both[1]


@given(kinds, coefficients, coefficients, st.integers(0, 2**32))
def test_every_kind_gives_back_what_x_was_mixed_from(
    kind: PredictionKind, alpha: float, sigma: float, seed: int
) -> None:
    x0, noise = drawn(seed)
    level = Level(0.5, alpha, sigma)
    x = alpha * x0 + sigma * noise
    output = training_target(kind, x0, noise, alpha, sigma)
    torch.testing.assert_close(to_x0(kind, output, x, level), x0, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(from_x0(kind, x0, x, level), output, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(to_eps(x0, x, level), noise, rtol=0, atol=TOLERANCE)


@given(kinds, coefficients, coefficients, st.integers(0, 2**32))
def test_round_trips_from_any_output(kind: PredictionKind, alpha: float, sigma: float, seed: int) -> None:
    output, x = drawn(seed)  # the output of an untrained network: related to x in no way
    level = Level(0.5, alpha, sigma)
    x0 = to_x0(kind, output, x, level)
    # going back divides by sigma and, for eps, went through 1 / alpha: compare relative to the size of what was lost
    scale = 1 + x0.abs().max().item() / sigma
    torch.testing.assert_close(from_x0(kind, x0, x, level), output, rtol=0, atol=1e-14 * scale)


@given(kinds, coefficients, coefficients, st.floats(-3, 3))
def test_x0_is_affine_in_the_output(kind: PredictionKind, alpha: float, sigma: float, weight: float) -> None:
    (one, other), (x, _) = drawn(1), drawn(2)
    level = Level(0.5, alpha, sigma)
    mixed = to_x0(kind, weight * one + (1 - weight) * other, x, level)
    apart = weight * to_x0(kind, one, x, level) + (1 - weight) * to_x0(kind, other, x, level)
    torch.testing.assert_close(mixed, apart, rtol=0, atol=1e-10)


def test_definitions_by_hand() -> None:
    # alpha 0.8, sigma 0.6, x0 = 2, noise = -1: x = 1.0, v = -0.8 - 1.2 = -2.0, flow = -3.0
    x0, noise, x = (torch.tensor([value], dtype=torch.float64) for value in (2.0, -1.0, 1.0))
    level = Level(0.5, 0.8, 0.6)
    for kind, answer in {"eps": -1.0, "v": -2.0, "flow": -3.0, "x0": 2.0}.items():
        assert training_target(kind, x0, noise, 0.8, 0.6).item() == pytest.approx(answer)  # type: ignore[arg-type]
        assert from_x0(kind, x0, x, level).item() == pytest.approx(answer)  # type: ignore[arg-type]


def test_at_alpha_zero_eps_says_nothing_and_the_others_still_do() -> None:
    x0, noise = drawn(0)
    level = Level(1.0, 0.0, 1.5)
    x = 1.5 * noise
    for kind in ("v", "flow", "x0"):
        output = training_target(kind, x0, noise, 0.0, 1.5)
        torch.testing.assert_close(to_x0(kind, output, x, level), x0, rtol=0, atol=TOLERANCE)
        torch.testing.assert_close(from_x0(kind, x0, x, level), output, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(from_x0("eps", x0, x, level), noise, rtol=0, atol=TOLERANCE)
    with pytest.raises(ValueError, match=r"alpha = 0 \(t = 1.0\).*start a little below"):
        to_x0("eps", noise, x, level)


@pytest.mark.parametrize("kind", KINDS)
def test_at_sigma_zero_x_is_the_picture_whatever_the_network_says(kind: PredictionKind) -> None:
    x0, _ = drawn(0)
    level = Level(0.0, 0.5, 0.0)
    assert torch.equal(to_x0(kind, torch.full_like(x0, math.nan), 0.5 * x0, level), x0)
    with pytest.raises(ValueError, match="eps is undefined"):
        to_eps(x0, 0.5 * x0, level)
    if kind == "x0":
        assert torch.equal(from_x0(kind, x0, 0.5 * x0, level), x0)
    else:
        with pytest.raises(ValueError, match="eps is undefined"):
            from_x0(kind, x0, 0.5 * x0, level)


@pytest.mark.parametrize("kind", KINDS)
def test_targets_of_a_batch_take_a_level_per_row(kind: PredictionKind) -> None:
    x0, noise = drawn(3)
    alpha, sigma = torch.tensor([0.9, 0.5, 0.0]).double(), torch.tensor([0.1, 0.5, 1.0]).double()
    batch = training_target(kind, x0, noise, alpha[:, None], sigma[:, None])
    rows = [training_target(kind, x0[i], noise[i], alpha[i].item(), sigma[i].item()) for i in range(3)]
    assert torch.equal(batch, torch.stack(rows))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dtype_is_kept(kind: PredictionKind, dtype: torch.dtype) -> None:
    x0, noise = (tensor.to(dtype) for tensor in drawn(0))
    level = Level(0.5, 0.5, 0.5)
    output = training_target(kind, x0, noise, 0.5, 0.5)
    assert {t.dtype for t in (output, to_x0(kind, output, x0, level), from_x0(kind, x0, noise, level))} == {dtype}


def test_unknown_kinds_and_impossible_levels_are_refused() -> None:
    x = torch.zeros(2)
    level = Level(0.5, 0.5, 0.5)
    # with jaxtyping's hook the annotation refuses it first, as a TypeError
    with pytest.raises((ValueError, TypeError), match="score"):
        training_target("score", x, x, 0.5, 0.5)  # type: ignore[arg-type]
    for convert in (to_x0, from_x0):
        with pytest.raises((ValueError, TypeError), match="score"):
            convert("score", x, x, level)  # type: ignore[arg-type]
        for alpha, sigma in ((0.0, 0.0), (-0.1, 1.0), (1.0, -0.1), (math.nan, 1.0)):
            with pytest.raises(ValueError, match="is no noise level"):
                convert("x0", x, x, Level(0.5, alpha, sigma))
