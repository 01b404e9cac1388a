"""An excerpt of a data pack: the pictures training reads and no others, small enough to travel to another machine."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from darkroom.data import shards
from darkroom.data.pack import Pack


def excerpt(pack: Pack, out: Path, photos: int) -> dict[str, int]:
    """Writes a pack of the core vocabulary's drawings and at most so many photos; returns pictures by table.

    Pictures are copied byte for byte; ``darkroom data build --source`` reads the excerpt as it reads the pack.
    """
    tables: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row, _, _, tone in shards.wanted_rows(pack):
        tables["sprites" if tone is None else "sprites_tones"].append(row)
    if photos and pack.has("photos"):
        kept = [row for row in pack.rows("photos") if row["split"] != "test"]
        every = -(-len(kept) // photos)
        tables["photos"] = kept[::every]
    out.mkdir(parents=True, exist_ok=True)
    for table, rows in tables.items():
        shard = f"{table}.tar"
        copied = []
        with tarfile.open(out / shard, "w") as tar:
            for row in rows:
                data = pack.encoded(row)
                info = tarfile.TarInfo(row["member"])
                info.size = len(data)
                copied.append({**row, "shard": shard, "offset": tar.offset + tarfile.BLOCKSIZE})
                tar.addfile(info, io.BytesIO(data))
        with gzip.open(out / f"{table}.jsonl.gz", "wt", encoding="utf-8") as lines:
            lines.writelines(json.dumps(row) + "\n" for row in copied)
    return {table: len(rows) for table, rows in tables.items()}
