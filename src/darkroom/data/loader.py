"""What a training step sees, as a pure function of the sample numbers: nothing to save, nothing to resume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from darkroom.data.scenes.captions import Told, tell
from darkroom.data.scenes.compose import Composed, Composer
from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.spec import ComposerConfig, Scene, scene_seed


class SceneBatch(NamedTuple):
    """Scenes as a model is trained on them: pictures, their captions and the truth about them."""

    scenes: list[Scene]
    told: list[Told]
    composed: Composed

    @property
    def captions(self) -> list[str]:
        """The captions alone."""
        return [told.text for told in self.told]


def joined(batches: Sequence[SceneBatch]) -> SceneBatch:
    """Batches one after the other, as one."""
    if len(batches) == 1:
        return batches[0]
    composed = Composed(*(torch.cat(parts) for parts in zip(*(b.composed for b in batches), strict=True)))
    return SceneBatch([s for b in batches for s in b.scenes], [t for b in batches for t in b.told], composed)


class Scenes:
    """Captioned scenes by sample number."""

    def __init__(self, composer: Composer, config: ComposerConfig, run: int = 0, stream: str = "train") -> None:
        self.composer, self.config, self.run, self.stream = composer, config, run, stream

    def specs(self, first: int, count: int) -> list[Scene]:
        """The specs of samples first .. first + count - 1."""
        return [draw_scene(scene_seed(self.stream, self.run, first + i), self.config) for i in range(count)]

    def __call__(self, first: int, count: int) -> SceneBatch:
        """Samples first .. first + count - 1."""
        scenes = self.specs(first, count)
        return SceneBatch(scenes, [tell(scene) for scene in scenes], self.composer.render(scenes))
