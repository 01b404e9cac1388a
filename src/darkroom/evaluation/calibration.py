"""How far the judge can be trusted, measured on real scenes that neither it nor any model was trained on.

The scenes are described as the prompt sets are, group by group, and asked for the same facts, so that what the judge
says of them is the ceiling of a model's score. Beside it: how often it says yes to the description of another scene
(the floor), to a description with one fact changed (a foil), and to things it saw and that were spoilt then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from darkroom.data.scenes.compose import Composer
from darkroom.data.scenes.spec import Scene
from darkroom.data.stock.built import Built
from darkroom.evaluation.prompts import WORDS, PromptRow, described
from darkroom.judge.expect import foils
from darkroom.judge.judge import Judge, Trust, answers
from darkroom.judge.sight import Sight
from darkroom.judge.sizes import TRIED, from_afar
from darkroom.judge.spoilt import WAYS, spoilt
from darkroom.judge.truth import overlap
from darkroom.judge.verdict import LIKELY, all_right, judged
from darkroom.wording.vocabulary import core

BATCH = 32
RUN = 1  # of the stream "held-out": the prompt sets have others
OVERALL = "overall"  # every fact of a picture right
GROUP = "group: "  # the same, within a group of prompts
OTHER_SIZES = "other sizes: "
"""Facts of scenes whose things are of sizes that no scene of their kind has: one in three, drawn again so, and all
those of two things in two colours, of which a third would be too few to tell .93 from .95."""
RANKING = "ranking"
"""Whether a sentence fits a picture better than the same with one fact changed: of its own scene (ceiling), and of
another one (floor), of which neither is true."""


@dataclass(frozen=True)
class Calibration:
    """Trust in every kind of fact, in pictures as a whole and in each group of prompts.

    ``spoilt`` is the share of things that were still taken for one, for every way to spoil them.
    """

    trust: dict[str, Trust]
    spoilt: dict[str, tuple[float, int]]  # and of how many
    scenes: int


Said = dict[str, dict[str, list[bool]]]  # kind of fact -> ceiling, floor or foil -> answers


def calibrate(
    judge: Judge, data: Built, count: int = 1000, report: Callable[[int, int], None] = lambda done, of: None
) -> Calibration:
    """Measures the judge on about ``count`` scenes of the stream kept for it."""
    said, resized = _nothing_said(), _nothing_said()
    fooled: dict[str, list[bool]] = defaultdict(list)
    composer = data.composer()
    pairs = list(described("held-out", RUN, data.stock, count / 500, more=[WORDS]))
    report(0, len(pairs))
    for start in range(0, len(pairs), BATCH):
        lot = pairs[start : start + BATCH]
        scenes = [scene for _, scene in lot]
        pixels = composer.render(scenes).pixels
        sights = judge.look(pixels)
        _rank(said[RANKING], judge, lot, sights)
        _ask_all(said, [row for row, _ in lot], sights)
        for way, answer in _spoilings(judge, scenes, sights, pixels, composer):
            fooled[way].append(answer)
        tried = (pair for i, pair in enumerate(lot) if i % 3 == 0 or _binds(pair[0]))
        farther = ((row, from_afar(scene, TRIED, Random(f"{scene.seed}/sizes"))) for row, scene in tried)
        others = [(row, scene) for row, scene in farther if scene is not None]
        if others:
            sights = judge.look(composer.render([scene for _, scene in others]).pixels)
            _ask_all(resized, [row for row, _ in others], sights)
        report(start + len(lot), len(pairs))
    trust = {kind: _trust(rows) for kind, rows in said.items()}
    trust |= {OTHER_SIZES + kind: _trust(rows) for kind, rows in resized.items() if not kind.startswith(GROUP)}
    return Calibration(trust, {way: (_share(found), len(found)) for way, found in fooled.items()}, len(pairs))


def _binds(row: PromptRow) -> bool:
    """Whether it is asked which of several things has which colour."""
    return sum(wanted.colour is not None for wanted in row.expected.objects) > 1


def _nothing_said() -> Said:
    return defaultdict(lambda: defaultdict(list))


def _trust(rows: dict[str, list[bool]]) -> Trust:
    foil = _share(rows["foil"]) if rows["foil"] else None
    return Trust(_share(rows["ceiling"]), _share(rows["floor"]), foil, len(rows["ceiling"]), len(rows["foil"]))


def _ask_all(said: Said, rows: Sequence[PromptRow], sights: Sequence[Sight]) -> None:
    """Notes what the judge says of scenes; the floor is asked of the scene before (for the first of them, the last)."""
    for i, row in enumerate(rows):
        _ask(said, row, sights[i], sights[i - 1] if len(rows) > 1 else None)


def _ask(said: Said, row: PromptRow, sight: Sight, elsewhere: Sight | None) -> None:
    """Notes what the judge says of a scene, of the scene before it, and of the description's foils."""
    facts = judged(sight, row.expected)
    told = {"ceiling": facts}
    if elsewhere is not None:
        told["floor"] = judged(elsewhere, row.expected)
    for kind in dict.fromkeys(fact.kind for fact in facts):
        for column, given in told.items():
            said[kind][column] += answers(given, kind)
    for whole in (OVERALL, GROUP + row.group):
        for column, given in told.items():
            said[whole][column].append(all_right(given))
    true = {(fact.kind, fact.text) for fact in facts}
    for kind, foil in foils(row.expected):
        given = judged(sight, foil)
        kinds = ("one", "count") if kind == "one" else (kind,)  # one cat, and two that it is not
        changed = [fact for fact in given if fact.kind in kinds and (fact.kind, fact.text) not in true]
        said[kind]["foil"].append(all(fact.answer == "yes" for fact in changed))
        for whole in (OVERALL, GROUP + row.group):
            said[whole]["foil"].append(all_right(given))


def _rank(said: dict[str, list[bool]], judge: Judge, lot: list[tuple[PromptRow, Scene]], sights: list[Sight]) -> None:
    """Notes which of a prompt and its foil fits its own scene, and the one before it, better."""
    for i, (row, _) in enumerate(lot):
        if row.foil:
            (own, foil), (other, other_foil) = judge.fit([sights[i], sights[i - 1]], [row.prompt, row.foil]).tolist()
            said["ceiling"].append(own > foil)
            said["floor"].append(other > other_foil)


def _spoilings(
    judge: Judge, scenes: list[Scene], sights: list[Sight], pixels: Tensor, composer: Composer
) -> Iterator[tuple[str, bool]]:
    """For one thing of each scene that the judge saw: how it was spoilt, and whether the judge still sees it there."""

    def sees(sight: Sight, scene: Scene, which: int) -> bool:
        word, box = core()[scene.objects[which].concept].word, composer.visible_box(scene, scene.objects[which])
        return any(t.words.get(word, 0) >= LIKELY and overlap(t.box, box) > 0.5 for t in sight.things)

    jobs: list[tuple[Scene, int, str]] = []
    worse: list[Tensor] = []
    for i, (scene, sight) in enumerate(zip(scenes, sights, strict=True)):
        random = Random(f"{scene.seed}/spoilt")
        which, way = random.randrange(max(1, len(scene.objects))), random.choice(WAYS)
        if not scene.objects or not sees(sight, scene, which):
            continue
        picture = spoilt(scene, composer, pixels[i], which, way, random)
        if picture is not None:
            jobs.append((scene, which, way))
            worse.append(picture)
    if jobs:
        for (scene, which, way), sight in zip(jobs, judge.look(torch.stack(worse)), strict=True):
            yield way, sees(sight, scene, which)


def _share(answers: list[bool]) -> float:
    return sum(answers) / max(1, len(answers))
