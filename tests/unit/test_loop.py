"""The training loop: resuming, drifting configurations, steps that are not finite, and being told to stop."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import ToyObjective, everything, same_bits, toy_config

from darkroom.contracts.errors import BadInput, CannotWrite
from darkroom.nn.config import filled
from darkroom.training import checkpoint, loop
from darkroom.training.loop import TrainConfig, Trainer, TrainingError, step_seed
from darkroom.training.optim import OptimConfig, rate_at
from darkroom.training.reports import Progress


class Run:
    """A trainer of the toy with its reports, warnings and the samples it asked for."""

    def __init__(
        self,
        folder: Path,
        samples: int = 80,
        *,
        poison: Callable[[int], bool] = lambda first: False,
        watch: Callable[[int], None] = lambda first: None,
        force: bool = False,
        width: int = 8,
        **config: Any,
    ) -> None:
        self.firsts: list[int] = []
        self.reports: list[Progress] = []
        self.warnings: list[str] = []

        def seen(first: int) -> None:
            self.firsts.append(first)
            watch(first)

        self.objective = ToyObjective(width=width, poison=poison, watch=seen)
        self.trainer = Trainer(self.objective, toy_config(samples, **config), folder, force=force)

    def go(self) -> Run:
        self.trainer.resume(self.warnings.append)
        self.trainer.run(self.reports.append, self.warnings.append)
        return self


def saved(folder: Path) -> checkpoint.Checkpoint:
    found = checkpoint.newest(folder / "checkpoints")
    assert found is not None
    return found


# --- a whole run -------------------------------------------------------------------------------------------------


def test_a_run_learns_reports_and_saves(tmp_path: Path) -> None:
    run = Run(tmp_path, 400).go()
    assert run.firsts == list(range(0, 400, 4))
    losses = [report.metrics["loss"] for report in run.reports]
    assert len(losses) == 20 and losses[-1] < losses[0] / 4
    assert [r.samples for r in run.reports] == list(range(20, 401, 20))
    assert all(r.rate > 0 and r.seconds_left >= 0 and r.metrics["gradient norm"] > 0 for r in run.reports)
    assert run.reports[-1].seconds_left == 0
    assert saved(tmp_path).state["step"] == 100 and saved(tmp_path).state["samples"] == 400
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["samples"] for line in lines] == [r.samples for r in run.reports]
    assert run.objective.previews == [tmp_path / "previews" / "000000400.png"]


def test_metrics_are_means_over_the_interval(tmp_path: Path) -> None:
    run = Run(tmp_path, 8, log_steps=2)
    values = iter([(6.0, 3.0), (0.0, 0.0)])  # one step has nothing to count
    plain = run.objective.loss

    def loss(first: int, count: int, generator: torch.Generator) -> Any:
        value, metrics = plain(first, count, generator)
        return value, {**metrics, "bin": torch.tensor(next(values)), "never": torch.zeros(2)}

    run.objective.loss = loss  # type: ignore[method-assign]
    run.go()
    assert run.reports[0].metrics["bin"] == 2.0
    assert "never" not in run.reports[0].metrics


def test_a_step_draws_from_its_number_alone(tmp_path: Path) -> None:
    assert len({step_seed(seed, step) for seed in range(3) for step in range(1000)}) == 3000
    assert all(0 <= step_seed(0, step) < 2**32 for step in range(100))
    a, b = Run(tmp_path / "a", seed=1), Run(tmp_path / "b", seed=1)
    torch.manual_seed(7)  # what the process drew before must not matter
    a.go()
    torch.manual_seed(8)
    b.go()
    assert same_bits(everything(a.trainer), everything(b.trainer))
    assert not same_bits(everything(a.trainer), everything(Run(tmp_path / "c", seed=2).go().trainer))


def test_a_preview_shows_the_average_and_leaves_the_masters(tmp_path: Path) -> None:
    run = Run(tmp_path, 40)
    seen = []
    run.objective.preview = lambda path: seen.append(run.objective.module.out.weight.detach().clone())  # type: ignore[method-assign]
    run.go()
    assert torch.equal(seen[0], run.trainer.ema.average["out.weight"].bfloat16())
    assert not torch.equal(seen[0], run.objective.module.out.weight)
    assert torch.equal(run.objective.module.out.weight, run.trainer.masters.masters["out.weight"].bfloat16())
    assert run.objective.module.training

    def fails(path: Path) -> None:
        raise OSError("no room for a picture")

    run.objective.preview = fails  # type: ignore[method-assign]
    with pytest.raises(OSError, match="no room"):
        run.trainer.preview()
    assert torch.equal(run.objective.module.out.weight, run.trainer.masters.masters["out.weight"].bfloat16())


def test_finished_is_the_average(tmp_path: Path) -> None:
    trainer = Run(tmp_path, 20).go().trainer
    assert same_bits(trainer.finished(), trainer.ema.average)
    assert all(t.is_contiguous() for t in trainer.finished().values())


# --- resuming ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stops", [(36,), (0, 4, 8), (40, 76)])
def test_stopping_and_resuming_changes_no_bit(tmp_path: Path, stops: tuple[int, ...]) -> None:
    whole = Run(tmp_path / "whole").go()
    firsts: list[int] = []
    for stop in stops:
        run = Run(
            tmp_path / "legs", watch=lambda first, stop=stop: first == stop and os.kill(os.getpid(), signal.SIGTERM)
        )
        firsts += run.go().firsts
    last = Run(tmp_path / "legs")
    assert last.trainer.resume(last.warnings.append)
    assert last.trainer.samples == len(firsts) * 4
    last.go()
    assert firsts + last.firsts == whole.firsts  # the sample numbers go on where they stopped
    assert same_bits(everything(last.trainer), everything(whole.trainer))


def test_a_finished_run_resumes_to_the_same_checkpoint(tmp_path: Path) -> None:
    first = Run(tmp_path).go()
    again = Run(tmp_path).go()
    assert again.firsts == [] and saved(tmp_path).state["step"] == 20
    assert same_bits(everything(again.trainer), everything(first.trainer))


def test_a_damaged_checkpoint_is_named_and_the_one_before_resumed(tmp_path: Path) -> None:
    whole = Run(tmp_path, checkpoint_steps=5).go()
    (saved(tmp_path).path / "ema.safetensors").write_bytes(b"")
    again = Run(tmp_path, checkpoint_steps=5).go()
    assert len(again.warnings) == 1 and "ema.safetensors" in again.warnings[0]
    assert again.firsts == list(range(60, 80, 4))
    assert same_bits(everything(again.trainer), everything(whole.trainer))


def test_checkpoints_are_written_by_steps_and_by_the_clock(tmp_path: Path) -> None:
    Run(tmp_path / "steps", checkpoint_steps=6).go()
    assert sorted(p.name for p in (tmp_path / "steps/checkpoints").iterdir()) == ["step-000000018", "step-000000020"]
    times = []
    run = Run(tmp_path / "clock", checkpoint_minutes=0.0)
    run.trainer.save = lambda warn: times.append(run.trainer.step)  # type: ignore[method-assign,assignment,func-returns-value]
    run.go()
    assert times == [*range(1, 21), 20]


def test_a_new_leg_starts_from_weights_alone(tmp_path: Path) -> None:
    before = Run(tmp_path / "before").go().trainer
    run = Run(tmp_path / "after")
    weights = before.finished()
    run.trainer.start_from({name: tensor.bfloat16() for name, tensor in weights.items()})
    for name, tensor in weights.items():
        assert torch.equal(run.trainer.masters.masters[name], tensor.bfloat16().float())
        assert torch.equal(run.trainer.ema.average[name], tensor.bfloat16().float())
    assert run.trainer.masters.state() == {} and run.trainer.step == 0


def test_weights_of_another_network_are_refused_by_name(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    weights = dict(run.trainer.finished())
    with pytest.raises(TrainingError, match=r"lack conv\.weight"):
        run.trainer.start_from({name: t for name, t in weights.items() if name != "conv.weight"})
    with pytest.raises(TrainingError, match=r"hold out\.bias as \(1,\), the network as \(4,\)"):
        run.trainer.start_from({**weights, "out.bias": torch.zeros(1)})  # would spread over all four in silence
    Run(tmp_path / "wide", width=16).go()
    with pytest.raises(TrainingError, match=r"hold conv\.weight as \(16, 3, 3, 3\)"):
        Run(tmp_path / "wide", width=8, force=True).go()


# --- the configuration -------------------------------------------------------------------------------------------


def test_a_changed_configuration_is_refused_with_the_difference(tmp_path: Path) -> None:
    Run(tmp_path, 80).go()
    with pytest.raises(TrainingError, match=re.escape("train.samples: 80 -> 96")) as refused:
        Run(tmp_path, 96)
    assert "--force" in str(refused.value) and "config.json" in str(refused.value)
    assert "train.seed" not in str(refused.value)  # only what differs
    with pytest.raises(TrainingError, match=re.escape("train.optim.rate: 0.01 -> 0.5")):
        Run(tmp_path, 80, optim=OptimConfig(rate=0.5, warmup_steps=3))
    with pytest.raises(TrainingError, match=re.escape("objective.width: 8 -> 16; train.batch: 4 -> 8")):
        Run(tmp_path, 80, width=16, batch=8)
    assert json.loads((tmp_path / "config.json").read_text())["train"]["samples"] == 80


def test_a_run_that_came_to_no_checkpoint_keeps_nobody_from_another_try(tmp_path: Path) -> None:
    Run(tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    with pytest.raises(TrainingError, match="lower --rate"):
        Run(tmp_path, poison=lambda first: True).go()
    assert not (tmp_path / "config.json").exists()
    Run(tmp_path, optim=OptimConfig(rate=1e-3)).go()
    assert json.loads((tmp_path / "config.json").read_text())["train"]["optim"]["rate"] == 1e-3


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"samples": 0}, "samples 0 is not from 1 to 1,099,511,627,776; give a number in between"),
        ({"batch": 0}, "batch 0 is not from 1 to 65,536"),
        ({"batch": 10**9}, "batch 1000000000 is not from 1 to 65,536"),
        ({"seed": -1}, "seed -1 is not from 0 to 65,535"),
        ({"minutes": 0.0}, "minutes 0.0 is not from 0.001"),
        ({"minutes": float("nan")}, "minutes nan is not from 0.001"),
    ],
)
def test_a_run_has_bounds(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=re.escape(sentence)):
        TrainConfig(**{"samples": 80, **values})


def test_force_takes_the_new_configuration(tmp_path: Path) -> None:
    Run(tmp_path, 80).go()
    run = Run(tmp_path, 96, force=True).go()
    assert run.firsts == [80, 84, 88, 92] and run.trainer.changed == ["train.samples: 80 -> 96"]
    Run(tmp_path, 96)  # and from then on it is the run's own
    with pytest.raises(TrainingError):
        Run(tmp_path, 80)


def test_how_often_it_saves_and_when_it_stops_may_change(tmp_path: Path) -> None:
    Run(tmp_path, 80).go()
    Run(tmp_path, 80, minutes=1.0, checkpoint_minutes=9.0, checkpoint_steps=3, preview_minutes=1.0, log_steps=7)


def test_settings_that_came_or_went_since_do_not_keep_a_run_from_going_on(tmp_path: Path) -> None:
    Run(tmp_path).go()
    path = tmp_path / "config.json"
    saved_once = json.loads(path.read_text())
    older = json.loads(path.read_text())
    del older["train"]["optim"]["muon"], older["train"]["accumulate"], older["objective"]["width"]
    older["train"]["gone"] = 3
    path.write_text(json.dumps(older))
    Run(tmp_path)
    with pytest.raises(TrainingError, match=r"train\.optim\.muon: None -> True"):
        Run(tmp_path, optim=OptimConfig(rate=1e-2, warmup_steps=3, muon=True))
    with pytest.raises(TrainingError, match=r"objective\.width: None -> 16"):
        Run(tmp_path, width=16)
    del older["train"]["samples"]  # which has no default
    path.write_text(json.dumps(older))
    with pytest.raises(TrainingError, match=r"train\.samples: None -> 80"):
        Run(tmp_path)
    Run(tmp_path, force=True).go()
    assert json.loads(path.read_text()) == saved_once


def test_the_entries_of_a_mapping_are_no_settings(tmp_path: Path) -> None:
    old = {"kinds": {"single": 0.7, "pair": 0.3}}
    assert filled(old, {"kinds": {"single": 0.7}}, {"kinds": [{"single": 1.0}]}) == old
    assert filled({}, {"kinds": {"single": 0.7}}, {"kinds": [{"single": 1.0}]}) == {"kinds": {"single": 1.0}}


def test_half_a_configuration_is_refused_and_never_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fails)
        with pytest.raises(CannotWrite, match="killed here"):
            Run(tmp_path).go()
    assert not (tmp_path / "config.json").exists()
    Run(tmp_path).go()
    (tmp_path / "config.json").write_text('{"train": {"sam')
    with pytest.raises(TrainingError, match=r"config\.json"):
        Run(tmp_path)


# --- what is not finite ------------------------------------------------------------------------------------------


def test_a_step_that_is_not_finite_is_skipped_and_counted(tmp_path: Path) -> None:
    bad = {8, 40, 44}
    run = Run(tmp_path, poison=bad.__contains__)
    before: dict[int, dict[str, torch.Tensor]] = {}
    advance = run.trainer.advance

    def watched() -> Any:
        first = run.trainer.samples
        old = everything(run.trainer)
        result = advance()
        if first in bad:
            before[first] = old
            assert result[0] is None and same_bits(old, everything(run.trainer))
        else:
            assert result[0] is not None and not same_bits(old, everything(run.trainer))
        return result

    run.trainer.advance = watched  # type: ignore[method-assign]
    run.go()
    assert before.keys() == bad
    assert run.firsts == list(range(0, 80, 4))
    assert saved(tmp_path).state["skipped"] == 3 and run.trainer.skipped == 3
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])["skipped"] == 3
    assert all(torch.isfinite(t).all() for t in everything(run.trainer).values())


def test_a_gradient_that_is_not_finite_is_skipped_too(tmp_path: Path) -> None:
    run = Run(tmp_path, 40)
    run.objective.module.scale.register_hook(lambda grad: grad * (float("inf") if run.firsts[-1] == 12 else 1))
    run.go()
    assert run.trainer.skipped == 1 and run.trainer.step == 10


def test_many_in_a_row_roll_back_and_go_on_with_other_samples(tmp_path: Path) -> None:
    run = Run(tmp_path, 160, poison=lambda first: 60 <= first < 92, checkpoint_steps=5)
    restored = []
    restore = run.trainer._restore

    def watched(found: checkpoint.Checkpoint) -> None:
        restored.append((run.trainer.step, found.state["step"]))
        restore(found)

    run.trainer._restore = watched  # type: ignore[method-assign]
    run.go()
    assert restored == [(23, 15)]  # after the eighth bad step, to the checkpoint before the first
    assert run.firsts == list(range(0, 160, 4))
    assert run.trainer.skipped == 8 and saved(tmp_path).state["skipped"] == 8
    assert len(run.warnings) == 1 and "step-000000015" in run.warnings[0] and "8 steps in a row" in run.warnings[0]


def test_it_stops_with_the_cause_when_rolling_back_does_not_help(tmp_path: Path) -> None:
    run = Run(tmp_path, 400, poison=lambda first: first >= 40, checkpoint_steps=5)
    with pytest.raises(
        TrainingError, match=r"8 steps in a row were not finite near step 34, after 2 roll-backs; lower"
    ):
        run.go()
    assert len(run.firsts) == 10 + 3 * 8
    assert len(run.warnings) == 2
    assert saved(tmp_path).state["step"] == 10  # the last good one stays
    assert all(torch.isfinite(t).all() for g in saved(tmp_path).tensors.values() for t in g.values())


def test_it_stops_with_the_cause_when_there_is_nothing_to_roll_back_to(tmp_path: Path) -> None:
    run = Run(tmp_path, 80, poison=lambda first: True)
    with pytest.raises(TrainingError, match="8 steps in a row were not finite near step 8 and there is no checkpoint"):
        run.go()
    assert checkpoint.newest(tmp_path / "checkpoints") is None


def test_weights_that_are_not_finite_never_become_a_checkpoint(tmp_path: Path) -> None:
    run = Run(tmp_path, 40).go()
    run.trainer.masters.masters["out.bias"][1] = float("nan")
    with pytest.raises(checkpoint.CheckpointError, match=r"masters/out\.bias holds non-finite values"):
        run.trainer.save()
    assert saved(tmp_path).state["step"] == 10


# --- stopping ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_leg_with_a_checkpoint(tmp_path: Path, number: signal.Signals) -> None:
    handlers = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}
    run = Run(tmp_path, 10**6, watch=lambda first: first == 20 and os.kill(os.getpid(), number))
    start = time.monotonic()
    run.go()
    assert time.monotonic() - start < 30
    assert run.firsts[-1] == 20 and run.trainer.step == 6  # the step under way was finished
    assert run.trainer.interrupted == (number == signal.SIGINT)
    assert same_bits(
        {f"{g}/{n}": t for g, ts in saved(tmp_path).tensors.items() for n, t in ts.items()}, everything(run.trainer)
    )
    assert {s: signal.getsignal(s) for s in handlers} == handlers  # whoever listened before listens again


def test_handlers_come_back_after_an_error_too(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(TrainingError):
        Run(tmp_path, poison=lambda first: True).go()
    assert signal.getsignal(signal.SIGTERM) == before


def test_minutes_stop_the_leg_and_the_next_goes_on(tmp_path: Path) -> None:
    run = Run(tmp_path, 10**6, minutes=0.5 / 60)
    start = time.monotonic()
    run.go()
    assert 0.5 <= time.monotonic() - start < 30
    steps = run.trainer.step
    assert 0 < steps < 250_000 and saved(tmp_path).state["step"] == steps
    assert all(report.seconds_left <= 0.5 for report in run.reports)
    again = Run(tmp_path, 10**6, minutes=0.2 / 60).go()
    assert again.firsts[0] == steps * 4


def test_a_timed_rate_falls_to_zero_by_the_end_of_the_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    monkeypatch.setattr(loop, "rate_at", lambda config, step, done: rates.append(rate_at(config, step, done)) or 1e-3)
    optim = OptimConfig(rate=1.0, warmup_steps=1, decay_share=0.5)
    Run(tmp_path / "timed", 10**6, minutes=0.6 / 60, timed=True, optim=optim, watch=lambda first: time.sleep(0.01)).go()
    middle = len(rates) // 2
    assert rates[: middle // 2] == [1.0] * (middle // 2) and rates[-1] < 0.1
    assert all(later < earlier for earlier, later in pairwise(rates[middle + 5 :]))
    rates.clear()
    Run(tmp_path / "short", 80, minutes=60.0, timed=True, optim=optim).go()  # the samples are done first: they decide
    exact = [rate_at(optim, step, step / 20) for step in range(20)]
    assert rates == exact
    with pytest.raises(BadInput, match="goes by time has no end to go to; give --minutes"):
        Run(tmp_path / "never", 80, timed=True)


def test_every_checkpoint_on_the_way_is_told(tmp_path: Path) -> None:
    run = Run(tmp_path, checkpoint_steps=6)
    told: list[int] = []
    run.trainer.run(run.reports.append, run.warnings.append, lambda: told.append(run.trainer.step))
    assert told == [6, 12, 18] and run.trainer.step == 20


def test_time_left_is_the_legs_when_that_is_shorter(tmp_path: Path) -> None:
    run = Run(tmp_path, 10**6, minutes=1.0, watch=lambda first: first == 400 and os.kill(os.getpid(), signal.SIGTERM))
    run.go()
    left = [report.seconds_left for report in run.reports]
    assert all(a > b for a, b in pairwise(left)) and 0 < left[-1] < left[0] < 60


def test_the_rate_counts_only_what_this_leg_did(tmp_path: Path) -> None:
    """Resumed in mid-interval: three steps to the next report are not five."""
    Run(tmp_path, 80, watch=lambda first: first == 24 and os.kill(os.getpid(), signal.SIGTERM)).go()
    run = Run(tmp_path, 80, watch=lambda first: time.sleep(0.02)).go()
    assert run.reports[0].samples == 40
    assert run.reports[0].rate < 3 * 4 / (3 * 0.02) * 1.01
