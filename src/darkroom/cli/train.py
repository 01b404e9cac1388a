"""The verbs under ``darkroom train``: one leg each; torch is imported when one runs, not for --help."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, get_args

from cyclopts import App, Parameter

from darkroom.contracts.errors import BadInput, unknown
from darkroom.threads import cores
from darkroom.training.limits import within

train_app = App(name="train", help="Train a part of a model; the same command on CPU and GPU.")

Workers = Annotated[
    int | None,
    Parameter(help="Processes that compose scenes ahead; without it none on a CPU, most cores by a GPU."),
]
Data = Annotated[Path, Parameter(help="Folder that `darkroom data build` wrote.")]
Out = Annotated[Path, Parameter(help="Run folder: checkpoints, log, previews and the hand-over of the weights.")]
Samples = Annotated[int, Parameter(help="Length of the whole run, in pictures; legs that go on count along.")]
Batch = Annotated[int, Parameter(help="Pictures of one step, 1 to 65,536; a larger one takes more memory.")]
Rate = Annotated[float, Parameter(help="Learning rate, at most 1; lower it where the loss is not finite.")]
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


@train_app.command(name="autoencoder")
def train_autoencoder(
    *,
    data: Data = Path("runs/data"),
    out: Out = Path("runs/autoencoder"),
    samples: Samples = 120_000,
    minutes: Minutes = None,
    batch: Batch = 32,
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
    from darkroom.training.legs import Place, autoencoder_leg, device_named
    from darkroom.training.loop import TrainConfig
    from darkroom.training.objectives.autoencoder import AutoencoderObjectiveConfig
    from darkroom.training.optim import OptimConfig

    _prepare(threads)
    config = TrainConfig(samples, batch, seed, minutes, optim=OptimConfig(rate=rate, decay_share=0.3))
    settings = AutoencoderObjectiveConfig(network=AutoencoderConfig(channels=channels), crop=crop)
    train(autoencoder_leg(Place(data, out, device_named(device)), config, settings, start, force=force), deliver)


@train_app.command(name="text")
def train_text(
    *,
    data: Data = Path("runs/data"),
    out: Out = Path("runs/text"),
    samples: Samples = 200_000,
    minutes: Minutes = None,
    batch: Batch = 128,
    rate: Rate = 1e-3,
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
    from darkroom.training.legs import Place, device_named, text_leg
    from darkroom.training.loop import TrainConfig
    from darkroom.training.optim import OptimConfig

    _prepare(threads)
    config = TrainConfig(samples, batch, seed, minutes, optim=OptimConfig(rate=rate, decay_share=0.3))
    train(text_leg(Place(data, out, device_named(device)), config, start, force=force), deliver)


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
    batch: Batch = 64,
    rate: Rate = 1e-3,
    decay: float = 0.2,
    optimiser: Optimiser = "muon",
    seed: Seed = 0,
    run: Run = 0,
    size: str = "mini",
    vocabulary: Literal["everyday", "core"] = "everyday",
    scenes: Literal["plain", "full"] = "plain",
    styles: str | None = None,
    kinds: str | None = None,
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
        nano, mini or base: the one dial of the network.
    vocabulary
        everyday: the hundred most usual things; core: all there are. Scenes are made of these.
    scenes
        plain: things on colours; full: all the composer can do (places, light, views, media, words, photos ...).
    styles
        Styles of the drawings and their shares, as in "3d:.5,flat:.5"; without it those of the scenes.
    kinds
        Kinds of scene (single, count, pair, wearing, figure, boxes, word, photo) and their shares.
    start
        Hand-over folder of an earlier diffusion leg to start from; without it the denoiser begins from zero.
    """
    from darkroom.data.scenes.spec import FULL, ComposerConfig, Kind
    from darkroom.training.console import train
    from darkroom.training.legs import diffusion_leg, place_named
    from darkroom.training.loop import TrainConfig
    from darkroom.training.optim import OptimConfig

    _prepare(threads)
    optim = OptimConfig(rate=rate, muon=optimiser == "muon", decay_share=decay)
    config = TrainConfig(samples, batch, seed, minutes, optim=optim, timed=timed)
    composed = replace(FULL if scenes == "full" else ComposerConfig(), vocabulary=vocabulary)
    if styles is not None:
        composed = replace(composed, styles=_shares("style", styles, FULL.styles))
    if kinds is not None:
        composed = replace(composed, kinds=_shares("kind", kinds, get_args(Kind)))
    train(
        diffusion_leg(
            place_named(data, out, device, workers),
            config,
            autoencoder=autoencoder,
            text=text,
            start=start,
            size=size,
            scenes=composed,
            run=run,
            compiled=compiled,
            force=force,
        ),
        deliver,
    )


