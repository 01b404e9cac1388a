"""What a training step sees, as a pure function of the sample numbers: nothing to save, nothing to resume."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor

from darkroom.data.captions import caption
from darkroom.data.compose import Composed, Composer
from darkroom.data.spec import ComposerConfig, Scene, draw_scene, scene_seed

PHOTO_SHARE = 0.2


class MixedPictures:
    """Scenes and photos for the autoencoder, which must know every kind of picture the model may draw."""

    def __init__(
        self,
        composer: Composer,
        config: ComposerConfig,
        photos: UInt8[Tensor, "n 3 side side"] | None,
        run: int = 0,
        stream: str = "autoencoder",
    ) -> None:
        self.composer, self.scenes, self.photos, self.run, self.stream = composer, config, photos, run, stream

    def __call__(self, first: int, count: int) -> Tensor:
        """Pictures of samples first .. first + count - 1, (count, 3, side, side) in [0, 1]."""
        seeds = [scene_seed(self.stream, self.run, first + i) for i in range(count)]
        share = PHOTO_SHARE if self.photos is not None else 0.0
        draws = [Random(~seed) for seed in seeds]
        from_photo = [random.random() < share for random in draws]
        pixels = self.composer.render([draw_scene(seed, self.scenes) for seed in seeds]).pixels
        if self.photos is not None and any(from_photo):
            chosen = [random for random, photo in zip(draws, from_photo, strict=True) if photo]
            rows = [random.randrange(len(self.photos)) for random in chosen]
            pixels[torch.tensor(from_photo)] = self.photos[rows].to(pixels.device).float() / 255
        return pixels


class SceneBatch(NamedTuple):
    """Scenes as a model is trained on them: pictures, their captions and the truth about them."""

    scenes: list[Scene]
    captions: list[str]
    composed: Composed


class Scenes:
    """Captioned scenes by sample number."""

    def __init__(self, composer: Composer, config: ComposerConfig, run: int = 0, stream: str = "train") -> None:
        self.composer, self.config, self.run, self.stream = composer, config, run, stream

    def __call__(self, first: int, count: int) -> SceneBatch:
        """Samples first .. first + count - 1."""
        scenes = [draw_scene(scene_seed(self.stream, self.run, first + i), self.config) for i in range(count)]
        return SceneBatch(scenes, [caption(scene) for scene in scenes], self.composer.render(scenes))
