"""What a score is read against: real scenes seen through the model's own autoencoder, and a model that only copies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from darkroom.data.loader import Scenes
from darkroom.data.scenes.captions import caption
from darkroom.data.scenes.spec import Scene
from darkroom.data.stock.built import Built
from darkroom.evaluation.accuracy import Outcome, outcome
from darkroom.evaluation.calibration import BATCH, RUN
from darkroom.evaluation.prompts import PromptRow, described
from darkroom.judge.judge import Judge
from darkroom.latent.codec import AutoencoderCodec

RECONSTRUCTED = 0.5  # scenes for each prompt of a set
COPIED = 20_000  # training scenes to copy from


@torch.no_grad()
def reconstructions(codec: AutoencoderCodec, judge: Judge, data: Built) -> list[Outcome]:
    """Real held-out scenes, encoded and decoded again: no model with this autoencoder can do better."""
    network = codec.network
    dtype = next(network.parameters()).dtype
    composer = data.composer()
    found: list[Outcome] = []
    pairs = list(described("held-out", RUN, data.stock, RECONSTRUCTED))
    for start in range(0, len(pairs), BATCH):
        lot = pairs[start : start + BATCH]
        pixels = composer.render([scene for _, scene in lot]).pixels.to(dtype, memory_format=torch.channels_last)
        again = network.decode(network.encode(pixels)).float().clamp(0, 1)
        found += _outcomes(judge, [row for row, _ in lot], again)
    return found


def copies(judge: Judge, rows: Sequence[PromptRow], data: Built) -> list[Outcome]:
    """For each prompt the training scene whose caption is nearest: what a model scores that only remembers.

    Nearest by the words that both have over those that either has.
    """
    composer = data.composer()
    scenes = Scenes(composer, data.everything()).specs(0, COPIED)
    nearest = _nearest([row.prompt for row in rows], scenes)
    found: list[Outcome] = []
    for start in range(0, len(rows), BATCH):
        pixels = composer.render([scenes[i] for i in nearest[start : start + BATCH]]).pixels
        found += _outcomes(judge, rows[start : start + BATCH], pixels)
    return found


def _outcomes(judge: Judge, rows: Sequence[PromptRow], pixels: Tensor) -> Iterable[Outcome]:
    for row, sight in zip(rows, judge.look(pixels), strict=True):
        yield outcome(judge, sight, row)


def _nearest(prompts: Sequence[str], scenes: Sequence[Scene]) -> list[int]:
    """The number of the scene nearest to each prompt."""
    captions = [_words(caption(scene)) for scene in scenes]
    asked = [_words(prompt) for prompt in prompts]
    column = {word: i for i, word in enumerate(sorted(set().union(*captions, *asked)))}

    def table(texts: Sequence[frozenset[str]]) -> Tensor:
        found = torch.zeros(len(texts), len(column))
        for row, words in enumerate(texts):
            found[row, [column[word] for word in words]] = 1
        return found

    said, wanted = table(captions), table(asked)
    both = wanted @ said.T
    return (both / (wanted.sum(1)[:, None] + said.sum(1)[None, :] - both)).argmax(1).tolist()


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))
