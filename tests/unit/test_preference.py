"""Preference tuning from its maths: steps as Gaussians, both objectives where the optimum is known, and its pairs."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from darkroom.contracts.errors import BadFile, BadInput
from darkroom.data.scenes.spec import ComposerConfig
from darkroom.judge.judge import PACKAGED, load_judge
from darkroom.judge.verdict import Fact
from darkroom.training.legs.beside.preference import Wishes, preference_leg
from darkroom.training.legs.place import Place
from darkroom.training.loop import TrainConfig, Trainer
from darkroom.training.objectives.preference.asking import Sentences
from darkroom.training.objectives.preference.dpo import PairTuning, preferring
from darkroom.training.objectives.preference.pairs import Lot, paired
from darkroom.training.objectives.preference.policy import CLIP, PolicyTuning, advantages, surrogate
from darkroom.training.objectives.preference.rewards import opened_reward, reward
from darkroom.training.objectives.preference.steps import Said, Steps, guided
from darkroom.training.optim import OptimConfig
from tests.taught import random_judge
from tests.tiny import saved, tiny_model

SCENES = ComposerConfig(kinds={"single": 1.0}, styles={"3d": 0.5, "cartoon": 0.5})


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny_model(dtype=torch.float32), tmp_path_factory.mktemp("start"))


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judge that tells such a model's pictures apart."""
    codec = tiny_model(dtype=torch.float32).codec.network  # type: ignore[attr-defined]
    with torch.no_grad():
        small = codec.decode(torch.randn(24, 4, 8, 8, generator=torch.Generator().manual_seed(0)))
    return random_judge(tmp_path_factory.mktemp("judge"), F.interpolate(small.clamp(0, 1), (128, 128)))


