"""A tiny judge, real in all its parts, that finds pictures of untaught models differently right."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from darkroom.judge.judge import Trust, save_judge
from darkroom.judge.truth import WHOLE
from darkroom.nn.detector import nano
from darkroom.nn.text import TextConfig
from darkroom.training.objectives.judge import JudgeTraining
from darkroom.wording.tokenizer import Tokenizer

KINDS = ("presence", "one", "count", "colour", "binding", "relation", "style", "ground")


def random_judge(folder: Path, pixels: Tensor, seed: int = 0) -> Path:
    """A packed judge of random weights; what it says of a whole picture differs among such pictures (n, 3, 128, 128).

    Without that it would say the same of all: a random network tells little apart.
    """
    torch.manual_seed(seed)
    training = JudgeTraining(
        nano({name: len(values) for name, values in WHOLE.items()}), TextConfig(512, 32, 1, 16, spelling_width=8)
    )
    detector = training.detector.eval()
    with torch.no_grad():
        seen = detector.gist(pixels)
        detector.whole.weight.copy_(torch.randn(detector.whole.weight.shape) / seen.std(0).clamp_min(1e-3))
        detector.whole.bias.copy_(-detector.whole.weight @ seen.mean(0))
    networks = {"detector": asdict(detector.config), "reader": asdict(training.matching.reader.config)}
    calibration = {kind: Trust(0.98, 0.01, 0.02) for kind in KINDS}
    return save_judge(folder, training.state_dict(), networks, Tokenizer(), calibration)
