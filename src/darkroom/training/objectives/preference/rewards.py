"""The judge that rewards, and what it says. It is to be another than the one that scores in ``darkroom evaluate``:
what fools a judge is what a model learns from it, and its own score would not tell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from darkroom.contracts.errors import BadFile, BadInput
from darkroom.judge.judge import CARD, PACKAGED, Judge, load_judge
from darkroom.judge.verdict import Fact
from darkroom.training.objectives.preference.asking import Asked


def opened_reward(folder: Path, dtype: torch.dtype, *, same_judge: bool = False) -> Judge:
    """The judge of a folder. Raises BadInput where it is the one in the package, unless ``same_judge`` says so."""
    try:
        judge = load_judge(folder, dtype)
    except BadFile as error:
        fix = "give the folder of a packed judge with --reward: `darkroom models judge` makes one of a training leg"
        raise BadFile(error.value, error.rule, fix) from error
    if judge.sha256 == _scorer() and not same_judge:
        rule = (
            "is the judge that scores in `darkroom evaluate`: what fools it would be learnt, and no score would show it"
        )
        fix = (
            "give another, of `darkroom train judge --seed 1`, or say outright that it is to be this one: --same-judge"
        )
        raise BadInput(f"--reward {folder}", rule, fix)
    return judge


def _scorer() -> str | None:
    """The fingerprint of the judge in the package; None: there is none."""
    path = PACKAGED / CARD
    return json.loads(path.read_text(encoding="utf-8"))["sha256"] if path.is_file() else None


def verdicts(judge: Judge, pixels: Float[Tensor, "b 3 h w"], asked: Sequence[Asked]) -> list[tuple[Fact, ...]]:
    """What a judge says of pictures, each drawn for a sentence."""
    sights = judge.look(pixels)
    return [judge.says(sight, one.expected) for sight, one in zip(sights, asked, strict=True)]


def reward(facts: Sequence[Fact]) -> float:
    """Share of the facts that are right; what a judge cannot tell is not."""
    return sum(fact.answer == "yes" for fact in facts) / len(facts)
