"""Where synthesis begins: a picture of the user's, as a latent."""

from __future__ import annotations

import torch

from darkroom.contracts.recipe import Recipe
from darkroom.control.canvas import Canvas
from darkroom.protocols import LatentCodec, Start, Task


def begin(canvas: Canvas | None, recipe: Recipe, codec: LatentCodec) -> Task[Start | None]:
    """The latent of a canvas, and the cells of it that are drawn; None: there is no canvas, and noise is the start."""
    if canvas is None:
        return None
    assert recipe.strength is not None  # of whatever begins with a picture
    pixels = torch.tensor(canvas.scaled(*recipe.drawn)).permute(2, 0, 1).float() / 255
    latent = yield from codec.encode(pixels)
    touched = canvas.touched(latent.shape[2], latent.shape[1])
    drawn = None if touched is None else torch.tensor(touched)[None]
    return Start(latent, recipe.strength, drawn)
