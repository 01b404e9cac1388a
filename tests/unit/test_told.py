"""What a text encoder is taught of a scene: the facts it shows, and of looks only those its caption says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from darkroom.data.loader import SceneBatch, Scenes
from darkroom.data.scenes.captions import Told
from darkroom.nn import text
from darkroom.training.objectives.text import (
    FACT_SIZES,
    TOLD,
    TextObjective,
    TextObjectiveConfig,
    TextTraining,
    facts_of,
)
from darkroom.wording.tokenizer import Tokenizer
from tests.wardrobe import everything, full_composer, full_table, index, one


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    table = full_table()
    config = everything(table.stock)
    return Scenes(full_composer(table, 64), replace(config, kinds=dict.fromkeys(config.kinds, 1.0)), stream="text")


class OneBatch(Scenes):
    """The same pictures and captions; the facts that are said are given."""

    facts: frozenset[str] = frozenset()

    def __call__(self, first: int, count: int) -> SceneBatch:
        batch = super().__call__(first, count)
        return batch._replace(told=[Told(told.text, self.facts) for told in batch.told])


def objective(scenes: Scenes) -> TextObjective:
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(scenes(0, 32).captions, 512)
    settings = TextObjectiveConfig(network=text.nano(), length=48)
    return TextObjective(TextTraining(settings.network), settings, scenes, tokenizer)


def test_facts_of_every_kind_of_scene_fit_their_heads(scenes: Scenes) -> None:
    names = ("count", "relation", *TOLD)
    for scene in scenes.specs(0, 200):
        facts = facts_of(scene)
        assert all(0 <= facts[name] < size for name, size in zip(names, FACT_SIZES[2:], strict=True)), scene


def test_facts_are_the_scenes_own() -> None:
    facts = facts_of(one("dog", style="halftone", light="neon", camera="wide", motion="slow", quality="noisy"))
    assert facts["concepts"] == {index("dog")} and facts["count"] == 1 and facts["relation"] == 0
    told = {name: TOLD[name][facts[name]] for name in TOLD}
    assert told == {
        "style": "halftone",
        "ground": "white",
        "light": "neon",
        "camera": "wide",
        "motion": "slow",
        "quality": "noisy",
    }
    assert {TOLD[name][facts_of(one())[name]] for name in ("light", "camera", "motion", "quality")} == {None}


def test_a_batch_of_everything_has_a_finite_loss(scenes: Scenes) -> None:
    loss, metrics = objective(scenes).loss(0, 32, torch.Generator().manual_seed(0))
    assert loss.isfinite() and all(pair.isfinite().all() for pair in metrics.values())


def test_only_what_a_caption_says_is_asked_of_it(scenes: Scenes) -> None:
    """Each fact that is said adds its own loss; said by none, its head learns nothing."""
    found = OneBatch(scenes.composer, scenes.config, stream="text")
    work = objective(found)
    losses = {}
    starts = [sum(FACT_SIZES[: 4 + i]) for i in range(len(TOLD))]
    for fact in (None, *TOLD):
        found.facts = frozenset() if fact is None else frozenset({fact})
        work.module.zero_grad()
        loss, _ = work.loss(0, 16, torch.Generator().manual_seed(0))
        loss.backward()
        losses[fact] = float(loss.detach())
        bias = work.module.facts.bias.grad
        assert bias is not None
        learns = {
            name for name, at, size in zip(TOLD, starts, FACT_SIZES[4:], strict=True) if bias[at : at + size].any()
        }
        assert learns == ({fact} if fact else set())
    assert all(losses[fact] > losses[None] for fact in TOLD)
