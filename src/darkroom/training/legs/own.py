"""A model of one's own pictures in one go: a folder becomes training data, a leg, and what draws."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from darkroom.contracts.card import UPSCALER
from darkroom.data.imported import LEDGER, count, holds_pictures, import_folder
from darkroom.data.scenes.spec import ComposerConfig
from darkroom.training.handover import HANDOVER, has_weights
from darkroom.training.legs.diffusion import diffusion_leg
from darkroom.training.legs.place import Place
from darkroom.training.loop import TrainConfig, Trainer
from darkroom.training.packing import pack


class Length(NamedTuple):
    """Samples of a run where nobody says how many: so often each picture, but no fewer and no more."""

    rounds: int
    fewest: int
    most: int


WHOLE = Length(60, 10_000, 300_000)  # of a model: less teaches nothing, more takes a day of two cores
DATA, MODEL = "data", "model"  # folders in the run's


def prepared(source: Path, out: Path, say: Callable[[str], None]) -> Path:
    """The built pictures of a folder: itself where it is built already, else a build of it in the run folder.

    What was left out, and why, is said. Raises BadInput where nothing in it is usable.
    """
    if holds_pictures(source):
        return source
    report = import_folder(source, out / DATA)
    for line in report.lines():
        say(line)
    say(f"{len(report.usable)} pictures in {out / DATA}; {LEDGER} there says whose they are")
    return out / DATA


def length_for(data: Path, length: Length = WHOLE) -> int:
    """Samples of a run on these built pictures."""
    return min(length.most, max(length.fewest, length.rounds * count(data)))


def own_leg(
    place: Place, config: TrainConfig, model: Path, *, scratch: bool, compiled: bool = True, force: bool = False
) -> Trainer:
    """A trainer on the pictures of ``place.data`` that goes on from a model folder.

    ``scratch`` takes the model's autoencoder and text encoder alone, and begins the denoiser from zero.
    """
    return diffusion_leg(
        place,
        config,
        autoencoder=model,
        text=model,
        start=None if scratch else model,
        size="mini" if scratch else None,
        scenes=ComposerConfig(),  # for the composer, which has no part in it
        run=0,
        compiled=compiled,
        force=force,
    )


def packed_model(out: Path, model: Path, name: str) -> Path:
    """The run's hand-over as a model folder, with the autoencoder it was trained on, and the upscaler beside that."""
    upscaler = model if has_weights(model, UPSCALER) else None
    return pack(model, out / HANDOVER, out / MODEL, name, None, upscaler=upscaler)
