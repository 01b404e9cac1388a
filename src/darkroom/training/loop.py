"""The one training loop: for the autoencoder, the text encoder, the denoiser and whatever else has an objective.

Everything random in step n follows from (seed, n), so a run that is killed anywhere and resumed from its newest
checkpoint ends in the same bits as one that was not: on a CPU, with the same machine and threads, and where the rate
follows samples alone. A GPU adds some sums up in another order each time. Progress is counted in samples.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from darkroom.contracts import faults
from darkroom.contracts.card import DataSource
from darkroom.contracts.errors import BadInput, CannotWrite, NoSpace, reason
from darkroom.contracts.files import publish
from darkroom.nn.config import defaults_of, differences, filled
from darkroom.training import checkpoint
from darkroom.training.distributed import ALONE, Group, check_shared
from darkroom.training.ema import PowerEMA
from darkroom.training.limits import RUNS, within
from darkroom.training.objective import Metrics, Objective
from darkroom.training.optim import Masters, OptimConfig, rate_at
from darkroom.training.reports import Clock, Interval, Progress

CONFIG = "config.json"  # of a run folder
PAUSE = 20.0  # seconds before a full disk is tried again


class TrainingError(RuntimeError):
    """Training cannot go on; says why and what to do."""


@dataclass(frozen=True)
class TrainConfig:
    """How long and how; ``samples`` is the whole run's length, ``minutes`` stops a leg early, resumably."""

    samples: int
    batch: int = 64
    seed: int = 0
    minutes: float | None = None  # None: until the samples are done
    dtype: str = "bfloat16"  # of the compute copies; masters are always fp32
    optim: OptimConfig = field(default_factory=OptimConfig)
    ema_gamma: float = 16.97
    checkpoint_minutes: float = 2.0
    checkpoint_steps: int | None = None  # None: by the clock alone
    preview_minutes: float = 10.0
    log_steps: int = 50
    skips_allowed: int = 8  # non-finite steps in a row before the run rolls back
    timed: bool = False  # the rate falls to zero by the end of the minutes, where they end before the samples do
    accumulate: int = 1  # micro-batches of a batch, one after another or shared out among processes

    def __post_init__(self) -> None:
        within("samples", self.samples, 1, 2**40)
        within("batch", self.batch, 1, 2**16)
        within("seed", self.seed, 0, RUNS - 1)
        if self.minutes is not None:
            within("minutes", self.minutes, 0.001, 1e6)
        within("accumulate", self.accumulate, 1, self.batch)
        if self.batch % self.accumulate:
            rule = f"cannot be cut into {self.accumulate} equal micro-batches"
            raise BadInput(f"batch {self.batch}", rule, "give an --accumulate that divides it")
        if self.timed and self.minutes is None:
            raise BadInput("a rate that goes by time", "has no end to go to", "give --minutes as well")


