"""The one training loop: for the autoencoder, the text encoder, the denoiser and whatever else has an objective.

Everything random in step n follows from (seed, n), so a run that is killed anywhere and resumed from its newest
checkpoint ends in the same bits as one that was not: on a CPU, with the same machine and threads, and where the rate
follows samples alone. A GPU adds some sums up in another order each time. Progress is counted in samples.
"""

from __future__ import annotations

import json
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from darkroom.contracts.card import DataSource
from darkroom.contracts.errors import BadInput
from darkroom.contracts.files import publish
from darkroom.nn.config import defaults_of
from darkroom.training import checkpoint
from darkroom.training.ema import PowerEMA
from darkroom.training.limits import RUNS, within
from darkroom.training.objective import Metrics, Objective
from darkroom.training.optim import Masters, OptimConfig, rate_at

CONFIG = "config.json"  # of a run folder


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

    def __post_init__(self) -> None:
        within("samples", self.samples, 1, 2**40)
        within("batch", self.batch, 1, 2**16)
        within("seed", self.seed, 0, RUNS - 1)
        if self.minutes is not None:
            within("minutes", self.minutes, 0.001, 1e6)
        if self.timed and self.minutes is None:
            raise BadInput("a rate that goes by time", "has no end to go to", "give --minutes as well")


@dataclass
class _Clock:
    """When something last happened, in seconds."""

    every: float
    last: float = field(default_factory=time.monotonic)

    def share(self) -> float:
        """Share of the time that is over."""
        return (time.monotonic() - self.last) / self.every if self.every else 1.0

    def left(self) -> float:
        """Seconds until it is due again."""
        return self.last + self.every - time.monotonic()

    def due(self) -> bool:
        if time.monotonic() - self.last < self.every:
            return False
        self.last = time.monotonic()
        return True


class _Interval:
    """What is gathered between two reports."""

    def __init__(self, samples: int) -> None:
        self.first, self.since = samples, time.monotonic()
        self.pairs: dict[str, list[Tensor]] = defaultdict(list)

    def add(self, metrics: Metrics, norm: float) -> None:
        for name, pair in {**metrics, "gradient norm": torch.tensor([norm, 1.0])}.items():
            self.pairs[name].append(pair.detach())

    def means(self) -> dict[str, float]:
        found = {}
        for name, pairs in self.pairs.items():
            total, count = torch.stack([p.float().cpu() for p in pairs]).sum(0).tolist()
            if count:
                found[name] = total / count
        return found

    def rate(self, samples: int) -> float:
        """Samples a second since the last report, steps that did not count included."""
        return (samples - self.first) / max(time.monotonic() - self.since, 1e-9)