@train_app.command(name="judge")
def train_judge(
    *,
    data: Data = Path("runs/data"),
    out: Out = Path("runs/judge"),
    samples: Samples = 1_000_000,
    minutes: Minutes = None,
    timed: Timed = False,
    batch: Batch = 64,
    rate: Rate = 2e-3,
    optimiser: Optimiser = "muon",
    seed: Seed = 0,
    run: Run = 0,
    threads: Threads = None,
    workers: Workers = None,
    device: Device = None,
    compiled: Compiled = True,
    without: str | None = None,
    words: Path | None = None,
    start: From = None,
    deliver: Deliver = None,
    force: Force = False,
) -> None:
    """Train the judge, on scenes of its own.

    Examples:

        darkroom train judge --data runs/data --samples 1000000

    Parameters
    ----------
    without
        A style of drawings it never sees, to find out how it judges what it was not taught.
    words
        A tokenizer to read sentences with, where --from brings none; without either one is learnt, which takes minutes.
    start
        Hand-over of an earlier such leg, or a packed judge.
    """
    from darkroom.training.console import train
    from darkroom.training.legs import judge_leg, place_named
    from darkroom.training.loop import TrainConfig
    from darkroom.training.optim import OptimConfig

    _prepare(threads)
    optim = OptimConfig(rate=rate, muon=optimiser == "muon", decay_share=0.4)
    config = TrainConfig(samples, batch, seed, minutes, optim=optim, timed=timed)
    place = place_named(data, out, device, workers)
    train(
        judge_leg(place, config, start, words=words, without=without, run=run, compiled=compiled, force=force), deliver
    )


@train_app.command(name="next")
def train_next(
    *,
    plan: Path = Path("docs/training-plan.md"),
    data: Data = Path("runs/data"),
    minutes: Minutes = None,
    device: Device = None,
    run: int | None = None,
    start: From = None,
    leg: str | None = None,
) -> None:
    """Run the first queued leg of a training plan, or another one; its run folder goes under runs.

    Where $OUT is set the hand-over is also put there, as OUT/LEG, at every checkpoint.

    Examples:

        darkroom train next --leg gpu-judge --minutes 7 --device cuda
        darkroom train next --leg gpu-judge --minutes 7 --device cuda --from runs/back/gpu-judge --run 3

    Parameters
    ----------
    run
        Number of the scenes, in place of the leg's own.
    start
        Hand-over to start from, in place of the leg's own: where an earlier call of the same leg ended.
    leg
        Another queued leg than the first, by name.
    plan
        The file that holds the plan.
    """
    from darkroom.training.plan import next_leg, with_options

    planned = next_leg(plan, leg)
    options = {"--minutes": minutes, "--device": device, "--run": run, "--from": start}
    if out := os.environ.get("OUT"):
        options["--deliver"] = Path(out) / planned.name
    given = {name: str(value) for name, value in options.items() if value is not None}
    arguments = with_options(planned.arguments(Path("runs") / planned.name, data), given)
    print(f"leg {planned.name}: darkroom {shlex.join(arguments)}", file=sys.stderr)
    train_app(arguments[1:], exit_on_error=False, print_error=False)


def _shares(what: str, text: str, known: Collection[str]) -> dict[str, float]:
    """ "3d:.5,cartoon:.25" as a mapping of known names to numbers."""
    try:
        pairs = [part.split(":") for part in text.split(",")]
        found = {name.strip(): float(share) for name, share in pairs}
    except ValueError:
        raise BadInput(f"shares {text!r}", "are not name:number pairs", 'write "3d:.5,cartoon:.5"') from None
    for name, share in found.items():
        if name not in known:
            raise unknown(what, name, known)
        within(f"the share of {name}", share, 0, 1e6)
    if not any(found.values()):
        raise BadInput(f"shares {text!r}", "are all zero", "give one of them a share")
    return found


# What keeps glibc from giving pages back and fetching them anew every step: about a quarter of a step's time on CPU.
MALLOC = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
}


def _prepare(threads: int | None) -> None:
    """Starts the process again with the allocator settings training wants, and sets the threads."""
    if threads is not None:
        within("threads", threads, 1, 4 * cores())
    if sys.platform == "linux" and any(name not in os.environ for name in MALLOC):
        os.execve(sys.executable, [sys.executable, "-m", "darkroom.cli", *sys.argv[1:]], {**MALLOC, **os.environ})
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
