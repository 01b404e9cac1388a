"""``darkroom train image-prompt``: what a model reads reference pictures by, learned on composed scenes."""

from __future__ import annotations

from pathlib import Path

from darkroom.cli.train.options import (
    Accumulate,
    Compiled,
    Data,
    Device,
    Force,
    Minutes,
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


@train_app.command(name="image-prompt")
def train_image_prompt(
    *,
    model: str = "default",
    data: Data = Path("runs/data"),
    out: Out = Path("runs/image-prompt"),
    name: str = "with-references",
    samples: Samples = 200_000,
    minutes: Minutes = None,
    timed: Timed = False,
    batch: int = 64,
    accumulate: Accumulate = 1,
    rate: float = 1e-3,
    alone: float = 0.5,
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
    force: Force = False,
) -> None:
    """Train an image tower: by it a model takes the subject or the style of a reference picture.

    The model stays as it is; a folder with it and the tower is written. Stop it when you like: the same command goes
    on.

    Examples:

        darkroom train image-prompt --data runs/data --minutes 60
        darkroom generate "this in the snow" --model runs/image-prompt/model --image-prompt fox.png:0.6

    Parameters
    ----------
    model
        Model to learn beside, by name or folder.
    name
        What the card calls the model with its tower.
    batch
        Scenes of one step, 1 to 65,536.
    rate
        Learning rate, at most 1.
    alone
        Share of the samples, at first, from which it learns with the text encoder alone, which is several times
        quicker: 0 to 1.
    """
    prepare(threads)
    from darkroom.cards import folder_of
    from darkroom.training.console import trained
    from darkroom.training.legs.beside.image_prompt import image_prompt_leg, packed_with_tower
    from darkroom.training.legs.place import place_named
    from darkroom.training.loop import TrainConfig
    from darkroom.training.optim import OptimConfig
    from darkroom.training.packing import plain_card

    plain_card(name)
    folder = folder_of(model)
    optim = OptimConfig(rate=rate, decay_share=0.4)
    config = TrainConfig(samples, batch, seed, minutes, accumulate=accumulate, optim=optim, timed=timed)
    trainer = image_prompt_leg(
        place_named(data, out, device, workers),
        config,
        folder,
        scenes=composed(scenes, vocabulary, styles, kinds),
        run=run,
        alone=alone,
        compiled=compiled,
        force=force,
    )
    with trained(trainer):
        if trainer.group.leads:
            print(packed_with_tower(out, folder, name))
