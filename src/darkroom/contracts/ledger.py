"""The ledger of training pictures: where each came from, under which licence, and whether it was taken back."""

from __future__ import annotations

import datetime
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal

from pydantic import Field

from darkroom.contracts.contract import Contract, Name, Sha256, Text
from darkroom.contracts.errors import BadFile, BadInput, reason
from darkroom.contracts.files import publish

LINE_BYTES = 64 * 1024  # a row is a few hundred bytes


class LedgerRow(Contract):
    """One picture somebody's model may learn from."""

    id: Name = Field(description="The picture's id, unique in its ledger.")
    name: Name = Field(description="What it shows.")
    source: Name = Field(description="The collection it came from.")
    style: Text = Field("", max_length=200, description="Its style within the source; empty: none named.")
    licence: Name = Field(description="Its licence, as an SPDX name where there is one.")
    attribution: Text = Field("", max_length=4000, description="The line of thanks its licence asks for.")
    upstream_path: Text = Field("", max_length=1000, description="Where it lay in the source.")
    sha256: Sha256 = Field(description="SHA-256 of the picture file's bytes.")
    consent: Literal["licence", "given", "asked", "refused"] = Field(
        "licence", description="What allows its use: its licence, or the word of who made or owns it."
    )
    removed: datetime.date | None = Field(None, description="The day it was taken out. None: it is in use.")
    removed_because: Text = Field("", max_length=1000, description="Why it was taken out.")


def write_ledger(rows: Iterable[LedgerRow], path: str | Path) -> Path:
    """Write rows as JSON lines, sorted by id; gzip if the name ends in .gz. Equal rows give equal bytes."""
    ordered = sorted(rows, key=lambda row: row.id)
    for before, after in pairwise(ordered):
        if before.id == after.id:
            raise BadInput(f"id {after.id!r}", "stands twice in the ledger", "give each picture its own id")
    data = "".join(row.to_json() + "\n" for row in ordered).encode()
    if Path(path).suffix == ".gz":
        packed = io.BytesIO()
        with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as file:  # no name, no time: equal bytes
            file.write(data)
        data = packed.getvalue()
    return publish(data, path)


def read_ledger(path: str | Path) -> Iterator[LedgerRow]:
    """The rows of a ledger, one at a time."""
    path = Path(path)
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as lines:
            while line := lines.readline(LINE_BYTES):
                number += 1
                yield LedgerRow.from_json(line.decode())
    except (BadInput, UnicodeDecodeError) as error:
        raise BadFile(f"line {number} of {path}", f"is no ledger row ({error})", "build the ledger again") from error
    except (OSError, EOFError, zlib.error) as error:
        raise BadFile(str(path), f"cannot be read ({reason(error)})", "give a ledger file") from error
