"""Anchors: every row of the table names a drawing there can be, once, with a point inside it."""

from __future__ import annotations

from importlib.resources import files

import pytest

from darkroom.data.scenes.anchors import EYEWEAR, heads, may_wear, wearables
from darkroom.data.stock.pack import COLOURLESS, STYLES
from darkroom.wording.vocabulary import concept_of, core

TEXT = files("darkroom.data.scenes").joinpath("anchors.tsv").read_text(encoding="utf-8")
ROWS = [line.split("\t") for line in TEXT.splitlines() if not line.startswith("#")]


def test_every_row_names_a_concept_and_a_style() -> None:
    for kind, word, style, *_ in ROWS:
        concept = concept_of(word)
        assert kind in ("head", "worn") and concept is not None and concept.word == word
        assert style in STYLES and style not in COLOURLESS


def test_no_row_stands_there_twice() -> None:
    assert len({tuple(row[:3]) for row in ROWS}) == len(ROWS) == len(heads()) + len(wearables())


def test_numbers_are_in_range() -> None:
    for row in ROWS:
        numbers = [float(text) for text in row[3:]]
        if row[0] == "head":
            x, brow, width, eyes = numbers
            assert 0.2 < x < 0.8 and 0 <= brow < 0.6 and 0.1 < width <= 1 and (eyes == 0 or brow < eyes < 0.8), row
        else:
            x, y, width = numbers
            assert 0 < x < 1 and 0 < y <= 1 and 0.5 < width < 2.5, row


def test_every_style_has_heads_and_hats_and_glasses() -> None:
    for style in set(STYLES) - COLOURLESS:
        worn = {core()[concept].word for concept, of in wearables() if of == style}
        assert worn & EYEWEAR and worn - EYEWEAR
        assert sum(of == style for _, of in heads()) > 10


@pytest.mark.parametrize("word", sorted(EYEWEAR))
def test_who_has_glasses_gets_no_others(word: str) -> None:
    concept = concept_of(word)
    assert concept is not None
    spectacled = [pair for pair, head in heads().items() if head.eyes == 0]
    assert spectacled and not any(may_wear(pair, (concept.index, pair[1])) for pair in spectacled)
    assert any(may_wear(pair, (concept.index, pair[1])) for pair in heads())


def test_nobody_wears_what_is_drawn_in_another_style() -> None:
    for head in heads():
        assert not any(may_wear(head, worn) for worn in wearables() if worn[1] != head[1])
        assert not any(may_wear(head, other) for other in heads())
