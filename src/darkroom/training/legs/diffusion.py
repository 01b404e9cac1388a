"""A leg of the denoiser, its text encoder with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch

from darkroom.contracts.errors import BadInput
from darkroom.data.imported import holds_pictures
from darkroom.data.loader import joined
from darkroom.data.scenes.spec import ComposerConfig
from darkroom.nn.dit import DenoiserConfig
from darkroom.nn.text import TextConfig
from darkroom.training.handover import (
    fingerprint,
    has_weights,
    leg_of,
    load_into,
    network_of,
    opened_autoencoder,
    sources_of,
)
from darkroom.training.legs.lessons import lessons
from darkroom.training.legs.place import Place
from darkroom.training.legs.sizes import size_named
from darkroom.training.limits import RUNS, within
from darkroom.training.loop import CONFIG, TrainConfig, Trainer
from darkroom.training.objectives.diffusion import DiffusionObjective, DiffusionObjectiveConfig, DiffusionTraining
from darkroom.wording.vocabulary import core

KNOWN_THEN = DiffusionObjectiveConfig.concepts


def diffusion_leg(
    place: Place,
    config: TrainConfig,
    *,
    autoencoder: Path,
    text: Path | None,
    start: Path | None,
    size: str | None,
    scenes: ComposerConfig,
    run: int,
    compiled: bool,
    force: bool = False,
) -> Trainer:
    """A trainer of the denoiser, its text encoder with it. ``run`` numbers the scenes: a new leg takes a new number.

    ``text`` None takes the text encoder of ``start``, which was trained with that denoiser. Where the data are a
    folder's own pictures, they stand for the scenes. ``size`` None is that of ``start``, or mini.
    """
    within("run", run, 0, RUNS - 1)
    text = text or start
    if text is None:
        raise BadInput("a denoiser from zero", "has no text encoder to learn with", "give --text, or --from for both")
    text_config = network_of(text, "text", TextConfig)
    teaching = lessons(place, scenes, run, text, config.dtype)
    oracle = 0.0 if holds_pictures(place.data) else DiffusionObjectiveConfig.oracle  # nobody says what is where in them
    ahead = place.ahead(teaching, joined, config.batch)

    codec = opened_autoencoder(autoencoder)
    shape = size_named(size or "mini").denoiser
    network = replace(shape, channels=codec.config.channels, text_width=text_config.width)
    if start is not None and size is None:
        network = network_of(start, "denoiser", DenoiserConfig)
    if network.flow_map is not None:
        fix = "give the denoiser it was made of"
        raise BadInput(f"{start}", "is a flow map, which this training would undo", fix)
    torch.manual_seed(config.seed)
    concepts = _concepts(place.out)
    module = DiffusionTraining(network, text_config, concepts)
    origin = {"autoencoder": fingerprint(codec.state_dict()), "text": load_into(module.text, text, "text")}
    if start is not None:
        origin["denoiser"] = load_into(module.denoiser, start, "denoiser")
        if has_weights(start, "oracle") and leg_of(start)["config"].get("concepts", KNOWN_THEN) == concepts:
            load_into(module.oracle, start, "oracle")  # one of fewer concepts is learnt anew
    settings = DiffusionObjectiveConfig(network, text_config, teaching.length, concepts=concepts, oracle=oracle)
    objective = DiffusionObjective(
        module.to(place.device),
        settings,
        teaching,
        codec.to(place.device, getattr(torch, config.dtype)),
        total=config.samples,
        compiled=compiled,
        ahead=ahead,
    )
    sources = sources_of(place.data, text, start)
    return Trainer(objective, config, place.out, force=force, origin=origin, sources=sources, group=place.group)


def _concepts(out: Path) -> int:
    """How many concepts a run's oracle head tells apart: as many as when it began, however many were added since."""
    try:
        found: int = json.loads((out / CONFIG).read_text())["objective"].get("concepts", KNOWN_THEN)
    except (OSError, ValueError, KeyError):  # a new run, or a damaged one, which the trainer refuses
        return len(core())
    return found
