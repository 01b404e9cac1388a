"""What a request names and does not hold: pictures to start from, masks, folders of wildcards."""

from __future__ import annotations

import hashlib
import os
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.contracts.errors import BadInput, shown
from darkroom.contracts.recipe import PictureFile, Recipe
from darkroom.picture.read import read

_LONGEST = 200  # characters of a name that a recipe keeps


class Inputs:
    """Pictures by the names that requests have for them, and by what recipes say of them.

    A name is that of a file, or one that :meth:`put` gave. Files are read when they are asked for, and again when they
    are drawn from: thousands of requests hold no pixels. ``wildcards`` is a folder, ``styles`` the file of saved
    styles; None: there are none.
    """

    def __init__(self, wildcards: Path | None = None, styles: Path | None = None) -> None:
        self.wildcards, self.styles = wildcards, styles
        self._put: dict[str, np.ndarray] = {}
        self._found: dict[str, PictureFile] = {}
        self._sources: dict[str, str] = {}  # by the hash of the pixels

    def put(self, pixels: np.ndarray, name: str = "picture") -> str:
        """Takes pixels, uint8 sRGB (height, width, 3 or 4) or grey (height, width), and gives the name that requests
        have for them."""
        array = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.size > 0
        if not array or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,), (4,)):
            what = f"{pixels.dtype} {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
            raise BadInput(f"a picture of {what}", "is not a uint8 array (height, width, 3)", "convert it first")
        if pixels.ndim == 2:
            pixels = np.stack([pixels] * 3, -1)
        self._put[name := f"{name} {fingerprint(pixels)[:12]}"] = pixels
        return name

    def found(self, name: str) -> PictureFile:
        """What a recipe says of the picture of this name. Raises BadInput or BadFile where there is none to read."""
        if name in self._found:
            return self._found[name]
        pixels = self._read(name)
        sha256 = fingerprint(pixels)
        self._sources[sha256] = name
        height, width = pixels.shape[:2]
        plain = "".join("?" if letter in "/\\" or not letter.isprintable() else letter for letter in Path(name).name)
        file = PictureFile(name=plain[-_LONGEST:] or "picture", sha256=sha256, width=width, height=height)
        self._found[name] = file
        return file

    def pixels(self, file: PictureFile) -> np.ndarray:
        """The pixels that a recipe names. Raises BadInput where they were not brought along, or are others by now."""
        name = self._sources.get(file.sha256)
        if name is None:
            rule = f"of {file.width}x{file.height} pixels is part of this recipe and was not given"
            raise BadInput(f"the picture {shown(file.name)}", rule, "give the file it was drawn from")
        pixels = self._read(name)
        if fingerprint(pixels) != file.sha256:
            raise BadInput(f"the picture {shown(name)}", "has changed since it was named", "draw again")
        return pixels

    def looked_for(self, recipe: Recipe, folder: Path, given: dict[str, str]) -> None:
        """Finds what a recipe names: under the names given for its fields, or in the folder of the picture it is in.

        Raises BadInput, with the reason, for what is not there or is another picture.
        """
        for field in ("init_image", "mask"):
            file: PictureFile | None = getattr(recipe, field)
            what, flag = field.replace("_", " "), "--" + field.replace("_", "-")
            if file is None:
                if field in given:
                    raise BadInput(f"{flag} {shown(given[field])}", "is no part of this recipe", "leave it out")
                continue
            name = given.get(field, str(folder / file.name))
            if field not in given and not os.path.isfile(name):
                rule = f"of this recipe, {file.width}x{file.height}, is not in {folder}"
                raise BadInput(f"the {what} {shown(file.name)}", rule, f"say where it is with {flag}")
            if self.found(name).sha256 != file.sha256:
                raise BadInput(name, f"is not the {what} of this recipe", f"give the one it was drawn from with {flag}")

    def _read(self, name: str) -> np.ndarray:
        return self._put[name] if name in self._put else read(name)


def fingerprint(pixels: np.ndarray) -> str:
    """SHA-256 over pixels and their shape."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def named(inputs: Inputs, source: Any) -> str:
    """The name under which a request has a picture: a path, pixels, or anything that numpy takes for pixels."""
    if isinstance(source, str | PathLike):
        return fspath(source)
    return inputs.put(np.asarray(getattr(source, "pixels", source)))
