"""``darkroom train autoencoder``."""

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
    Out,
    Rate,
    Samples,
    Seed,
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
    batch: Batch = 32,
    accumulate: Accumulate = 1,
    rate: Rate = 1e-3,
    seed: Seed = 0,
    threads: Threads = None,
    device: Device = None,
    crop: int = 64,
    channels: int = 8,
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
        Channels of a latent, 1 to 64; a denoiser is trained for as many as its autoencoder has.
    """
    from darkroom.nn.autoencoder import AutoencoderConfig
    from darkroom.training.console import train
    from darkroom.training.legs.autoencoder import autoencoder_leg
    from darkroom.training.legs.place import place_named
    from darkroom.training.loop import TrainConfig
    from darkroom.training.objectives.autoencoder import AutoencoderObjectiveConfig
    from darkroom.training.optim import OptimConfig

    prepare(threads)
    config = TrainConfig(
        samples, batch, seed, minutes, accumulate=accumulate, optim=OptimConfig(rate=rate, decay_share=0.3)
    )
    settings = AutoencoderObjectiveConfig(network=AutoencoderConfig(channels=channels), crop=crop)
    train(autoencoder_leg(place_named(data, out, device), config, settings, start, force=force), deliver)