Leg = Callable[..., Trainer]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pairs lie, once a test has drawn them."""
    return tmp_path_factory.mktemp("drawn") / "pairs"


@pytest.fixture
def leg(start: Path, judge: Path, pairs: Path, tmp_path: Path) -> Leg:
    """Makes a trainer of few small pictures."""

    def made(method: str = "dpo", out: Path = tmp_path / "run", samples: int = 64, **more: object) -> Trainer:
        if method == "dpo" and pairs.exists() and not out.exists():
            shutil.copytree(pairs, out / "pairs")
        trainer = begun(method, out, samples, **more)
        if method == "dpo" and not pairs.exists() and "each" not in more:
            shutil.copytree(out / "pairs", pairs)
        return trainer

    def begun(method: str, out: Path, samples: int, **more: object) -> Trainer:
        wishes = {"sentences": 16 if method == "dpo" else 4, "each": 4, "steps": 3, "rank": 2, "drift": 10.0}
        asked = {name: more.pop(name) for name in tuple(more) if name in ("drift", "each", "steps", "sentences")}
        rate = more.pop("rate", 1e-2)
        config = TrainConfig(1, 16, dtype="float32", ema_gamma=1.0, optim=OptimConfig(rate=rate, warmup_steps=1))  # type: ignore[arg-type]
        return preference_leg(
            Place(out, out, torch.device("cpu")),
            config,
            start,
            wishes=Wishes(method=method, **{**wishes, **asked}),  # type: ignore[arg-type]
            reward=judge,
            sentences=Sentences(SCENES),
            samples=samples,
            compiled=False,
            **more,  # type: ignore[arg-type]
        )

    return made


# --- steps -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "shift"), [(2, 1.0), (8, 1.0), (6, 2.5)])
def test_a_step_lands_on_its_level_whatever_noise_is_drawn_anew(count: int, shift: float) -> None:
    """Where the velocity is true, the mean is alpha' x0 + kept noise, and kept and fresh noise make sigma'."""
    draw = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(1, 2, 4, 4, generator=draw, dtype=torch.float64) for _ in range(2))
    plain = Steps(count, shift, 0.0)
    assert plain.fresh.tolist() == [0.0] * count and plain.times[0] == 1
    for eta in (0.0, 0.5, 1.0):
        steps = Steps(count, shift, eta)
        ends = [*plain.times[1:].tolist(), 0.0]
        for k, (t, end) in enumerate(zip(plain.times.tolist(), ends, strict=True)):
            x, v = (1 - t) * x0 + t * noise, noise - x0
            kept = math.sqrt(end**2 - steps.fresh[k].item() ** 2)
            torch.testing.assert_close(steps.mean(k, x, v), (1 - end) * x0 + kept * noise, rtol=1e-5, atol=1e-5)
            if eta == 0.0:
                torch.testing.assert_close(steps.mean(k, x, v), x + (end - t) * v, rtol=1e-5, atol=1e-5)
        assert steps.fresh[-1] == 0 and (eta == 0.0 or (steps.fresh[:-1] > 0).all())


def test_guidance_acts_where_it_does_when_pictures_are_drawn() -> None:
    asked: list[int] = []

    def ask(x: Tensor, t: Tensor, said: Said) -> Tensor:
        asked.append(len(x))
        return x * said.vector[:, :1, None, None]

    def told(value: float, rows: int) -> Said:
        return Said(torch.zeros(rows, 1, 2), torch.full((rows, 2), value), torch.ones(rows, 1, dtype=torch.bool))

    x, t = torch.ones(4, 1, 2, 2), torch.tensor([1.0, 0.5, 0.3, 0.02])
    out = guided(ask, x, t, told(3.0, 4), told(1.0, 1), 2.0)
    assert out[:, 0, 0, 0].tolist() == [3.0, 5.0, 5.0, 3.0] and asked == [6]
    assert torch.equal(guided(ask, x[:1], t[:1], told(3.0, 1), told(1.0, 1), 2.0), 3 * x[:1])


# --- pairs -------------------------------------------------------------------------------------------------------


def fact(answer: str) -> Fact:
    return Fact("presence", "cat", answer)  # type: ignore[arg-type]


def test_a_pair_is_the_best_and_the_worst_of_a_sentence() -> None:
    right, half, wrong = (tuple(map(fact, said)) for said in (("yes", "yes"), ("yes", "cannot tell"), ("no", "no")))
    assert [reward(some) for some in (right, half, wrong)] == [1.0, 0.5, 0.0]
    latents = torch.arange(6.0).view(2, 3, 1, 1, 1)
    pairs = paired([Lot(["a cat", "a dog"], latents, [half, wrong, right, half, half, half])])
    assert pairs.texts == ["a cat"] and (pairs.better.item(), pairs.worse.item()) == (2, 1)
    assert pairs.asked == 2 and pairs.shares == [(1.0, 0.0)] and pairs.mean == 0.5
    assert "1 pairs of 2 sentences; facts right: 0.500 of all" in pairs.line()


def test_no_prompt_that_models_are_measured_with_is_drawn() -> None:
    usual = Sentences(SCENES)(0, 60)
    assert usual == [*Sentences(SCENES)(0, 20), *Sentences(SCENES)(20, 40)] and len(usual) > 50
    assert all(one.expected.objects and not one.expected.unknown for one in usual)
    taken = {one.text for one in usual[::3]}
    left = Sentences(SCENES, taken=taken)
    assert [one for one in usual if one.text not in taken] == left(0, 60)
    assert left.settings()["taken"] != Sentences(SCENES).settings()["taken"]


def test_pairs_are_kept_and_gone_on_with(leg: Leg, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    few = {"sentences": 17, "each": 2, "out": tmp_path / "run"}
    (tmp_path / "run").mkdir()
    first = leg(report=lambda *done: told.append(done), **few)
    assert isinstance(first.objective, PairTuning) and told == [(0, 2), (1, 2), (2, 2)]
    pairs = first.objective.pairs
    folder = tmp_path / "run" / "pairs"
    files = {path.name: path.read_bytes() for path in folder.glob("lot-*")}
    (folder / "lot-000000.safetensors").unlink()
    (folder / "lot-000001.safetensors").write_bytes(files["lot-000001.safetensors"][:-20])  # cut by a full disk
    told.clear()
    again = leg(report=lambda *done: told.append(done), **few).objective
    assert told[0] == (0, 2) and {path.name: path.read_bytes() for path in folder.glob("lot-*")} == files
    assert isinstance(again, PairTuning) and torch.equal(again.pairs.better, pairs.better)
    assert all(better > worse for better, worse in pairs.shares)
    with pytest.raises(BadInput, match=r"holds pairs that were made otherwise \(.*steps.*\); give another --out"):
        leg(steps=4, **few)


# --- direct preference -------------------------------------------------------------------------------------------


def test_the_loss_begins_at_log_two(leg: Leg) -> None:
    objective = leg().objective
    loss, metrics = objective.loss(0, 16, torch.Generator().manual_seed(0))
    assert loss.item() == pytest.approx(math.log(2), abs=1e-6)
    assert metrics["drift"].tolist() == [0.0, 1.0] and objective.over() is None
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in objective.module.parameters())


def test_the_optimum_is_that_of_bradley_and_terry() -> None:
    """One velocity v, targets a and b, a preferred with probability p: there sigmoid(beta v (a - b)) is p."""
    a, b, beta, p = 1.0, -0.5, 2.0, 0.8
    v = torch.zeros(1, requires_grad=True)
    adam = torch.optim.SGD([v], lr=0.5)
    for _ in range(400):
        grown = [(v - target) ** 2 - target**2 for target in (a, b)]  # the start model says 0
        margin = preferring(grown[0], grown[1], beta)
        loss = -p * F.logsigmoid(margin) - (1 - p) * F.logsigmoid(-margin)
        adam.zero_grad()
        loss.sum().backward()
        if v.item() == 0:
            assert v.grad is not None and v.grad < 0  # towards the better one
        adam.step()
    assert v.item() == pytest.approx(math.log(p / (1 - p)) / (beta * (a - b)), rel=1e-4)


def test_it_learns_to_prefer_and_says_how_far_it_went(leg: Leg) -> None:
    trainer = leg(samples=16 * 25)
    losses, preferred, drifts = [], [], []
    for _ in range(25):
        _, metrics = trainer.advance()
        total, count = metrics["loss"].tolist()
        losses.append(total / count)
        preferred.append(metrics["preferred"][0].item() / count)
        drifts.append(metrics["drift"][0].item())
    assert losses[0] == pytest.approx(math.log(2), abs=1e-6) and drifts[0] == 0
    assert sum(losses[-5:]) / 5 < 0.6 and sum(preferred[-5:]) / 5 > 0.7 and drifts[-1] > 0.001


# --- the policy gradient -----------------------------------------------------------------------------------------


def test_what_went_better_than_its_group_is_made_likelier() -> None:
    found = advantages(torch.tensor([[0.0, 1.0, 0.0, 1.0], [0.5, 0.5, 0.5, 0.5]]))
    assert found.tolist() == [[-1, 1, -1, 1], [0, 0, 0, 0]]
    log_ratio = torch.zeros(3, requires_grad=True)
    advantage = torch.tensor([2.0, -1.0, 0.0])
    surrogate(log_ratio, advantage).sum().backward()
    assert log_ratio.grad is not None and log_ratio.grad.tolist() == [-2.0, 1.0, 0.0]
    far = torch.tensor([1.0, -1.0], requires_grad=True)  # beyond the clip in the direction wanted: no more of it
    surrogate(far, torch.tensor([1.0, -1.0])).sum().backward()
    assert far.grad is not None and far.grad.tolist() == [0.0, 0.0]
    assert surrogate(far, torch.tensor([1.0, -1.0])).tolist() == pytest.approx([-(1 + CLIP), 1 - CLIP])


def test_a_gaussian_moves_to_where_the_reward_is() -> None:
    """A step's mean, rewarded by how near to 2 it goes: there it ends; held to the start model, it stays nearer it."""

    def ended(beta: float) -> float:
        draw, spread, mean = torch.Generator().manual_seed(0), 0.5, torch.zeros(())
        for _ in range(150):
            after = mean + spread * torch.randn(16, 8, generator=draw)
            missed, found = (after - mean) ** 2, mean.clone().requires_grad_()
            log_ratio = (missed - (after - found) ** 2) / (2 * spread**2)
            away = found**2 / (2 * spread**2)
            loss = surrogate(log_ratio.flatten(), advantages(-((after - 2) ** 2)).flatten()).mean() + beta * away
            loss.backward()
            assert found.grad is not None
            mean = mean - 0.05 * found.grad
        return mean.item()

    assert ended(0.0) == pytest.approx(2.0, abs=0.15)
    assert 0.1 < ended(1.0) < 1.0


