"""A leg of the text encoder's pretraining."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from darkroom.data.loader import Scenes
from darkroom.nn.text import TextConfig
from darkroom.training.handover import (
    network_of,
)
from darkroom.training.legs.begin import LONG, data_of, rounded, started, tokenizer_of
from darkroom.training.legs.place import Place
from darkroom.training.loop import TrainConfig, Trainer
from darkroom.training.objectives.text import WORDS, TextObjective, TextObjectiveConfig, TextTraining


def text_leg(
    place: Place, config: TrainConfig, start: Path | None, *, network: TextConfig | None = None, force: bool = False
) -> Trainer:
    """A trainer of the text encoder on captions of the core vocabulary; trains the tokenizer where there is none.

    ``network`` None is the default model's; its vocabulary is the tokenizer's in any case.
    """
    data = data_of(place)
    if start is not None:
        network_of(start, "text", TextConfig)  # before its tokenizer is asked for
    scenes = data.everything(colour_share=0.3)
    tokenizer = tokenizer_of(place.out / WORDS, scenes, start and start / WORDS, "text")
    network = replace(network or TextConfig(), vocabulary=rounded(tokenizer))
    torch.manual_seed(config.seed)
    settings = TextObjectiveConfig(network=network, length=LONG)
    source = Scenes(data.composer(64), scenes, config.seed, stream="text")
    objective = TextObjective(TextTraining(network).to(place.device), settings, source, tokenizer)
    return started(objective, config, place, start, "text", "encoder.", force)
