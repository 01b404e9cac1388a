"""What a request names and does not hold: pictures to start from, masks, folders of wildcards."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.contracts.errors import BadInput, shown
from darkroom.contracts.recipe import Recipe
from darkroom.contracts.refinement import Chain, Lut, Match, PictureFile, TableFile
from darkroom.contracts.steering import control, image_prompt
from darkroom.picture.containers import load
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
        file = picture_file(name, self._read(name))
        self._sources[file.sha256] = name
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

    def steps(self, asked: Chain) -> Chain:
        """Steps with what a recipe says of the files they name. Raises BadInput or BadFile where there is none."""
        found: list[Any] = []
        for step in asked:
            if isinstance(step, Match) and isinstance(step.file, str):
                step = step.model_copy(update={"file": self.found(step.file)})
            elif isinstance(step, Lut) and isinstance(step.file, str):
                step = step.model_copy(update={"file": self.found_table(step.file)})
            found.append(step)
        return tuple(found)

    def found_table(self, name: str) -> TableFile:
        """What a recipe says of the file of this name. Raises BadFile where there is none to read."""
        file = TableFile(name=bare(name, "table"), sha256=hashlib.sha256(load(name)[0]).hexdigest())
        self._sources[file.sha256] = name
        return file

    def table(self, file: TableFile) -> bytes:
        """The bytes of a file that a recipe names. Raises BadInput where it was not brought along or has changed."""
        name = self._sources.get(file.sha256)
        if name is None:
            rule = "is part of this recipe and was not given"
            raise BadInput(f"the file {shown(file.name)}", rule, "put it beside the picture, or give its folder")
        data, _ = load(name)
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise BadInput(f"the file {shown(name)}", "has changed since it was named", "refine again")
        return data

    def looked_for(self, recipe: Recipe, folder: Path, given: Mapping[str, Any]) -> None:
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
        maps = [control(text)["map"] for text in given.get("control", [])]
        self._looked_for_all("control map", "--control NETWORK=MAP", [use.map for use in recipe.controls], maps, folder)
        seen = [image_prompt(text)["file"] for text in given.get("image_prompt", [])]
        wanted = [use.picture for use in recipe.image_prompts]
        strangers = [name for name in seen if self.found(name).sha256 not in {file.sha256 for file in wanted}]
        if strangers:
            raise BadInput(f"--image-prompt {shown(strangers[0])}", "is no part of this recipe", "leave it out")
        self._looked_for_all("reference picture", "--image-prompt PICTURE", wanted, seen, folder)
        self.looked_for_steps(recipe.refine, folder)

    def _looked_for_all(
        self, what: str, flag: str, wanted: Sequence[PictureFile], given: Sequence[str], folder: Path
    ) -> None:
        """Finds pictures of a recipe: among those given, or in a folder. Raises BadInput as above."""
        known = {self.found(name).sha256 for name in given}
        for file in wanted:
            if file.sha256 in known:
                continue
            name = str(folder / file.name)
            if not os.path.isfile(name):
                rule = f"of this recipe, {file.width}x{file.height}, is not in {folder}"
                fix = f"say where it is: {flag}, or --files FOLDER"
                raise BadInput(f"the {what} {shown(file.name)}", rule, fix)
            if self.found(name).sha256 != file.sha256:
                raise BadInput(name, f"is not the {what} of this recipe", "give the one it was drawn from")

    def looked_for_steps(self, steps: Chain, folder: Path) -> None:
        """Finds the files that steps tell of in a folder. Raises BadInput, with the reason, as :meth:`looked_for`."""
        for step in steps:
            if not isinstance(step, Lut | Match) or isinstance(step.file, str) or step.file.sha256 in self._sources:
                continue
            name = str(folder / step.file.name)
            if not os.path.isfile(name):
                rule = f"of the step {step.step} of this recipe, is not in {folder}"
                raise BadInput(f"the file {shown(step.file.name)},", rule, "say where it is with --files FOLDER")
            found = self.found(name) if isinstance(step, Match) else self.found_table(name)
            if found.sha256 != step.file.sha256:
                fix = "give the folder of the right one with --files"
                raise BadInput(name, f"is not the file of the step {step.step} of this recipe", fix)

    def _read(self, name: str) -> np.ndarray:
        return self._put[name] if name in self._put else read(name)


def bare(name: str, otherwise: str) -> str:
    """A file's name as a recipe keeps it: without its folder."""
    plain = "".join("?" if letter in "/\\" or not letter.isprintable() else letter for letter in Path(name).name)
    return plain[-_LONGEST:] or otherwise


def picture_file(name: str, pixels: np.ndarray) -> PictureFile:
    """What a recipe says of a picture of that name, (height, width, channels) uint8."""
    height, width = pixels.shape[:2]
    return PictureFile(name=bare(name, "picture"), sha256=fingerprint(pixels), width=width, height=height)


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