def test_a_round_begins_with_the_weights_it_was_drawn_with(leg: Leg, tmp_path: Path) -> None:
    objective = leg("policy").objective
    assert isinstance(objective, PolicyTuning) and objective.length == 4 * 4 * 2
    losses = [objective.loss(first, 16, torch.Generator().manual_seed(0)) for first in (0, 16)]
    for _, metrics in losses:
        assert metrics["divergence"][0] == 0 and metrics["clipped"][0] == 0 and metrics["reward"][1] == 16
    assert sum(loss.item() for loss, _ in losses) == pytest.approx(0.0, abs=1e-3)  # advantages of a group sum to 0
    assert [path.name for path in (tmp_path / "run" / "rounds").iterdir()] == ["round-000000.safetensors"]
    with pytest.raises(BadInput, match=r"a micro-batch of 20 does not divide a round: 32 steps of 16 pictures"):
        objective.check_batch(20)


@pytest.mark.parametrize("method", ["dpo", "policy"])
def test_a_run_that_was_stopped_ends_in_the_same_bits(leg: Leg, tmp_path: Path, method: str) -> None:
    def run(out: Path, *stops: int) -> dict[str, Tensor]:
        for stop in stops:
            trainer = leg(method, out=out, samples=16 * 4, rate=1e-3)
            trainer.resume(pytest.fail)
            while trainer.step < stop:
                trainer.advance()
            trainer.save()
        return trainer.finished()

    whole, parts = run(tmp_path / "whole", 4), run(tmp_path / "parts", 3, 4)  # of rounds of two steps: in the middle
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())
    assert any(tensor.any() for name, tensor in whole.items() if name.endswith(".up"))


