"""Batch files as people and programs write them: a fault of a row is that row's, and any file is read in one pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from darkroom.contracts.errors import BadFile, BadInput
from darkroom.requests.rows import MAX_ROW, BatchFile, Row
from darkroom.requests.spelling import Asked


def rows(tmp_path: Path, data: str | bytes, name: str = "batch.csv") -> list[Row]:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return list(BatchFile(str(path)).rows())


def told(tmp_path: Path, data: str | bytes, name: str = "batch.csv") -> list[dict[str, Any]]:
    return [row.told if isinstance(row.told, dict) else {"bad": str(row.told)} for row in rows(tmp_path, data, name)]


def test_a_table_with_all_that_spreadsheets_do(tmp_path: Path) -> None:
    text = (
        '\ufeffPrompt,--guidance-interval,best_of,,seed\r\n"a ""red"" fox,\r\nin snow",0.1-0.9,2,,7\r\n\r\n'
        ",,,,\r\na cat\r\na dog,,,,0-3,,\r\n"
    )
    found = rows(tmp_path, text)
    assert [row.line for row in found] == [2, 6, 7]
    assert [row.told for row in found] == [
        {"prompt": 'a "red" fox,\nin snow', "guidance_interval": "0.1-0.9", "best_of": "2", "seed": "7"},
        {"prompt": "a cat"},
        {"prompt": "a dog", "seed": "0-3"},
    ]


@pytest.mark.parametrize("sign", [";", "\t"])
def test_other_delimiters_are_seen_in_the_header(tmp_path: Path, sign: str) -> None:
    assert told(tmp_path, f"prompt{sign}steps\na, b{sign}4\n") == [{"prompt": "a, b", "steps": "4"}]


def test_objects_line_by_line(tmp_path: Path) -> None:
    lines = ['{"prompt": "a fox", "best-of": 2, "seed": "0-3"}', "", '{"prompt": "b", "outpaint": {"left": 64}}']
    found = rows(tmp_path, "\n".join(lines), "batch.jsonl")
    assert [(row.line, row.told) for row in found] == [
        (1, {"prompt": "a fox", "best_of": 2, "seed": "0-3"}),
        (3, {"prompt": "b", "outpaint": {"left": 64}}),
    ]
    assert told(tmp_path, lines[0], "without-ending") == [{"prompt": "a fox", "best_of": 2, "seed": "0-3"}]


@pytest.mark.parametrize(
    ("data", "name", "said"),
    [
        ("promt,seed\na,1\n", "b.csv", r"b.csv: unknown column 'promt'; did you mean 'prompt'\?"),
        ("a red fox\na cat\n", "b.csv", "unknown column 'a red fox'.*first line names the columns"),
        ("prompt,seed,Prompt\n", "b.csv", "the column 'Prompt' stands there twice"),
        ("best-of,best_of\n", "b.csv", "stands there twice"),
        ('{"prompt": "a", "stepz": 1}', "b.jsonl", r"b.jsonl: unknown key 'stepz'; did you mean 'steps'\?"),
        ("", "b.csv", "b.csv line 1 is the end: there are no rows"),
        ("\n \n", "b.jsonl", "there are no rows"),
        ("prompt\na\n".encode("utf-16"), "b.csv", "UTF-16; save it as UTF-8"),
        (b"prompt,\xff\n", "b.csv", "line 1 is no UTF-8 text"),
    ],
)
def test_a_fault_of_the_file_is_said_before_its_rows(tmp_path: Path, data: str | bytes, name: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        rows(tmp_path, data, name)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path, tmp_path / "nul\0.csv"):
        with pytest.raises(BadFile, match="cannot be read"):
            list(BatchFile(str(path)).rows())


def test_bad_rows_leave_the_others_whole(tmp_path: Path) -> None:
    table = b'prompt,seed\na,1\nb,2,3\n\xff,4\nc "x,5\n"d"x,6\ne,7\n"open,8\nf,9\n'
    found = told(tmp_path, table)
    assert [row.get("prompt") for row in found] == ["a", None, None, 'c "x', None, "e", None]
    bad = [row["bad"] for row in found if "bad" in row]
    assert "has 3 cells for 2 columns" in bad[0] and "no UTF-8 text" in bad[1]
    assert "not sound CSV" in bad[2] and "not sound CSV" in bad[3]

    objects = [
        '{"prompt": "a"}',
        "{",
        "[1]",
        "7",
        '{"a": NaN}',
        '{"prompt": "b", "promt": 1}',
        '{"seed": 1, "seed": 2}',
    ]
    objects += ['{"seed": [[1]]}', "[" * 100_000, '{"seed": ' + "9" * 5000 + "}", '{"prompt": "z"}']
    found = told(tmp_path, "\n".join(objects), "b.jsonl")
    assert [row.get("prompt") for row in found] == ["a", *[None] * 9, "z"]
    assert "did you mean 'prompt'" in found[5]["bad"] and "stands twice" in found[6]["bad"]


def test_hostile_tables_end_and_cost_no_more_than_their_size(tmp_path: Path) -> None:
    wide = ",".join(f"column{i}" for i in range(100_000))
    with pytest.raises(BadInput, match="unknown column 'column0'"):
        rows(tmp_path, wide + "\n")
    [row] = rows(tmp_path, "prompt\n" + ",".join("x" * 100_000) + "\n")
    assert "has 100000 cells for 1 columns" in str(row.told)
    assert rows(tmp_path, "prompt" + "," * 100_000 + "\na" + "," * 100_000 + "\n")[0].told == {"prompt": "a"}
    huge = "x" * (2 * MAX_ROW)
    assert [row.get("prompt") for row in told(tmp_path, f"prompt\n{huge}\nb\n")] == [None, "b"]
    found = told(tmp_path, 'prompt\n"' + "y\n" * 100_000 + "b\n")  # a quote that never ends
    assert "bad" in found[0] and len(found) < 100_000
    assert [row.get("prompt") for row in told(tmp_path, "prompt\n" + '"' * 300_000 + "\nc\n")][-1] == "c"


def test_a_nul_is_refused_with_the_usual_sentence(tmp_path: Path) -> None:
    [row] = rows(tmp_path, "prompt\na\0b\n")
    assert isinstance(row.told, dict)
    with pytest.raises(BadInput, match="holds a NUL character at position 1; remove it"):
        Asked({}).but(row.told).requests(0)


def test_files_are_beside_the_batch_file(tmp_path: Path) -> None:
    [row] = rows(tmp_path, f"prompt,init_image,mask\na,start.png,{tmp_path}/m.png\n")
    assert row.told == {
        "prompt": "a",
        "init_image": str(tmp_path / "start.png"),
        "mask": str(tmp_path / "m.png"),
    }


def test_so_are_those_of_adapters_and_controls_in_a_text_or_an_object(tmp_path: Path) -> None:
    acting = {"network": "in/edges.safetensors", "map": "m.png", "scale": 0.5}
    lines = [
        {"prompt": "a", "control": "edges.safetensors = m.png:0.5", "lora": ["a.safetensors:2"]},
        {"prompt": "a", "control": [acting], "lora": {"file": "a.safetensors", "scale": 2}},
        {"prompt": "a", "control": "=m.png"},
    ]
    text, told, blank = rows(tmp_path, "\n".join(map(json.dumps, lines)), "batch.jsonl")
    asked = [Asked({}).but(row.told).requests(0)[0] for row in (text, told) if isinstance(row.told, dict)]
    for request, network in zip(asked, ("edges.safetensors", "in/edges.safetensors"), strict=True):
        [control], [lora] = request.control or (), request.lora or ()
        assert (control.network, control.map) == (str(tmp_path / network), str(tmp_path / "m.png"))
        assert (control.scale, lora.file, lora.scale) == (0.5, str(tmp_path / "a.safetensors"), 2)
    assert isinstance(blank.told, dict)
    with pytest.raises(BadInput, match="does not say which network reads which picture"):
        Asked({}).but(blank.told).requests(0)


def test_a_row_may_hold_lists_of_objects(tmp_path: Path) -> None:
    region = {"prompt": "two cats", "left": 0.0, "top": 0.0, "right": 0.5, "bottom": 1.0}
    lines = [{"prompt": "a", "regions": [region]}, {"prompt": "a", "regions": [[[[1]]]]}]
    good, deep = rows(tmp_path, "\n".join(map(json.dumps, lines)), "batch.jsonl")
    assert isinstance(good.told, dict)
    [request] = Asked({}).but(good.told).requests(0)
    assert request.regions is not None and [one.model_dump() for one in request.regions] == [region]
    assert "the key 'regions' holds lists within lists" in str(deep.told)


def test_what_a_row_tells_wins_and_the_rest_is_as_given() -> None:
    defaults = Asked({}).but(
        {"steps": 4, "negative": "snow", "size": "64", "seed": "9", "guidance_interval": (0.1, 0.9)}
    )
    [request] = defaults.but({"prompt": "a", "steps": "8", "negative": "", "size": "128x64", "verify": "yes"}).requests(
        0
    )
    assert (request.steps, request.seed, request.width, request.height) == (8, 9, 128, 64)
    assert request.prompt.negative == "" and request.verify and request.guidance_interval == (0.1, 0.9)
    [whole] = defaults.but(json.loads('{"prompt": {"text": "b", "negative": "c"}, "seed": 3, "size": 64}')).requests(0)
    assert (whole.prompt.text, whole.prompt.negative, whole.seed) == ("b", "c", 3)
    assert [r.seed for r in defaults.but({"prompt": "a", "count": "3"}).requests(0)] == [9, 10, 11]
    assert [r.seed for r in Asked({}).but({"prompt": "a", "count": 2}).requests(5)] == [5, 6]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({}, "no prompt was given"),
        ({"prompt": " "}, "the prompt is blank"),
        ({"prompt": 7}, "prompt 7 is not text"),
        ({"prompt": {"text": "a", "say": "b"}}, "unknown Prompt field 'say'"),
        ({"prompt": "a", "steps": "four"}, "steps 'four' is not a whole number"),
        ({"prompt": "a", "steps": 4.5}, "steps 4.5 is not a whole number"),
        ({"prompt": "a", "steps": True}, "steps True is not a whole number"),
        ({"prompt": "a", "steps": "0"}, "steps 0 is below 1; try 1"),
        ({"prompt": "a", "seed": 1.5}, "seed 1.5 is not a whole number"),
        ({"prompt": "a", "seed": "0-20000"}, "are more than 10000"),
        ({"prompt": "a", "count": 0}, "count 0 is not between 1 and 10000"),
        ({"prompt": "a", "count": "2", "seed": "0-3"}, "and 4 seeds say two different numbers"),
        ({"prompt": "a", "size": "big"}, "size 'big' is not a size"),
        ({"prompt": "a", "size": [1, 2]}, "is not a size"),
        ({"prompt": "a", "size": "64", "width": "128"}, "says width and height again"),
        ({"prompt": "a", "verify": "perhaps"}, "is neither yes nor no"),
        ({"prompt": "a", "strength": "0.5"}, "needs a picture to start from"),
    ],
)
def test_a_bad_row_is_said_in_the_usual_words(row: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Asked({}).but(row).requests(0)


def test_defaults_are_refused_for_themselves_alone() -> None:
    with pytest.raises(BadInput, match="--steps 0 is below 1"):
        Asked({"steps": 0}).check()
    Asked({"strength": 0.5}).check()  # a row may bring the picture
