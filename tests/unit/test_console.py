"""A leg as its owner sees it: what goes to stdout, what to stderr, and how it is worded."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import warnings
from pathlib import Path

import pytest
import torch
from toys import ToyObjective, toy_config

from darkroom.training import console
from darkroom.training.console import duration, plain, train
from darkroom.training.handover import hand_over
from darkroom.training.loop import Trainer
from darkroom.training.reports import Progress


@pytest.fixture(autouse=True)
def handed_over(monkeypatch: pytest.MonkeyPatch) -> list[Trainer]:
    """The toy has no hand-over of its own: notes who asked for one."""
    asked: list[Trainer] = []

    def hand_over(trainer: Trainer, folder: Path | None = None) -> Path:
        asked.append(trainer)
        return trainer.folder / "handover"

    monkeypatch.setattr(console, "hand_over", hand_over)
    return asked


class Binned(ToyObjective):
    """The toy with its loss by noise level, as the denoiser's objective tells it."""

    def loss(self, first: int, count: int, generator: torch.Generator):  # type: ignore[no-untyped-def]
        loss, metrics = super().loss(first, count, generator)
        value = metrics["loss"]
        return loss, {"flow": value, "t 0-0.25": value * torch.tensor([2, 1]), "t 0.95-1": torch.zeros(2)}


def test_a_run_prints_a_line_a_report_and_the_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], handed_over: list[Trainer]
) -> None:
    trainer = Trainer(Binned(), toy_config(40), tmp_path / "run")
    train(trainer)
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'run' / 'handover'}\n"
    assert handed_over == [trainer]
    lines = err.splitlines()
    assert lines[0] == f"training toy in {tmp_path / 'run'}: 40 samples from the start"
    assert len(lines) == 4 and lines[3] == "done after 40 samples"
    number = r"[\d.e-]+"
    line = rf"20/40  {number}/s  0s left  flow {number}  t 0-0\.25 {number}  gradient norm {number}"
    assert re.fullmatch(line, lines[1]), lines[1]
    flow, early = (float(re.search(rf"{name} ({number})", lines[1])[1]) for name in ("flow", r"t 0-0\.25"))  # type: ignore[index]
    assert early == pytest.approx(2 * flow, rel=1e-2)
    assert "t 0.95-1" not in err  # nothing was seen at those times


def test_a_hand_over_is_delivered_at_every_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "hand_over", hand_over)
    seen: list[int] = []

    def look(first: int) -> None:
        if (tmp_path / "out" / "leg.json").exists():
            seen.append(first // 4 - json.loads((tmp_path / "out" / "leg.json").read_text())["step"])

    trainer = Trainer(ToyObjective(watch=look), toy_config(40, checkpoint_steps=3), tmp_path / "run")
    closed: list[bool] = []
    trainer.objective.close = lambda: closed.append(True)  # type: ignore[method-assign]
    train(trainer, tmp_path / "out")
    assert seen == [0, 1, 2, 0, 1, 2, 0]  # steps since the checkpoint whose weights lie there
    assert closed == [True]
    assert capsys.readouterr().out == f"{tmp_path / 'run' / 'handover'}\n"
    last = [(folder / "toy.safetensors").read_bytes() for folder in (tmp_path / "out", tmp_path / "run" / "handover")]
    assert last[0] == last[1] and json.loads((tmp_path / "out" / "leg.json").read_text())["step"] == 10


def test_ctrl_c_saves_hands_over_and_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(first: int) -> None:
        if first == 1200:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(SystemExit) as ended:
        train(Trainer(ToyObjective(watch=stop), toy_config(4000, log_steps=10**6), tmp_path / "run"))
    assert ended.value.code == 130
    assert capsys.readouterr().out == f"{tmp_path / 'run' / 'handover'}\n"
    assert (tmp_path / "run" / "checkpoints" / "step-000000301").is_dir()


def test_a_forced_run_says_that_it_goes_on_with_other_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(Trainer(ToyObjective(), toy_config(40), tmp_path / "run"))
    train(Trainer(ToyObjective(), toy_config(80, seed=3), tmp_path / "run", force=True))
    settings = "train.samples: 40 -> 80; train.seed: 0 -> 3"
    told = f"resuming {tmp_path / 'run'} from step 10: 40 of 80 samples done, with other settings ({settings})"
    assert told in capsys.readouterr().err


def test_a_run_that_was_stopped_says_from_where_it_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(first: int) -> None:
        if first == 1200:
            os.kill(os.getpid(), signal.SIGTERM)

    folder = tmp_path / "run"
    train(Trainer(ToyObjective(watch=stop), toy_config(4000, log_steps=10**6), folder))
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "stopped at step 301 with 2,796 samples left; the same command goes on from here"
    train(Trainer(ToyObjective(), toy_config(4000, log_steps=10**6), folder))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"resuming {folder} from step 301: 1,204 of 4,000 samples done", "done after 4,000 samples"]
    train(Trainer(ToyObjective(), toy_config(4000), folder))
    out, err = capsys.readouterr()
    assert err.splitlines()[0] == f"{folder} is trained: all 4,000 samples are done"
    assert out == f"{folder / 'handover'}\n"  # a run killed between its last step and its hand-over still hands over


def test_warnings_go_to_stderr_as_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def warn(first: int) -> None:
        if first == 8:
            warnings.warn("[bold] no compiler here", stacklevel=1)

    before = warnings.showwarning
    folder = tmp_path / "run"
    train(Trainer(ToyObjective(watch=warn), toy_config(40, checkpoint_steps=5), folder))
    assert "warning: [bold] no compiler here\n" in capsys.readouterr().err
    assert warnings.showwarning is before
    (folder / "checkpoints/step-000000010/manifest.json").unlink()
    train(Trainer(ToyObjective(poison=lambda first: first == 20), toy_config(40, checkpoint_steps=5), folder))
    out, err = capsys.readouterr()
    assert re.search(r"^warning: .*step-000000010/manifest\.json is missing.*; trying the one before$", err, re.M)
    assert err.splitlines()[-1] == "done after 40 samples; steps skipped as not finite: 1"
    assert out.count("\n") == 1


def test_an_error_hands_nothing_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], handed_over: list[Trainer]
) -> None:
    with pytest.raises(RuntimeError, match="not finite"):
        train(Trainer(ToyObjective(poison=lambda first: True), toy_config(400), tmp_path))
    assert handed_over == [] and capsys.readouterr().out == ""


def test_on_a_terminal_a_bar_shows_the_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("sys.stderr", terminal)
    train(Trainer(Binned(), toy_config(40), tmp_path))
    shown = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", terminal.getvalue())
    for words in (
        "warming up",
        "20/40",
        "40/40",
        "50%",
        "100%",
        "/s",
        "0s left",
        "flow ",
        "t 0-0.25 ",
        "done after 40",
    ):
        assert words in shown, words
    assert "\x1b[" in terminal.getvalue()  # it was drawn in place


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0s"),
        (42.9, "42s"),
        (60, "1m 0s"),
        (365, "6m 5s"),
        (12_000, "3h 20m"),
        (187_200, "2d 4h"),
        (1e9, "11574d 1h"),
    ],
)
def test_durations_in_their_two_largest_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_line_is_readable() -> None:
    report = Progress(9600, 1_000_000, 45.13, 21_947, {"flow": 0.81234, "t 0-0.25": 0.00012345})
    assert plain(report) == "9,600/1,000,000  45.1/s  6h 5m left  flow 0.8123  t 0-0.25 0.0001234"