def test_a_round_that_is_gone_is_drawn_anew_and_said(leg: Leg, tmp_path: Path) -> None:
    trainer = leg("policy")
    trainer.advance()
    trainer.save()
    (tmp_path / "run" / "rounds" / "round-000000.safetensors").write_bytes(b"half")
    again = leg("policy")
    assert again.resume(pytest.fail)
    with pytest.warns(UserWarning, match="round 0 of .* is gone; it is drawn anew"):
        again.advance()


# --- the limit, and the judge ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["dpo", "policy"])
def test_it_ends_where_it_has_drifted_too_far(leg: Leg, method: str) -> None:
    trainer = leg(method, samples=16 * 50, drift=1e-3, rate=1e-2)
    trainer.run(lambda report: None, pytest.fail)
    assert 1 < trainer.step < 50
    said = trainer.objective.over() or ""
    assert "it has drifted 0." in said and "--drift 0.001 is the limit" in said


def test_the_judge_that_rewards_is_not_the_one_that_scores(judge: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is the judge that scores in `darkroom evaluate`.*: --same-judge"):
        opened_reward(PACKAGED, torch.float32)
    assert opened_reward(PACKAGED, torch.float32, same_judge=True).sha256 == load_judge(PACKAGED).sha256
    assert opened_reward(judge, torch.float32).sha256 == load_judge(judge).sha256
    with pytest.raises(BadFile, match=r"holds no judge .*; give the folder of a packed judge with --reward"):
        opened_reward(tmp_path, torch.float32)


@pytest.mark.parametrize(
    ("wishes", "sentence"),
    [
        (Wishes(rank=0), "rank 0 is not from 1"),
        (Wishes(each=1), "each 1 is not from 2 to 64"),
        (Wishes(drift=0.0), "drift 0.0 is not from"),
        (Wishes(beta=-1.0), "beta -1.0 is not from 0"),
        (Wishes(steps=1), "steps 1 is not from 2"),
        (Wishes(sentences=0), "sentences 0 is not from 1"),
    ],
)
def test_numbers_out_of_bounds_are_refused(wishes: Wishes, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        wishes.settings()
    assert replace(wishes, rank=4, each=4, drift=0.1, beta=1.0, steps=4, sentences=4).settings().beta == 1.0
