"""Samplers against the published ones, step by step, on a random network in fp64.

They need ``pip install diffusers scipy tqdm`` and ``pip install --no-deps k-diffusion`` (of which only the file of
samplers is read: what else it imports is not used by them, and replaced). Without them they are skipped, and say so.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from darkroom.protocols import Call, Level, Task
from darkroom.synthesis.noise import LinearBetaVP, RectifiedFlow
from darkroom.synthesis.samplers import SAMPLERS
from tests.analytic import run

pytestmark = pytest.mark.slow
SHAPE = (3, 4, 5)
STEPS = 12
EXACT = {"rtol": 0.0, "atol": 1e-6}


def network(seed: int = 0) -> Callable[[Tensor, float], Tensor]:
    """A random nonlinear function of x and of log(sigma / alpha), fp64: what it answers is taken for x0."""
    generator = torch.Generator().manual_seed(seed)
    size = math.prod(SHAPE)
    into, out = (torch.randn(size, size, generator=generator, dtype=torch.float64) / size**0.5 for _ in range(2))

    def x0(x: Tensor, lam: float) -> Tensor:
        return (torch.tanh(x.flatten() @ into + 0.5 * math.atan(lam)) @ out).view(SHAPE)

    return x0


def draws(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(SHAPE, generator=generator, dtype=torch.float64) for _ in range(count)]


@dataclass
class Given:
    """Noise in the order it was drawn beforehand."""

    left: list[Tensor] = field(default_factory=lambda: draws(100))

    def draw(self, shape: Sequence[int]) -> Tensor:
        return self.left.pop(0)


@dataclass(frozen=True)
class Exploding:
    """alpha = 1, sigma = 14.6 t: the samplers of k-diffusion know no other."""

    largest: float = 14.6

    def level(self, t: float) -> Level:
        return Level(t, 1.0, self.largest * t, self)

    def at(self, lam: float) -> Level:
        return self.level(math.exp(-lam) / self.largest)


def ours(name: str, levels: Sequence[Level], x: Tensor) -> list[Tensor]:
    """Each x that the network was asked about, and the last; in units where alpha is 1, if it is everywhere above 0."""
    net, seen = network(), []

    def denoise(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
        seen.append(x)
        (x0,) = yield [Call("net", {"x": x, "lam": level.lam})]
        return x0

    def evaluate(calls: list[Call]) -> list[Tensor]:
        return [net(call.inputs["x"], call.inputs["lam"]) for call in calls]  # type: ignore[arg-type]

    last = run(SAMPLERS[name](denoise, x, levels, Given()), evaluate)
    return [*seen, last]


# -- k-diffusion -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def k_diffusion() -> ModuleType:
    """Its ``sampling`` module alone."""
    found = importlib.util.find_spec("k_diffusion")
    if found is None or importlib.util.find_spec("scipy") is None:
        pytest.skip("k-diffusion is not installed: pip install scipy tqdm; pip install --no-deps k-diffusion")
    package = ModuleType("k_diffusion")
    package.__path__ = list(found.submodule_search_locations or [])
    utils = ModuleType("k_diffusion.utils")
    utils.append_dims = lambda x, dims: x[(...,) + (None,) * (dims - x.ndim)]  # type: ignore[attr-defined]
    ode = ModuleType("torchdiffeq")
    ode.odeint = None  # type: ignore[attr-defined]
    stand_ins = {
        "k_diffusion": package,
        "k_diffusion.utils": utils,
        "torchdiffeq": ode,
        "torchsde": ModuleType("torchsde"),
    }
    missing = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    sys.modules.update(missing)
    try:
        return importlib.import_module("k_diffusion.sampling")
    finally:
        for name in missing:
            del sys.modules[name]


class Path:
    """Increments of one Brownian path in sigma, of unit variance: two from the same start share its beginning."""

    def __init__(self) -> None:
        self.left, self.walked = draws(100), {}

    def __call__(self, first: Tensor, last: Tensor) -> Tensor:
        start, end = float(first), float(last)
        way = self.walked.setdefault(start, [])
        if not way:
            way.append((start - end, self.left.pop(0)))
        elif (rest := start - end - way[0][0]) > 0:
            way.append((rest, self.left.pop(0)))
        walked = sum(length**0.5 * draw for length, draw in way)
        return walked / sum(length for length, _ in way) ** 0.5  # type: ignore[return-value]


THEIRS = {
    "euler": "sample_euler",
    "heun": "sample_heun",
    "dpm2": "sample_dpm_2",
    "lms": "sample_lms",
    "dpmpp-2m": "sample_dpmpp_2m",
    "euler-a": "sample_euler_ancestral",
    "dpmpp-2s-a": "sample_dpmpp_2s_ancestral",
    "dpmpp-sde": "sample_dpmpp_sde",
    "dpmpp-2m-sde": "sample_dpmpp_2m_sde",
    "dpmpp-3m-sde": "sample_dpmpp_3m_sde",
}
STOCHASTIC = {"euler-a", "dpmpp-2s-a", "dpmpp-sde", "dpmpp-2m-sde", "dpmpp-3m-sde"}


@pytest.mark.parametrize("name", THEIRS)
def test_every_step_is_that_of_k_diffusion(name: str, k_diffusion: ModuleType) -> None:
    schedule, net = Exploding(), network()
    sigmas = k_diffusion.get_sigmas_karras(STEPS, 0.03, 14.6).double()
    x = 14.6 * draws(1)[0]
    seen: list[Tensor] = []

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append(x[0])
        return net(x[0], -math.log(float(sigma[0])))[None]

    more: dict[str, Any] = {"noise_sampler": Path()} if name in STOCHASTIC else {}
    last = getattr(k_diffusion, THEIRS[name])(model, x[None], sigmas, disable=True, **more)[0]
    levels = [schedule.level(float(sigma) / schedule.largest) for sigma in sigmas]
    for mine, their in zip(ours(name, levels, x), [*seen, last], strict=True):
        torch.testing.assert_close(mine, their, **EXACT)


@pytest.mark.parametrize("name", ["heun", "dpm2", "lms"])
def test_a_schedule_that_keeps_variance_gives_the_same_pictures(name: str, k_diffusion: ModuleType) -> None:
    # theirs in y = x / alpha, whose sigma is sigma / alpha
    schedule, net = LinearBetaVP(), network()
    levels = [schedule.level(1 - i / STEPS) for i in range(STEPS + 1)]
    sigmas = torch.tensor([level.sigma / level.alpha for level in levels], dtype=torch.float64)
    x = levels[0].sigma * draws(1)[0]

    def model(y: Tensor, sigma: Tensor) -> Tensor:
        lam = -math.log(float(sigma[0]))
        return net(y[0] * schedule.at(lam).alpha, lam)[None]

    theirs = getattr(k_diffusion, THEIRS[name])(model, x[None] / levels[0].alpha, sigmas, disable=True)[0]
    torch.testing.assert_close(ours(name, levels, x)[-1], theirs, **EXACT)


# -- diffusers ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def diffusers() -> ModuleType:
    if importlib.util.find_spec("diffusers") is None:
        pytest.skip("diffusers is not installed: pip install diffusers")
    return importlib.import_module("diffusers")


def stepped(scheduler: Any, x: Tensor, lams: Sequence[float], **more: Any) -> list[Tensor]:
    """Each x that its loop asks about, and the last, with what :func:`network` answers taken for x0."""
    net, seen = network(), []
    scheduler.sigmas = scheduler.sigmas.double()
    for lam, t in zip(lams, scheduler.timesteps, strict=True):
        seen.append(x)
        extra = {name: given.pop(0) for name, given in more.items()}
        x = scheduler.step(net(x, lam), t, x, return_dict=False, **extra)[0]
    return [*seen, x]


def preserving(sigmas: Sequence[float]) -> list[Level]:
    """Levels of alpha**2 + sigma**2 = 1 from sigma / alpha."""
    return [Level(i / len(sigmas), (1 + s * s) ** -0.5, s * (1 + s * s) ** -0.5) for i, s in enumerate(sigmas)]


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("dpmpp-2m", "DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
        ("dpmpp-2m-sde", "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
        ("unipc", "UniPCMultistepScheduler", {"solver_order": 2}),
    ],
)
def test_every_step_is_that_of_diffusers(name: str, kind: str, settings: dict[str, Any], diffusers: ModuleType) -> None:
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    scheduler = getattr(diffusers, kind)(**betas, prediction_type="sample", **settings)
    scheduler.set_timesteps(STEPS)
    levels = preserving(scheduler.sigmas.double().tolist())
    x = draws(1)[0]
    more = {"variance_noise": draws(100)} if name in STOCHASTIC else {}
    theirs = stepped(scheduler, x, [level.lam for level in levels[:-1]], **more)
    for mine, their in zip(ours(name, levels, x), theirs, strict=True):
        torch.testing.assert_close(mine, their, **EXACT)


def test_ddim_is_that_of_diffusers(diffusers: ModuleType) -> None:
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    scheduler = diffusers.DDIMScheduler(**betas, prediction_type="sample", clip_sample=False, set_alpha_to_one=True)
    scheduler.set_timesteps(STEPS)
    bars = scheduler.alphas_cumprod.double()
    alphas = [float(bars[t]) ** 0.5 for t in scheduler.timesteps]
    levels = [Level(1 - i / STEPS, a, (1 - a * a) ** 0.5) for i, a in enumerate([*alphas, 1.0])]
    net, x = network(), draws(1)[0]
    y = x
    for level, t in zip(levels, scheduler.timesteps, strict=False):
        y = scheduler.step(net(y, level.lam), t, y, return_dict=False)[0]
    torch.testing.assert_close(ours("ddim", levels, x)[-1], y, rtol=0, atol=1e-5)  # its table is fp32


@pytest.mark.parametrize(
    ("name", "kind"), [("euler", "FlowMatchEulerDiscreteScheduler"), ("heun", "FlowMatchHeunDiscreteScheduler")]
)
def test_straight_paths_are_those_of_flow_matching(name: str, kind: str, diffusers: ModuleType) -> None:
    scheduler = getattr(diffusers, kind)(shift=1.0)
    scheduler.set_timesteps(STEPS)
    scheduler.sigmas = scheduler.sigmas.double()
    times = list(dict.fromkeys(scheduler.sigmas.tolist()))  # Heun's has the inner ones twice
    levels = [RectifiedFlow().level(min(t, 1.0)) for t in times]
    net, x = network(), draws(1)[0]
    asked = [
        level
        for i, level in enumerate(levels[:-1])
        for level in ([level] if i == 0 or name == "euler" else [level] * 2)
    ]
    y = x
    for level, t in zip(asked, scheduler.timesteps, strict=True):
        velocity = (y - net(y, level.lam)) / level.sigma  # eps - x0
        y = scheduler.step(velocity, t, y, return_dict=False)[0]
    mine = ours(name, levels, x)
    assert len(mine) == len(asked) + 1 and all(now.t > after.t for now, after in pairwise(levels))
    torch.testing.assert_close(mine[-1], y.double(), rtol=0, atol=1e-5)  # theirs computes x in fp32
