"""fp32 masters, bf16 copies, AdamW, and the learning rate's course."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from toys import ToyModule, same_bits

from darkroom.training.optim import Masters, OptimConfig, rate_at

PLAIN = OptimConfig(rate=1e-2, weight_decay=0.0, clip=1e9)


def gradients(module: nn.Module, seed: int, scale: float = 1.0) -> None:
    """Random gradients on every parameter, in the parameter's own layout."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        drawn = torch.randn(parameter.shape, generator=generator) * scale
        parameter.grad = torch.empty_like(parameter).copy_(drawn)


def toy(config: OptimConfig = PLAIN, dtype: torch.dtype = torch.bfloat16) -> tuple[ToyModule, Masters]:
    torch.manual_seed(0)
    module = ToyModule()
    return module, Masters(module, config, dtype)


# --- masters and copies ------------------------------------------------------------------------------------------


def test_masters_learn_where_bf16_storage_stalls() -> None:
    """Steps of 1e-4 from 1: bf16's numbers there are 4e-3 apart, so stored in bf16 the weight never moves."""
    rate, steps = 1e-4, 100
    stored = nn.Parameter(torch.ones(8, dtype=torch.bfloat16))
    adam = torch.optim.AdamW([stored], lr=rate, weight_decay=0.0)
    for _ in range(steps):
        stored.grad = torch.ones_like(stored)
        adam.step()
    assert stored.tolist() == [1.0] * 8

    module = nn.Module()
    module.register_parameter("w", nn.Parameter(torch.ones(8)))
    masters = Masters(module, PLAIN, torch.bfloat16)
    for _ in range(steps):
        module.get_parameter("w").grad = torch.ones(8, dtype=torch.bfloat16)
        masters.step(rate)
    # A constant gradient moves Adam by the rate each step.
    assert masters.masters["w"].tolist() == pytest.approx([1 - steps * rate] * 8, rel=1e-4)
    assert module.get_parameter("w").tolist() == [0.98828125] * 8  # .99 in bf16


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_copies_are_the_rounded_masters_after_every_step(dtype: torch.dtype) -> None:
    module, masters = toy(dtype=dtype)
    for step in range(4):
        gradients(module, step)
        masters.step(1e-2)
        for name, parameter in module.named_parameters():
            assert parameter.dtype == dtype and masters.masters[name].dtype == torch.float32
            assert torch.equal(parameter, masters.masters[name].to(dtype))
            assert parameter.grad is None


def test_a_step_is_adamw() -> None:
    """Against torch's plain loop over the same fp32 weights; 1e-6: the fused kernel orders its products otherwise."""
    config = OptimConfig(weight_decay=0.1, clip=1e9)
    module, masters = toy(config, torch.float32)
    reference = {name: nn.Parameter(p.detach().clone()) for name, p in module.named_parameters()}
    matrices = [p for p in reference.values() if p.ndim >= 2]
    vectors = [p for p in reference.values() if p.ndim < 2]
    adam = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        betas=config.betas,
        foreach=False,
    )
    for step in range(10):
        gradients(module, step)
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None
            reference[name].grad = parameter.grad.clone()
        for group in adam.param_groups:
            group["lr"] = 1e-3 * (step + 1)
        adam.step()
        masters.step(1e-3 * (step + 1))
    for name, parameter in reference.items():
        assert torch.allclose(masters.masters[name], parameter, rtol=1e-6, atol=1e-6), name


def test_only_matrices_decay() -> None:
    module, masters = toy(OptimConfig(weight_decay=0.5, clip=1e9))
    before = {name: m.clone() for name, m in masters.masters.items()}
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    masters.step(0.1)
    for name, master in masters.masters.items():
        factor = 1 - 0.1 * 0.5 if master.ndim >= 2 else 1.0
        assert torch.allclose(master, before[name] * factor), name


def test_gradients_are_clipped_and_the_norm_before_it_is_told() -> None:
    config = OptimConfig(clip=1.0)
    module, masters = toy(config, torch.float32)
    gradients(module, 0, scale=100.0)
    grads = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    norm = torch.cat([g.flatten() for g in grads.values()]).norm().item()
    assert masters.step(1e-3) == pytest.approx(norm, rel=1e-5)
    moments = masters.state()
    for name, grad in grads.items():  # the first moment after one step is (1 - beta1) of the clipped gradient
        assert torch.allclose(moments[f"{name}|exp_avg"], 0.1 * grad / norm, rtol=1e-4, atol=1e-9), name


