"""Choices inside a prompt."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.contracts.errors import BadInput
from darkroom.wording.wildcards import MAX_FILE, expanded


def test_the_same_seed_makes_the_same_choices_and_all_are_made() -> None:
    text = "a {red|blue|green} {fox|cat}"
    found = Counter(expanded(text, seed) for seed in range(600))
    assert set(found) == {f"a {colour} {animal}" for colour in ("red", "blue", "green") for animal in ("fox", "cat")}
    assert min(found.values()) > 60
    assert [expanded(text, seed) for seed in range(600)] == [expanded(text, seed) for seed in range(600)]


def test_choices_nest() -> None:
    found = {expanded("{a {red|blue} fox|two {cats|dogs}}", seed) for seed in range(100)}
    assert found == {"a red fox", "a blue fox", "two cats", "two dogs"}


def test_several_at_once_are_different_ones() -> None:
    for seed in range(50):
        parts = expanded("{2$$cat|dog|bird}", seed).split(", ")
        assert len(set(parts)) == 2 and set(parts) <= {"cat", "dog", "bird"}
        assert len(expanded("{9$$cat|dog}", seed).split(", ")) == 2
    counts = {expanded("{1-3$$ and $$cat|dog|bird}", seed).count(" and ") for seed in range(50)}
    assert counts == {0, 1, 2}
    assert counts == {expanded("{3-1$$ and $$cat|dog|bird}", seed).count(" and ") for seed in range(50)}


def test_what_is_no_choice_stays() -> None:
    for text in ("{solo}", "}{", "a | b", "{open|", r"\{a\|b\}", "snake_case_name", "a__b__c", "__", "a__b", "{{}}"):
        assert expanded(text, 1) == text
    assert expanded(r"{a\|b|c}", 1) in (r"a\|b", "c")
    assert expanded("{solo} | {a|a}", 1) == r"\{solo\} \| a"  # so that it can be read again


@given(st.text(alphabet=r"{}|$2-_\ ab", max_size=60), st.integers(0, 1000))
def test_what_is_expanded_once_has_no_choices_left(text: str, seed: int) -> None:
    try:
        once = expanded(text, seed)
    except BadInput:
        return  # names a file
    with suppress(BadInput):  # names a file, of pieces
        assert expanded(once, seed + 1) == expanded(once, seed)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "wild").mkdir()
    (tmp_path / "colours.txt").write_text("\ufeff# of foxes\r\nred\n\n  white {and|or} grey \n", encoding="utf-8")
    (tmp_path / "wild" / "animals.txt").write_text("fox\n__wild/birds__\n")
    (tmp_path / "wild" / "birds.txt").write_text("owl\n")
    (tmp_path / "hair_colour.txt").write_text("grey\n")
    return tmp_path


def test_a_file_gives_a_line(folder: Path) -> None:
    found = {expanded("a __colours__ __wild/animals__", seed, folder) for seed in range(100)}
    colours = ("red", "white and grey", "white or grey")
    assert found == {f"a {colour} {animal}" for colour in colours for animal in ("fox", "owl")}
    assert expanded("__hair_colour__ hair", 1, folder) == "grey hair"


def test_files_that_cannot_be_read_are_named(folder: Path) -> None:
    (folder / "empty.txt").write_text("# nothing\n\n")
    (folder / "broken.txt").write_bytes(b"\xff\xfe\xff")
    (folder / "huge.txt").write_bytes(b"x" * (MAX_FILE + 1))
    (folder / "round.txt").write_text("a __round__\n")
    for text, said in (
        ("__colors__", r"__colors__ has no file .*; did you mean __colours__\?"),
        ("__zebra__", "has no file .*; write it"),
        ("__empty__", "empty.txt holds no line"),
        ("__broken__", "broken.txt cannot be read"),
        ("__huge__", "huge.txt is larger than 16 MB"),
        ("__round__", "files deep; look for files that name each other"),
        ("__wild/../../secret__", "leaves the folder of wildcards"),
    ):
        with pytest.raises(BadInput, match=said):
            expanded(text, 1, folder)
    with pytest.raises(BadInput, match=r"needs a folder of wildcards; give one \(--wildcards\)"):
        expanded("__colours__", 1)


@pytest.mark.parametrize("nested", ["{{{}}}", "{{a|{}}}", "{{{}|a}}", "{{a|b{}"])
def test_depth_costs_nothing(nested: str) -> None:
    front, back = (part.replace("{{", "{").replace("}}", "}") for part in nested.split("{}", 1))
    took = []
    for depth in (50_000, 100_000):
        start = time.process_time()
        expanded(front * depth + "fox" + back * depth, 1)
        took.append(time.process_time() - start)
    assert took[1] < 8 * took[0] + 1.0
