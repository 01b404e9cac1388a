"""What the model is asked for while it is tuned: sentences of scenes on a stream of their own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import Any, NamedTuple

from darkroom.data.scenes.captions import tell
from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.spec import ComposerConfig, scene_seed
from darkroom.judge.asked import asked
from darkroom.judge.expect import Expectation

STREAM = "preference"  # neither that of training nor those of the sets that models are measured with


class Asked(NamedTuple):
    """A sentence, and what a judge can check of it."""

    text: str
    expected: Expectation


@dataclass(frozen=True)
class Sentences:
    """Captions of scenes by number. Those in ``taken`` are left out: models are measured with them."""

    config: ComposerConfig
    run: int = 0
    taken: Collection[str] = ()

    def __call__(self, first: int, count: int) -> list[Asked]:
        """What is asked for by scenes first .. first + count - 1; of some nothing is, and they are left out."""
        texts = [
            tell(draw_scene(scene_seed(STREAM, self.run, n), self.config)).text for n in range(first, first + count)
        ]
        found = [Asked(text, asked(text)) for text in texts if text not in self.taken]
        return [one for one in found if one.expected != Expectation() and not one.expected.unknown]

    def settings(self) -> dict[str, Any]:
        """What decides the sentences of a run, for its saved configuration."""
        config = {f.name: getattr(self.config, f.name) for f in fields(self.config) if f.name != "stock"}
        taken = sha256("\n".join(sorted(self.taken)).encode()).hexdigest()
        return {"stream": STREAM, "run": self.run, "taken": taken, **config}
