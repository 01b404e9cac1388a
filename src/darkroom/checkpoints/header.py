"""What a safetensors file says it holds, checked against what it is.

Eight bytes (little-endian) say how long the header is, the header is a JSON object, and the tensors' bytes follow one
after the other without gaps or overlaps to the end of the file. The library that reads such files lets a name stand
twice, and the last one wins; here that is a fault. Values are looked at too: a weight that is not finite draws nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.contracts.errors import BadFile, reason, shown

AGAIN = "fetch the file again from where it came from"
LARGEST_HEADER = 100_000_000  # bytes; the format's own bound
MOST_DIMENSIONS = 8
LOOKED_AT = 1 << 24  # bytes of values looked at in one go

# Bytes of a value; and of those that can be infinite, the unsigned integer of that length with the exponent's bits set.
BYTES = {
    **{"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E5M2": 1, "F8_E4M3": 1},
    **{"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1},
}
_EXPONENTS = {
    "F64": (np.uint64, 0x7FF0_0000_0000_0000),
    "F32": (np.uint32, 0x7F80_0000),
    "F16": (np.uint16, 0x7C00),
    "BF16": (np.uint16, 0x7F80),
    "F8_E5M2": (np.uint8, 0x7C),
    "F8_E4M3": (np.uint8, 0x7F),  # it has no infinity, and one NaN
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of a file: its number format, its shape, and where its bytes begin and end in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """The tensors of a file, by name, and what else it says of itself."""

    path: Path
    entries: Mapping[str, Entry]
    metadata: Mapping[str, str]


class _Twice(ValueError):
    """A name that stands twice in one object."""


def _whole(text: str) -> int:
    """A number of the header; the format has none below zero, and no minus before a zero."""
    if text.startswith("-"):
        raise ValueError(f"{text} is below zero")
    return int(text)


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")  # NaN and Infinity, which Python would read


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _Twice(name)
        found[name] = value
    return found


def read_header(path: Path) -> Header:
    """The header of a safetensors file. Raises BadFile for one whose header and bytes do not agree."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(LARGEST_HEADER, size - 8):
                raise _fault(path, f"is cut short or no safetensors file: its header is said to have {length} bytes")
            text = file.read(length)
    except OSError as error:
        raise BadFile(f"{path}", f"cannot be read ({reason(error)})", "give a file that can be") from error
    return Header(path, *_parsed(path, text, 8 + length, size))


def _parsed(path: Path, text: bytes, first: int, size: int) -> tuple[dict[str, Entry], dict[str, str]]:
    try:
        said = text.decode("utf-8")
        if not said.startswith("{"):
            raise ValueError("it begins otherwise")
        table = json.loads(said, object_pairs_hook=_once, parse_int=_whole, parse_constant=_constant)
        json.dumps(table, ensure_ascii=False).encode("utf-8")  # halves of characters, written as escapes
    except _Twice as error:
        raise _fault(path, f"holds the name {shown(str(error))} twice") from error
    except (ValueError, RecursionError) as error:
        raise _fault(path, "has a header that is not valid JSON") from error
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _fault(path, "has metadata that is not text")
    entries = {name: _entry(path, name, value, first, size) for name, value in table.items()}
    end = first
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != end:
            raise _fault(path, f"has bytes of {shown(name)} that overlap with others or leave a gap before them")
        end = entry.end
    if end != size:
        raise _fault(path, f"is {size} bytes long and its tensors end at {end}")
    return entries, metadata


def _entry(path: Path, name: str, value: Any, first: int, size: int) -> Entry:
    """One line of the table. Offsets in it count from the end of the header."""
    said = value if isinstance(value, dict) and set(value) == {"dtype", "shape", "data_offsets"} else {}
    dtype, shape, offsets = said.get("dtype"), _wholes(said.get("shape")), _wholes(said.get("data_offsets"))
    if not isinstance(dtype, str) or shape is None or offsets is None or len(offsets) != 2:
        raise _fault(path, f"does not say dtype, shape and place of the tensor {shown(name)}")
    if dtype not in BYTES:
        raise _fault(path, f"has the tensor {shown(name)} in the unknown number format {shown(dtype)}")
    start, end = (first + offset for offset in offsets)
    if len(shape) > MOST_DIMENSIONS or end > size or end - start != math.prod(shape) * BYTES[dtype]:
        raise _fault(path, f"has {end - start} bytes for {shown(name)}, {dtype} of shape {_short(shape)}")
    return Entry(dtype, tuple(shape), start, end)


def _wholes(value: Any) -> list[int] | None:
    """A list of whole numbers from 0; None: it is none."""
    return value if isinstance(value, list) and all(type(n) is int and 0 <= n < 2**63 for n in value) else None


def _short(shape: list[int]) -> str:
    return str(tuple(shape)) if len(shape) <= MOST_DIMENSIONS else f"of {len(shape)} sides"


def shapes_of(headers: Iterable[Header]) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors of several files. Raises BadFile for one that stands in two."""
    shapes: dict[str, tuple[int, ...]] = {}
    for header in headers:
        for tensor, entry in header.entries.items():
            if tensor in shapes:
                rule = f"holds {shown(tensor)}, which another shard holds too"
                raise BadFile(f"{header.path}", rule, "fetch both again")
            shapes[tensor] = entry.shape
    return shapes


def check_finite(header: Header, names: Iterable[str] | None = None) -> None:
    """Raises BadFile with the first tensor that holds NaN or infinity. ``names`` None: all of the file's."""
    for name in header.entries if names is None else names:
        entry = header.entries[name]
        if entry.dtype in _EXPONENTS and not _finite(header.path, entry):
            raise _fault(header.path, f"holds numbers that are not finite in {shown(name)}")


def _finite(path: Path, entry: Entry) -> bool:
    """Whether no value has all bits of its exponent set, which is how NaN and infinity are written (IEEE 754)."""
    kind, bits = _EXPONENTS[entry.dtype]
    step = LOOKED_AT // np.dtype(kind).itemsize
    count = (entry.end - entry.start) // np.dtype(kind).itemsize
    for first in range(0, count, step):
        start = entry.start + first * np.dtype(kind).itemsize
        values = np.fromfile(path, kind, min(step, count - first), offset=start)
        if ((values & kind(bits)) == kind(bits)).any():
            return False
    return True


def _fault(path: Path, rule: str) -> BadFile:
    return BadFile(f"{path}", rule, AGAIN)
