"""Whom a model's makers have to thank, from the ledger on."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

from darkroom.contracts.card import DataSource
from darkroom.contracts.ledger import LedgerRow, write_ledger
from darkroom.training.handover import sources_of


def row(number: int, thanks: str, removed: datetime.date | None = None) -> LedgerRow:
    return LedgerRow(
        id=str(number),
        name="fox",
        source="here",
        licence="CC-BY-4.0",
        attribution=thanks,
        sha256="0" * 64,
        removed=removed,
    )


def test_every_line_of_thanks_is_there_once(tmp_path: Path) -> None:
    rows = [row(0, "Ben"), row(1, "Ann"), row(2, "Ben"), row(3, "Cat", datetime.date(2026, 1, 1))]
    write_ledger(rows, tmp_path / "ledger.jsonl")
    before = tmp_path / "handover"
    before.mkdir()
    (before / "leg.json").write_text(
        json.dumps({"sources": [source("there", "Dan").model_dump(), source("here", "Ann").model_dump()]})
    )
    assert sources_of(tmp_path, before, None) == [source("here", "Ann"), source("here", "Ben"), source("there", "Dan")]


def source(name: str, thanks: str) -> DataSource:
    return DataSource(name=name, licence="CC-BY-4.0", attribution=thanks)


def test_where_nothing_is_told_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "leg.json").write_text(json.dumps({"name": "text"}))
    (tmp_path / "judge").mkdir()
    assert sources_of(tmp_path, tmp_path / "old", tmp_path / "judge") == []
