"""Many scenes and captions at once, drawn in an interpreter of their own.

The suite checks the types of every call, which makes a draw thirty times slower; and scenes that come from another
process also prove that they depend on nothing but their seed and config.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import dataclass, field

from darkroom.data.scenes.spec import ComposerConfig, Scene

_WORK = """
import pickle, sys
from darkroom.data.scenes.captions import caption
from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.spec import scene_seed
config, stream, count, captions = pickle.load(sys.stdin.buffer)
scenes = [draw_scene(scene_seed(stream, 0, i), config) for i in range(count)]
said = [[caption(scene, paraphrase=paraphrase) for scene in scenes] for paraphrase in (False, True) if captions]
pickle.dump((scenes, *said), sys.stdout.buffer)
"""


@dataclass(frozen=True)
class Drawn:
    """Scenes with their captions as trained, and as held out."""

    scenes: list[Scene]
    captions: list[str] = field(default_factory=list)
    paraphrases: list[str] = field(default_factory=list)


def drawn(config: ComposerConfig, count: int, stream: str = "train", *, captions: bool = True) -> Drawn:
    """The first scenes of a stream's run 0, with or without their captions."""
    asked = pickle.dumps((config, stream, count, captions))
    done = subprocess.run([sys.executable, "-c", _WORK], input=asked, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return Drawn(*pickle.loads(done.stdout))
