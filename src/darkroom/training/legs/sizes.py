"""The one dial: what a model of a size is made of, and how fast and in what portions it learns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from darkroom.contracts.errors import unknown
from darkroom.judge.truth import WHOLE
from darkroom.nn import autoencoder, detector, dit, text, upscaler
from darkroom.nn.autoencoder import AutoencoderConfig
from darkroom.nn.detector import DetectorConfig
from darkroom.nn.dit import DenoiserConfig
from darkroom.nn.matching import reader_config
from darkroom.nn.text import TextConfig
from darkroom.nn.upscaler import UpscalerConfig
from darkroom.training.handover import network_of
from darkroom.training.objectives.judge import detector_config
from darkroom.wording.vocabulary import core


@dataclass(frozen=True)
class Size:
    """Shapes of every network, and rate and batch as multiples of mini's, which each leg names."""

    denoiser: DenoiserConfig
    text: TextConfig = field(default_factory=TextConfig)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    upscaler: UpscalerConfig = field(default_factory=UpscalerConfig)
    detector: DetectorConfig = field(default_factory=detector_config)
    reader: TextConfig = field(default_factory=lambda: reader_config(0))  # its vocabulary is the tokenizer's
    faster: float = 1.0
    fuller: float = 1.0

    def rate(self, mini: float, asked: float | None) -> float:
        """The learning rate of a leg that gives mini this one; ``asked`` None: nobody wants another."""
        return mini * self.faster if asked is None else asked

    def batch(self, mini: int, asked: int | None) -> int:
        """The batch of a leg that gives mini this one; ``asked`` None: nobody wants another."""
        return max(1, round(mini * self.fuller)) if asked is None else asked


def nano() -> Size:
    """For tests and `make train-mini`: everything is there, and nothing is good."""
    return Size(
        dit.sized("nano", 4),
        text.nano(),
        autoencoder.nano(),
        upscaler.nano(),
        detector.nano({name: len(values) for name, values in WHOLE.items()}, len(core())),
        text.nano(),
        faster=2.0,
        fuller=0.25,
    )


def mini() -> Size:
    """For two CPU cores; the model in the package."""
    return Size(dit.sized("mini"))


def base() -> Size:
    """For a GPU. What draws grows; what reads, encodes and judges is not what limits a picture.

    A wider network takes smaller steps: the rate falls with the root of the widths' ratio. That lies between what
    arXiv:2203.03466 finds for matrices stepped by Adam and Muon's steps, which are as large as they should be anyway.
    """
    return Size(dit.sized("base"), faster=(384 / 448) ** 0.5, fuller=4.0)


SIZES = {"nano": nano, "mini": mini, "base": base}


def size_for(name: str | None, start: Path | None) -> Size:
    """The size of that name; None: that of the denoiser of the hand-over or model ``start``, or mini's."""
    if name is not None or start is None:
        return size_named(name or "mini")
    shape = network_of(start, "denoiser", DenoiserConfig)
    made = (make() for make in SIZES.values())
    like = (size for size in made if (size.denoiser.width, size.denoiser.depth) == (shape.width, shape.depth))
    return next(like, mini())


def size_named(name: str) -> Size:
    """A size by name. Raises BadInput with the nearest one."""
    if name not in SIZES:
        raise unknown("size", name, SIZES)
    return SIZES[name]()
