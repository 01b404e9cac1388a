"""What a training step sees, as a pure function of the sample numbers: nothing to save, nothing to resume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import torch
from torch import Tensor

from darkroom.data.scenes.captions import Told, tell
from darkroom.data.scenes.compose import Composed, Composer
from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.spec import ComposerConfig, Scene, scene_seed
from darkroom.nn.config import defaults_of


class SceneBatch(NamedTuple):
    """Scenes as a model is trained on them: pictures, their captions and the truth about them."""

    scenes: list[Scene]
    told: list[Told]
    composed: Composed

    @property
    def captions(self) -> list[str]:
        """The captions alone."""
        return [told.text for told in self.told]


def joined(batches: Sequence[Any]) -> Any:
    """Batches one after the other, as one: tensors and lists end to end, tuples of them field by field."""
    first = batches[0]
    if len(batches) == 1 or first is None:
        return first
    if isinstance(first, Tensor):
        return torch.cat(list(batches))
    if isinstance(first, list):
        return [one for batch in batches for one in batch]
    return type(first)(*(joined(parts) for parts in zip(*batches, strict=True)))


class Scenes:
    """Captioned scenes by sample number."""

    def __init__(self, composer: Composer, config: ComposerConfig, run: int = 0, stream: str = "train") -> None:
        self.composer, self.config, self.run, self.stream = composer, config, run, stream

    def specs(self, first: int, count: int) -> list[Scene]:
        """The specs of samples first .. first + count - 1."""
        return [draw_scene(scene_seed(self.stream, self.run, first + i), self.config) for i in range(count)]

    def settings(self) -> dict[str, Any]:
        """What decides the scenes of a run, for its saved configuration."""
        config = {f.name: getattr(self.config, f.name) for f in fields(self.config) if f.name != "stock"}
        return {"stream": self.stream, "run": self.run, "side": self.composer.side, **config}

    def defaults(self) -> dict[str, Any]:
        """Defaults of those settings, for runs from before one of them existed."""
        return defaults_of(self.config)

    def __call__(self, first: int, count: int) -> SceneBatch:
        """Samples first .. first + count - 1."""
        scenes = self.specs(first, count)
        return SceneBatch(scenes, [tell(scene) for scene in scenes], self.composer.render(scenes))
