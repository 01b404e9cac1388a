"""``darkroom train judge``."""

from __future__ import annotations

from pathlib import Path

from darkroom.cli.train.options import (
    Accumulate,
    Batch,
    Compiled,
    Data,
    Deliver,
    Device,
    Force,
    From,
    Minutes,
    Optimiser,
    Out,
    Rate,
    Run,
    Samples,
    Seed,
    Size,
    Threads,
    Timed,
    Workers,
    prepare,
    train_app,
)


@train_app.command(name="judge")
def train_judge(
    *,
    data: Data = Path("runs/data"),
    out: Out = Path("runs/judge"),
    samples: Samples = 1_000_000,
    minutes: Minutes = None,
    timed: Timed = False,
    batch: Batch = None,
    accumulate: Accumulate = 1,
    rate: Rate = None,
    optimiser: Optimiser = "muon",
    size: Size = "mini",
    seed: Seed = 0,
    run: Run = 0,
    threads: Threads = None,
    workers: Workers = None,
    device: Device = None,
    compiled: Compiled = True,
    without: str | None = None,
    words: Path | None = None,
    start: From = None,
    deliver: Deliver = None,
    force: Force = False,
) -> None:
    """Train the judge, on scenes of its own.

    Examples:

        darkroom train judge --data runs/data --samples 1000000

    Parameters
    ----------
    without
        A style of drawings it never sees, to find out how it judges what it was not taught.
    words
        A tokenizer to read sentences with, where --from brings none; without either one is learnt, which takes minutes.
    start
        Hand-over of an earlier such leg, or a packed judge.
    """
    from darkroom.training.console import train
    from darkroom.training.legs.judge import judge_leg
    from darkroom.training.legs.place import place_named
    from darkroom.training.legs.sizes import size_named
    from darkroom.training.loop import TrainConfig
    from darkroom.training.optim import OptimConfig

    prepare(threads)
    of = size_named(size)
    optim = OptimConfig(rate=of.rate(2e-3, rate), muon=optimiser == "muon", decay_share=0.4)
    config = TrainConfig(samples, of.batch(64, batch), seed, minutes, accumulate=accumulate, optim=optim, timed=timed)
    place = place_named(data, out, device, workers)
    train(
        judge_leg(
            place,
            config,
            start,
            network=of.detector,
            reader=of.reader,
            words=words,
            without=without,
            run=run,
            compiled=compiled,
            force=force,
        ),
        deliver,
    )
