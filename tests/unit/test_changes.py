"""Which cells a swap may change: a contest between the thing that changes and the others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from darkroom.generate import run
from darkroom.protocols import Call, Change, Conditioning, Said
from darkroom.synthesis.diffusion import DiffusionSynthesizer
from tests.tiny import tiny_model

SIDE = 8
LEFT = torch.zeros(1, SIDE, SIDE)
LEFT[..., 1:7, 0:3] = 1.0
RIGHT = LEFT.flip(-1)
# Sentences by number, and the picture each wants: two things; the left one another; each thing alone.
BOTH, AFTER, ALONE, OTHERS, BLEEDING, NOTHING_NEW = range(6)
WANTS = {
    BOTH: LEFT + RIGHT,
    AFTER: 3 * LEFT + RIGHT,
    ALONE: LEFT,
    OTHERS: RIGHT,
    BLEEDING: 3 * LEFT + 2.5 * RIGHT,
    NOTHING_NEW: LEFT + RIGHT,
}


def said(sentence: int) -> Said:
    tokens = torch.full((1, 1), float(sentence))
    return [(0, Conditioning(tokens, torch.ones(1, dtype=torch.bool), torch.zeros(1)))]


@pytest.fixture(scope="module")
def synthesizer() -> DiffusionSynthesizer:
    model = tiny_model()
    assert isinstance(model.synthesizer, DiffusionSynthesizer)
    return model.synthesizer


def changed(synthesizer: DiffusionSynthesizer, *sentences: int) -> Tensor:
    """Cells that change, asked of a network that sees what each sentence wants."""

    def evaluate(calls: Sequence[Call]) -> list[Tensor]:
        if calls[0].network == synthesizer.TEXT:
            return [call.inputs["tokens"][None, None].expand(1, 2, 1, 1) for call in calls]  # type: ignore[index]
        level = synthesizer.schedule.level(0.8)  # velocity = (x - x0) / sigma on the straight path
        wanted = [WANTS[int(call.inputs["keys"].flatten()[0])].expand(4, SIDE, SIDE) for call in calls]  # type: ignore[union-attr]
        return [(call.inputs["x"] - x0) / level.sigma for call, x0 in zip(calls, wanted, strict=True)]  # type: ignore[operator]

    change = Change(*(said(sentence) for sentence in sentences))
    return run(synthesizer.changes(torch.zeros(4, SIDE, SIDE), change, 3), evaluate)[0]


def test_where_two_sentences_differ_is_changed_with_a_cell_around(synthesizer: DiffusionSynthesizer) -> None:
    cells = changed(synthesizer, BOTH, AFTER)
    assert cells[:, :3].all() and not cells[:, 5:].any()


def test_the_others_keep_their_cells_where_the_sentence_would_change_them_too(
    synthesizer: DiffusionSynthesizer,
) -> None:
    careless = changed(synthesizer, BOTH, BLEEDING)
    assert careless[:, :3].any() and careless[:, 5:].any()
    cells = changed(synthesizer, BOTH, BLEEDING, ALONE, OTHERS)
    assert cells[2:6, 0:2].all() and not cells[:, 4:].any()
    mirrored = changed(synthesizer, BOTH, BLEEDING, OTHERS, ALONE)  # it is the other one that changes
    assert mirrored[2:6, 6:].all() and not mirrored[:, :4].any()


def test_where_no_cell_is_left_the_difference_decides(synthesizer: DiffusionSynthesizer) -> None:
    assert torch.equal(changed(synthesizer, BOTH, AFTER, OTHERS, ALONE), changed(synthesizer, BOTH, AFTER))
    assert not changed(synthesizer, BOTH, NOTHING_NEW).any()
