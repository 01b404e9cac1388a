"""``darkroom train diffusion``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from darkroom.cli.train.options import (
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
from darkroom.contracts.errors import BadInput, unknown
from darkroom.training.limits import within


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
    from darkroom.training.legs.diffusion import diffusion_leg
    from darkroom.training.legs.place import place_named
    from darkroom.training.loop import TrainConfig
    from darkroom.training.optim import OptimConfig

    prepare(threads)
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
