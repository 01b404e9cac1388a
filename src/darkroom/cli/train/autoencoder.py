"""``darkroom train autoencoder``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from darkroom.cli.train.options import (
    Accumulate,
    Batch,
    Data,
    Deliver,
    Device,
    Force,
    Minutes,
    Out,
    Rate,
    Samples,
    Seed,
    Size,
    Start,
    Threads,
    prepare,
    train_app,
)


@train_app.command(name="autoencoder")
def train_autoencoder(
    *,
    data: Data = Path("runs/data"),
    out: Out = Path("runs/autoencoder"),
    samples: Samples = 120_000,
    minutes: Minutes = None,
    batch: Batch = None,
    accumulate: Accumulate = 1,
    rate: Rate = None,
    size: Size = "mini",
    seed: Seed = 0,
    threads: Threads = None,
    device: Device = None,
    crop: int = 64,
    channels: int | None = None,
    fine_grain: float = 0.05,
    start: Start = None,
    deliver: Deliver = None,
    force: Force = False,
) -> None:
    """Train the picture autoencoder.

    Examples:

        darkroom train autoencoder --data runs/data --samples 120000 --minutes 20

    Parameters
    ----------
    crop
        Side of the squares it learns from, in pixels: a multiple of 8, from 16 to 128.
    channels
        Channels of a latent, 1 to 64; a denoiser is trained for as many as its autoencoder has. Without it the size's.
    fine_grain
        Charge on fine grain in the latents, 0 to 1: with more of it they are easier to learn, with less pictures finer.
    """
    from darkroom.training.console import train
    from darkroom.training.legs.autoencoder import autoencoder_leg
    from darkroom.training.legs.place import place_named
    from darkroom.training.legs.sizes import size_named
    from darkroom.training.loop import TrainConfig
    from darkroom.training.objectives.autoencoder import AutoencoderObjectiveConfig
    from darkroom.training.optim import OptimConfig

    prepare(threads)
    of = size_named(size)
    config = TrainConfig(
        samples,
        of.batch(32, batch),
        seed,
        minutes,
        accumulate=accumulate,
        optim=OptimConfig(rate=of.rate(1e-3, rate), decay_share=0.3),
    )
    network = of.autoencoder if channels is None else replace(of.autoencoder, channels=channels)
    settings = AutoencoderObjectiveConfig(network=network, crop=crop, fine_grain=fine_grain)
    train(autoencoder_leg(place_named(data, out, device), config, settings, start, force=force), deliver)
