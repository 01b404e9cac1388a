"""A leg that makes a flow map of a denoiser: the same pictures in few steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from darkroom.contracts.errors import BadInput
from darkroom.data.loader import joined
from darkroom.data.scenes.spec import ComposerConfig
from darkroom.nn.dit import Denoiser, DenoiserConfig
from darkroom.nn.text import TextConfig, TextEncoder
from darkroom.training.handover import fingerprint, load_into, network_of, opened_autoencoder, sources_of, weights_of
from darkroom.training.legs.lessons import lessons
from darkroom.training.legs.place import Place
from darkroom.training.limits import RUNS, within
from darkroom.training.loop import TrainConfig, Trainer
from darkroom.training.objectives.flowmap import GUIDANCE, FlowMapObjective, FlowMapObjectiveConfig, FlowMapTraining


def flow_map_leg(
    place: Place,
    config: TrainConfig,
    *,
    autoencoder: Path,
    start: Path,
    teacher: Path | None,
    scenes: ComposerConfig,
    run: int,
    compiled: bool,
    force: bool = False,
) -> Trainer:
    """A trainer of a flow map, from the hand-over or model folder ``start``; its text encoder stays as it is.

    ``teacher`` is the denoiser whose flow is learnt; None: the one at ``start``, which must be a plain one then.
    """
    within("run", run, 0, RUNS - 1)
    teacher = teacher or start
    if network_of(teacher, "denoiser", DenoiserConfig).flow_map is not None:
        fix = "give the denoiser it was made of, as --teacher beside --from or as --from alone"
        raise BadInput(f"{teacher}", "is a flow map, and nothing to learn one from", fix)
    teaching = lessons(place, scenes, run, start, config.dtype)
    ahead = place.ahead(teaching, joined, config.batch)
    codec, text = opened_autoencoder(autoencoder), TextEncoder(network_of(start, "text", TextConfig))
    guide = Denoiser(network_of(teacher, "denoiser", DenoiserConfig))
    network = replace(network_of(start, "denoiser", DenoiserConfig), flow_map=GUIDANCE)
    torch.manual_seed(config.seed)
    module = FlowMapTraining(network)
    weights = weights_of(start, "denoiser")
    fresh = {name: tensor for name, tensor in module.denoiser.state_dict().items() if name.startswith("guidance.")}
    module.denoiser.load_state_dict({**fresh, **weights})
    origin = {
        "autoencoder": fingerprint(codec.state_dict()),
        "text": load_into(text, start, "text"),
        "denoiser": fingerprint(weights),
        "teacher": load_into(guide, teacher, "denoiser"),
    }
    settings = FlowMapObjectiveConfig(network, text.config, teaching.length, origin["teacher"])
    dtype = getattr(torch, config.dtype)
    objective = FlowMapObjective(
        module.to(place.device),
        settings,
        teaching,
        codec.to(place.device, dtype),
        guide.to(place.device, dtype),
        text.to(place.device, dtype),
        compiled=compiled,
        ahead=ahead,
    )
    sources = sources_of(place.data, start, teacher)
    return Trainer(objective, config, place.out, force=force, origin=origin, sources=sources, group=place.group)
