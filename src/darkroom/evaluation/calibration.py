"""How far the judge can be trusted, measured on real scenes that neither it nor any model was trained on.

Four rows for each kind of fact: how often it says yes to what is true (the ceiling of any score), to what is true of
another scene (the floor), to a description with this one fact changed (a foil), and to things that were spoilt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

import torch
from torch import Tensor

from darkroom.data.built import Built
from darkroom.data.loader import Scenes
from darkroom.data.scenes.spec import FULL, ComposerConfig, Scene
from darkroom.judge.expect import expected_of, foils
from darkroom.judge.judge import Judge, Trust, answers
from darkroom.judge.sight import SURE
from darkroom.judge.spoilt import WAYS, spoil
from darkroom.judge.truth import overlap
from darkroom.judge.verdict import all_right, judged
from darkroom.wording.vocabulary import core

KINDS = {"single": 0.3, "count": 0.24, "pair": 0.36, "wearing": 0.06, "word": 0.04}
BATCH = 32
OVERALL = "overall"  # every fact of a picture right


@dataclass(frozen=True)
class Calibration:
    """The rows of every kind of fact, and of every way to spoil a thing the share that was still taken for one."""

    trust: dict[str, Trust]
    spoilt: dict[str, float]
    scenes: int


def held_out(data: Built, pairs: Literal["include", "only"]) -> ComposerConfig:
    """Scenes for calibration, of all pairs or only of those never trained."""
    return replace(FULL, kinds=KINDS, colour_share=0.4, held_out=pairs, every_drawing=True, stock=data.stock)


def calibrate(
    judge: Judge, data: Built, count: int = 1000, report: Callable[[int], None] = lambda _: None
) -> Calibration:
    """Measures the judge on ``count`` scenes of the streams kept for it."""
    said: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    spoilt: dict[str, list[bool]] = defaultdict(list)
    done = 0
    for scenes, source in _batches(data, count):
        composed = source.composer.render(scenes)
        sights = judge.look(composed.pixels)
        wanted = [expected_of(scene) for scene in scenes]
        for i, (sight, expected) in enumerate(zip(sights, wanted, strict=True)):
            facts = judged(sight, expected)
            elsewhere = judged(sights[i - 1], expected)
            said[OVERALL]["ceiling"].append(all_right(facts))
            said[OVERALL]["floor"].append(all_right(elsewhere))
            for kind in {fact.kind for fact in facts}:
                said[kind]["ceiling"] += answers(facts, kind)
                said[kind]["floor"] += answers(elsewhere, kind)
            for kind, foil in foils(expected):
                told = judged(sight, foil)
                said[kind]["foil"].append(all(answers(told, kind)))
                said[OVERALL]["foil"].append(all_right(told))
        for way, answer in _spoilings(judge, scenes, composed.pixels, source):
            spoilt[way].append(answer)
        done += len(scenes)
        report(done)
    trust = {
        kind: Trust(_share(rows["ceiling"]), _share(rows["floor"]), _share(rows["foil"]) if rows["foil"] else None)
        for kind, rows in said.items()
    }
    return Calibration(trust, {way: _share(found) for way, found in spoilt.items()}, done)


def _batches(data: Built, count: int) -> Iterator[tuple[list[Scene], Scenes]]:
    composer = data.composer()
    halves: tuple[tuple[Literal["include", "only"], str], ...] = (("include", "dev"), ("only", "held-out"))
    for pairs, stream in halves:
        source = Scenes(composer, held_out(data, pairs), 1, stream)
        for first in range(0, count // 2, BATCH):
            yield source.specs(first, min(BATCH, count // 2 - first)), source


def _spoilings(judge: Judge, scenes: list[Scene], pixels: Tensor, source: Scenes) -> Iterator[tuple[str, bool]]:
    """For one thing of each scene: the way it was spoilt, and whether the judge still sees it where it was."""
    composer = source.composer
    jobs = []
    for i, scene in enumerate(scenes):
        if not scene.objects or scene.quality is not None:
            continue
        random = Random(f"{scene.seed}/spoilt")
        which, way = random.randrange(len(scene.objects)), random.choice(WAYS)
        box = composer.visible_box(scene, scene.objects[which])
        jobs.append((scene, which, way, box, spoil(pixels[i], composer.without(scene, which), box, way, random)))
    if not jobs:
        return
    for (scene, which, way, box, _), sight in zip(jobs, judge.look(torch.stack([job[4] for job in jobs])), strict=True):
        word = core()[scene.objects[which].concept].word
        yield way, any(t.word == word and t.score >= SURE and overlap(t.box, box) > 0.5 for t in sight.things)


def _share(answers: list[bool]) -> float:
    return sum(answers) / max(1, len(answers))
