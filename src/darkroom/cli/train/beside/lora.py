"""``darkroom train lora``: an adapter of a few pictures of one's own, in one command."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

from darkroom.cli.train.options import Compiled, Device, Force, Minutes, Out, Seed, Threads, prepare, train_app
from darkroom.contracts.errors import BadInput

PREVIEW_MINUTES = 2.0  # between sheets: a run takes minutes


@train_app.command(name="lora")
def train_lora(
    *,
    data: Path,
    model: str = "default",
    out: Out = Path("runs/lora"),
    name: str = "lora",
    rank: int = 16,
    variant: Literal["lora", "dora"] = "lora",
    trigger: str | None = None,
    prior: int = 0,
    samples: int | None = None,
    minutes: Minutes = None,
    batch: int = 32,
    rate: float = 1e-3,
    keys: Literal["peft", "kohya"] = "peft",
    seed: Seed = 0,
    threads: Threads = None,
    device: Device = None,
    compiled: Compiled = True,
    force: Force = False,
) -> None:
    """Train an adapter on 10 to 40 pictures of your own: a style, a thing or a character.

    It is a small file beside the model, which stays as it is. Stop it when you like: the same command goes on.

    Examples:

        darkroom train lora --data my-drawings --trigger "in my style" --minutes 20
        darkroom generate "a red fox, in my style" --lora runs/lora/lora.safetensors:0.8

    Parameters
    ----------
    data
        Folder of name.jpg with name.txt, a metadata.jsonl, or a folder for each class; or what data build made
        of one.
    model
        Model to learn beside, by name or folder.
    name
        What the file is called.
    rank
        How much it can learn: the inner width of its branches.
    variant
        lora, or dora, which also learns how long each row of a layer is: a little slower, for low ranks.
    trigger
        Words said at the end of every caption, which call what was learned; without it the captions do.
    prior
        Pictures that the model draws of the captions, without the trigger, before it learns, and of which it then sees
        one after every one of yours: so that without the trigger it draws as before. 0: none.
    samples
        Length of the whole run, in pictures; without it each is looked at five hundred times, from 2,000 to 60,000 in
        all, and as many of the model's with --prior.
    batch
        Pictures of one step, 1 to 65,536.
    rate
        Learning rate, at most 1.
    keys
        By whose names the file calls its tensors: peft's, or kohya's for other programs. Both are read.
    """
    if not data.is_dir():
        raise BadInput(f"--data {data}", "is no folder", "name the folder that holds your pictures")
    if trigger is not None and not trigger.strip():
        raise BadInput("--trigger", "is blank", 'say words that call it: --trigger "in my style"')
    if prior and trigger is None:
        fix = 'say a trigger: --trigger "in my style"'
        raise BadInput(f"--prior {prior}", "needs words that tell your pictures from those the model draws", fix)
    prepare(threads)
    from darkroom.cards import folder_of
    from darkroom.data.imported import count
    from darkroom.training.console import trained
    from darkroom.training.legs.beside.lora import BRANCHES, FEW, lora_leg, written_lora
    from darkroom.training.legs.own import length_for, prepared
    from darkroom.training.legs.place import place_named
    from darkroom.training.loop import TrainConfig
    from darkroom.training.optim import OptimConfig
    from darkroom.training.packing import plain_card

    # What is wrong with the options is said before the pictures are read, and not after they were learnt.
    plain_card(name)
    folder = folder_of(model)
    optim = OptimConfig(rate=rate, weight_decay=0.0, decay_share=0.5)
    config = TrainConfig(
        1 if samples is None else samples,
        batch,
        seed,
        minutes,
        optim=optim,
        timed=minutes is not None,
        preview_minutes=PREVIEW_MINUTES,
    )
    place = place_named(data, out, device)
    if place.group.size > 1:
        raise BadInput("torchrun", "starts several processes, and this works alone", "start it without")

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    pictures = prepared(data, out, say)
    if (there := count(pictures)) < FEW:
        say(f"warning: {there} pictures are few: it may learn to copy them; {FEW} to 40 are better, or fewer --samples")
    if samples is None:
        config = replace(config, samples=length_for(pictures, BRANCHES) * (2 if prior else 1))
    place = replace(place, data=pictures)
    trainer = lora_leg(
        place, config, folder, rank=rank, variant=variant, trigger=trigger, prior=prior, compiled=compiled, force=force
    )
    with trained(trainer):
        print(written_lora(out, folder, name, trigger, keys))
