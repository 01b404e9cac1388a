"""Tables of pictures on disk: one uint8 tensor and a line of JSON for each of its rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from darkroom.contracts.files import publish
from darkroom.data.stock.pack import PackError

R = TypeVar("R")


def save(rows: Iterable[Any], pixels: Tensor, folder: Path, name: str) -> None:
    """Writes ``name``.safetensors and ``name``.json into a folder; rows are dataclasses."""
    folder.mkdir(parents=True, exist_ok=True)
    publish(save_tensors({"pixels": pixels.cpu().contiguous()}), folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps([asdict(row) for row in rows], indent=0))


def load(folder: Path, name: str, row: Callable[[dict[str, Any]], R]) -> tuple[tuple[R, ...], Tensor]:
    """Reads what :func:`save` wrote; ``row`` makes a row of its JSON.

    Raises PackError when a file is missing or damaged.
    """
    try:
        rows = tuple(row(told) for told in json.loads((folder / f"{name}.json").read_text()))
        with safe_open(folder / f"{name}.safetensors", framework="pt") as file:
            pixels = file.get_tensor("pixels")
    except FileNotFoundError as error:
        raise PackError(
            f"{folder} holds no {name} ({error}); run `darkroom data build --source PACK --out {folder}`"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise PackError(f"the {name} in {folder} are damaged ({error}); run `darkroom data build` again") from error
    if len(rows) != len(pixels):
        raise PackError(f"{folder} names {len(rows)} {name} but holds {len(pixels)}; run `darkroom data build` again")
    return rows, pixels


def exists(folder: Path, name: str) -> bool:
    """Whether a folder holds the table."""
    return (folder / f"{name}.json").exists()


def forget(folder: Path, name: str) -> None:
    """Removes the table's two files from a folder."""
    for ending in ("json", "safetensors"):
        (folder / f"{name}.{ending}").unlink(missing_ok=True)
