"""What is wrong with one picture of a user's folder: damage, size, shape, content, caption.

Every check adds a ``Problem`` that names the file, what was found and what to do; none of them raises.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from darkroom.contracts.errors import DarkroomError
from darkroom.picture.read import read

Pixels = UInt8[np.ndarray, "height width channels"]  # 3 channels RGB, 4 RGBA

Kind = Literal[
    "empty",
    "outside",
    "missing",
    "unreadable",
    "metadata",
    "format",
    "broken",
    "tiny",
    "aspect",
    "uniform",
    "captionless",
    "duplicate",
    "near-duplicate",
    "licence",
]

KINDS: dict[Kind, str] = {
    "empty": "no pictures here",
    "outside": "points outside the folder: not followed",
    "missing": "named in the metadata, not in the folder",
    "unreadable": "file or folder that cannot be opened, or has no usable name: left out",
    "metadata": "caption or metadata that cannot be used: left out",
    "format": "not a format that is read here: left out",
    "broken": "cannot be read as a picture: left out",
    "tiny": "too small: left out",
    "aspect": "too long and thin: left out",
    "uniform": "nearly one colour: left out",
    "captionless": "no caption: left out",
    "duplicate": "the same file twice: left out",
    "near-duplicate": "nearly the same picture twice: left out",
    "licence": "licence unknown: kept, recorded as unknown",
}
"""The kinds of problem in the order reports give them, and what each means for the picture."""

WARNINGS: frozenset[Kind] = frozenset({"licence"})
"""The kinds that leave the picture in."""

SMALLEST_SIDE = 64  # pixels; enlarging a smaller picture teaches a model blur
WIDEST_ASPECT = 3.0  # longer side over shorter side; a centre square of a longer picture shows under a third of it
UNIFORM_DEVIATION = 3.0  # levels of 255; JPEG noise stays under 1, a line over 0.2 % of the picture gives 11

# control characters, line separators, reversals of the reading direction, bytes that are no UTF-8
_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and the way to mend it."""

    kind: Kind
    path: str  # relative to the folder, "/" between its parts
    detail: str
    fix: str


def printable(text: str) -> str:
    """Text that is safe on a terminal and in UTF-8: what steers a terminal and undecodable bytes become escapes."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def decode(path: Path, name: str) -> tuple[Pixels | None, list[Problem]]:
    """The pixels of a picture file, or None and the reason."""
    fix = "save it again from the original, or delete it"
    try:
        return read(path), []
    except DarkroomError as error:
        return None, [Problem("broken", name, error.rule or str(error), fix)]
    except Exception as error:  # decoders raise anything on hostile bytes, and one file must never stop the run
        return None, [Problem("broken", name, printable(f"{type(error).__name__}: {error}"), fix)]


def pixel_problems(pixels: Pixels, name: str) -> list[Problem]:
    """Too small, too long and thin, nearly one colour."""
    height, width = pixels.shape[:2]
    shorter, longer = sorted((height, width))
    found = []
    if shorter < SMALLEST_SIDE:
        fix = f"give a picture of at least {SMALLEST_SIDE} pixels a side"
        found.append(Problem("tiny", name, f"{width}x{height}", fix))
    if longer > WIDEST_ASPECT * shorter:
        fix = f"crop it to at most {WIDEST_ASPECT:g} to 1"
        found.append(Problem("aspect", name, f"{width}x{height} is {longer / shorter:.1f} to 1", fix))
    if (spread := deviation(pixels)) < UNIFORM_DEVIATION:
        detail = f"its strongest channel deviates by {spread:.1f} of 255"
        found.append(Problem("uniform", name, detail, "delete it, or check that it was saved whole"))
    return found


def deviation(pixels: Pixels) -> float:
    """The standard deviation, in levels, of the channel that varies most; a drawing may vary in alpha alone."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if image.mode == "RGBA":
        image = image.convert("RGBa")  # premultiplied: colour that cannot be seen does not count
    counts = np.asarray(image.histogram(), np.float64).reshape(-1, 256)
    levels = np.arange(256.0)
    total = counts.sum(1)
    mean = counts @ levels / total
    variance = counts @ levels**2 / total - mean**2
    return float(np.sqrt(variance.max().clip(0)))


def caption_problems(caption: str, name: str) -> list[Problem]:
    """A picture without words teaches no words."""
    if caption:
        return []
    return [Problem("captionless", name, "no caption", f"write one into {Path(name).stem}.txt beside it")]
