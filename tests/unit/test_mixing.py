"""Estimates of several sentences in one, against sums done by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from darkroom.protocols import Call, Denoise, Level, Task
from darkroom.synthesis.mixing import EARLY, LATE, regional, seamless, turned

LOUD, QUIET = Level(0.9, 0.1, 0.9), Level(0.2, 0.8, 0.2)


def saying(value: float | Tensor) -> Denoise:
    """An estimate that is the same whatever it is asked about."""

    def denoise(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
        [answer] = yield [Call("toy", {"x": x})]
        return torch.zeros_like(answer) + value

    return denoise


def seeing() -> Denoise:
    """An estimate that is x."""

    def denoise(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
        [answer] = yield [Call("toy", {"x": x})]
        return answer

    return denoise


def asked(denoise: Denoise, x: Tensor, level: Level = QUIET) -> tuple[Tensor, list[int]]:
    """The estimate, and how many calls there were at a time."""
    task, counts = denoise(x, level), []
    try:
        calls = next(task)
        while True:
            counts.append(len(calls))
            calls = task.send([call.inputs["x"] for call in calls])  # type: ignore[misc]
    except StopIteration as done:
        return done.value, counts


def test_turned_is_in_between_and_asks_both_at_once() -> None:
    x = torch.zeros(2, 4, 4)
    found, counts = asked(turned(saying(1.0), saying(3.0), 0.25), x)
    assert torch.equal(found, torch.full_like(x, 1.5)) and counts == [2]
    assert asked(turned(saying(1.0), saying(3.0), 0.0), x)[1] == [1]
    assert torch.equal(asked(turned(saying(1.0), saying(3.0), 1.0), x)[0], torch.full_like(x, 3.0))


@pytest.mark.parametrize(("level", "share"), [(LOUD, EARLY), (QUIET, LATE)])
def test_a_region_counts_most_in_its_middle(level: Level, share: float) -> None:
    x = torch.zeros(1, 16, 17)
    found, counts = asked(regional(saying(0.0), [((0.0, 0.0, 1.0, 1.0), saying(1.0))]), x, level)
    assert counts == [2]
    middles = (torch.arange(17) + 0.5) / 17
    down = torch.sin(torch.pi * (torch.arange(16) + 0.5) / 16)
    expected = (1 - share) * down[:, None] * torch.sin(torch.pi * middles)
    assert torch.allclose(found[0], expected, atol=1e-6)
    assert found.max() == found[0, 8, 8] or found.max() == found[0, 7, 8]


def test_outside_its_box_a_region_says_nothing() -> None:
    x = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0))
    found, _ = asked(regional(seeing(), [((0.0, 0.0, 0.5, 1.0), saying(9.0))]), x)
    assert torch.equal(found[:, :, 4:], x[:, :, 4:]) and not torch.equal(found[:, :, :4], x[:, :, :4])


def test_a_region_is_asked_about_a_picture_that_has_it_in_the_middle() -> None:
    """An estimate that moves with x gives the whole's own back; one that stays in the middle appears in the region."""
    x = torch.randn(1, 8, 16, generator=torch.Generator().manual_seed(0))
    box = (0.5, 0.0, 1.0, 1.0)
    assert torch.allclose(asked(regional(seeing(), [(box, seeing())]), x)[0], x)
    thing = torch.zeros(1, 8, 16)
    thing[:, 4, 8] = 1.0  # in the middle of what the region is asked about
    found, _ = asked(regional(saying(0.0), [(box, saying(thing))]), x)
    assert found[0].argmax() == 4 * 16 + 12  # in the middle of the right half


def test_regions_that_overlap_share() -> None:
    x = torch.zeros(1, 9, 9)
    one = regional(saying(0.0), [((0.0, 0.0, 1.0, 1.0), saying(1.0))] * 3)
    found, counts = asked(one, x, LOUD)
    assert counts == [4] and found.max() <= 1.0 + 1e-6 and found[0, 4, 4] > 0.99


def test_moving_around_the_edges_changes_nothing_for_what_moves_along() -> None:
    x = torch.randn(2, 16, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(asked(seamless(seeing(), True, True), x)[0], x)


def test_every_evaluation_sees_the_seam_elsewhere_but_not_far() -> None:
    seen: list[Tensor] = []

    def noting(x: Tensor, level: Level, toward: Level | None = None, /) -> Task[Tensor]:
        seen.append(x)
        [answer] = yield [Call("toy", {"x": x})]
        return answer

    x = torch.arange(32.0).repeat(1, 32, 1) + 100 * torch.arange(32.0)[:, None]
    wandering = seamless(noting, True, False)
    for _ in range(20):
        asked(wandering, x)
    at = [int(one[0, 0, 0]) for one in seen]  # which column stands first
    assert all(0 <= n < 32 for n in at), "only across"
    moved = [n if n < 16 else n - 32 for n in at]
    assert len(set(moved)) > 6 and max(map(abs, moved)) <= 6
    again = seamless(noting, True, False)
    asked(again, x)
    assert torch.equal(seen[-1], seen[0])  # each picture counts for itself
