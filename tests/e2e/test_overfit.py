"""Learning: a nano denoiser, with its text encoder, overfits eight composed pictures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from toys import sprite_table

from darkroom.data.loader import SceneBatch, Scenes
from darkroom.data.scenes.captions import tell
from darkroom.data.scenes.compose import Composed, Composer
from darkroom.data.scenes.spec import ComposerConfig, Scene
from darkroom.nn import autoencoder, text
from darkroom.nn.dit import sized
from darkroom.training.loop import TrainConfig, Trainer
from darkroom.training.objectives.diffusion import (
    DiffusionObjective,
    DiffusionObjectiveConfig,
    DiffusionTraining,
    Teaching,
)
from darkroom.training.optim import OptimConfig
from darkroom.wording.tokenizer import Tokenizer

PICTURES = 8
STEPS = 300
FACTOR = 10  # the loss must fall by: from 2 (the noise's variance and the pictures' own) to below .2; it reaches .11


class SameScenes(Scenes):
    """The same eight scenes whatever the sample number, repeated to fill the batch."""

    mixed_up = False  # every picture with the caption of the next one

    def __call__(self, first: int, count: int) -> SceneBatch:
        scenes = self.scenes()
        told = [tell(scene) for scene in (scenes[1:] + scenes[:1] if self.mixed_up else scenes)]
        times = count // PICTURES
        composed = Composed(*(part.repeat(times, *[1] * (part.ndim - 1)) for part in self.pictures()))
        return SceneBatch(scenes * times, told * times, composed)

    def scenes(self) -> list[Scene]:
        return super().__call__(0, PICTURES).scenes

    @cache  # noqa: B019 - one set of pictures in one test
    def pictures(self) -> Composed:
        return self.composer.render(self.scenes())


def objective_of_eight() -> DiffusionObjective:
    table = sprite_table(("3d", "flat"))
    config = ComposerConfig(styles={"3d": 0.5, "flat": 0.5}, stock=table.stock)
    scenes = SameScenes(Composer(table), config)
    tokenizer = Tokenizer.train(scenes(0, PICTURES).captions * 3, 512)
    torch.manual_seed(0)
    codec = autoencoder.Autoencoder(autoencoder.nano())
    with torch.no_grad():  # random weights give latents too; they only need their statistics
        raw = codec.encoder(scenes(0, PICTURES).composed.pixels)
        codec.shift.copy_(raw.mean((0, 2, 3)))
        codec.scale.copy_(raw.std((0, 2, 3)))
    network, words = sized("nano", 4), text.nano()
    settings = DiffusionObjectiveConfig(network=network, text=words, length=28, caption_drop=0.0)
    module = DiffusionTraining(network, words)
    return DiffusionObjective(module, settings, Teaching(scenes, tokenizer, settings.length), codec, total=STEPS * 32)


def losses(objective: DiffusionObjective) -> dict[str, float]:
    """Means over the eight pictures at 16 fixed times and noises each."""
    with torch.no_grad():
        metrics = objective.loss(10**9, 16 * PICTURES, torch.Generator().manual_seed(123))[1]
    return {name: (pair[0] / pair[1]).item() for name, pair in metrics.items()}


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_it_overfits_eight_pictures(tmp_path: Path) -> None:
    objective = objective_of_eight()
    optim = OptimConfig(rate=4e-3, warmup_steps=30, decay_share=0.5)
    trainer = Trainer(objective, TrainConfig(STEPS * 32, 32, optim=optim, checkpoint_minutes=1e6), tmp_path)
    before, start = losses(objective), time.process_time()
    trainer.run(lambda report: None, pytest.fail)
    seconds, after = time.process_time() - start, losses(objective)
    assert 1.8 < before["flow"] < 2.2  # an untrained denoiser says zero: what is left is the target's own variance
    assert after["flow"] < before["flow"] / FACTOR
    assert seconds < 180  # of processor time: other jobs do not count, a slow machine does

    # Where nothing but noise is seen only the caption can say which picture: the mean of all would leave about .9.
    assert after["t 0.95-1"] < 0.2
    objective.teaching.pictures.mixed_up = True  # type: ignore[attr-defined]
    assert losses(objective)["t 0.95-1"] > 5 * after["t 0.95-1"]

    trainer.masters.publish(trainer.ema.average)  # what would be handed over has learned it too
    objective.teaching.pictures.mixed_up = False  # type: ignore[attr-defined]
    assert losses(objective)["flow"] < before["flow"] / FACTOR
