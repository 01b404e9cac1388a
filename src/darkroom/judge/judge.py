"""The judge as it ships: its networks' weights, what it knows, and how far it can be trusted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save
from torch import Tensor, nn

from darkroom.contracts.errors import BadFile, reason
from darkroom.contracts.files import publish
from darkroom.judge.expect import Expectation
from darkroom.judge.sight import Sight, look
from darkroom.judge.verdict import RULES, Fact, judged
from darkroom.machine.formats import quick_dtype
from darkroom.nn.config import read_config
from darkroom.nn.detector import Detector, DetectorConfig
from darkroom.nn.matching import Matching
from darkroom.nn.storage import packed, unpacked
from darkroom.nn.text import TextConfig
from darkroom.prompt.encoders import batched
from darkroom.wording.tokenizer import Tokenizer

WEIGHTS, CARD, WORDS = "judge.safetensors", "judge.json", "judge-tokenizer.json"
PACKAGED = Path(__file__).parents[1] / "weights"  # the judge of the package itself
AT_ONCE = 16  # pictures looked at together


@dataclass(frozen=True)
class Trust:
    """How far a fact's answers can be trusted, as shares of yes: on what is true, on what is not, on foils."""

    ceiling: float  # real held-out scenes
    floor: float  # real scenes with another scene's description
    foil: float | None  # descriptions with this one fact changed; None: it has no foil
    n: int = 0  # answers behind the ceiling; 0: not noted
    foils: int = 0  # and behind the foil


@dataclass(frozen=True)
class Judge:
    """Says what is in pictures. ``calibration`` holds the Trust of every kind of fact."""

    detector: Detector
    matching: Matching
    tokenizer: Tokenizer
    calibration: Mapping[str, Trust]
    sha256: str  # of the weights file

    def look(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Sight]:
        """What is in pictures, sRGB in [0, 1]."""
        return [sight for part in pixels.split(AT_ONCE) for sight in look(self.detector, part)]

    def verdict(self, pixels: Float[Tensor, "3 h w"], expected: Expectation) -> tuple[Fact, ...]:
        """The answer to each fact expected of a picture."""
        return self.says(self.look(pixels[None])[0], expected)

    def says(self, sight: Sight, expected: Expectation) -> tuple[Fact, ...]:
        """The answer to each fact expected of a picture seen. What it was never tried on it cannot tell."""
        facts = judged(sight, expected)
        return tuple(fact if fact.kind in self.calibration else replace(fact, answer="cannot tell") for fact in facts)

    @torch.no_grad()
    def fit(self, sights: Sequence[Sight], sentences: Sequence[str]) -> Float[Tensor, "pictures sentences"]:
        """How well each sentence fits each picture seen: a logit, for ranking; facts are for verdicts."""
        read = [
            self.matching(*batched([self.tokenizer.tokens(text)]))[0] for text in sentences
        ]  # each alone: a sentence's vector must not depend on its neighbours'
        return self.matching.fit(torch.stack([sight.vector for sight in sights]), torch.stack(read))


def load_judge(folder: Path, dtype: torch.dtype | None = None) -> Judge:
    """Opens a judge, whose eyes compute in ``dtype``; None: the one that is quickest here.

    Raises BadFile that says what is missing or damaged, and the fix.
    """
    if folder == PACKAGED and not (folder / CARD).is_file():
        raise BadFile("the package", "lacks its judge", "install darkroom again, or name another with --judge")
    fix = "take a complete folder, or train one (`darkroom train judge`) and name it with --judge"
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        data = (folder / WEIGHTS).read_bytes()
        if sha256(data).hexdigest() != card["sha256"]:
            raise BadFile(f"{folder / WEIGHTS}", "is damaged: it is not the file its card names", fix)
        network = read_config(DetectorConfig, card["networks"]["detector"])
        detector = Detector(network)
        matching = Matching(read_config(TextConfig, card["networks"]["reader"]), network.shared)
        networks = nn.ModuleDict({"detector": detector, "matching": matching})
        networks.load_state_dict(unpacked(load_tensors(data)))
        tokenizer = Tokenizer.from_json((folder / WORDS).read_text(encoding="utf-8"))
        if tokenizer.sha256 != card["tokenizer"]:
            raise BadFile(f"{folder / WORDS}", "is damaged: it is not the file its card names", fix)
        if card.get("rules") != RULES:
            rule = "was calibrated by other rules of judging"
            raise BadFile(f"{folder / CARD}", rule, "pack the judge again: `darkroom models judge`")
        calibration = {kind: Trust(**row) for kind, row in card["calibration"].items()}
    except OSError as error:
        raise BadFile(f"{folder}", f"holds no judge ({reason(error)})", fix) from error
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        if isinstance(error, BadFile):
            raise
        raise BadFile(f"{folder / CARD}", f"cannot be opened ({error})", fix) from error
    networks.eval().requires_grad_(False)
    detector = detector.to(dtype or quick_dtype(), memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Judge(detector, matching, tokenizer, calibration, card["sha256"])


def save_judge(
    folder: Path,
    weights: Mapping[str, Tensor],
    networks: Mapping[str, Any],
    tokenizer: Tokenizer,
    calibration: Mapping[str, Trust],
) -> Path:
    """Writes a judge's three files; ``weights`` are those of "detector." and "matching."."""
    data = save(packed(weights, kernels=True))
    card = {
        "networks": dict(networks),
        "sha256": sha256(data).hexdigest(),
        "bytes": len(data),
        "tokenizer": tokenizer.sha256,
        "rules": RULES,
        "calibration": {kind: vars(trust) for kind, trust in calibration.items()},
    }
    publish(data, folder / WEIGHTS)
    publish(tokenizer.to_json().encode(), folder / WORDS)
    publish((json.dumps(card, indent=1) + "\n").encode(), folder / CARD)  # last: it names the others' hashes
    return folder


def answers(facts: Sequence[Fact], kind: str) -> list[bool]:
    """Yes or no to each fact of one kind."""
    return [fact.answer == "yes" for fact in facts if fact.kind == kind]
