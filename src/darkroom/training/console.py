"""A training leg as its owner sees it: where it starts, how it goes, what it hands over.

The hand-over's path is the only thing on stdout; progress and warnings go to stderr, as a live bar on a terminal and as
one plain line a report anywhere else.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text

from darkroom.training.handover import HANDOVER, hand_over
from darkroom.training.loop import Trainer
from darkroom.training.reports import Progress as Report

Say = Callable[[str], None]
INTERRUPTED = 130  # the exit code of what Ctrl-C has ended


def train(trainer: Trainer, deliver: Path | None = None) -> None:
    """Runs a leg from where its run folder stands to its end, hands its weights over and prints where they lie."""
    with trained(trainer, deliver) as folder:
        if trainer.group.leads:
            print(folder)


@contextmanager
def trained(trainer: Trainer, deliver: Path | None = None) -> Iterator[Path]:
    """Runs a leg to its end and hands its weights over; what follows from them is done inside.

    They are also written into ``deliver``, at every checkpoint: what is left of a machine that is taken away. Ends in
    SystemExit where it was Ctrl-C that stopped it: what was to follow the whole leg shall not. Of several processes
    that train together, only the first one speaks and hands over.
    """
    leads = trainer.group.leads
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, quiet=not leads)

    def warn(sentence: str) -> None:
        console.print(f"warning: {sentence}")

    def delivered() -> None:
        if deliver is not None and leads:
            hand_over(trainer, deliver)

    with closing(trainer.objective), warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: warn(str(message))  # a library's too: its sentence, not its source
        resumed = trainer.resume(warn)
        console.print(opening(trainer, resumed))
        with _display(trainer, console) as show:
            trainer.run(show, warn, delivered)
        console.print(ending(trainer))
        delivered()
        yield hand_over(trainer) if leads else trainer.folder / HANDOVER
    if trainer.interrupted:
        raise SystemExit(INTERRUPTED)


def opening(trainer: Trainer, resumed: bool) -> str:
    """Where the leg starts, in one sentence."""
    total = trainer.config.samples
    if not resumed:
        return f"training {trainer.objective.name} in {trainer.folder}: {total:,} samples from the start"
    if trainer.samples >= total:
        return f"{trainer.folder} is trained: all {total:,} samples are done"
    forced = f", with other settings ({'; '.join(trainer.changed)})" if trainer.changed else ""
    return (
        f"resuming {trainer.folder} from step {trainer.step:,}: {trainer.samples:,} of {total:,} samples done{forced}"
    )


def ending(trainer: Trainer) -> str:
    """Where the leg ended, and how to go on when samples are left."""
    skipped = f"; steps skipped as not finite: {trainer.skipped}" if trainer.skipped else ""
    if trainer.samples >= trainer.config.samples:
        return f"done after {trainer.samples:,} samples{skipped}"
    left = trainer.config.samples - trainer.samples
    if (why := trainer.objective.over()) is not None:
        return f"ended at step {trainer.step:,} with {left:,} samples left: {why}{skipped}"
    return f"stopped at step {trainer.step:,} with {left:,} samples left{skipped}; the same command goes on from here"


def plain(report: Report) -> str:
    """A report as one line: "9,600/1,000,000  45.1/s  6h 6m left  flow 0.812  t 0-0.25 0.95"."""
    parts = [f"{report.samples:,}/{report.total:,}", f"{report.rate:.1f}/s", f"{duration(report.seconds_left)} left"]
    return "  ".join([*parts, *_measured(report)])


def duration(seconds: float) -> str:
    """Seconds in the two largest units: "42s", "6m 5s", "3h 20m", "2d 4h"."""
    left = int(seconds)
    units = [(left // 86400, "d"), (left // 3600 % 24, "h"), (left // 60 % 60, "m"), (left % 60, "s")]
    first = next((i for i, (count, _) in enumerate(units) if count), 3)
    return " ".join(f"{count}{unit}" for count, unit in units[first : first + 2])


def _measured(report: Report) -> list[str]:
    return [f"{name} {value:.4g}" for name, value in report.metrics.items()]


@contextmanager
def _display(trainer: Trainer, console: Console) -> Iterator[Callable[[Report], None]]:
    """What shows each report: a live bar with the metrics under it, or plain lines where nobody watches."""
    if not console.is_terminal:
        yield lambda report: print(plain(report), file=sys.stderr, flush=True)
        return
    bar = Progress(
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[left]}"),
        console=console,
        expand=True,
    )
    task = bar.add_task("", total=trainer.config.samples, completed=trainer.samples, rate="warming up", left="")

    # Redrawn at each report only: a refresh thread would take its turns from the training thread.
    with Live(bar, console=console, auto_refresh=False) as live:

        def show(report: Report) -> None:
            left = f"{duration(report.seconds_left)} left"
            bar.update(task, completed=report.samples, rate=f"{report.rate:.1f}/s", left=left)
            live.update(Group(bar, Text("   ".join(_measured(report)))), refresh=True)

        live.refresh()
        yield show
