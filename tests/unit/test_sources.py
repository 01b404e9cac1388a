"""A folder of pictures and captions: three layouts, one kind of row, nothing read from outside."""

from __future__ import annotations

import hashlib
import json
import os
import random
from pathlib import Path

import pytest

from darkroom.contracts.errors import BadInput
from darkroom.contracts.ledger import read_ledger, write_ledger
from darkroom.contracts.prompt import MAX_TEXT
from darkroom.data import sources
from darkroom.data.sources import Example, FolderListing, ledger_of, read_folder


def put(folder: Path, name: str, data: bytes | str = b"") -> Path:
    """Writes a file; listing never decodes, so any bytes stand for a picture."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data or name.encode())
    return path


def rows(*entries: object) -> str:
    return "\n".join(entry if isinstance(entry, str) else json.dumps(entry) for entry in entries)


def captions(listing: FolderListing) -> dict[str, str]:
    return {example.id: example.caption for example in listing.examples}


def found(listing: FolderListing) -> list[tuple[str, str]]:
    """The problems, without the warnings that most of these folders give."""
    return [(p.kind, p.path) for p in listing.problems if p.kind != "licence"]


def test_name_txt_beside_name_jpg(tmp_path):
    put(tmp_path, "fox.jpg", b"fox")
    put(tmp_path, "fox.txt", b"\xef\xbb\xbfa red fox,\r\n  in the\tsnow\r\n")
    put(tmp_path, "sub/Owl.PNG")
    put(tmp_path, "sub/Owl.txt", "eine Eule — 梟")
    put(tmp_path, "bare.webp")
    put(tmp_path, "README.txt", "not a caption")
    listing = read_folder(tmp_path)
    assert listing.layout == "sidecar"
    assert captions(listing) == {"bare.webp": "", "fox.jpg": "a red fox, in the snow", "sub/Owl.PNG": "eine Eule — 梟"}
    assert found(listing) == []
    assert listing.examples[1] == Example(
        id="fox.jpg",
        path=tmp_path.resolve() / "fox.jpg",
        caption="a red fox, in the snow",
        licence="unknown",
        attribution="",
        source=tmp_path.name,
        style=None,
        sha256=hashlib.sha256(b"fox").hexdigest(),
    )


def test_json_lines(tmp_path):
    put(tmp_path, "a.jpg")
    put(tmp_path, "b b.jpg")
    put(tmp_path, "c.jpg")
    first = {
        "file_name": "a.jpg",
        "text": "a",
        "licence": "CC0-1.0",
        "attribution": "Ann",
        "source": "s",
        "style": "3d",
    }
    text = rows(
        first, "", {"file_name": "b b.jpg", "text": "b", "license": "MIT", "extra": [1]}, {"file_name": "c.jpg"}
    )
    put(tmp_path, "metadata.jsonl", b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    listing = read_folder(tmp_path)
    assert listing.layout == "metadata"
    told = [(e.id, e.caption, e.licence, e.attribution, e.source, e.style) for e in listing.examples]
    assert told == [
        ("a.jpg", "a", "CC0-1.0", "Ann", "s", "3d"),
        ("b b.jpg", "b", "MIT", "", tmp_path.name, None),
        ("c.jpg", "", "unknown", "", tmp_path.name, None),
    ]
    assert [(p.kind, p.path) for p in listing.problems] == [("licence", "c.jpg")]


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_csv_in_the_spellings_spreadsheets_write(tmp_path, bom, end):
    put(tmp_path, "a.jpg")
    put(tmp_path, "sub/b.jpg")
    lines = ["file_name, text,licence", 'a.jpg,"red fox, ""sly"", snow",MIT', "", "sub/b.jpg,Füchsin,Unknown", ""]
    put(tmp_path, "metadata.csv", bom + end.join(lines).encode())
    listing = read_folder(tmp_path)
    assert captions(listing) == {"a.jpg": 'red fox, "sly", snow', "sub/b.jpg": "Füchsin"}
    assert [example.licence for example in listing.examples] == ["MIT", "unknown"]
    assert found(listing) == []


def test_class_folders(tmp_path):
    for name in ("red_fox/1.jpg", "red_fox/2.jpg", "animals/barn owl/1.jpg", "top.jpg"):
        put(tmp_path, name)
    listing = read_folder(tmp_path)
    assert listing.layout == "classes"
    assert captions(listing) == {
        "animals/barn owl/1.jpg": "barn owl",
        "red_fox/1.jpg": "red fox",
        "red_fox/2.jpg": "red fox",
        "top.jpg": "",
    }


def test_the_layouts_give_equal_rows(tmp_path):
    listings = []
    for layout in ("jsonl", "csv", "txt", "class"):
        root = tmp_path / layout / "pets"
        put(root, "fox/1.jpg")
        if layout == "jsonl":
            put(root, "metadata.jsonl", rows({"file_name": "fox/1.jpg", "text": "fox"}))
        elif layout == "csv":
            put(root, "fox/metadata.csv", "text,file_name\nfox,1.jpg\n")  # further down, relative to itself
        elif layout == "txt":
            put(root, "fox/1.txt", "fox")
        told = [(e.id, e.caption, e.licence, e.source, e.style, e.sha256) for e in read_folder(root).examples]
        listings.append(told)
    assert listings[0][0][:2] == ("fox/1.jpg", "fox")
    assert all(listing == listings[0] for listing in listings)


def test_a_caption_file_without_a_picture_is_named(tmp_path):
    for name in ("fox.jpg", "fox.txt", "owl.txt", "sub/ant.txt", "old.tif", "old.txt", "LICENSE.txt"):
        put(tmp_path, name, "words")
    assert found(read_folder(tmp_path)) == [("format", "old.tif"), ("missing", "owl.txt"), ("missing", "sub/ant.txt")]


def test_the_caption_of_a_row_may_be_called_so(tmp_path):
    put(tmp_path, "a.jpg")
    put(tmp_path, "b.jpg")
    lines = ({"file_name": "a.jpg", "caption": "a fox"}, {"file_name": "b.jpg", "caption": "owl", "text": "an owl"})
    put(tmp_path, "metadata.jsonl", rows(*lines))
    assert captions(read_folder(tmp_path)) == {"a.jpg": "a fox", "b.jpg": "an owl"}


def test_a_table_may_add_licences_to_caption_files_and_its_own_text_comes_first(tmp_path):
    for name in ("a", "b"):
        put(tmp_path, f"{name}.jpg")
        put(tmp_path, f"{name}.txt", f"{name} from its file")
    put(tmp_path, "metadata.csv", "file_name,licence,text\na.jpg,MIT,\nb.jpg,MIT,b from the table\n")
    told = [(example.caption, example.licence) for example in read_folder(tmp_path).examples]
    assert told == [("a from its file", "MIT"), ("b from the table", "MIT")]


def test_order_does_not_depend_on_how_files_were_made(tmp_path):
    names = [f"{folder}/{n}.jpg" for folder in ("a", "a.b", "b/c") for n in range(12)]
    listings = []
    for seed in range(3):
        root = tmp_path / str(seed) / "root"
        for name in random.Random(seed).sample(names, len(names)):
            put(root, name)
        listings.append([(e.id, e.caption, e.sha256) for e in read_folder(root).examples])
    assert [row[0] for row in listings[0]] == sorted(names)
    assert listings[0] == listings[1] == listings[2]


HOSTILE = [
    "../secret.jpg",
    "sub/../../secret.jpg",
    "..\\secret.jpg",
    "{outside}",
    "C:\\secret.jpg",
    "\\\\host\\s\\a.jpg",
]


@pytest.mark.parametrize("table", ["metadata.jsonl", "metadata.csv", "sub/metadata.jsonl"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_name_is_named_and_not_followed(tmp_path, name, table):
    outside = put(tmp_path, "secret.jpg")
    name = name.format(outside=outside)
    root = tmp_path / "root"
    put(root, "good.jpg")
    text = f'file_name,text\n"{name}",x\n' if table.endswith("csv") else rows({"file_name": name, "text": "x"})
    put(root, table, text)
    listing = read_folder(root)
    assert captions(listing) == {"good.jpg": ""}
    assert found(listing) == [("outside", table)]


def test_dots_that_stay_inside_are_refused_too_and_plain_dots_are_not(tmp_path):
    put(tmp_path, "a.jpg")
    put(tmp_path, "sub/b..c.jpg")
    names = ["sub/../a.jpg", "./a.jpg", "sub/./b..c.jpg"]
    put(tmp_path, "metadata.jsonl", rows(*({"file_name": name, "text": name} for name in names)))
    listing = read_folder(tmp_path)
    assert captions(listing) == {"a.jpg": "./a.jpg", "sub/b..c.jpg": "sub/./b..c.jpg"}
    assert found(listing) == [("outside", "metadata.jsonl")]


def test_links_out_are_refused_whatever_they_are(tmp_path):
    outside, root = tmp_path / "outside", tmp_path / "root"
    put(outside, "p.jpg")
    secret = put(outside, "secret.txt", "the secret")
    put(outside, "metadata.jsonl", rows({"file_name": "a.jpg", "text": "the secret"}))
    put(root, "a.jpg")
    put(root, "real/b.jpg")
    (root / "a.txt").symlink_to(secret)
    (root / "p.jpg").symlink_to(outside / "p.jpg")
    (root / "folder").symlink_to(outside, target_is_directory=True)
    (root / "metadata.jsonl").symlink_to(outside / "metadata.jsonl")
    (root / "up").symlink_to("..", target_is_directory=True)
    (root / "inside.jpg").symlink_to("real", target_is_directory=True)
    (root / "again.jpg").symlink_to("real/b.jpg")
    (root / "loop.jpg").symlink_to("loop.jpg")
    listing = read_folder(root)
    assert captions(listing) == {"a.jpg": "", "again.jpg": "", "real/b.jpg": "real"}
    out = ["a.txt", "folder", "metadata.jsonl", "p.jpg", "up"]
    assert sorted(found(listing)) == [("missing", "loop.jpg")] + [("outside", name) for name in out]
    assert "secret" not in repr(listing)


def test_a_link_to_the_folder_itself_is_followed(tmp_path):
    put(tmp_path, "real/a.jpg")
    (tmp_path / "link").symlink_to("real", target_is_directory=True)
    assert captions(read_folder(tmp_path / "link")) == {"a.jpg": ""}


@pytest.mark.timeout(20)
def test_a_pipe_does_not_hang_the_listing(tmp_path):
    put(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "metadata.jsonl")
    listing = read_folder(tmp_path)
    assert captions(listing) == {"a.jpg": ""}
    assert found(listing) == [("unreadable", "metadata.jsonl"), ("unreadable", "pipe.jpg")]


BAD_ROWS = {
    "not json": ("{file_name: 1}", "metadata"),
    "a list": ('["a.jpg"]', "metadata"),
    "nested": ("[" * 100_000, "metadata"),
    "digits": ('{"file_name": ' + "1" * 5000 + "}", "metadata"),
    "no name": ('{"text": "x"}', "metadata"),
    "number": ('{"file_name": "b.jpg", "text": 5}', "metadata"),
    "surrogate": ('{"file_name": "b.jpg", "text": "\\ud800"}', "metadata"),
    "too long": (json.dumps({"file_name": "b.jpg", "text": "x" * (MAX_TEXT + 1)}), "metadata"),
    "long licence": (json.dumps({"file_name": "b.jpg", "licence": "x" * 201}), "metadata"),
    "listed twice": ('{"file_name": "a.jpg", "text": "other"}', "metadata"),
    "missing": ('{"file_name": "none.jpg", "text": "x"}', "missing"),
    "other case": ('{"file_name": "A.jpg", "text": "x"}', "missing"),
    "NUL": ('{"file_name": "a.jpg\\u0000", "text": "x"}', "missing"),
    "folder": ('{"file_name": "sub", "text": "x"}', "missing"),
    "no picture": ('{"file_name": "notes.md", "text": "x"}', "format"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_is_named_by_its_line_and_the_others_are_read(tmp_path, case):
    line, kind = BAD_ROWS[case]
    for name in ("a.jpg", "b.jpg", "c.jpg", "sub/d.jpg", "notes.md"):
        put(tmp_path, name)
    text = rows({"file_name": "a.jpg", "text": "first"}, line, {"file_name": "c.jpg", "text": "last"})
    put(tmp_path, "metadata.jsonl", text)
    listing = read_folder(tmp_path)
    assert captions(listing) == {"a.jpg": "first", "b.jpg": "", "c.jpg": "last", "sub/d.jpg": ""}
    assert found(listing) == [(kind, "metadata.jsonl")]
    problem = next(p for p in listing.problems if p.kind == kind)
    assert problem.detail.startswith("line 2: ")
    assert problem.fix
    assert len(problem.detail) < 200


def test_bytes_that_are_no_utf8_cost_one_row(tmp_path):
    for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg"):
        put(tmp_path, name)
    put(tmp_path, "metadata.csv", b"file_name,text\na.jpg,F\xfcchsin\nb.jpg,vixen\n")
    put(tmp_path, "metadata.jsonl", b'{"file_name": "c.jpg", "text": "F\xfc"}\n{"file_name": "d.jpg", "text": "kit"}')
    listing = read_folder(tmp_path)
    assert captions(listing) == {"a.jpg": "", "b.jpg": "vixen", "c.jpg": "", "d.jpg": "kit"}
    assert found(listing) == [("metadata", "metadata.csv"), ("metadata", "metadata.jsonl")]


@pytest.mark.parametrize(
    ("text", "line", "kept"),
    [
        ("file_name,text\na.jpg,a fox, running\nb.jpg,owl\n", "line 2: has 3 columns", {"a.jpg": "", "b.jpg": "owl"}),
        ('file_name,text\na.jpg,"fox"es\nb.jpg,owl\n', "line 2: ", {"a.jpg": "", "b.jpg": "owl"}),
        ('file_name,text\na.jpg,fox\nb.jpg,"owl\n', "line 3: ", {"a.jpg": "fox", "b.jpg": ""}),
        ("file_name;text\na.jpg;fox\n", "line 1: the first line is", {"a.jpg": "", "b.jpg": ""}),
        ("name,text\na.jpg,fox\n", "line 1: the first line is", {"a.jpg": "", "b.jpg": ""}),
    ],
)
def test_broken_tables(tmp_path, text, line, kept):
    put(tmp_path, "a.jpg")
    put(tmp_path, "b.jpg")
    put(tmp_path, "metadata.csv", text)
    listing = read_folder(tmp_path)
    assert captions(listing) == kept
    assert found(listing) == [("metadata", "metadata.csv")]
    assert listing.problems[0].detail.startswith(line)


@pytest.mark.parametrize("data", [b"\xff\xfef\0o\0x\0", b"x" * (MAX_TEXT + 1), b" " * 200_000 + b"fox"])
def test_a_caption_file_that_cannot_be_used_leaves_its_picture_out(tmp_path, data):
    put(tmp_path, "a.jpg")
    put(tmp_path, "a.txt", data)
    put(tmp_path, "b.jpg")
    put(tmp_path, "b.txt", "x" * MAX_TEXT)
    listing = read_folder(tmp_path)
    assert captions(listing) == {"b.jpg": "x" * MAX_TEXT}
    assert found(listing) == [("metadata", "a.txt")]


def test_control_characters_in_captions_are_spaces(tmp_path):
    put(tmp_path, "a.jpg")
    put(tmp_path, "a.txt", "red\0fox\x1b[31m\x85in\u2028snow")
    assert captions(read_folder(tmp_path)) == {"a.jpg": "red fox [31m in snow"}


def test_sizes_are_bounded(tmp_path, monkeypatch):
    put(tmp_path, "a.jpg")
    deep = "/".join(["d" * 199] * 5)
    put(tmp_path, f"{deep}/b.jpg")
    put(tmp_path, "metadata.jsonl", rows({"file_name": "a.jpg", "text": "fox"}, "x" * 100))
    monkeypatch.setattr(sources, "LINE_BYTES", 99)
    listing = read_folder(tmp_path)
    assert captions(listing) == {"a.jpg": "fox"}
    assert found(listing) == [("unreadable", f"{deep}/b.jpg"), ("metadata", "metadata.jsonl")]
    assert "longer than 99 bytes" in listing.problems[1].detail
    monkeypatch.setattr(sources, "METADATA_BYTES", 99)
    listing = read_folder(tmp_path)
    assert captions(listing) == {"a.jpg": ""}
    assert "is larger than" in listing.problems[1].detail


def test_names_that_no_report_could_print(tmp_path):
    put(tmp_path, "a\nb.jpg")
    put(tmp_path, "c\x1b[31m.jpg")
    put(tmp_path, "shot\u202f5 \u200d🦊.jpg")  # what macOS and phones do write
    with open(os.fsencode(tmp_path) + b"/d\xff.jpg", "wb") as file:
        file.write(b"x")
    listing = read_folder(tmp_path)
    assert captions(listing) == {"shot\u202f5 \u200d🦊.jpg": ""}
    assert found(listing) == [("unreadable", name) for name in ("a\\nb.jpg", "c\\x1b[31m.jpg", "d\\udcff.jpg")]
    json.dumps([p.path for p in listing.problems], ensure_ascii=False).encode()


def test_what_is_not_read_is_named_and_what_is_no_picture_is_not(tmp_path):
    for name in ("a.jpg", "b.TIFF", "c.svg", "d.parquet", "e.tar", ".hidden.jpg", ".git/x.jpg", "__MACOSX/a.jpg"):
        put(tmp_path, name)
    for name in ("README.md", "Thumbs.db", "licence.pdf"):
        put(tmp_path, name)
    listing = read_folder(tmp_path)
    assert captions(listing) == {"a.jpg": ""}
    assert found(listing) == [("format", name) for name in ("b.TIFF", "c.svg", "d.parquet", "e.tar")]


def test_no_folder_is_an_error_and_an_empty_one_a_problem(tmp_path):
    with pytest.raises(BadInput, match="does not exist"):
        read_folder(tmp_path / "none")
    with pytest.raises(BadInput, match="is not a folder"):
        read_folder(put(tmp_path, "file/a.jpg"))
    (tmp_path / "empty").mkdir()
    assert found(read_folder(tmp_path / "empty")) == [("empty", ".")]


def test_progress_counts_to_the_end(tmp_path):
    for n in range(3):
        put(tmp_path, f"{n}.jpg")
    calls = []
    read_folder(tmp_path, lambda *call: calls.append(call))
    assert calls == [("list", 1, 3), ("list", 2, 3), ("list", 3, 3)]


def test_the_ledger_is_written_and_read_back(tmp_path):
    root = tmp_path / "pets"
    put(root, "fox.jpg", b"fox")
    put(root, "bare.jpg")
    deep = "/".join(["d" * 100] * 3) + "/owl.jpg"
    put(root, deep)
    entries = [
        {"file_name": "fox.jpg", "text": "a fox " * 100, "licence": "CC-BY-4.0", "attribution": "Ann", "style": "3d"},
        {"file_name": deep, "text": "an owl"},
    ]
    put(root, "metadata.jsonl", rows(*entries))
    listing = read_folder(root)
    ledger = ledger_of(listing.examples)
    assert list(read_ledger(write_ledger(ledger, tmp_path / "ledger.jsonl"))) == sorted(ledger, key=lambda row: row.id)
    bare, owl, fox = ledger
    assert (fox.id, fox.licence, fox.attribution, fox.source, fox.style) == (
        "fox.jpg",
        "CC-BY-4.0",
        "Ann",
        "pets",
        "3d",
    )
    assert (fox.sha256, fox.upstream_path) == (hashlib.sha256(b"fox").hexdigest(), "fox.jpg")
    assert fox.name.startswith("a fox a fox") and fox.name.endswith("…") and len(fox.name) == 200
    assert (bare.name, bare.licence, bare.style) == ("bare", "unknown", "")
    assert (len(owl.id), owl.upstream_path, owl.name) == (200, deep, "an owl")
    assert owl.id.endswith(owl.sha256)