def test_a_parameter_without_gradient_is_left_alone() -> None:
    module, masters = toy()
    gradients(module, 0)
    module.scale.grad = None
    before = masters.masters["scale"].clone()
    assert masters.step(1e-2) < float("inf")
    assert torch.equal(masters.masters["scale"], before)


# --- what is not finite ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["conv.weight", "out.bias", "scale"])
def test_a_gradient_that_is_not_finite_changes_nothing(bad: float, name: str) -> None:
    module, masters = toy()
    gradients(module, 0)
    masters.step(1e-2)
    weights, moments = snapshot(masters)
    gradients(module, 1)
    grad = module.get_parameter(name).grad
    assert grad is not None
    grad[(0,) * grad.ndim] = bad
    norm = masters.step(1e-2)
    assert not norm < float("inf")
    after_weights, after_moments = snapshot(masters)
    assert same_bits(weights, after_weights) and same_bits(moments, after_moments)
    assert all(p.grad is None for p in module.parameters())
    gradients(module, 2)
    assert masters.step(1e-2) < float("inf")  # and the next step goes on


def snapshot(masters: Masters) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    weights = {name: m.clone() for name, m in masters.masters.items()}
    return weights, {name: m.clone() for name, m in masters.state().items()}


# --- saved and restored ------------------------------------------------------------------------------------------


