"""A leg of the upscaler."""

from __future__ import annotations

from pathlib import Path

import torch

from darkroom.contracts.errors import BadInput
from darkroom.data.halved import SharpPictures
from darkroom.data.stock.built import load_large
from darkroom.nn.upscaler import BranchedUpscaler, UpscalerConfig
from darkroom.training.handover import fingerprint, network_of, opened_autoencoder, sources_of, weights_of
from darkroom.training.legs.begin import data_of
from darkroom.training.legs.place import Place
from darkroom.training.limits import RUNS, within
from darkroom.training.loop import TrainConfig, Trainer
from darkroom.training.objectives.upscaler import UpscalerObjective, UpscalerObjectiveConfig

BRANCHES, LAYERS = "branches", "layers."  # the file of a hand-over, and where its weights stand in the network


def upscaler_leg(
    place: Place,
    config: TrainConfig,
    settings: UpscalerObjectiveConfig,
    *,
    autoencoder: Path,
    start: Path | None,
    run: int = 0,
    force: bool = False,
) -> Trainer:
    """A trainer of the upscaler on sharp scenes and photos, for pictures that come out of this autoencoder.

    ``start`` None begins from zero; ``run`` numbers the scenes.
    """
    within("run", run, 0, RUNS - 1)
    data, large = data_of(place), load_large(place.data).to(place.composes_on)
    codec = opened_autoencoder(autoencoder)
    origin = {"autoencoder": fingerprint(codec.state_dict())}
    pictures = SharpPictures(data, large, run=run)
    drawn = {"large": 1.0} if large.sprites else None
    held_out = SharpPictures(data, large, stream="held-out", shares=drawn)(0, 4)
    torch.manual_seed(config.seed)
    module = BranchedUpscaler(settings.network)
    objective = UpscalerObjective(
        module.to(place.device), settings, pictures, codec.to(place.device, getattr(torch, config.dtype)), held_out
    )
    weights = {}
    if start is not None:
        if network_of(start, "upscaler", UpscalerConfig) != settings.network:
            raise BadInput(f"{start}", "holds an upscaler of another size", "start from zero, or with its size")
        weights = {f"{LAYERS}{name}": tensor for name, tensor in weights_of(start, BRANCHES).items()}
        origin["upscaler"] = fingerprint(weights)
    trainer = Trainer(
        objective,
        config,
        place.out,
        force=force,
        origin=origin,
        sources=sources_of(place.data, autoencoder, start),
        group=place.group,
    )
    if weights:
        trainer.start_from(weights)
    return trainer
