"""A leg of the judge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from darkroom.contracts.errors import unknown
from darkroom.data.loader import Scenes
from darkroom.judge.judge import WORDS as JUDGE_WORDS
from darkroom.judge.spoilt import ERASED
from darkroom.nn.detector import SIDES, SPAN, DetectorConfig
from darkroom.nn.matching import reader_config
from darkroom.nn.text import TextConfig
from darkroom.training.legs.begin import data_of, rounded, started, tokenizer_of
from darkroom.training.legs.place import Place
from darkroom.training.limits import RUNS, within
from darkroom.training.loop import TrainConfig, Trainer
from darkroom.training.objectives import judge
from darkroom.training.objectives.judge import JudgedScenes, JudgeObjective, JudgeObjectiveConfig, JudgeTraining

SHARES = dict(zip(SIDES, (0.4, 0.35, 0.25), strict=True))  # of the steps, at each side it sees pictures at
AFAR = 0.3  # of the scenes, from farther away than they are laid out
SPOILT = 0.4  # of the scenes with drawings
WAYS = {"melted": 0.35, "scrambled": 0.3, ERASED: 0.25, "blob": 0.1}  # of what is spoilt: most of what fools it most
HUES = 0.5  # of the scenes whose captions say nothing is white, black or grey: in other hues, or without any


def judge_leg(
    place: Place,
    config: TrainConfig,
    start: Path | None,
    *,
    network: DetectorConfig | None = None,
    reader: TextConfig | None = None,
    words: Path | None = None,
    without: str | None = None,
    run: int = 0,
    compiled: bool = True,
    force: bool = False,
) -> Trainer:
    """A trainer of the judge's networks, on their own stream of scenes.

    ``network`` and ``reader`` None are the default judge's. ``start`` is a hand-over of such a leg, or a packed judge;
    ``without`` a style it shall never see. ``words`` is a tokenizer to take where ``start`` brings none; None learns
    one. ``run`` numbers the scenes.
    """
    within("run", run, 0, RUNS - 1)
    data = data_of(place)
    styles = data.everything().styles
    if without is not None and without not in styles:
        raise unknown("style", without, styles)
    kept = {style: share for style, share in styles.items() if style != without}
    scenes = data.everything(kinds=judge.KINDS, every_drawing=True, styles=kept, colour_share=judge.COLOUR_SHARE)
    data = data.restricted(scenes)
    scenes = replace(scenes, stock=data.stock)  # a medium is made of drawings there are
    tokenizer = tokenizer_of(place.out / JUDGE_WORDS, scenes, start / JUDGE_WORDS if start else words, "judge")
    reader = replace(reader or reader_config(0), vocabulary=rounded(tokenizer))
    settings = JudgeObjectiveConfig(
        reader,
        network or judge.detector_config(),
        spoilt_share=SPOILT,
        ways=WAYS,
        sides=SHARES,
        lot=config.batch,
        span=SPAN,
        afar_share=AFAR,
        hues_share=HUES,
    )
    source = JudgedScenes(Scenes(data.composer(), scenes, run, stream="judge"), settings)
    teaching = judge.Teaching(source, tokenizer, getattr(torch, config.dtype))
    ahead = place.ahead(teaching, judge.joined_teaching, config.batch)
    torch.manual_seed(config.seed)
    module = JudgeTraining(settings.network, settings.reader).to(place.device)
    objective = JudgeObjective(module, settings, teaching, compiled=compiled, ahead=ahead)
    return started(objective, config, place, start, "judge", "", force)
