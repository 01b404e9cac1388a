"""``darkroom train upscaler``."""

from __future__ import annotations

from pathlib import Path

from darkroom.cli.train.options import (
    Accumulate,
    Batch,
    Data,
    Deliver,
    Device,
    Force,
    Minutes,
    Optimiser,
    Out,
    Rate,
    Run,
    Samples,
    Seed,
    Size,
    Start,
    Threads,
    Timed,
    prepare,
    train_app,
)


@train_app.command(name="upscaler")
def train_upscaler(
    *,
    data: Data = Path("runs/data"),
    out: Out = Path("runs/upscaler"),
    samples: Samples = 60_000,
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
    device: Device = None,
    crop: int = 96,
    autoencoder: Path | None = None,
    start: Start = None,
    deliver: Deliver = None,
    force: Force = False,
) -> None:
    """Train the upscaler: pictures at twice their size, sharp.

    Examples:

        darkroom train upscaler --data runs/data --samples 60000 --minutes 30

    Parameters
    ----------
    crop
        Side of the squares it learns to make, in pixels: an even number, from 16 to 128.
    autoencoder
        Hand-over or model folder whose autoencoder the pictures went through that it is for; without it the model in
        the package.
    """
    from darkroom.cards import EMBEDDED
    from darkroom.training.console import train
    from darkroom.training.legs.place import place_named
    from darkroom.training.legs.sizes import size_named
    from darkroom.training.legs.upscaler import upscaler_leg
    from darkroom.training.loop import TrainConfig
    from darkroom.training.objectives.upscaler import UpscalerObjectiveConfig
    from darkroom.training.optim import OptimConfig

    prepare(threads)
    of = size_named(size)
    config = TrainConfig(
        samples,
        of.batch(4, batch),
        seed,
        minutes,
        accumulate=accumulate,
        optim=OptimConfig(rate=of.rate(2e-3, rate), muon=optimiser == "muon", decay_share=0.4),
        timed=timed,
    )
    settings = UpscalerObjectiveConfig(network=of.upscaler, crop=crop)
    place = place_named(data, out, device)
    leg = upscaler_leg(place, config, settings, autoencoder=autoencoder or EMBEDDED, start=start, run=run, force=force)
    train(leg, deliver)
