"""What a denoiser's leg is taught on: scenes composed on the spot, or a folder's own pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from darkroom.data.imported import ImportedPictures, holds_pictures, imported
from darkroom.data.loader import Scenes
from darkroom.data.scenes.spec import ComposerConfig
from darkroom.training.legs.begin import LONG, data_of
from darkroom.training.legs.place import Place
from darkroom.training.objectives.latents import Pictures, Teaching
from darkroom.training.objectives.text import WORDS
from darkroom.wording.tokenizer import Tokenizer

SHORT = 28  # tokens captions of plain scenes are padded to


def lessons(place: Place, scenes: ComposerConfig, run: int, text: Path, dtype: str) -> Teaching:
    """Captioned pictures, read with the tokenizer of the hand-over ``text``; ``run`` numbers the scenes.

    Where the data are a folder's own pictures, they stand for the scenes.
    """
    tokenizer = Tokenizer.from_json((text / WORDS).read_text(encoding="utf-8"))
    pictures: Pictures
    if holds_pictures(place.data):
        pictures, length = ImportedPictures(imported(place.data), run), LONG
    else:
        data = data_of(place).restricted(scenes)
        scenes = replace(scenes, stock=data.stock)  # a drawing the data lacks must not end the run hours later
        pictures = Scenes(data.composer(), scenes, run)
        length = SHORT if scenes.place_share == 0 else LONG
    return Teaching(pictures, tokenizer, length, getattr(torch, dtype))
