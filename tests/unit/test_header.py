"""Safetensors files, looked at before they are opened: the sound ones are told, the others refused in a sentence."""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from darkroom.checkpoints.header import check_finite, read_header
from darkroom.contracts.errors import BadFile

TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(4, dtype=torch.bfloat16), "c": torch.zeros(0, 3)}
SOUND = save(TENSORS, {"license": "CC0-1.0"})


def made(table: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A file of a header, as text or as what is written so, and bytes."""
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(start: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def test_a_sound_file_is_told_as_it_is(tmp_path: Path) -> None:
    (path := tmp_path / "x.safetensors").write_bytes(SOUND)
    header = read_header(path)
    assert {name: (e.dtype, e.shape) for name, e in header.entries.items()} == {
        "a": ("F32", (2, 3)),
        "b": ("BF16", (4,)),
        "c": ("F32", (0, 3)),
    }
    assert header.metadata == {"license": "CC0-1.0"}
    check_finite(header)


TWICE = (
    b'{"a": {"dtype":"F32","shape":[1],"data_offsets":[0,4]}, "a": {"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is cut short or no safetensors file"),
        (b"\x80\x04\x95", "is cut short or no safetensors file"),
        (SOUND[:30], "is cut short"),
        (SOUND[:-1], "has 24 bytes|is .* bytes long|has .* bytes for"),
        (SOUND + b"\0", r"is \d+ bytes long and its tensors end at \d+"),
        (made({}, length=2**63), "its header is said to have 9223372036854775808 bytes"),
        (made(b"{"), "not valid JSON"),
        (made(b"[" * 100_000), "not valid JSON"),
        (made([]), "not valid JSON"),
        (made(b' {"a": 1}'), "not valid JSON"),
        (made(b'{"__metadata__": {"a": "\\ud800"}}'), "not valid JSON"),
        (made(b'{"a": {"dtype": "F32", "shape": [-0], "data_offsets": [0, 0]}}'), "not valid JSON"),
        (made(b'{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 0]}}'), "not valid JSON"),
        (made(TWICE, b"\0" * 4), "holds the name 'a' twice"),
        (made({"a": entry(0, 4, [1], "F99")}, b"\0" * 4), "unknown number format 'F99'"),
        (made({"a": entry(0, 4, [2])}, b"\0" * 4), r"has 4 bytes for 'a', F32 of shape \(2,\)"),
        (made({"a": entry(0, 8, [1])}, b"\0" * 4), "has 8 bytes for 'a'"),
        (made({"a": entry(4, 8, [1])}, b"\0" * 8), "overlap with others or leave a gap"),
        (made({"a": entry(0, 4, [1]), "b": entry(0, 4, [1])}, b"\0" * 4), "overlap with others"),
        (made({"a": entry(0, 4, [-1])}, b"\0" * 4), "not valid JSON"),
        (made({"a": entry(0, 4, [True])}, b"\0" * 4), "does not say dtype, shape and place"),
        (made({"a": entry(0, 4, [2**40, 2**40])}, b"\0" * 4), "has 4 bytes for 'a'"),
        (made({"a": entry(0, 4, [1] * 400)}, b"\0" * 4), "has 4 bytes for 'a', F32 of shape of 400 sides"),
        (made({"a": {"dtype": "F32"}}), "does not say dtype, shape and place"),
        (made({"__metadata__": {"a": 1}}), "metadata that is not text"),
    ],
)
def test_what_is_not_sound_is_refused_in_a_sentence(data: bytes, said: str, tmp_path: Path) -> None:
    (path := tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(BadFile, match=said) as error:
        read_header(path)
    assert error.value.fix and "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_none_is_found(dtype: torch.dtype, bad: float, tmp_path: Path) -> None:
    tensor = torch.linspace(-1, 1, 1001).to(dtype)
    (path := tmp_path / "x.safetensors").write_bytes(save({"w": tensor}))
    check_finite(read_header(path))
    tensor[700] = bad
    path.write_bytes(save({"ok": torch.ones(2), "w": tensor}))
    with pytest.raises(BadFile, match="not finite in 'w'"):
        check_finite(read_header(path))


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_eight_bits_are_looked_at_too(dtype: torch.dtype, tmp_path: Path) -> None:
    values = torch.arange(256, dtype=torch.uint8).view(dtype)
    finite = values[values.float().isfinite()]
    (path := tmp_path / "x.safetensors").write_bytes(save({"w": finite.clone()}))
    check_finite(read_header(path))
    for bad in values[~values.float().isfinite()]:
        path.write_bytes(save({"w": torch.stack([finite[3], bad])}))
        with pytest.raises(BadFile, match="not finite"):
            check_finite(read_header(path))


def mutations(count: int) -> list[bytes]:
    """Files that were sound: bits flipped, bytes put in, taken out, doubled, cut; mostly in the header."""
    chance, found = random.Random(0), []
    edits: list[Callable[[bytearray, int], None]] = [
        lambda data, at: data.__setitem__(at, data[at] ^ 1 << chance.randrange(8)),
        lambda data, at: data.__setitem__(at, chance.randrange(256)),
        lambda data, at: data.insert(at, chance.choice(b'0123456789"{}[],:-ea')),
        lambda data, at: data.__delitem__(at),
        lambda data, at: data.__setitem__(slice(at, at), data[at : at + chance.randrange(1, 40)]),
        lambda data, at: data.__delitem__(slice(at, None)),
    ]
    for _ in range(count):
        data = bytearray(SOUND)
        for _ in range(chance.choice((1, 1, 2, 4))):
            if data:
                chance.choice(edits)(data, chance.randrange(min(len(data), 260)))
        if chance.random() < 0.5 and len(data) >= 8:  # with a length that fits again
            data[:8] = struct.pack("<Q", max(0, len(data) - 8 - 32))
        found.append(bytes(data))
    return found


@pytest.mark.timeout(900)  # a hundred thousand, in the full form
def test_no_mutation_is_taken_that_the_library_refuses(tmp_path: Path) -> None:
    path, taken = tmp_path / "x.safetensors", 0
    count = 100_000 if os.environ.get("DARKROOM_EXAMPLES") else 3_000
    for data in mutations(count):
        path.write_bytes(data)
        try:
            header = read_header(path)
        except BadFile:
            continue
        taken += 1
        try:
            tensors = load(data)
        except SafetensorError as error:
            raise AssertionError(f"taken, and the library refuses it ({error}): {data!r}") from error
        assert {name: tuple(t.shape) for name, t in tensors.items()} == {n: e.shape for n, e in header.entries.items()}
    assert 0 < taken < count / 2
