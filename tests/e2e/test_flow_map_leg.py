"""A flow map from end to end: made of a model, trained, gone on with, packed, and drawn with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from toys import sprite_table

from darkroom.contracts.card import Defaults
from darkroom.contracts.errors import BadInput
from darkroom.data.scenes.spec import ComposerConfig
from darkroom.data.stock import tables
from darkroom.data.stock.built import DRAWINGS
from darkroom.door import DrawingModel
from darkroom.model import load
from darkroom.nn.dit import DenoiserConfig
from darkroom.training import packing
from darkroom.training.handover import fingerprint, hand_over, leg_of, weights_of
from darkroom.training.legs.flowmap import flow_map_leg
from darkroom.training.legs.place import Place
from darkroom.training.loop import TrainConfig, Trainer
from darkroom.training.objectives.flowmap import GUIDANCE
from darkroom.wording.vocabulary import everyday
from tests.tiny import saved, tiny_model

STEPS, BATCH = 3, 4


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder, which holds all that a leg begins with."""
    return saved(tiny_model(), tmp_path_factory.mktemp("start"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    words = tuple(concept.word for concept in everyday()[:20])
    drawings = sprite_table(tuple(ComposerConfig().styles), words=words)
    tables.save(drawings.sprites, drawings.pixels, folder, DRAWINGS)
    return folder


def trainer(data: Path, out: Path, start: Path, teacher: Path | None = None, codec: Path | None = None) -> Trainer:
    return flow_map_leg(
        Place(data, out, torch.device("cpu")),
        TrainConfig(STEPS * BATCH, BATCH, log_steps=1),
        autoencoder=codec or start,
        start=start,
        teacher=teacher,
        scenes=ComposerConfig(),
        run=0,
        compiled=False,
    )


def trained(leg: Trainer) -> Path:
    leg.run(lambda report: None, pytest.fail)
    assert leg.step == STEPS and leg.skipped == 0
    return hand_over(leg)


@pytest.fixture(scope="module")
def made(data: Path, start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hand-over of a leg."""
    leg = trainer(data, tmp_path_factory.mktemp("run"), start)
    began = weights_of(start, "denoiser")
    for name, tensor in began.items():  # all that the denoiser knew
        assert torch.equal(leg.masters.masters[f"denoiser.{name}"], tensor), name
    fresh = {name for name in leg.masters.masters if name.removeprefix("denoiser.") not in began}
    assert fresh and all(name.startswith("denoiser.guidance.") for name in fresh)
    return trained(leg)


def test_it_hands_over_a_denoiser_and_the_text_encoder_as_it_was(made: Path, start: Path) -> None:
    leg = leg_of(made)
    assert leg["name"] == "flow-map" and tuple(leg["networks"]["denoiser"]["flow_map"]) == GUIDANCE
    assert fingerprint(weights_of(made, "text")) == fingerprint(weights_of(start, "text")) == leg["origin"]["text"]
    assert leg["origin"]["teacher"] == leg["origin"]["denoiser"] == fingerprint(weights_of(start, "denoiser"))
    assert fingerprint(weights_of(made, "denoiser")) != leg["origin"]["denoiser"]


def test_a_packed_flow_map_draws_in_few_steps_by_itself(
    made: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "CAPTIONS", 20)  # the words it knows are not what this is about
    model = DrawingModel(load(str(packing.pack(start, made, tmp_path / "model", "quick", None))))
    defaults = model.model.card.defaults
    assert (defaults.steps, defaults.sampler, defaults.guidance) == (4, "flow-map", 3.5)
    image = model.generate("a red fox", seed=1, width=64, height=64)
    assert (image.recipe.steps, image.recipe.sampler) == (4, "flow-map") and image.pixels.std() > 0
    assert np.array_equal(image.pixels, model.generate("a red fox", seed=1, width=64, height=64).pixels)
    with pytest.raises(BadInput, match="is all this flow map was taught"):
        model.generate("a red fox", guidance=9.0)


def test_a_cards_defaults_are_made_to_fit_the_denoiser() -> None:
    """A plain denoiser packed with the card of a flow map would be refused its own sampler at every picture."""
    slow = Defaults(width=96, height=64, steps=20, sampler="heun", guidance=3.0)
    quick = slow.model_copy(update={"steps": 4, "sampler": "flow-map"})
    plain, flow_map = DenoiserConfig(), DenoiserConfig(flow_map=GUIDANCE)
    assert packing.fitting(slow, plain) == slow and packing.fitting(quick, flow_map) == quick
    assert packing.fitting(slow, flow_map) == quick
    assert packing.fitting(quick, plain) == slow.model_copy(update={"steps": 12, "sampler": "dpmpp-2m"})


def test_it_resumes_and_goes_on_with_the_same_teacher_only(made: Path, data: Path, start: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is a flow map, and nothing to learn one from; give the denoiser it was made"):
        trainer(data, tmp_path / "next", made, codec=start)
    again = trainer(data, tmp_path / "next", made, teacher=start, codec=start)
    handed = weights_of(made, "denoiser")
    assert all(torch.equal(again.masters.masters[f"denoiser.{name}"], tensor) for name, tensor in handed.items())
    trained(again)
    assert trainer(data, tmp_path / "next", made, teacher=start, codec=start).resume(pytest.fail)
    other = saved(tiny_model(seed=5), tmp_path / "other")
    with pytest.raises(RuntimeError, match="teacher"):
        trainer(data, tmp_path / "next", made, teacher=other, codec=start)
