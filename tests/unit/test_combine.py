"""Ways to guide: each against the lines of its paper."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from darkroom.protocols import Guidance, Level
from darkroom.synthesis.combine import (
    METHODS,
    Combine,
    classifier_free,
    combining,
    projected,
    rescaled,
    standing,
    thresholded,
    zero_star,
)
from darkroom.synthesis.guidance import guided
from darkroom.synthesis.prediction import KINDS, PredictionKind, from_x0
from tests.analytic import run
from tests.unit.test_guidance import evaluate, forbidden, network

LEVEL = Level(0.4, 0.8, 0.7)
GENERATOR = torch.Generator().manual_seed(0)
POSITIVE, NEGATIVE, X = (torch.randn(3, 8, 8, generator=GENERATOR, dtype=torch.float64) for _ in range(3))


def output(kind: PredictionKind, x0: Tensor) -> Tensor:
    return from_x0(kind, x0, X, LEVEL)


def test_the_plain_rule_is_the_line_through_both() -> None:
    made = classifier_free(3.0)(POSITIVE, NEGATIVE, X, LEVEL)
    torch.testing.assert_close(made, 3 * POSITIVE - 2 * NEGATIVE, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_rescaling_gives_the_output_the_spread_of_the_positive(kind: PredictionKind) -> None:
    plain = classifier_free(7.0)
    assert rescaled(plain, 0.0, kind) is plain
    guided_by, wanted = output(kind, plain(POSITIVE, NEGATIVE, X, LEVEL)), output(kind, POSITIVE)
    for share in (0.3, 1.0):
        made = output(kind, rescaled(plain, share, kind)(POSITIVE, NEGATIVE, X, LEVEL))
        factor = share * wanted.std() / guided_by.std() + 1 - share  # eq. 15 and 16
        torch.testing.assert_close(made, guided_by * factor, rtol=0, atol=1e-10)
    assert made.std().item() == pytest.approx(wanted.std().item(), rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_zero_star_starts_from_the_negative_at_its_best_length(kind: PredictionKind) -> None:
    plus, minus = output(kind, POSITIVE), output(kind, NEGATIVE)
    base = output(kind, zero_star(0.0, kind)(POSITIVE, NEGATIVE, X, LEVEL))
    assert ((plus - base) * minus).sum().item() == pytest.approx(0, abs=1e-9)  # a projection: the rest is orthogonal
    made = output(kind, zero_star(4.0, kind)(POSITIVE, NEGATIVE, X, LEVEL))
    torch.testing.assert_close(made, base + 4.0 * (plus - base), rtol=0, atol=1e-9)


def test_projected_guidance_leaves_the_positives_direction_alone() -> None:
    update = projected(5.0)(POSITIVE, NEGATIVE, X, LEVEL) - POSITIVE
    assert (update * POSITIVE).sum().item() == pytest.approx(0, abs=1e-9)
    whole = projected(5.0, parallel=1.0)(POSITIVE, NEGATIVE, X, LEVEL)
    torch.testing.assert_close(whole, classifier_free(5.0)(POSITIVE, NEGATIVE, X, LEVEL), rtol=0, atol=1e-12)


def test_projected_guidance_remembers_the_steps_before() -> None:
    combine = projected(2.0, parallel=1.0, momentum=-0.5)
    first = combine(POSITIVE, NEGATIVE, X, LEVEL) - POSITIVE
    second = combine(POSITIVE, 0.5 * NEGATIVE, X, LEVEL) - POSITIVE
    torch.testing.assert_close(second, POSITIVE - 0.5 * NEGATIVE - 0.5 * first, rtol=0, atol=1e-12)
    # another picture begins anew
    torch.testing.assert_close(projected(2.0, 1.0)(POSITIVE, NEGATIVE, X, LEVEL) - POSITIVE, first)


def test_projected_guidance_is_cut_to_a_radius() -> None:
    update = projected(2.0, parallel=1.0, radius=1.5)(POSITIVE, NEGATIVE, X, LEVEL) - POSITIVE
    assert update.norm().item() == pytest.approx(1.5, rel=1e-9)
    far = projected(2.0, parallel=1.0, radius=1e9)(POSITIVE, NEGATIVE, X, LEVEL)
    torch.testing.assert_close(far, classifier_free(2.0)(POSITIVE, NEGATIVE, X, LEVEL))


def test_thresholding_keeps_the_range_of_the_positive() -> None:
    burnt = classifier_free(9.0)(POSITIVE, NEGATIVE, X, LEVEL)
    made = thresholded(classifier_free(9.0), 1.0)(POSITIVE, NEGATIVE, X, LEVEL)
    torch.testing.assert_close(made, burnt * POSITIVE.abs().max() / burnt.abs().max(), rtol=0, atol=1e-5)
    cut = thresholded(classifier_free(9.0), 0.9)(POSITIVE, NEGATIVE, X, LEVEL)
    limit = torch.quantile(POSITIVE.abs().flatten().float(), 0.9).item()
    assert cut.abs().max().item() == pytest.approx(limit, rel=1e-5)
    assert (cut.abs() > limit * (1 - 1e-5)).double().mean().item() == pytest.approx(0.1, abs=0.02)
    small = classifier_free(0.5)
    torch.testing.assert_close(
        thresholded(small, 1.0)(POSITIVE, 0 * X, X, LEVEL), small(POSITIVE, 0 * X, X, LEVEL), rtol=0, atol=0
    )


@pytest.mark.parametrize("method", METHODS)
def test_strength_one_is_plain_by_every_method(method: str) -> None:
    def combine(positive: Tensor, negative: Tensor, x: Tensor, level: Level) -> Tensor:
        return combining(Guidance(1.0, method), "flow")(positive, negative, x, level)

    torch.testing.assert_close(combine(POSITIVE, NEGATIVE, X, LEVEL), POSITIVE, rtol=0, atol=1e-12)
    x = X.float()
    plain = network("net", 0.7)
    out = run(guided(plain, forbidden, 1.0, combine=combine)(x, LEVEL), evaluate)
    assert torch.equal(out, run(plain(x, LEVEL), evaluate))


def test_all_of_it_together_is_one_after_the_other() -> None:
    how = Guidance(6.0, "zero-star", rescale=0.5, threshold=0.99)
    by_hand: Combine = thresholded(rescaled(zero_star(6.0, "flow"), 0.5, "flow"), 0.99)
    made = combining(how, "flow")(POSITIVE, NEGATIVE, X, LEVEL)
    assert torch.equal(made, by_hand(POSITIVE, NEGATIVE, X, LEVEL))


def test_zero_star_stands_still_for_a_share_of_the_steps() -> None:
    found = [standing(Guidance(3.0, "zero-star"), steps) for steps in (1, 12, 13, 25, 50, 1000)]
    assert found == [0, 0, 1, 1, 2, 40]
    assert standing(Guidance(1.0, "zero-star"), 50) == 0 and standing(Guidance(3.0), 50) == 0
