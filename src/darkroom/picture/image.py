"""A finished picture: its pixels and the recipe that made them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darkroom.contracts.errors import shown
from darkroom.contracts.recipe import Recipe
from darkroom.picture.write import encode, write


@dataclass(frozen=True)
class Image:
    """Pixels are (height, width, 3) uint8 sRGB."""

    pixels: np.ndarray
    recipe: Recipe

    def __repr__(self) -> str:
        recipe, (height, width) = self.recipe, self.pixels.shape[:2]
        return f"<picture {width}x{height}, {shown(recipe.prompt.text)}, seed {recipe.seed}>"

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return self.encoded()

    def encoded(self, format: str = "png") -> bytes:
        """The picture as a file's bytes, recipe inside."""
        return encode(self.pixels, self.recipe, format)

    def save(self, path: str | Path) -> Path:
        """Writes the picture, recipe inside; the ending picks the format. Raises CannotWrite and leaves nothing."""
        return write(self.pixels, Path(path), self.recipe)
