"""What ``darkroom data inspect`` shows: what training would see."""

from __future__ import annotations

from pathlib import Path

from darkroom.contracts.errors import BadInput
from darkroom.data.imported import ImportedPictures, holds_pictures, imported
from darkroom.data.loader import Scenes
from darkroom.data.scenes.spec import ComposerConfig
from darkroom.data.stock import built
from darkroom.picture.sheet import contact_sheet
from darkroom.picture.write import write

MOST = 400  # pictures of a sheet


def scene_sheet(data: Path, out: Path, count: int, seed: int, *, full: bool = True) -> Path:
    """A sheet of random training scenes, or of a folder's own pictures, with their captions.

    ``full`` scenes are of all that the composer can do, others plain, as `train diffusion` takes them.
    """
    if not 1 <= count <= MOST:
        raise BadInput(f"count {count}", f"is not from 1 to {MOST}", "give a number in between")
    source: Scenes | ImportedPictures
    if holds_pictures(data):
        source = ImportedPictures(imported(data), seed)
    else:
        found = built.load(data)
        scenes = found.everything() if full else ComposerConfig(stock=found.restricted(ComposerConfig()).stock)
        source = Scenes(found.composer(), scenes, seed, stream="preview")
    batch = source(0, count)
    pictures = [(p * 255).round().byte().permute(1, 2, 0).numpy() for p in batch.composed.pixels]
    return write(contact_sheet(pictures, batch.captions, columns=8), out)
