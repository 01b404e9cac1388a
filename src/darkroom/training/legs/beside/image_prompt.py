"""A leg of an image tower: what a model reads reference pictures by, learned on scenes with a reference each."""

from __future__ import annotations

from pathlib import Path

import torch

from darkroom.contracts.errors import BadInput
from darkroom.data.imported import holds_pictures
from darkroom.data.loader import Scenes, joined
from darkroom.data.references import References
from darkroom.data.scenes.spec import ComposerConfig
from darkroom.nn.beside.tower import TowerConfig
from darkroom.training.handover import HANDOVER, sources_of
from darkroom.training.legs.beside.staying import staying
from darkroom.training.legs.lessons import lessons
from darkroom.training.legs.place import Place
from darkroom.training.limits import RUNS, within
from darkroom.training.loop import TrainConfig, Trainer
from darkroom.training.objectives.image_prompt import (
    ImagePromptObjective,
    ImagePromptTraining,
    ReadingConfig,
    ReferenceTeaching,
)
from darkroom.training.packing import with_tower

MODEL = "model"  # the folder in the run's that draws


def image_prompt_leg(
    place: Place,
    config: TrainConfig,
    model: Path,
    *,
    scenes: ComposerConfig,
    run: int,
    alone: float = ReadingConfig.alone,
    tower: TowerConfig | None = None,
    compiled: bool = True,
    force: bool = False,
) -> Trainer:
    """A trainer of an image tower beside a model folder; ``alone`` is the share of the samples from which it learns
    with the text encoder alone. ``tower`` None is the usual one; the width of what it makes is the model's in any case.

    Raises BadInput for a folder of pictures, of which nobody says what is in two of them.
    """
    within("run", run, 0, RUNS - 1)
    within("alone", alone, 0, 1)
    if holds_pictures(place.data):
        rule = "holds pictures, and nobody says which of them show the same"
        raise BadInput(f"--data {place.data}", rule, "give --data of a built pack, whose scenes are known")
    beside = staying(model)
    taught = lessons(place, scenes, run, model, config.dtype)
    assert isinstance(taught.pictures, Scenes)
    teaching = ReferenceTeaching(taught, References(taught.pictures))
    ahead = place.ahead(teaching, joined, config.batch)
    torch.manual_seed(config.seed)
    width = beside.module.text.config.width
    shape = TowerConfig(width) if tower is None else tower
    objective = ImagePromptObjective(
        ImagePromptTraining(beside.module, shape).to(place.device),
        beside.settings(teaching.length),
        ReadingConfig(alone),
        teaching,
        beside.codec.to(place.device, getattr(torch, config.dtype)),
        total=config.samples,
        compiled=compiled,
        ahead=ahead,
        beside=beside.origin,
    )
    sources = sources_of(place.data, model)
    return Trainer(objective, config, place.out, force=force, origin=beside.origin, sources=sources, group=place.group)


def packed_with_tower(out: Path, model: Path, name: str) -> Path:
    """The model with the run's hand-over in it, as a model folder."""
    return with_tower(model, out / HANDOVER, out / MODEL, name)
