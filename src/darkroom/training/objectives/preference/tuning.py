"""What the ways of preference tuning share: the branches, the model they began beside, and how far they may drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from darkroom.contracts.card import Defaults
from darkroom.nn.config import defaults_of
from darkroom.nn.dit import Denoiser, DenoiserConfig
from darkroom.nn.text import TextConfig
from darkroom.picture.write import write
from darkroom.training.objective import Objective, Parts
from darkroom.training.objectives.latents import SHOWN, drawn_sheet
from darkroom.training.objectives.preference.asking import Sentences
from darkroom.training.objectives.preference.steps import Artist, Said, Tuned, velocity
from darkroom.training.objectives.text import WORDS

PREFERENCE = "preference"  # the hand-over's file
Method = Literal["dpo", "policy"]


@dataclass(frozen=True)
class TuningConfig:
    """What decides a run. Its names of networks and judges are fingerprints."""

    method: Method = "dpo"
    network: DenoiserConfig = field(default_factory=DenoiserConfig)
    text: TextConfig = field(default_factory=TextConfig)
    length: int = 32  # tokens a sentence is padded to
    reward: str = ""  # the judge whose verdicts are learnt from
    rank: int = 16
    beta: float = 2000.0  # how strongly it is held to the model it began as
    drift: float = 0.1  # how far it may go from it, see :meth:`Tuning.drifted`
    sentences: int = 1000  # drawn for pairs in all; of the policy gradient in each round
    each: int = 4  # pictures of a sentence
    steps: int = 8  # of a picture
    eta: float = 0.0  # share of the noise that a step draws anew
    guidance: float = 3.5


class Tuning(Objective):
    """Branches learned beside a denoiser from what a judge says of what it draws."""

    def __init__(
        self,
        module: Tuned,
        start: Denoiser,
        settings: TuningConfig,
        artist: Artist,
        sentences: Sentences,
        *,
        beside: Mapping[str, str],
        defaults: Defaults,
    ) -> None:
        """``start`` is the denoiser without branches, ``beside`` fingerprints of the networks that stay, which no
        checkpoint holds; ``defaults`` are how previews are drawn."""
        self.name = f"preference ({settings.method})"
        self.module: Tuned = module
        self.start = start.eval().requires_grad_(False)
        self.settings, self.artist, self.sentences, self.beside = settings, artist, sentences, dict(beside)
        self.drawn_as = defaults.enlarged(1)
        self._over: str | None = None

    def config(self) -> dict[str, Any]:
        told = {"tokenizer": self.artist.tokenizer.sha256, "composer": self.sentences.settings()}
        return {**asdict(self.settings), **told, "beside": self.beside}

    def defaults(self) -> dict[str, Any]:
        return defaults_of(self.settings)

    def parts(self) -> Parts:
        networks = {"denoiser": self.settings.network, "text": self.settings.text}
        return Parts({PREFERENCE: ""}, networks, {WORDS: self.artist.tokenizer.to_json()})

    def over(self) -> str | None:
        return self._over

    def ask(self, x: Tensor, t: Tensor, said: Said) -> Tensor:
        """The velocity with branches."""
        out: Tensor = self.module(x, t, *said)
        return out

    @torch.no_grad()
    def before(self, x: Tensor, t: Tensor, said: Said) -> Tensor:
        """The velocity of the model it began as."""
        return velocity(self.start, x, t, said)

    @torch.no_grad()
    def drifted(self, now: Tensor, before: Tensor) -> Tensor:
        """(distance, 1) for the log: how far velocities lie from those of the model it began as, as a share of their
        length, over a batch. The first step in which that is over the limit is the last."""
        distance = ((now - before).square().sum() / before.square().sum().clamp_min(1e-12)).sqrt()
        if distance > self.settings.drift:
            self._over = (
                f"it has drifted {distance:.3f} from the model it began as, and --drift {self.settings.drift:g} is the "
                "limit"
            )
        return torch.stack([distance, torch.ones_like(distance)])

    def preview(self, path: Path) -> None:
        """What the first sentences look like now."""
        texts = shown(self.sentences)
        artist = self.artist
        networks = (artist.text, artist.autoencoder, self.module.denoiser)
        write(drawn_sheet(texts, artist.tokenizer, *networks, self.drawn_as), path)


def shown(sentences: Sentences) -> Sequence[str]:
    """Those of a preview."""
    return [one.text for one in sentences(0, 4 * SHOWN)][:SHOWN]
