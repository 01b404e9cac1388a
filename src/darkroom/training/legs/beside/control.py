"""A leg of a control: branches beside a model's denoiser that follow maps, learned on scenes whose maps are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from darkroom.contracts.errors import BadInput, unknown
from darkroom.control.lora import MAX_RANK, write_lora
from darkroom.data.imported import holds_pictures
from darkroom.data.loader import joined
from darkroom.data.scenes.conditions import CONTROLS, OF_PIXELS
from darkroom.data.scenes.spec import ComposerConfig
from darkroom.training.handover import HANDOVER, sources_of, weights_of
from darkroom.training.legs.beside.staying import about, staying
from darkroom.training.legs.lessons import lessons
from darkroom.training.legs.place import Place
from darkroom.training.limits import RUNS, within
from darkroom.training.loop import TrainConfig, Trainer
from darkroom.training.objectives.control import CONTROL, ControlObjective, ControlTraining, MapTeaching
from darkroom.training.objectives.lora import branches_of

SHOWN = {"pose": {"figure": 1.0}, "depth": {"depth": 0.5, "boxes": 0.2, "wearing": 0.15, "single": 0.15}}
"""Kinds of scene that have such a map, where it is few of them."""
BLANK = {"layout": ("figure", "boxes", "word", "photo"), "silhouette": ("boxes", "word", "photo")}
"""Kinds that may have none, where it is most that do."""


def control_leg(
    place: Place,
    config: TrainConfig,
    model: Path,
    *,
    kind: str,
    rank: int,
    scenes: ComposerConfig,
    run: int,
    compiled: bool = True,
    force: bool = False,
) -> Trainer:
    """A trainer of a control beside a model folder, on scenes and their maps, or on a folder's own pictures.

    Raises BadInput for a map that pictures alone do not have.
    """
    within("run", run, 0, RUNS - 1)
    within("rank", rank, 1, MAX_RANK)
    if kind not in CONTROLS:
        raise unknown("kind", kind, CONTROLS)
    if holds_pictures(place.data) and kind not in OF_PIXELS:
        rule = f"is not to be seen in a picture; of pictures there are {', '.join(OF_PIXELS)}"
        raise BadInput(f"--kind {kind}", rule, "give --data of a built pack, whose scenes have it")
    beside = staying(model)
    taught = lessons(place, scenes, run, model, config.dtype)
    teaching = MapTeaching(taught.pictures, taught.tokenizer, taught.length, taught.dtype, kind)
    ahead = place.ahead(teaching, joined, config.batch)
    torch.manual_seed(config.seed)
    objective = ControlObjective(
        ControlTraining(beside.module, rank).to(place.device),
        beside.settings(teaching.length),
        teaching,
        beside.codec.to(place.device, getattr(torch, config.dtype)),
        compiled=compiled,
        ahead=ahead,
        beside=beside.origin,
        rank=rank,
    )
    sources = sources_of(place.data, model)
    return Trainer(objective, config, place.out, force=force, origin=beside.origin, sources=sources, group=place.group)


def shown_by(scenes: ComposerConfig, kind: str) -> ComposerConfig:
    """Scenes of which each has such a map."""
    some = {name: share for name, share in scenes.kinds.items() if name not in BLANK.get(kind, ())}
    return replace(scenes, kinds=SHOWN.get(kind, some))


def written_control(out: Path, model: Path, name: str, kind: str) -> Path:
    """The run's hand-over as a control's file, ``out/NAME.safetensors``."""
    weights, told = weights_of(out / HANDOVER, CONTROL), about(out, model, f"follows {kind} maps; ")
    path = out / f"{name}.safetensors"
    return write_lora(branches_of(weights), path, title=name, about=told, sight=weights["sight"])
