"""Scenes with a reference picture each: another one of the same subject, or in the same style.

Nothing of the reference is where it is in the scene: its ground, light, place and size are those of another seed, and
so are the style of a subject and the things of a style. Who learns from such pairs cannot copy pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from random import Random
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor

from darkroom.contracts.steering import KEEPS, Keep
from darkroom.data.loader import SceneBatch, Scenes
from darkroom.data.scenes.captions import caption, phrased, tell
from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.spec import USUAL, ComposerConfig, Scene, SpecObject, scene_seed
from darkroom.data.split import style_trained
from darkroom.wording.vocabulary import core

SUBJECTS = frozenset({"single", "pair", "depth", "wearing"})  # kinds of scene in which one thing is named first
STYLES = SUBJECTS | {"count"}
SUBJECT_SHARE = 0.6  # of the scenes that have one: there are more subjects than styles
NAMED_SHARE = 0.25  # of the captions that say it all the same
CALLED = ("this", "this", "a thing", "a thing", "something")
"""Where they do not. The last is rare: a base that never heard it takes it for a word of its own (a dolphin)."""


class Referred(NamedTuple):
    """Scenes with their references: captions, most of which do not say what is kept; pictures; and in words what is
    kept of each, and its number among KEEPS."""

    scenes: SceneBatch
    captions: list[str]
    references: Float[Tensor, "batch 3 side side"]
    said: list[str]
    keeps: list[int]


class References:
    """Scenes by sample number, each with a reference."""

    def __init__(self, scenes: Scenes) -> None:
        kinds = {kind: share for kind, share in scenes.config.kinds.items() if kind in STYLES and share}
        config = replace(scenes.config, kinds=kinds or {"single": 1.0})
        self.scenes = Scenes(scenes.composer, config, scenes.run, scenes.stream)

    @cached_property
    def _alone(self) -> ComposerConfig:
        """What references are drawn from: one thing, nothing done to it."""
        return replace(self.scenes.config, kinds={"single": 1.0}, quality_share=0.0, camera_share=0.0)

    @cached_property
    def _in_style(self) -> Mapping[str, ComposerConfig]:
        config = self._alone
        return {style: replace(config, styles={style: 1.0}, medium_share=0.0) for style in config.styles}

    def settings(self) -> dict[str, Any]:
        """What decides the scenes of a run, for its saved configuration."""
        return self.scenes.settings()

    def defaults(self) -> dict[str, Any]:
        """Defaults of those settings."""
        return self.scenes.defaults()

    def kept(self, scene: Scene) -> Keep:
        """What of a scene its reference shows."""
        subject = scene.kind in SUBJECTS and Random(f"{scene.seed}/kept").random() < SUBJECT_SHARE
        return "subject" if subject else "style"

    def reference(self, scene: Scene, index: int) -> Scene:
        """The scene of another seed that has the same subject, or the same style."""
        seed = scene_seed("reference", self.scenes.run, index)
        if self.kept(scene) == "style":
            other = draw_scene(seed, self._in_style[scene.drawings])
            return other if scene.drawn is None else replace(other, style=scene.style, drawn=scene.drawn)
        config, thing = self.scenes.config, named_first(scene)
        other = draw_scene(seed, self._alone)
        style = other.drawings
        seen = config.every_drawing or style_trained(core()[thing.concept].word, style)
        if not seen or not config.stock.drawn(thing.concept, style):
            other, style = replace(other, style=scene.style, drawn=scene.drawn), scene.drawings
        person = thing.person if style == scene.drawings else USUAL
        placed = replace(other.objects[0], concept=thing.concept, colour=thing.colour, person=person)
        return replace(other, objects=(placed,), motion=None)

    def __call__(self, first: int, count: int) -> Referred:
        """Samples first .. first + count - 1."""
        scenes = self.scenes.specs(first, count)
        others = [self.reference(scene, first + i) for i, scene in enumerate(scenes)]
        composed = self.scenes.composer.render(scenes)
        batch = SceneBatch(scenes, [tell(scene) for scene in scenes], composed)
        seen = self.scenes.composer.render(others).pixels
        keeps = [self.kept(scene) for scene in scenes]
        pairs = list(zip(scenes, keeps, strict=True))
        captions = [untold(scene, keep) for scene, keep in pairs]
        return Referred(batch, captions, seen, [in_words(*pair) for pair in pairs], [KEEPS.index(k) for k in keeps])


def named_first(scene: Scene) -> SpecObject:
    """The subject of a scene."""
    return scene.objects[scene.named[0]]


def untold(scene: Scene, keep: Keep, share: float = NAMED_SHARE) -> str:
    """A caption that does not say what is kept of its reference, but in a ``share`` of the scenes."""
    random = Random(f"{scene.seed}/untold")
    if random.random() < share:
        return caption(scene)
    if keep == "style":
        return tell(scene, unsaid=frozenset({"style"})).text
    return tell(scene, called=random.choice(CALLED)).text


def in_words(scene: Scene, keep: Keep) -> str:
    """What is kept of a scene, in the words of captions."""
    if keep == "style":
        return scene.style
    thing = named_first(scene)
    return phrased(thing, core()[thing.concept].word)
