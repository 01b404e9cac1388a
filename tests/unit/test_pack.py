"""Reading a data pack, whole and damaged."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkroom.data.stock.pack import COLOURLESS, STYLES, TABLES, Pack, PackError
from tests.tiny_pack import drawing, row, write_pack

RED, BLUE = (200, 40, 20), (20, 40, 200)


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    pictures = [
        (row("first"), drawing(RED, (10, 20, 50, 100))),
        (row("second", style="flat"), drawing(BLUE, (0, 0, 64, 128))),
    ]
    return Pack(write_pack(tmp_path / "pack", "sprites", pictures))


def test_rows_come_in_order_with_their_columns(pack: Pack) -> None:
    first, second = pack.rows("sprites")
    assert (first["name"], first["style"], second["name"], second["style"]) == ("first", "3d", "second", "flat")
    assert first["licence"] == "MIT" and first["shard"] == "sprites/sprites-000.tar"


def test_each_row_reads_its_own_picture(pack: Pack) -> None:
    first, second = pack.rows("sprites")
    assert np.array_equal(pack.picture(first), drawing(RED, (10, 20, 50, 100)))
    assert np.array_equal(pack.picture(second), drawing(BLUE, (0, 0, 64, 128)))
    assert pack.encoded(second)[:4] == b"RIFF" and len(pack.encoded(second)) == second["size"]
    assert pack.picture(first, "RGB").shape == (128, 128, 3)


def test_photos_are_the_middle_square(tmp_path: Path) -> None:
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, 30:70] = (250, 0, 0)  # the middle square is all red
    tall = np.zeros((90, 30, 3), np.uint8)
    tall[30:60] = (0, 250, 0)
    source = write_pack(tmp_path / "pack", "photos", [(row("wide"), wide), (row("tall"), tall)])
    red, green = (Pack(source).square(photo, 16) for photo in Pack(source).rows("photos"))
    assert red.shape == green.shape == (16, 16, 3) and red.dtype == np.uint8
    assert (red[..., 0] > 230).all() and not red[..., 1:].any()  # the edge may know a little of what lies beyond
    assert (green[..., 1] > 230).all() and not green[..., ::2].any()


# -- what may be wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
def test_a_folder_that_is_no_pack_says_so(tmp_path: Path, table: str) -> None:
    with pytest.raises(PackError, match=rf"is not a data pack: {table}.jsonl.gz is missing; .*--source") as caught:
        Pack(tmp_path).rows(table)
    assert str(tmp_path) in str(caught.value)


def spoiled(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[: len(data) // 2], id="cut short"),
        pytest.param(lambda data: data[:-6], id="without its checksum"),
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: gzip.compress(b""), id="no rows"),
        pytest.param(lambda data: b"no gzip at all", id="no gzip"),
        pytest.param(lambda data: spoiled(data, 0), id="header"),
        pytest.param(lambda data: spoiled(data, len(data) - 6), id="checksum"),
        pytest.param(lambda data: data[:10] + b"\xff" * 30 + data[40:], id="stream"),
        pytest.param(lambda data: gzip.compress(b'{"id": '), id="JSON"),
        pytest.param(lambda data: gzip.compress(b'{"id": "\xff"}\n'), id="UTF-8"),
    ],
)
def test_a_damaged_table_is_named(pack: Pack, damage: Any) -> None:
    path = pack.root / "sprites.jsonl.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(PackError, match=r"sprites\.jsonl\.gz is damaged \(.+\); copy the data pack again"):
        pack.rows("sprites")


def test_any_flipped_byte_is_an_error_or_harmless(pack: Pack) -> None:
    """Never another kind of error, and never other rows."""
    path, rows = pack.root / "sprites.jsonl.gz", pack.rows("sprites")
    data = path.read_bytes()
    refused = 0
    for position in range(0, len(data), 3):
        path.write_bytes(spoiled(data, position))
        try:
            assert pack.rows("sprites") == rows  # time and file name in the header mean nothing
        except PackError:
            refused += 1
    assert refused > len(data) // 3 * 0.7


@pytest.mark.parametrize("shard", ["../outside.tar", "/etc/hostname", "sprites/../../outside.tar", "link/outside.tar"])
def test_a_row_cannot_point_outside_the_pack(pack: Pack, shard: str) -> None:
    outside = pack.root.parent / "outside.tar"
    outside.write_bytes(b"secret" * 100)
    (pack.root / "link").symlink_to(pack.root.parent)
    with pytest.raises(PackError, match="row fluent-3d-first points outside the data pack") as caught:
        pack.encoded({**pack.rows("sprites")[0], "shard": shard})
    assert shard in str(caught.value)


def test_a_missing_or_short_shard_is_named(pack: Pack) -> None:
    first, second = pack.rows("sprites")
    shard = pack.root / first["shard"]
    data = shard.read_bytes()
    shard.write_bytes(data[: second["offset"] + 20])
    assert pack.encoded(first)
    with pytest.raises(
        PackError, match=r"sprites-000\.tar ends before row fluent-flat-second does; copy the data pack"
    ):
        pack.encoded(second)
    shard.unlink()
    with pytest.raises(PackError, match=r"row fluent-3d-first cannot be read \(.*\); copy the data pack again"):
        pack.encoded(first)


def test_a_damaged_picture_is_named(pack: Pack) -> None:
    first, second = pack.rows("sprites")
    shard = pack.root / first["shard"]
    data = bytearray(shard.read_bytes())
    data[first["offset"] : first["offset"] + 30] = b"x" * 30
    shard.write_bytes(bytes(data))
    with pytest.raises(PackError, match="the picture of row fluent-3d-first is damaged"):
        pack.picture(first)
    assert pack.picture(second).any()


def test_damaged_photos_are_named(tmp_path: Path) -> None:
    source = write_pack(tmp_path / "pack", "photos", [(row("photo"), np.full((40, 40, 3), 9, np.uint8))])
    [photo] = Pack(source).rows("photos")
    cut = {**photo, "offset": photo["offset"] + 7, "size": photo["size"] - 7}
    with pytest.raises(PackError, match="the picture of row fluent-3d-photo is damaged"):
        Pack(source).square(cut, 16)


# -- the styles ----------------------------------------------------------------------------------------------------


def test_every_drawing_style_has_one_word() -> None:
    pairs = [pair for pairs in STYLES.values() for pair in pairs]
    assert len(set(pairs)) == len(pairs)
    assert set(STYLES) >= COLOURLESS
    assert ("fluent", "colour-gradient") not in pairs  # it looks like 3d


@pytest.mark.datapack
def test_the_real_pack_is_readable_and_has_every_style(data_pack: Path) -> None:
    pack = Pack(data_pack)
    rows = pack.rows("sprites")
    assert len(rows) > 10_000
    assert {pair for pairs in STYLES.values() for pair in pairs} <= {(row["source"], row["style"]) for row in rows}
    assert all(row["licence"] and row["attribution"] for row in rows)
    for row_ in rows[::1500]:
        assert pack.picture(row_).shape == (128, 128, 4)