def through_a_file(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What comes back from a checkpoint: contiguous, whatever the layout was."""
    return {name: tensor.contiguous().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}


def test_a_restored_optimiser_goes_on_in_the_same_bits() -> None:
    module, whole = toy(OptimConfig(weight_decay=0.1))
    for step in range(5):
        gradients(module, step)
        whole.step(1e-2)
    weights, moments = snapshot(whole)
    other, resumed = toy(OptimConfig(weight_decay=0.1))
    resumed.restore(through_a_file(weights), through_a_file(moments))
    assert same_bits(weights, resumed.masters) and same_bits(moments, resumed.state())
    for step in range(5, 9):
        for m, masters in ((module, whole), (other, resumed)):
            gradients(m, step)
            masters.step(1e-2)
    assert same_bits(whole.masters, resumed.masters) and same_bits(whole.state(), resumed.state())
    assert same_bits(dict(module.named_parameters()), dict(other.named_parameters()))


def test_restored_moments_lie_in_memory_as_their_weights_do() -> None:
    """The fused kernel walks weight, gradient and moments as flat memory: one in another layout is another weight's."""
    module, masters = toy()
    gradients(module, 0)
    masters.step(1e-2)
    assert masters.masters["conv.weight"].is_contiguous(memory_format=torch.channels_last)
    other, resumed = toy()
    resumed.restore(through_a_file(snapshot(masters)[0]), through_a_file(snapshot(masters)[1]))
    gradients(other, 1)
    resumed.step(1e-2)
    for name, master in resumed.masters.items():
        for slot in ("exp_avg", "exp_avg_sq"):
            assert resumed.state()[f"{name}|{slot}"].stride() == master.stride(), name


def test_restoring_without_moments_starts_them_anew() -> None:
    module, masters = toy()
    gradients(module, 0)
    masters.step(1e-2)
    masters.restore(through_a_file(masters.masters), {})
    assert masters.state() == {}
    gradients(module, 1)
    masters.step(1e-2)
    assert {float(v) for k, v in masters.state().items() if k.endswith("|step")} == {1.0}


def test_moments_are_named_as_runs_in_progress_name_them() -> None:
    module, masters = toy()
    gradients(module, 0)
    masters.step(1e-2)
    names = [name for name, _ in module.named_parameters()]
    assert masters.state().keys() == {f"{n}|{slot}" for n in names for slot in ("step", "exp_avg", "exp_avg_sq")}
    assert all(t.dtype == torch.float32 for t in masters.state().values())


def test_other_weights_can_be_shown_and_the_masters_put_back() -> None:
    module, masters = toy()
    others = {name: torch.full_like(m, 2.0) for name, m in masters.masters.items()}
    masters.publish(others)
    assert all((p == 2).all() for p in module.parameters())
    masters.publish()
    assert all(torch.equal(p, masters.masters[n].bfloat16()) for n, p in module.named_parameters())


# --- the rate ----------------------------------------------------------------------------------------------------


def rates(config: OptimConfig, steps: int) -> Iterator[float]:
    return (rate_at(config, step, step / steps) for step in range(steps))


def test_the_rate_warms_up_stays_and_falls_to_zero() -> None:
    found = list(rates(OptimConfig(rate=1.0, warmup_steps=10, decay_share=0.25), 100))
    assert found[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert found[10:76] == [1.0] * 66
    assert found[75:] == pytest.approx([(100 - i) / 25 for i in range(75, 100)])
    assert rate_at(OptimConfig(rate=1.0), 100_000, 1.0) == 0.0


def test_no_decay_keeps_the_rate_for_another_leg() -> None:
    config = OptimConfig(rate=1.0, warmup_steps=0, decay_share=0.0)
    assert set(rates(config, 50)) == {1.0}
    assert rate_at(config, 50, 1.0) == 1.0


@given(st.floats(1e-6, 1.0), st.integers(0, 50), st.floats(0, 1), st.integers(1, 200))
def test_the_rate_rises_once_then_falls_once(rate: float, warmup: int, decay: float, steps: int) -> None:
    config = OptimConfig(rate=rate, warmup_steps=warmup, decay_share=decay)
    found = [*rates(config, steps), rate_at(config, steps, 1.0)]
    assert all(0 <= r <= rate for r in found)
    falling = [b < a for a, b in pairwise(found)]
    if decay * steps < steps - warmup:  # the warm-up is over before the fall begins
        assert falling == sorted(falling) or not any(falling)
    if decay > 0:
        assert found[-1] == 0


# --- muon --------------------------------------------------------------------------------------------------------


class Wide(nn.Module):
    """One layer of each sort that Muon may meet, and what it must leave to AdamW."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(48, 96)
        self.conv = nn.Conv2d(40, 64, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.narrow = nn.Linear(64, 6)
        self.embed = nn.Embedding(50, 64)
        self.table = nn.Parameter(torch.randn(40, 64))


def wide() -> tuple[Wide, Masters]:
    torch.manual_seed(0)
    module = Wide()
    return module, Masters(module, OptimConfig(muon=True, weight_decay=0.0, clip=1e9), torch.float32)


def test_muon_turns_layers_by_nearly_orthogonal_steps_as_large_as_adams() -> None:
    """Singular values of a step lie together (arXiv:2502.16982, eq. 4: .2 sqrt(longer side) of the rate each)."""
    module, masters = wide()
    before = {name: m.clone() for name, m in masters.masters.items()}
    gradients(module, 0)
    masters.step(1e-2)
    for name in ("linear.weight", "conv.weight"):
        step = (masters.masters[name] - before[name]).flatten(1)
        values = torch.linalg.svdvals(step) / (1e-2 * 0.2 * max(step.shape) ** 0.5)
        assert values.min() > 0.6 and values.max() < 1.3, name
        assert 0.5 < step.square().mean().sqrt() / (1e-2 * 0.2) < 1.5, name


def test_muon_leaves_narrow_layers_tables_and_vectors_to_adamw() -> None:
    module, masters = wide()
    gradients(module, 0)
    masters.step(1e-2)
    turned = {key.split("|")[0] for key in masters.state() if key.endswith("|momentum_buffer")}
    assert turned == {"linear.weight", "conv.weight"}
    others = {key.split("|")[0] for key in masters.state() if key.endswith("|exp_avg")}
    assert others == masters.masters.keys() - turned


def test_muon_restored_from_a_file_goes_on_in_the_same_bits() -> None:
    module, whole = wide()
    for step in range(3):
        gradients(module, step)
        whole.step(1e-2)
    weights, moments = snapshot(whole)
    other, resumed = wide()
    resumed.restore(through_a_file(weights), through_a_file(moments))
    for step in range(3, 6):
        for m, masters in ((module, whole), (other, resumed)):
            gradients(m, step)
            masters.step(1e-2)
    assert same_bits(whole.masters, resumed.masters) and same_bits(whole.state(), resumed.state())


@pytest.mark.parametrize("muon", [True, False])
def test_moments_of_another_optimiser_are_begun_anew(muon: bool) -> None:
    """As where a run is forced on with the other one."""
    modules = [nn.Sequential(nn.Linear(40, 40), nn.Linear(40, 3)) for _ in range(2)]
    before, after = (
        Masters(module, replace(PLAIN, muon=use), torch.float32)
        for module, use in zip(modules, (not muon, muon), strict=True)
    )
    gradients(modules[0], 0)
    before.step(1e-2)
    after.restore(before.masters, before.state())
    names = {name.split("|")[0] for name in after.state()}
    assert "1.weight" in names and "0.weight" not in names  # narrow: AdamW's in both; wide: not
    gradients(modules[1], 1)
    after.step(1e-2)
    assert ("0.weight|momentum_buffer" in after.state()) == muon and ("0.weight|exp_avg" in after.state()) != muon
