"""``darkroom train control``: an adapter that follows maps, learned on composed scenes, whose maps are known."""

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
    Seed,
    Threads,
    Timed,
    Workers,
    prepare,
    train_app,
)
from darkroom.cli.train.scenes import Described, Kinds, SceneStyles, Vocabulary, composed


@train_app.command(name="control")
def train_control(
    *,
    kind: str,
    model: str = "default",
    data: Data = Path("runs/data"),
    out: Out = Path("runs/control"),
    name: str | None = None,
    rank: int = 16,
    samples: int = 100_000,
    minutes: Minutes = None,
    timed: Timed = False,
    batch: int = 64,
    accumulate: Accumulate = 1,
    rate: float = 1e-3,
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
    """Train a control: an adapter by which a model follows maps of one kind.

    It is a small file beside the model, which stays as it is. Stop it when you like: the same command goes on.

    Examples:

        darkroom train control --kind edges --data runs/data --minutes 30
        darkroom generate "a red fox" --control runs/control/edges.safetensors=sketch.png:0.8

    Parameters
    ----------
    kind
        What a map shows: edges, scribble, palette, layout, depth, pose or silhouette.
    model
        Model to learn beside, by name or folder.
    name
        What the file is called; without it as the kind.
    rank
        How much it can learn: the inner width of its branches.
    samples
        Length of the whole run, in scenes.
    batch
        Scenes of one step, 1 to 65,536.
    rate
        Learning rate, at most 1.
    """
    prepare(threads)
    from darkroom.cards import folder_of
    from darkroom.training.console import trained
    from darkroom.training.legs.beside.control import control_leg, shown_by, written_control
    from darkroom.training.legs.place import place_named
    from darkroom.training.loop import TrainConfig
    from darkroom.training.optim import OptimConfig
    from darkroom.training.packing import plain_card

    plain_card(name or kind)
    folder = folder_of(model)
    optim = OptimConfig(rate=rate, weight_decay=0.0, decay_share=0.4)
    config = TrainConfig(samples, batch, seed, minutes, accumulate=accumulate, optim=optim, timed=timed)
    described = composed(scenes, vocabulary, styles, kinds)
    trainer = control_leg(
        place_named(data, out, device, workers),
        config,
        folder,
        kind=kind,
        rank=rank,
        scenes=described if kinds is not None else shown_by(described, kind),
        run=run,
        compiled=compiled,
        force=force,
    )
    with trained(trainer):
        if trainer.group.leads:
            print(written_control(out, folder, name or kind, kind))
