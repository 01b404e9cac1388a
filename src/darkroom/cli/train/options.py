"""Options that legs share, and what a process is before it trains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from darkroom.machine.threads import cores
from darkroom.training.limits import within

train_app = App(
    name="train",
    help="Train a model on your own pictures; or, with a command, one part of a model. The same on CPU and GPU.",
)

Workers = Annotated[
    int | None,
    Parameter(help="Processes that compose scenes ahead; without it none on a CPU, most cores by a GPU."),
]
Data = Annotated[Path, Parameter(help="Folder that `darkroom data build` wrote.")]
Out = Annotated[Path, Parameter(help="Run folder: checkpoints, log, previews and the hand-over of the weights.")]
Samples = Annotated[int, Parameter(help="Length of the whole run, in pictures; legs that go on count along.")]
Size = Annotated[
    Literal["nano", "mini", "base"],
    Parameter(help="The one dial: nano for tests, mini for two CPU cores, base for a GPU."),
]
Batch = Annotated[
    int | None,
    Parameter(help="Pictures of one step, 1 to 65,536; a larger one takes more memory. Without it the size's."),
]
Accumulate = Annotated[
    int,
    Parameter(
        help="Micro-batches a batch is cut into: less memory one after another, and what several processes (torchrun) "
        "share out among them."
    ),
]
Rate = Annotated[
    float | None,
    Parameter(help="Learning rate, at most 1; lower it where the loss is not finite. Without it the size's."),
]
Seed = Annotated[int, Parameter(help="Number that everything random follows from, 0 to 65,535.")]
Threads = Annotated[
    int | None,
    Parameter(help="Threads torch computes with; without it as many as there are cores, or OMP_NUM_THREADS."),
]
Device = Annotated[str | None, Parameter(help="cpu or cuda; without it cuda where there is a GPU.")]
Compiled = Annotated[bool, Parameter(help="Compile the network at its first step, which takes minutes and pays later.")]
Start = Annotated[
    Path | None,
    Parameter(name="--from", help="Hand-over folder of an earlier such leg to start from; without it from zero."),
]
From = Annotated[Path | None, Parameter(name="--from")]
Force = Annotated[
    bool,
    Parameter(
        help="Where the run folder was trained with other settings, go on from its newest checkpoint with these."
    ),
]
Run = Annotated[int, Parameter(help="Number of the scenes: a new leg takes a new one, so that it sees new scenes.")]
Optimiser = Annotated[
    Literal["adamw", "muon"], Parameter(help="What steps the weights of layers; the others are always AdamW's.")
]
Minutes = Annotated[
    float | None,
    Parameter(
        help="Stop this leg, resumably, after the step in which these minutes end; reading data comes before, and the "
        "first step compiles the network, which can take minutes by itself."
    ),
]
Timed = Annotated[bool, Parameter(help="The rate falls by the minutes too, where they are over before the samples.")]
Deliver = Annotated[
    Path | None,
    Parameter(help="A second folder for the hand-over, written at every checkpoint as well."),
]


def prepare(threads: int | None) -> None:
    """Sets the threads torch computes with."""
    if threads is not None:
        within("threads", threads, 1, 4 * cores())
        import torch

        torch.set_num_threads(threads)
