"""A data pack of a few small pictures, written as the real one is: a tar of pictures and a gzip table beside it."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def drawing(colour: tuple[int, int, int], box: tuple[int, int, int, int], side: int = 128) -> np.ndarray:
    """A filled box of one colour on nothing, RGBA (side, side, 4)."""
    rgba = np.zeros((side, side, 4), np.uint8)
    x0, y0, x1, y1 = box
    rgba[y0:y1, x0:x1] = (*colour, 255)
    return rgba


def row(name: str, source: str = "fluent", style: str = "3d", **more: Any) -> dict[str, Any]:
    """The columns of a picture that do not depend on where its bytes lie."""
    about = {"licence": "MIT", "attribution": "Nobody, MIT", "original_path": f"art/{name}.svg"}
    return {"id": f"{source}-{style}-{name}", "name": name, "source": source, "style": style, **about, **more}


def write_pack(folder: Path, table: str, pictures: Iterable[tuple[Mapping[str, Any], np.ndarray]]) -> Path:
    """Writes one table of a pack: its rows, and their pictures as lossless WebP in one tar."""
    (folder / table).mkdir(parents=True)
    shard = f"{table}/{table}-000.tar"
    rows = []
    with tarfile.open(folder / shard, "w") as tar:
        for about, pixels in pictures:
            encoded = io.BytesIO()
            Image.fromarray(pixels).save(encoded, "WEBP", lossless=True, exact=True)
            info = tarfile.TarInfo(f"{about['id']}.webp")
            info.size = encoded.tell()
            rows.append({**about, "shard": shard, "member": info.name, "offset": tar.offset + 512, "size": info.size})
            tar.addfile(info, io.BytesIO(encoded.getvalue()))
    write_table(folder, table, rows)
    return folder


def write_table(folder: Path, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a table's rows alone."""
    with gzip.open(folder / f"{table}.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
