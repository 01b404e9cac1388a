"""Where the pictures of a leg came from, on their way from a data folder's ledger to a model's card."""

from __future__ import annotations

from pathlib import Path

from darkroom.contracts.card import DataSource
from darkroom.contracts.ledger import read_ledger
from darkroom.data.stock.built import LEDGER
from darkroom.model import CARD
from darkroom.training.handover import LEG, leg_of


def sources_of(data: Path, *before: Path | None) -> list[DataSource]:
    """Sources, licences and lines of thanks of a data folder and of hand-overs that a leg builds on, each once."""
    ledger = data / LEDGER
    rows = [row for row in read_ledger(ledger) if row.removed is None] if ledger.exists() else []
    found = {DataSource(name=row.source, licence=row.licence, attribution=row.attribution) for row in rows}
    for folder in before:
        if folder is not None and any((folder / name).exists() for name in (LEG, CARD)):  # not a packed judge
            found.update(DataSource(**told) for told in leg_of(folder).get("sources", ()))
    return sorted(found, key=lambda source: (source.name, source.licence, source.attribution))
