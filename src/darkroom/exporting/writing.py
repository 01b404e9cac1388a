"""The files of an exported folder: weights with what they are in their metadata, settings, and a README."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from darkroom.contracts.errors import BadInput
from darkroom.contracts.files import publish

Say = Callable[[str], None]
MODELSPEC = "1.0.1"  # the version of https://github.com/Stability-AI/ModelSpec that is written
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def in_format(tensors: Mapping[str, Tensor], dtype: torch.dtype, whose: str) -> dict[str, Tensor]:
    """Tensors in a number format; whole numbers stay. Raises BadInput where one is too large for it."""
    found = {}
    for name, tensor in tensors.items():
        found[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
        if tensor.is_floating_point() and not torch.isfinite(found[name]).all():
            kind = next(kind for kind, known in DTYPES.items() if known == dtype)
            rule = f"holds numbers in {name} that are too large for {kind}"
            raise BadInput(whose, rule, "export it as bf16 or fp32 (--dtype)")
    return found


def write_weights(tensors: Mapping[str, Tensor], path: Path, about: Mapping[str, str]) -> Path:
    """A safetensors file of tensors by their names, with ModelSpec metadata.

    ``about`` holds its entries, and others by names with a dot. Raises OSError where it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    mode = path.stat().st_mode  # as the user's other files have it; the library would keep it to its owner
    metadata = {"format": "pt", "modelspec.sai_model_spec": MODELSPEC, "modelspec.implementation": "darkroom"}
    metadata |= {name if "." in name else f"modelspec.{name}": text for name, text in about.items() if text}
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)
    except SafetensorError as error:  # which has no number of the system's but in its words
        number = re.search(r"os error (\d+)", str(error))
        code = int(number[1]) if number else errno.EIO
        raise OSError(code, os.strerror(code)) from error
    path.chmod(mode)
    return path


def write_json(table: Mapping[str, Any], path: Path) -> Path:
    """A JSON file, readable by people. Raises CannotWrite."""
    return publish((json.dumps(table, indent=2, ensure_ascii=False) + "\n").encode(), path)


def write_readme(front: Mapping[str, str], body: str, path: Path) -> Path:
    """A README whose front matter programs read: name and value, a line each. Raises CannotWrite."""
    lines = [f"{name}: {value}" for name, value in front.items() if value]
    return publish(("---\n" + "\n".join(lines) + f"\n---\n{body}").encode(), path)
