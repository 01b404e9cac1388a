"""A leg of the autoencoder."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from darkroom.data.imported import ImportedPictures, holds_pictures, imported
from darkroom.data.loader import Scenes
from darkroom.data.scenes.spec import FULL
from darkroom.nn.autoencoder import Autoencoder
from darkroom.training.legs.begin import data_of, started
from darkroom.training.legs.place import Place
from darkroom.training.loop import TrainConfig, Trainer
from darkroom.training.objectives.autoencoder import AutoencoderObjective, AutoencoderObjectiveConfig


def autoencoder_leg(
    place: Place, config: TrainConfig, settings: AutoencoderObjectiveConfig, start: Path | None, *, force: bool = False
) -> Trainer:
    """A trainer of the autoencoder on scenes of every style and on photos, or on a folder's own pictures.

    ``start`` None begins from zero.
    """
    if holds_pictures(place.data):
        own = ImportedPictures(imported(place.data), config.seed)
        held_out = own(0, 64).composed.pixels.to(place.device)  # for its statistics: few pictures are all there is

        def pictures(first: int, count: int) -> Tensor:
            return own(first, count).composed.pixels.to(place.device)

    else:
        data = data_of(place)
        scenes = data.everything(kinds={**FULL.kinds, "photo": 0.2})
        composer = data.composer()
        held_out = Scenes(composer, scenes, config.seed, stream="held-out")(0, 256).composed.pixels

        def pictures(first: int, count: int) -> Tensor:
            source = Scenes(composer, scenes, config.seed, stream="autoencoder")
            return composer.render(source.specs(first, count)).pixels

    torch.manual_seed(config.seed)
    module = Autoencoder(settings.network).to(place.device)
    objective = AutoencoderObjective(module, settings, pictures, held_out)
    return started(objective, config, place, start, "autoencoder", "", force)
