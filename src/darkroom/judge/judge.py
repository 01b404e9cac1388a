"""The judge as it ships: the detector's weights, what it knows, and how far it can be trusted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save
from torch import Tensor

from darkroom.contracts.errors import BadFile
from darkroom.contracts.files import publish
from darkroom.judge.expect import Expectation
from darkroom.judge.sight import Sight, look
from darkroom.judge.verdict import Fact, judged
from darkroom.nn.config import read_config
from darkroom.nn.detector import Detector, DetectorConfig
from darkroom.nn.storage import packed, unpacked

WEIGHTS, CARD = "judge.safetensors", "judge.json"
AT_ONCE = 16  # pictures looked at together


@dataclass(frozen=True)
class Trust:
    """How far a fact's answers can be trusted, as shares of yes: on what is true, on what is not, on foils."""

    ceiling: float  # real held-out scenes
    floor: float  # real scenes with another scene's description
    foil: float | None  # descriptions with this one fact changed; None: it has no foil


@dataclass(frozen=True)
class Judge:
    """Says what is in pictures. ``calibration`` holds the Trust of every kind of fact."""

    detector: Detector
    calibration: Mapping[str, Trust]
    sha256: str  # of the weights file

    def look(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Sight]:
        """What is in pictures, sRGB in [0, 1]."""
        return [sight for part in pixels.split(AT_ONCE) for sight in look(self.detector, part)]

    def verdict(self, pixels: Float[Tensor, "3 h w"], expected: Expectation) -> tuple[Fact, ...]:
        """The answer to each fact expected of a picture."""
        return judged(self.look(pixels[None])[0], expected)


def load_judge(folder: Path, dtype: torch.dtype = torch.float32) -> Judge:
    """Opens a judge. Raises BadFile that says what is missing or damaged, and the fix."""
    fix = "take a complete folder, or train one with `darkroom train judge`"
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        data = (folder / WEIGHTS).read_bytes()
        if sha256(data).hexdigest() != card["sha256"]:
            raise BadFile(f"{folder / WEIGHTS}", "is damaged: it is not the file its card names", fix)
        detector = Detector(read_config(DetectorConfig, card["network"]))
        detector.load_state_dict(unpacked(load_tensors(data)))
        calibration = {kind: Trust(**row) for kind, row in card["calibration"].items()}
    except OSError as error:
        raise BadFile(f"{folder}", f"holds no judge ({error})", fix) from error
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        if isinstance(error, BadFile):
            raise
        raise BadFile(f"{folder / CARD}", f"cannot be opened ({error})", fix) from error
    detector = detector.eval().requires_grad_(False).to(dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Judge(detector, calibration, card["sha256"])


def save_judge(
    folder: Path, weights: Mapping[str, Tensor], network: Mapping[str, Any], calibration: Mapping[str, Trust]
) -> Path:
    """Writes a judge's two files."""
    data = save(packed(weights, kernels=True))
    card = {
        "network": dict(network),
        "sha256": sha256(data).hexdigest(),
        "bytes": len(data),
        "calibration": {kind: vars(trust) for kind, trust in calibration.items()},
    }
    publish(data, folder / WEIGHTS)
    publish((json.dumps(card, indent=1) + "\n").encode(), folder / CARD)  # last: it names the weights' hash
    return folder


def answers(facts: Sequence[Fact], kind: str) -> list[bool]:
    """Yes or no to each fact of one kind."""
    return [fact.answer == "yes" for fact in facts if fact.kind == kind]