@dataclass(frozen=True)
class Progress:
    """One report of a running leg."""

    samples: int
    total: int
    rate: float  # samples a second over the interval
    seconds_left: float
    metrics: dict[str, float]


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
    ) -> None:
        """``origin`` are fingerprints of the weights it begins with and builds on, by what they are; None: of none.

        ``sources`` are where its pictures, and those of what it builds on, came from. ``force`` takes up a folder that
        was trained with other settings; ``changed`` then says which.
        """
        self.objective, self.config, self.folder, self.origin = objective, config, folder, dict(origin or {})
        self.sources = tuple(sources)
        self.masters = Masters(objective.module, config.optim, getattr(torch, config.dtype))
        self.ema = PowerEMA(self.masters.masters, config.ema_gamma)
        self.step = 0
        self.skipped = 0
        self.interrupted = False  # by Ctrl-C
        self._stop = False
        self._leg = _Clock(float("inf") if config.minutes is None else config.minutes * 60)
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
        self._restore(found)
        return True

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

    def save(self) -> Path:
        """Writes a checkpoint of this very step, and the configuration that it and those after it are of."""
        publish(json.dumps(self._resolved(), indent=1, sort_keys=True).encode(), self.folder / CONFIG)
        tensors = {"masters": self.masters.masters, "ema": self.ema.average, "moments": self.masters.state()}
        state = {"step": self.step, "samples": self.samples, "skipped": self.skipped, "config": self._resolved()}
        return checkpoint.write(self.folder / "checkpoints", self.step, tensors, state)

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
        if _filled(theirs, ours, _plain(self.objective.defaults(), defaults_of(self.config))) == ours:
            return []
        found = [] if theirs is None else _differences(theirs, ours)
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
        """Trains until the samples are done, the minutes are over, or SIGTERM or SIGINT asks for an end.

        ``saved_one`` is told of every checkpoint but the last.
        """
        config = self.config
        total = -(-config.samples // config.batch)
        self._leg = leg = _Clock(self._leg.every)
        saved, previewed = _Clock(config.checkpoint_minutes * 60), _Clock(config.preview_minutes * 60)
        interval = _Interval(self.samples)
        self.folder.mkdir(parents=True, exist_ok=True)
        bad, rollbacks = 0, 0
        before = {s: signal.signal(s, self._ask_to_stop) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            while self.step < total and not self._stop and not leg.due():
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
                    report(self._progress(interval, leg.left()))
                    interval = _Interval(self.samples)
                if saved.due() or (config.checkpoint_steps and self.step % config.checkpoint_steps == 0):
                    self.save()
                    saved_one()
                if previewed.due():
                    self.preview()
            self.save()
            self.preview()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def advance(self) -> tuple[float | None, Metrics]:
        """One step; the norm is None when the step was not finite and did not count."""
        config = self.config
        generator = torch.Generator().manual_seed(step_seed(config.seed, self.step))
        loss, metrics = self.objective.loss(self.samples, config.batch, generator)
        finite = bool(torch.isfinite(loss))
        if finite:
            loss.backward()
            norm = self.masters.step(rate_at(config.optim, self.step, self._done()))
            finite = norm < float("inf")
        self.step += 1
        if not finite:
            self.skipped += 1
            return None, metrics
        self.ema.update(self.masters.masters, self.step)
        return norm, metrics

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
        return max(samples, self._leg.share()) if self.config.timed else samples

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
        self.step, self.skipped = step, skipped  # go on with other samples: the same ones would fail the same way
        warn(f"{cause}; weights rolled back to {found.path.name}")

    def _progress(self, interval: _Interval, leg_seconds: float) -> Progress:
        metrics, rate = interval.means(), interval.rate(self.samples)
        left = min(max(0, self.config.samples - self.samples) / rate, max(0.0, leg_seconds))
        line = {"step": self.step, "samples": self.samples, "rate": round(rate, 1), "skipped": self.skipped}
        with open(self.folder / "log.jsonl", "a") as log:
            log.write(json.dumps({**line, **{k: round(v, 5) for k, v in metrics.items()}}) + "\n")
        return Progress(self.samples, self.config.samples, rate, left, metrics)


def step_seed(seed: int, step: int) -> int:
    """The seed of one step's generator; hashed, because torch uses only the low 32 bits of a CPU seed."""
    return int.from_bytes(blake2b(f"{seed}/{step}".encode(), digest_size=4).digest(), "big")


def _plain(objective: dict[str, Any], train: dict[str, Any]) -> dict[str, Any]:
    """A configuration as JSON gives it back, without what may change between legs."""
    passing = ("minutes", "checkpoint_minutes", "checkpoint_steps", "preview_minutes", "log_steps")
    kept = {name: value for name, value in train.items() if name not in passing}
    found: dict[str, Any] = json.loads(json.dumps({"objective": objective, "train": kept}))
    return found


def _filled(old: Any, new: Any, defaults: Any) -> Any:
    """An old configuration in the settings that there are today: new ones have their defaults, others are left out."""
    if not (isinstance(old, dict) and isinstance(new, dict) and isinstance(defaults, dict)):
        return old  # the value of a setting, be it a mapping
    missing = {name: defaults[name][0] for name in new if name not in old and isinstance(defaults.get(name), list)}
    return {**missing, **{name: _filled(old[name], new[name], defaults.get(name)) for name in old if name in new}}


def _differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Where two nested configurations differ: "train.batch: 64 -> 32"."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [d for k in keys for d in _differences(old.get(k), new.get(k), f"{path}.{k}" if path else k)]
    return [] if old == new else [f"{path}: {old} -> {new}"]
