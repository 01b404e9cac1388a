"""A model's card: what it is, what it may be used for, what it cannot draw, and how it came to be."""

from __future__ import annotations

import datetime
import hashlib
from pathlib import PurePosixPath
from typing import Annotated, Self

from pydantic import AfterValidator, Field, JsonValue

from darkroom.contracts.contract import Contract, Name, Number, Sha256, Text, Whole
from darkroom.contracts.errors import BadInput, shown
from darkroom.contracts.request import Settings

OWN = "diffusion"  # the family of models that darkroom trains; others are public checkpoints
UPSCALER = "upscaler"  # the file, and the settings, of a part that a model may lack
IMAGE = "image"  # and of another: what reads reference pictures
OPTIONAL = (UPSCALER, IMAGE)


def _inside(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or "\\" in value or ":" in value or not path.parts:
        raise BadInput(f"path {shown(value)}", "leaves the model's folder", "give a path inside it")
    return value


RelativePath = Annotated[Name, AfterValidator(_inside)]
Names = Annotated[tuple[Name, ...], Field(max_length=100_000)]


class FileEntry(Contract):
    """One file of a model."""

    path: RelativePath = Field(description="The file, relative to the card, with forward slashes.")
    sha256: Sha256 = Field(description="SHA-256 of the file.")
    bytes: Annotated[Whole, Field(ge=0, le=2**50, description="Size of the file in bytes.")]


class Defaults(Settings):
    """What a request gets where it says nothing; ``drawn`` is the size that the model was trained at."""

    def enlarged(self, upscale: int) -> Self:
        """The same drawings, finished at so many times their size."""
        width, height = (side * upscale for side in self.drawn)
        return type(self).checked({**dict(self), "width": width, "height": height, "upscale": upscale})


class DataSource(Contract):
    """Where pictures of a training leg came from."""

    name: Name = Field(description="The source.")
    licence: Name = Field(description="Its licence, as an SPDX name where there is one.")
    attribution: Text = Field("", max_length=4000, description="The line of thanks its licence asks for.")


class Leg(Contract):
    """One stretch of training."""

    what: Text = Field(min_length=1, max_length=1000, description="What was trained, and how.")
    samples: Annotated[Whole, Field(ge=0, le=2**62, description="Training samples seen in this leg.")]
    date: datetime.date = Field(description="The day it ended.")
    sources: tuple[DataSource, ...] = Field((), description="The pictures it learnt from.")


class Card(Contract):
    """The card of one model."""

    name: Name = Field(description="The model's name.")
    family: Name = Field(description="diffusion, which is ours, or a family of public checkpoints, such as sd1.")
    licence: Name = Field(description="Licence of the weights, as an SPDX name where there is one.")
    description: Text = Field("", max_length=20_000, description="What the model is and what it is for.")
    defaults: Defaults = Field(description="What a request gets where it says nothing.")
    styles: Names = Field((), description="Styles a request may name.")
    limits: tuple[Text, ...] = Field((), description="What the model cannot draw, in plain words.")
    files: dict[Name, FileEntry] = Field(default_factory=dict, description="The model's files, by component.")
    configs: dict[Name, dict[str, JsonValue]] = Field(default_factory=dict, description="Settings, by component.")
    training: tuple[Leg, ...] = Field((), description="The training ledger, first leg first.")
    scores: dict[Name, Number] = Field(default_factory=dict, description="Measured scores, by name.")
    vocabulary: Names = Field((), description="Names of the concepts the model knows.")
    words: Names = Field((), description="Every word its training captions held; empty: not recorded.")

    @property
    def model_hash(self) -> str:
        """One SHA-256 for all files: the hash of their hashes, sorted, one to a line."""
        return hashlib.sha256("\n".join(sorted(file.sha256 for file in self.files.values())).encode()).hexdigest()
