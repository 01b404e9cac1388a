"""The folders of a server's data, and the files in them that a request may name: by bare names, never by paths."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkroom.cards import known_models, store
from darkroom.contracts.errors import BadInput, shown, unknown
from darkroom.contracts.files import publish
from darkroom.contracts.refinement import Lut, Match
from darkroom.contracts.request import Request

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
KNOWN_SHOWN = 200  # names that are looked through for one that is like a wrong one


def default_data() -> Path:
    """Where a server keeps what it has, if nobody says otherwise: among the user's data."""
    return store().parent / "studio"


@dataclass(frozen=True)
class Folders:
    """The folders of a server's data."""

    data: Path

    @property
    def jobs(self) -> Path:
        """The file of the jobs and the gallery."""
        return self.data / "jobs.sqlite3"

    @property
    def pictures(self) -> Path:
        """Finished pictures."""
        return self.data / "pictures"

    @property
    def inputs(self) -> Path:
        """Pictures that were brought along."""
        return self.data / "inputs"

    @property
    def adapters(self) -> Path:
        """LoRAs, controls, learnt words, autoencoders and tables of colours; the machine's owner puts them here."""
        return self.data / "adapters"

    @property
    def styles(self) -> Path:
        """The file of saved styles."""
        return self.data / "styles.toml"

    def picture(self, name: str) -> Path:
        """Where a finished picture of this name lies. Raises BadInput for what is no such name."""
        return self.pictures / _bare("picture", name)[:2] / name

    def publish_picture(self, data: bytes, ending: str = "png") -> tuple[str, str]:
        """Puts a finished picture in its place, under the SHA-256 of its bytes; its name, and that."""
        digest = hashlib.sha256(data).hexdigest()
        name = f"{digest}.{ending}"
        publish(data, self.picture(name))
        return name, digest

    def publish_input(self, data: bytes, ending: str) -> str:
        """Keeps what was brought along, under the SHA-256 of its bytes; the name that requests have for it."""
        name = f"{hashlib.sha256(data).hexdigest()}.{ending}"
        publish(data, self.inputs / name)
        return name

    def input(self, name: str) -> Path:
        """Where what was brought along lies. Raises BadInput where it was not."""
        path = self.inputs / _bare("picture", name)
        if not path.is_file():
            rule = "was not brought along"
            raise BadInput(f"the picture {shown(name)}", rule, "send it first: POST /api/inputs, and name what it says")
        return path

    def adapter(self, name: str) -> Path:
        """Where an adapter lies. Raises BadInput, with the nearest name, where it does not."""
        path = self.adapters / _bare("adapter", name)
        if not path.exists():
            raise unknown("adapter", name, self.adapter_names())
        return path

    def adapter_names(self) -> list[str]:
        """The adapters there are."""
        found = sorted(path.name for path in self.adapters.glob("*") if NAME.fullmatch(path.name))
        return found[:KNOWN_SHOWN]


def _bare(kind: str, name: str) -> str:
    if not NAME.fullmatch(name) or ".." in name:
        rule = "is not the bare name of a file"
        raise BadInput(f"the {kind} {shown(name)}", rule, "take letters, digits, dots and dashes, and no folder")
    return name


def located(request: Request, folders: Folders) -> Request:
    """The request with paths in place of the names of its files.

    Raises BadInput for what is not there, and for what is a path already: nobody reads files of the machine's by asking
    for a picture.
    """
    change: dict[str, Any] = {}
    for field in ("init_image", "mask"):
        if (name := getattr(request, field)) is not None:
            change[field] = str(folders.input(name))
    if request.control is not None:
        change["control"] = tuple(
            one.model_copy(update={"network": str(folders.adapter(one.network)), "map": str(folders.input(one.map))})
            for one in request.control
        )
    if request.image_prompt is not None:
        change["image_prompt"] = tuple(
            one.model_copy(update={"file": str(folders.input(one.file))}) for one in request.image_prompt
        )
    if request.lora is not None:
        change["lora"] = tuple(one.model_copy(update={"file": str(folders.adapter(one.file))}) for one in request.lora)
    if request.embedding is not None:
        change["embedding"] = tuple(str(folders.adapter(name)) for name in request.embedding)
    if request.vae is not None:
        change["vae"] = str(folders.adapter(request.vae))
    change["refine"] = tuple(_step_located(step, folders) for step in request.refine)
    refiner = None if request.refiner is None else request.refiner.model
    named = {"model": request.model, "guide": request.guide, "refiner": refiner}
    for field, name in named.items():
        if name is not None and name not in (known := known_models()):
            raise unknown(field, name, known)
    return request.model_copy(update=change)


def _step_located(step: Any, folders: Folders) -> Any:
    if not isinstance(step, Lut | Match) or not isinstance(step.file, str):
        return step
    path = folders.adapter(step.file) if isinstance(step, Lut) else folders.input(step.file)
    return step.model_copy(update={"file": str(path)})
