"""``darkroom train flow-map``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from darkroom.cli.train.options import (
    Accumulate,
    Compiled,
    Data,
    Deliver,
    Device,
    Force,
    Minutes,
    Optimiser,
    Out,
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


@train_app.command(name="flow-map")
def train_flow_map(
    *,
    start: Annotated[Path, Parameter(name="--from")],
    autoencoder: Path,
    teacher: Path | None = None,
    data: Data = Path("runs/data"),
    out: Out = Path("runs/flow-map"),
    samples: Samples = 200_000,
    minutes: Minutes = None,
    timed: Timed = False,
    batch: int = 64,
    accumulate: Accumulate = 1,
    rate: float = 6e-4,
    decay: float = 0.2,
    optimiser: Optimiser = "muon",
    seed: Seed = 0,
    run: Run = 0,
    vocabulary: Vocabulary = "everyday",
    scenes: Described = "plain",
    styles: SceneStyles = None,
    kinds: Kinds = None,
    threads: Threads = None,
    workers: Workers = None,
    device: Device = None,
    compiled: Compiled = True,
    deliver: Deliver = None,
    force: Force = False,
) -> None:
    """Make a flow map of a trained denoiser: it draws in 4 evaluations what took 22.

    Examples:

        darkroom train flow-map --from runs/base/handover --autoencoder runs/autoencoder/handover

    Parameters
    ----------
    start
        Hand-over of a diffusion leg, or a model's folder: denoiser and text encoder; or of an earlier such leg.
    autoencoder
        Hand-over folder of the autoencoder's leg.
    teacher
        The denoiser whose pictures it learns to draw, where --from is an earlier such leg; without it that of --from.
    batch
        Pictures of one step, 1 to 65,536; a larger one takes more memory.
    rate
        Learning rate, at most 1; lower it where the loss is not finite.
    decay
        The learning rate falls to zero over this last share of the samples; 0 keeps it for another leg.
    """
    from darkroom.training.console import train
    from darkroom.training.legs.flowmap import flow_map_leg
    from darkroom.training.legs.place import place_named
    from darkroom.training.loop import TrainConfig
    from darkroom.training.optim import OptimConfig

    prepare(threads)
    optim = OptimConfig(rate=rate, muon=optimiser == "muon", decay_share=decay)
    config = TrainConfig(samples, batch, seed, minutes, accumulate=accumulate, optim=optim, timed=timed)
    train(
        flow_map_leg(
            place_named(data, out, device, workers),
            config,
            autoencoder=autoencoder,
            start=start,
            teacher=teacher,
            scenes=composed(scenes, vocabulary, styles, kinds),
            run=run,
            compiled=compiled,
            force=force,
        ),
        deliver,
    )