class Trainer:
    """One leg of training in a run folder: ``config.json``, ``log.jsonl``, ``checkpoints/``, ``previews/``.

    ``config.json`` says what the checkpoints beside it were trained with: a run that never came to one leaves none.
    """

    def __init__(
        self,
        objective: Objective,
        config: TrainConfig,
        folder: Path,
        *,
        force: bool = False,
        origin: Mapping[str, str] | None = None,
        sources: Sequence[DataSource] = (),
        group: Group = ALONE,
    ) -> None:
        """``origin`` are fingerprints of the weights it begins with and builds on, by what they are; None: of none.

        ``sources`` are where its pictures, and those of what it builds on, came from. ``force`` takes up a folder that
        was trained with other settings; ``changed`` then says which. ``group`` are the processes that train it
        together, each with a trainer like this one.
        """
        check_shared(config.accumulate, group)
        self.group = group
        self.objective, self.config, self.folder, self.origin = objective, config, folder, dict(origin or {})
        self.sources = tuple(sources)
        self.masters = Masters(objective.module, config.optim, getattr(torch, config.dtype), group)
        self.ema = PowerEMA(self.masters.masters, config.ema_gamma)
        self.step = 0
        self.skipped = 0
        self.interrupted = False  # by Ctrl-C
        self._stop = False
        self._leg = Clock(float("inf") if config.minutes is None else config.minutes * 60)
        self.changed = self._changes(force)

    # --- state -----------------------------------------------------------------------------------------------

    @property
    def samples(self) -> int:
        """Samples seen so far."""
        return self.step * self.config.batch

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Starts a new leg from weights alone: masters and average take them, moments are warmed anew."""
        self._check_fit(weights, "the starting weights")
        taken = {name: weights[name].float() for name in self.masters.masters}
        self.masters.restore(taken, {})
        self.ema.restore(taken)

    def resume(self, warn: Callable[[str], None]) -> bool:
        """Takes up the newest good checkpoint of the run folder; False when there is none."""
        found = checkpoint.newest(self.folder / "checkpoints", warn)
        if found is None:
            return False
        self._check_origin(found)
        self._restore(found)
        return True

    def _check_origin(self, found: checkpoint.Checkpoint) -> None:
        """Refuses to go on in other latents: what they mean is the autoencoder's."""
        began, now = (told.get("autoencoder") for told in (found.state.get("origin", {}), self.origin))
        if began is not None and now is not None and began != now:
            raise TrainingError(f"{self.folder} was trained with another autoencoder; give that one or a new folder")

    def _check_fit(self, weights: Mapping[str, Tensor], what: str) -> None:
        for name, master in self.masters.masters.items():
            if name not in weights:
                raise TrainingError(f"{what} lack {name}; they are of another network, give the one they were made for")
            if weights[name].shape != master.shape:
                theirs, ours = tuple(weights[name].shape), tuple(master.shape)
                raise TrainingError(f"{what} hold {name} as {theirs}, the network as {ours}; give the same sizes")

    def _restore(self, found: checkpoint.Checkpoint) -> None:
        self._check_fit(found.tensors.get("masters", {}), f"the masters of {found.path}")
        self._check_fit(found.tensors.get("ema", {}), f"the averages of {found.path}")
        self.masters.restore(found.tensors["masters"], found.tensors.get("moments", {}))
        self.ema.restore(found.tensors["ema"])
        self.step, self.skipped = int(found.state["step"]), int(found.state["skipped"])

    def save(self, warn: Callable[[str], None] | None = None) -> None:
        """Writes a checkpoint of this very step, and the configuration that it and those after it are of.

        Where the disk is full, training pauses and tries again, which ``warn`` is told, until the leg ends or is
        stopped; None: it does not wait.
        """
        tensors = {"masters": self.masters.masters, "ema": self.ema.average, "moments": self.masters.state()}
        if not self.group.leads:
            return
        state = {"step": self.step, "samples": self.samples, "skipped": self.skipped, "config": self._resolved()}
        state["origin"] = self.origin
        while True:
            try:
                publish(json.dumps(self._resolved(), indent=1, sort_keys=True).encode(), self.folder / CONFIG)
                checkpoint.write(self.folder / "checkpoints", self.step, tensors, state)
                return
            except (checkpoint.NoRoom, NoSpace) as error:
                if warn is None or self._stop or self._leg.left() <= 0:
                    raise
                warn(f"{error}; training waits for it")
                time.sleep(min(PAUSE, max(0.0, self._leg.left())))

    def _resolved(self) -> dict[str, Any]:
        """What must not change between legs that resume exactly."""
        return _plain(self.objective.config(), asdict(self.config))

    def _changes(self, force: bool) -> list[str]:
        """How the settings differ from those that the folder was trained with; without ``force`` they may not."""
        path = self.folder / CONFIG
        ours = self._resolved()
        try:
            theirs = json.loads(path.read_text()) if path.exists() else None
        except ValueError:
            theirs = {"damaged": True}
        # A setting that is newer than the run had its default then; one that is gone cannot differ.
        if filled(theirs, ours, _plain(self.objective.defaults(), defaults_of(self.config))) == ours:
            return []
        found = [] if theirs is None else differences(theirs, ours)
        if found and not force:
            raise TrainingError(
                f"{path} was trained with another configuration ({'; '.join(found)}); use --force or a new folder"
            )
        return found

    # --- the leg ---------------------------------------------------------------------------------------------

    def run(
        self,
        report: Callable[[Progress], None],
        warn: Callable[[str], None],
        saved_one: Callable[[], None] = lambda: None,
    ) -> None:
        """Trains until the samples are done, the minutes are over, the objective, SIGTERM or SIGINT asks for an end.

        ``saved_one`` is told of every checkpoint but the last.
        """
        config = self.config
        total = -(-config.samples // config.batch)
        self._leg = leg = Clock(self._leg.every)
        saved, previewed = Clock(config.checkpoint_minutes * 60), Clock(config.preview_minutes * 60)
        interval = Interval(self.samples)
        self.folder.mkdir(parents=True, exist_ok=True)
        bad, rollbacks, owed = 0, 0, False
        leads = self.group.leads  # its clocks count
        before = {s: signal.signal(s, self._ask_to_stop) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._check_alike()
            while self.step < total:
                stops = self._stop or (leads and leg.left() <= 0) or self.objective.over() is not None
                ends, saves = self.group.any(stops, leads and saved.due())
                if ends:
                    break
                owed = owed or saves
                norm, metrics = self.advance()
                if norm is None:
                    bad += 1
                    if bad >= config.skips_allowed:
                        rollbacks, bad = rollbacks + 1, 0
                        self._roll_back(rollbacks, warn)
                    continue
                bad = 0
                interval.add(metrics, norm)
                if self.step % config.log_steps == 0:
                    progress = self._progress(interval, leg.left(), warn)
                    if leads:
                        report(progress)
                    interval = Interval(self.samples)
                if owed or (config.checkpoint_steps and self.step % config.checkpoint_steps == 0):
                    self.save(warn)
                    owed = False
                    with _spared(warn, "the hand-over"):
                        saved_one()
                if leads and previewed.due():
                    with _spared(warn, "the preview"):
                        self.preview()
            self.save(warn)
            if leads:
                with _spared(warn, "the preview"):
                    self.preview()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def advance(self) -> tuple[float | None, Metrics]:
        """One step; the norm is None when the step was not finite and did not count."""
        rate = rate_at(self.config.optim, self.step, self._done())
        metrics: dict[str, Tensor] = {}
        norm = float("inf")
        if not self.group.any(not self._backward(metrics))[0]:
            norm = self.masters.step(rate)
        self.masters.forget()
        self.step += 1
        if not norm < float("inf"):
            self.skipped += 1
            return None, metrics
        self.ema.update(self.masters.masters, self.step)
        return norm, metrics

    def _backward(self, metrics: dict[str, Tensor]) -> bool:
        """Gradients of this process's micro-batches, their metrics added up; whether their losses are all finite."""
        count = self.config.accumulate
        size = self.config.batch // count
        for part in self.group.share(count):
            generator = torch.Generator().manual_seed(step_seed(self.config.seed, self.step, part))
            loss, found = self.objective.loss(self.samples + part * size, size, generator)
            metrics.update({name: metrics[name] + pair if name in metrics else pair for name, pair in found.items()})
            if not torch.isfinite(loss) or faults.at("training.loss"):
                return False
            (loss / count).backward()
            self.masters.gather()
        return True

    def preview(self) -> None:
        """Writes a preview sheet with the averaged weights, then puts the masters back."""
        (self.folder / "previews").mkdir(exist_ok=True)
        with self._averaged():
            self.objective.preview(self.folder / "previews" / f"{self.samples:09d}.png")

    def finished(self) -> dict[str, Tensor]:
        """The averaged weights with their measured buffers: what a leg hands over."""
        with self._averaged():
            measured = dict(self.objective.finish())
        return {n: t.clone(memory_format=torch.contiguous_format) for n, t in {**self.ema.average, **measured}.items()}

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The module with its averaged weights, for looking at; the masters' copies are put back afterwards."""
        self.masters.publish(self.ema.average)
        self.objective.module.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.objective.module.train()
            self.masters.publish()

    # --- small parts -----------------------------------------------------------------------------------------

    def _done(self) -> float:
        """Share of the run that is over: of its samples, or of the leg's time where that decides and is more."""
        samples = self.samples / self.config.samples
        if not self.config.timed:
            return samples
        return max(samples, *self.group.sums(self._leg.share() if self.group.leads else 0.0))

    def _ask_to_stop(self, number: int, _: object) -> None:
        self._stop, self.interrupted = True, self.interrupted or number == signal.SIGINT

    def _roll_back(self, times: int, warn: Callable[[str], None]) -> None:
        cause = f"{self.config.skips_allowed} steps in a row were not finite near step {self.step}"
        if times > 2:
            raise TrainingError(f"{cause}, after {times - 1} roll-backs; lower --rate or look at the data")
        found = checkpoint.newest(self.folder / "checkpoints", warn)
        if found is None:
            raise TrainingError(f"{cause} and there is no checkpoint yet; lower --rate or look at the data")
        step, skipped = self.step, self.skipped
        self._restore(found)
        self._check_alike()
        self.step, self.skipped = step, skipped  # go on with other samples: the same ones would fail the same way
        warn(f"{cause}; weights rolled back to {found.path.name}")

    def _progress(self, interval: Interval, leg_seconds: float, warn: Callable[[str], None]) -> Progress:
        metrics, rate = interval.means(self.group), interval.rate(self.samples)
        left = min(max(0, self.config.samples - self.samples) / rate, max(0.0, leg_seconds))
        line = {"step": self.step, "samples": self.samples, "rate": round(rate, 1), "skipped": self.skipped}
        if self.group.leads:
            with _spared(warn, "the log"), open(self.folder / "log.jsonl", "a") as log:
                faults.at("training.log")
                log.write(json.dumps({**line, **{k: round(v, 5) for k, v in metrics.items()}}) + "\n")
        return Progress(self.samples, self.config.samples, rate, left, metrics)

    def _check_alike(self) -> None:
        """Refuses to begin where the processes of a run do not stand at the same step with the same weights."""
        total = float(sum(master.double().sum() for master in self.masters.masters.values()))
        if (
            len({(told["step"], told["total"]) for told in self.group.gathered({"step": self.step, "total": total})})
            > 1
        ):
            raise TrainingError("the processes of this run do not hold the same weights; give them one run folder")


@contextmanager
def _spared(warn: Callable[[str], None], what: str) -> Iterator[None]:
    """Training goes on without what is only looked at, or will be written again."""
    try:
        yield
    except (OSError, CannotWrite) as error:
        warn(f"{what} was not written ({reason(error)}); training goes on")


def step_seed(seed: int, step: int, part: int = 0) -> int:
    """The seed of a micro-batch's generator; hashed, because torch uses only the low 32 bits of a CPU seed."""
    named = f"{seed}/{step}/{part}" if part else f"{seed}/{step}"
    return int.from_bytes(blake2b(named.encode(), digest_size=4).digest(), "big")


def _plain(objective: dict[str, Any], train: dict[str, Any]) -> dict[str, Any]:
    """A configuration as JSON gives it back, without what may change between legs."""
    passing = ("minutes", "timed", "checkpoint_minutes", "checkpoint_steps", "preview_minutes", "log_steps")
    kept = {name: value for name, value in train.items() if name not in passing}
    found: dict[str, Any] = json.loads(json.dumps({"objective": objective, "train": kept}))
    return found
