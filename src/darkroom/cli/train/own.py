"""``darkroom train --data FOLDER``: a model of one's own pictures, in one command."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from darkroom.cli.train.options import Device, Force, Minutes, Out, Seed, Threads, prepare, train_app
from darkroom.contracts.errors import BadInput

SCRATCH = "scratch"


@train_app.default
def train_own(
    *,
    data: Path | None = None,
    start: Annotated[str, Parameter(name="--from")] = "default",
    out: Out = Path("runs/own"),
    name: str = "own",
    samples: int | None = None,
    minutes: Minutes = None,
    batch: int = 64,
    rate: float | None = None,
    seed: Seed = 0,
    threads: Threads = None,
    device: Device = None,
    compiled: bool = True,
    force: Force = False,
) -> None:
    """Train a model on a folder of your own pictures, and put it into a model folder that draws.

    Stop it when you like: the model is packed, and the same command goes on from there.

    Examples:

        darkroom train --data my-pictures --minutes 60
        darkroom train --data my-pictures --from scratch --out runs/mine
        darkroom generate "one of my captions" --model runs/own/model

    Parameters
    ----------
    data
        Folder of name.jpg with name.txt, a metadata.jsonl, or a folder for each class; or what data build made
        of one.
    start
        Model to go on from, by name or folder; or scratch: the default model's autoencoder and text encoder, but a
        denoiser that begins from zero.
    name
        What the card calls the model.
    samples
        Length of the whole run, in pictures; without it each is looked at sixty times, from 10,000 to 300,000 in all.
    batch
        Pictures of one step, 1 to 65,536; a larger one takes more memory.
    rate
        Learning rate, at most 1; without it 0.0005, and 0.001 from scratch.
    compiled
        Compile the network at its first step, which takes minutes and pays later.
    """
    if data is None:
        from darkroom.cli.run import app

        app(["train", "--help"])
        return
    if not data.is_dir():
        raise BadInput(f"--data {data}", "is no folder", "name the folder that holds your pictures")
    prepare(threads)
    from darkroom.cards import EMBEDDED, folder_of
    from darkroom.training.console import trained
    from darkroom.training.legs.own import length_for, own_leg, packed_model, prepared
    from darkroom.training.legs.place import place_named
    from darkroom.training.loop import TrainConfig
    from darkroom.training.optim import OptimConfig
    from darkroom.training.packing import plain_card

    # What is wrong with the options is said before the pictures are read, and not after they were learnt.
    plain_card(name)
    scratch = start == SCRATCH
    model = EMBEDDED if scratch else folder_of(start)
    rate = rate if rate is not None else (1e-3 if scratch else 5e-4)
    optim = OptimConfig(rate=rate, muon=True, decay_share=0.2 if scratch else 0.5)
    config = TrainConfig(
        1 if samples is None else samples, batch, seed, minutes, optim=optim, timed=minutes is not None
    )
    place = place_named(data, out, device)
    if place.group.size > 1:
        raise BadInput("torchrun", "starts several processes, and this works alone", "use darkroom train diffusion")
    pictures = prepared(data, out, lambda line: print(line, file=sys.stderr))
    if samples is None:
        config = replace(config, samples=length_for(pictures))
    place = replace(place, data=pictures)
    trainer = own_leg(place, config, model, scratch=scratch, compiled=compiled, force=force)
    with trained(trainer):
        print(packed_model(out, model, name))
