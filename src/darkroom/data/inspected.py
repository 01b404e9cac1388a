"""What ``darkroom data inspect`` shows: what training would see."""

from __future__ import annotations

from pathlib import Path

from darkroom.data.imported import ImportedPictures, holds_pictures, imported
from darkroom.data.loader import Scenes
from darkroom.data.stock import built
from darkroom.picture.sheet import contact_sheet
from darkroom.picture.write import write


def scene_sheet(data: Path, out: Path, count: int, seed: int) -> Path:
    """A sheet of random training scenes, or of a folder's own pictures, with their captions."""
    source: Scenes | ImportedPictures
    if holds_pictures(data):
        source = ImportedPictures(imported(data), seed)
    else:
        found = built.load(data)
        source = Scenes(found.composer(), found.everything(), seed, stream="preview")
    batch = source(0, count)
    pictures = [(p * 255).round().byte().permute(1, 2, 0).numpy() for p in batch.composed.pixels]
    return write(contact_sheet(pictures, batch.captions, columns=8), out)
