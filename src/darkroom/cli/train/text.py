"""``darkroom train text``."""

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
    Size,
    Start,
    Threads,
    prepare,
    train_app,
)


@train_app.command(name="text")
def train_text(
    *,
    data: Data = Path("runs/data"),
    out: Out = Path("runs/text"),
    samples: Samples = 200_000,
    minutes: Minutes = None,
    batch: Batch = None,
    accumulate: Accumulate = 1,
    rate: Rate = None,
    size: Size = "mini",
    seed: Seed = 0,
    threads: Threads = None,
    device: Device = None,
    start: Start = None,
    deliver: Deliver = None,
    force: Force = False,
) -> None:
    """Pretrain the text encoder (and its tokenizer) on captions and pictures.

    Examples:

        darkroom train text --data runs/data --samples 200000
        darkroom train text --data runs/data --from runs/text/handover --out runs/text2 --minutes 20
    """
    from darkroom.training.console import train
    from darkroom.training.legs.place import place_named
    from darkroom.training.legs.sizes import size_named
    from darkroom.training.legs.text import text_leg
    from darkroom.training.loop import TrainConfig
    from darkroom.training.optim import OptimConfig

    prepare(threads)
    of = size_named(size)
    config = TrainConfig(
        samples,
        of.batch(128, batch),
        seed,
        minutes,
        accumulate=accumulate,
        optim=OptimConfig(rate=of.rate(1e-3, rate), decay_share=0.3),
    )
    train(text_leg(place_named(data, out, device), config, start, network=of.text, force=force), deliver)
