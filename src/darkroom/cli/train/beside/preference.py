"""``darkroom train preference``: a model learns from what a judge says of its own pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from darkroom.cli.train.options import (
    Accumulate,
    Compiled,
    Device,
    Force,
    Minutes,
    Out,
    Run,
    Seed,
    Threads,
    Timed,
    prepare,
    train_app,
)
from darkroom.cli.train.scenes import Described, Kinds, SceneStyles, Vocabulary, composed
from darkroom.contracts.errors import BadInput

KINDS = "single:.2,count:.3,pair:.5"  # pictures of one sentence differ most where it says how things stand


@train_app.command(name="preference")
def train_preference(
    *,
    reward: Path,
    model: str = "default",
    method: Literal["dpo", "policy"] = "dpo",
    out: Out = Path("runs/preference"),
    name: str = "preference",
    rank: int = 16,
    beta: float | None = None,
    drift: float = 0.1,
    sentences: int | None = None,
    each: int | None = None,
    steps: int = 8,
    samples: int | None = None,
    minutes: Minutes = None,
    timed: Timed = False,
    batch: int = 64,
    accumulate: Accumulate = 1,
    rate: float = 2e-4,
    seed: Seed = 0,
    run: Run = 0,
    vocabulary: Vocabulary = "everyday",
    scenes: Described = "plain",
    styles: SceneStyles = None,
    kinds: Kinds = KINDS,
    same_judge: bool = False,
    threads: Threads = None,
    device: Device = None,
    compiled: Compiled = True,
    force: Force = False,
) -> None:
    """Tune a model by what a judge says of its own pictures: what was right is made likelier.

    It is a small file beside the model, which stays as it is. No prompt of the sets that models are measured with is
    drawn. Stop it when you like, while it draws and while it learns: the same command goes on.

    Examples:

        darkroom train preference --reward runs/judge-second/packed --minutes 60
        darkroom generate "three red apples" --lora runs/preference/preference.safetensors:0.8

    Parameters
    ----------
    reward
        Folder of the judge that rewards. Another than the one in the package, which scores in `darkroom evaluate`: a
        model learns what fools its judge, too.
    model
        Model to learn beside, by name or folder.
    method
        dpo: pairs of pictures of one sentence are drawn first, then it learns to prefer the better one. policy: it
        draws, is judged and learns, round after round; slower, and from what it draws by then.
    name
        What the file is called.
    rank
        How much it can learn: the inner width of its branches.
    beta
        How strongly it is held to the model it began as; without it 2000 for dpo, 0.01 for policy.
    drift
        How far it may go from that model, as a share of the length of its velocities; there it ends.
    sentences
        Sentences drawn for pairs, about; without it 1000. For policy those of a round; without it 8.
    each
        Pictures of a sentence, 2 to 64; without it 4, for policy 8.
    steps
        Steps of a picture, 2 to 100.
    samples
        Length of the whole run: pairs, or for policy steps of pictures; without it each pair comes ten times, and there
        are forty rounds.
    batch
        Samples of one step, 1 to 65,536; for policy one that divides a round.
    rate
        Learning rate, at most 1.
    same_judge
        The judge that rewards may be the one that scores.
    """
    prepare(threads)
    from darkroom.cards import folder_of
    from darkroom.evaluation.progress import Progress
    from darkroom.evaluation.prompts import SETS, prompt_set
    from darkroom.training.console import trained
    from darkroom.training.legs.beside.preference import Wishes, preference_leg, written_preference
    from darkroom.training.legs.place import place_named
    from darkroom.training.loop import TrainConfig
    from darkroom.training.objectives.preference.asking import Sentences
    from darkroom.training.objectives.preference.dpo import PairTuning
    from darkroom.training.optim import OptimConfig
    from darkroom.training.packing import plain_card

    plain_card(name)
    folder = folder_of(model)
    optim = OptimConfig(rate=rate, weight_decay=0.0, warmup_steps=10, decay_share=0.4)
    length = 1 if samples is None else samples
    config = TrainConfig(length, batch, seed, minutes, accumulate=accumulate, optim=optim, timed=timed, log_steps=10)
    place = place_named(out, out, device)
    if place.group.size > 1:
        raise BadInput("torchrun", "starts several processes, and this works alone", "start it without")
    taken = frozenset(row.prompt for known in SETS for row in prompt_set(known))
    trainer = preference_leg(
        place,
        config,
        folder,
        wishes=Wishes(method, rank, beta, drift, sentences, each, steps),
        reward=reward,
        same_judge=same_judge,
        sentences=Sentences(composed(scenes, vocabulary, styles, kinds), run, taken),
        samples=samples,
        compiled=compiled,
        force=force,
        report=Progress("lots drawn"),
    )
    if isinstance(trainer.objective, PairTuning):
        print(trainer.objective.pairs.line(), file=sys.stderr)
    with trained(trainer):
        print(written_preference(out, folder, name))
