"""Flow maps that are known exactly: where the sampler lands, the identity they are taught by, and a tiny one learnt."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from darkroom.protocols import Call, Denoise, Level, NoiseSchedule, Task
from darkroom.synthesis.guidance import watched
from darkroom.synthesis.noise import CosineVP, RectifiedFlow, SeededNoise
from darkroom.synthesis.samplers import euler, flow_map
from darkroom.synthesis.spacing import spaced
from darkroom.training.objectives.flowmap import adaptive, derived, solved
from tests.analytic import ONE_D, Evaluate, Mixture, run, transported

GAUSSIAN = Mixture((1.0,), ((0.7,),), ((0.5,),))
SCHEDULE = RectifiedFlow()


def mapped(mixture: Mixture) -> tuple[Denoise, Evaluate]:
    """A denoiser whose estimate makes an Euler step land where the flow does; for one level alone, E[x0 | x]."""

    def denoise(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
        [answer] = yield [Call("map", {"x": x, "level": level, "toward": toward})]  # type: ignore[dict-item]
        return answer

    def evaluate(calls: list[Call]) -> list[Tensor]:
        return [_landing(mixture, **call.inputs) for call in calls]  # type: ignore[arg-type]

    return denoise, evaluate


def _landing(mixture: Mixture, x: Tensor, level: Level, toward: Level | None) -> Tensor:
    if toward is None:
        return mixture.x0(x, level)
    end = transported(mixture, x, level, toward)  # = alpha' x0 + sigma' (x - alpha x0) / sigma
    ratio = toward.sigma / level.sigma
    return (end - ratio * x) / (toward.alpha - ratio * level.alpha)


@pytest.mark.parametrize("mixture", [GAUSSIAN, ONE_D], ids=["Gaussian", "mixture"])
@pytest.mark.parametrize("schedule", [RectifiedFlow(), CosineVP()], ids=["flow", "cosine"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_an_exact_flow_map_lands_exactly_in_any_number_of_steps(
    steps: int, schedule: NoiseSchedule, mixture: Mixture
) -> None:
    x = torch.linspace(-2.5, 2.5, 21, dtype=torch.float64)[:, None]
    levels = spaced(schedule, steps)
    goal = transported(mixture, x, levels[0], levels[-1])
    denoise, evaluate = mapped(mixture)
    seen: list[Level] = []
    told = watched(denoise, lambda level, x0: seen.append(level))  # a wrapper passes on where a step goes
    landed = run(flow_map(told, x, levels, SeededNoise(0)), evaluate)
    torch.testing.assert_close(landed, goal, rtol=0, atol=1e-9)
    assert seen == levels[:-1]
    missed = run(euler(denoise, x, levels, SeededNoise(0)), evaluate)  # asks for one level alone
    assert (missed - goal).abs().mean() > 0.05


def test_a_gaussians_flow_keeps_its_ranks() -> None:
    """The closed form the rank transport must agree with: a Gaussian is moved and scaled."""
    now, after = SCHEDULE.level(0.9), SCHEDULE.level(0.2)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    [mean], [std] = GAUSSIAN.means[0], GAUSSIAN.stds[0]
    spread = [(level.alpha**2 * std**2 + level.sigma**2) ** 0.5 for level in (now, after)]
    moved = after.alpha * mean + spread[1] / spread[0] * (x - now.alpha * mean)
    torch.testing.assert_close(transported(GAUSSIAN, x, now, after), moved, rtol=0, atol=1e-12)


def rows(x: Tensor) -> Tensor:
    """Latents of one number each."""
    return x.view(-1, 1, 1, 1)


def gaussian_mean_velocity(x: Tensor, t: Tensor, r: Tensor) -> Tensor:
    """(x_t - x_r) / (t - r) of the Gaussian's flow; differentiable."""
    [mean], [std] = GAUSSIAN.means[0], GAUSSIAN.stds[0]
    spread_t, spread_r = (((1 - time) ** 2 * std**2 + time**2).sqrt() for time in (t, r))
    end = rows((1 - r) * mean) + rows(spread_r / spread_t) * (x - rows((1 - t) * mean))
    return (x - end) / rows(t - r)


