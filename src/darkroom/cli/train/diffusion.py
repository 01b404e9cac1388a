"""``darkroom train diffusion``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

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
    Threads,
    Timed,
    Workers,
    prepare,
    train_app,
)
from darkroom.cli.train.scenes import Described, Kinds, SceneStyles, Vocabulary, composed


@train_app.command(name="diffusion")
def train_diffusion(
    *,
    autoencoder: Path,
    text: Path | None = None,
    data: Data = Path("runs/data"),
    out: Out = Path("runs/base"),
    samples: Samples = 1_000_000,
    minutes: Minutes = None,
    timed: Timed = False,
    batch: Batch = None,
    accumulate: Accumulate = 1,
    rate: Rate = None,
    decay: float = 0.2,
    optimiser: Optimiser = "muon",
    seed: Seed = 0,
    run: Run = 0,
    size: Literal["nano", "mini", "base"] | None = None,
    vocabulary: Vocabulary = "everyday",
    scenes: Described = "plain",
    styles: SceneStyles = None,
    kinds: Kinds = None,
    threads: Threads = None,
    workers: Workers = None,
    device: Device = None,
    compiled: Compiled = True,
    start: From = None,
    deliver: Deliver = None,
    force: Force = False,
) -> None:
    """Train the latent denoiser, its text encoder with it.

    Examples:

        darkroom train diffusion --autoencoder runs/autoencoder/handover --text runs/text/handover --minutes 60

    Parameters
    ----------
    autoencoder
        Hand-over folder of the autoencoder's leg.
    text
        Hand-over folder of the text encoder's leg; without it the text encoder of --from, which was trained with it.
    decay
        The learning rate falls to zero over this last share of the samples; 0 keeps it for another leg.
    size
        nano, mini or base: the one dial of the network; without it that of --from, or mini.
    start
        Hand-over folder of an earlier diffusion leg to start from; without it the denoiser begins from zero.
    """
    from darkroom.training.console import train
    from darkroom.training.legs.diffusion import diffusion_leg
    from darkroom.training.legs.place import place_named
    from darkroom.training.legs.sizes import size_for
    from darkroom.training.loop import TrainConfig
    from darkroom.training.optim import OptimConfig

    prepare(threads)
    of = size_for(size, start)
    optim = OptimConfig(rate=of.rate(1e-3, rate), muon=optimiser == "muon", decay_share=decay)
    config = TrainConfig(samples, of.batch(64, batch), seed, minutes, accumulate=accumulate, optim=optim, timed=timed)
    train(
        diffusion_leg(
            place_named(data, out, device, workers),
            config,
            autoencoder=autoencoder,
            text=text,
            start=start,
            size=size,
            scenes=composed(scenes, vocabulary, styles, kinds),
            run=run,
            compiled=compiled,
            force=force,
        ),
        deliver,
    )