def velocity(mixture: Mixture, x: Tensor, t: Tensor) -> Tensor:
    """E[noise - x0 | x], each row at its own time: a level of tensors broadcasts over (rows, components, 1)."""
    level = Level(0.0, (1 - t)[:, None, None], t[:, None, None])  # type: ignore[arg-type]
    flat = x.flatten(1)
    return rows(mixture.eps(flat, level) - mixture.x0(flat, level))


def gaussian_rows() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    r, t = torch.rand(2, 64, generator=generator, dtype=torch.float64).sort(0).values
    x = rows(torch.randn(64, generator=generator, dtype=torch.float64))
    return x, t, r, velocity(GAUSSIAN, x, t)


def test_the_true_flow_map_is_what_the_identity_leaves_alone() -> None:
    x, t, r, v = gaussian_rows()
    u = gaussian_mean_velocity(x, t, r)
    target = derived(lambda x, t: gaussian_mean_velocity(x, t, r), x, t, r, v)
    torch.testing.assert_close(target, u, rtol=0, atol=1e-10)
    assert (u - v).abs().mean() > 0.1  # what it stands still at is not the velocity


@pytest.mark.parametrize("reach", [0.1, 0.25, 1.0])
def test_the_true_flow_map_is_what_the_solver_tends_to(reach: float) -> None:
    x, t, r, v = gaussian_rows()
    u = gaussian_mean_velocity(x, t, r)

    def missed(solves: int) -> float:
        def jump(x: Tensor, s: Tensor) -> Tensor:  # where nothing is left to go, it is asked all the same
            return torch.where(rows(s > r), gaussian_mean_velocity(x, s, r), torch.zeros_like(x))

        told = solved(lambda x, t: velocity(GAUSSIAN, x, t), jump, x, t, r, v, reach, solves)
        return float((told - u).abs().mean())

    errors = [missed(solves) for solves in (16, 32, 64)]
    assert all(coarse / fine == pytest.approx(4, abs=0.6) for coarse, fine in pairwise(errors))  # of order 2
    assert missed(3) < 0.2 * float((u - v).abs().mean())


class Toy(nn.Module):
    """u(x, t, r) in one dimension."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))

    def forward(self, x: Tensor, t: Tensor, r: Tensor) -> Tensor:
        answer: Tensor = self.layers(torch.stack([x.flatten(), t, t - r], 1))
        return rows(answer)


def target_of(toy: Toy, way: str, x: Tensor, t: Tensor, r: Tensor) -> Tensor:
    v = velocity(ONE_D, x, t)
    if way == "identity":
        return derived(lambda x, t: toy(x, t, r), x, t, r, v)
    told = solved(lambda x, t: velocity(ONE_D, x, t), lambda x, s: toy(x, s, r), x, t, r, v, 0.25, 3)
    return torch.where(rows(t > r), told, v)


@pytest.mark.parametrize("way", ["identity", "solver"])
def test_a_tiny_network_learns_to_take_long_steps(way: str) -> None:
    toy, generator = Toy(), torch.Generator().manual_seed(1)
    rate, steps, batch = 4e-3, 500, 256
    adam = torch.optim.Adam(toy.parameters(), rate)
    for step in range(steps):
        r, t = torch.rand(2, batch, generator=generator).sort(0).values
        r[: batch // 4] = t[: batch // 4]
        x0 = rows(ONE_D.sample(batch, generator).float())
        x = rows(1 - t) * x0 + rows(t) * torch.randn(x0.shape, generator=generator)
        target = target_of(toy, way, x, t, r)
        assert not target.requires_grad
        loss = adaptive((toy(x, t, r) - target).square().mean((1, 2, 3)), 0.01, 1.0).mean()
        adam.zero_grad()
        loss.backward()
        adam.param_groups[0]["lr"] = rate * (1 - step / steps)
        adam.step()

    noise = torch.linspace(-2.2, 2.2, 41)
    goal = transported(ONE_D, noise.double()[:, None], SCHEDULE.level(1.0), SCHEDULE.level(0.0)).float()

    def missed(count: int, *, long: bool) -> float:
        x = rows(noise)
        for now, after in pairwise(spaced(SCHEDULE, count)):
            t, r = (torch.full((len(x),), level.t) for level in (now, after))
            with torch.no_grad():
                x = x - (now.t - after.t) * (toy(x, t, r) if long else velocity(ONE_D, x, t))
        return float((x.flatten(1) - goal).abs().mean())

    for count in (1, 2):
        assert missed(count, long=True) < missed(count, long=False) / 3
