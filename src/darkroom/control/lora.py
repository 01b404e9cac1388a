"""LoRA files: read in the keys of peft and of kohya, written in both, with ModelSpec metadata.

peft names a layer by its path (``transformer.blocks.0.qkv.lora_A.weight``) and keeps alpha in the metadata; kohya joins
the path by underscores (``lora_unet_blocks_0_qkv.lora_down.weight``) and keeps alpha beside it.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from darkroom.contracts.errors import BadFile, reason
from darkroom.contracts.files import publish
from darkroom.control.adapters import Adapter, Branch

MAX_RANK = 1024
PEFT = "lora_adapter_metadata"  # where peft keeps its settings
PARTS = {"transformer": "denoiser", "unet": "denoiser", "denoiser": "denoiser", "text_encoder": "text", "te": "text"}
"""Parts of a model by the names that files have for them."""
_PEFT = re.compile(r"(?:base_model\.model\.)?(\w+?)\.(.+)\.lora_([AB])(?:\.default)?\.weight")
_KOHYA = re.compile(r"lora_(unet|transformer|te|te1|text_encoder)_(.+)\.(lora_down\.weight|lora_up\.weight|alpha)")
Layers = Mapping[str, Mapping[str, tuple[int, int]]]  # part of a model -> its layers, with their widths out and in
Keys = Literal["peft", "kohya"]


class _Half(NamedTuple):
    """What one key of a file names."""

    part: str
    path: str
    side: str  # "down", "up" or "alpha"


def read_lora(path: Path, layers: Layers, dtype: torch.dtype = torch.float32) -> Adapter:
    """Opens a LoRA for a model with these layers.

    Raises BadFile that names the tensors that belong to no layer of the model, or to one of other widths.
    """
    try:
        data = path.read_bytes()
        tensors = load(data)
        with safe_open(path, "pt") as opened:
            metadata: Mapping[str, str] = opened.metadata() or {}
    except OSError as error:
        raise BadFile(f"{path}", f"cannot be read ({reason(error)})", "name a LoRA's safetensors file") from error
    except (SafetensorError, ValueError) as error:
        raise BadFile(f"{path}", f"is no sound safetensors file ({error})", "name a LoRA's safetensors file") from error
    found: dict[tuple[str, str], dict[str, Tensor]] = defaultdict(dict)
    strangers = []
    for key, tensor in sorted(tensors.items()):
        half = _half(key, layers)
        if half is None:
            strangers.append(key)
        else:
            found[half.part, half.path][half.side] = tensor.float()
    if strangers or not found:
        some = ", ".join(strangers[:3]) + (f" and {len(strangers) - 3} more" if len(strangers) > 3 else "")
        rule = f"holds {some or 'nothing'}, which this model has no layers for"
        raise BadFile(f"{path}", rule, "take a LoRA that was trained for this model")
    branches: dict[str, dict[str, Branch]] = defaultdict(dict)
    for (part, layer), halves in found.items():
        branch = _branch(path, f"{part}.{layer}", halves, layers[part][layer], _alpha(metadata, part))
        branches[part][layer] = Branch(branch.down.to(dtype), branch.up.to(dtype))
    return Adapter(path.stem, sha256(data).hexdigest(), branches)


def _half(key: str, layers: Layers) -> _Half | None:
    """What a key names; None: no layer of the model."""
    if match := _PEFT.fullmatch(key):
        part, layer, side = PARTS.get(match[1], ""), match[2], {"A": "down", "B": "up"}[match[3]]
    elif match := _KOHYA.fullmatch(key):
        part, side = PARTS.get(match[1].rstrip("1"), ""), match[3].removeprefix("lora_").removesuffix(".weight")
        layer = next((path for path in layers.get(part, ()) if path.replace(".", "_") == match[2]), "")
    else:
        return None
    return _Half(part, layer, side) if layer in layers.get(part, ()) else None


def _alpha(metadata: Mapping[str, str], part: str) -> float | None:
    """The alpha that peft's settings name for a part of a model; None: they name none."""
    try:
        told: Any = json.loads(metadata.get(PEFT, "{}"))
        names = [name for name, known in PARTS.items() if known == part]
        given = [told[key] for key in ("lora_alpha", *(f"{name}.lora_alpha" for name in names)) if key in told]
        return float(given[-1]) if given else None
    except (ValueError, TypeError):
        return None


def _branch(
    path: Path, layer: str, halves: Mapping[str, Tensor], widths: tuple[int, int], alpha: float | None
) -> Branch:
    down, up = halves.get("down"), halves.get("up")
    if down is None or up is None:
        raise BadFile(f"{path}", f"holds one half of {layer} only", "take the whole file")
    rank = len(down) if down.ndim == 2 else 0
    if not 1 <= rank <= MAX_RANK or down.shape != (rank, widths[1]) or up.shape != (widths[0], rank):
        theirs, ours = f"{tuple(down.shape)} and {tuple(up.shape)}", f"(rank, {widths[1]}) and ({widths[0]}, rank)"
        raise BadFile(
            f"{path}", f"holds {layer} as {theirs}, and this model has it as {ours}", "take one for this model"
        )
    scale = (float(halves["alpha"]) if "alpha" in halves else rank if alpha is None else alpha) / rank
    if not (torch.isfinite(down).all() and torch.isfinite(up).all() and abs(scale) < float("inf")):
        raise BadFile(f"{path}", f"holds numbers that are not finite in {layer}", "take the file anew")
    return Branch(down, up * scale)


def write_lora(
    branches: Mapping[str, Mapping[str, Branch]],
    path: Path,
    *,
    title: str,
    about: Mapping[str, str],
    keys: Keys = "peft",
) -> Path:
    """Writes a LoRA in bf16, with ModelSpec metadata (version 1.0.1); ``about`` are further entries of that."""
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    for part, layers in branches.items():
        name = {"denoiser": ("transformer", "unet"), "text": ("text_encoder", "te")}[part]
        for layer, branch in layers.items():
            rank = ranks[name[0]] = len(branch.down)
            down, up = branch.down.bfloat16().contiguous(), branch.up.bfloat16().contiguous()
            if keys == "peft":
                tensors |= {f"{name[0]}.{layer}.lora_A.weight": down, f"{name[0]}.{layer}.lora_B.weight": up}
            else:
                stem = f"lora_{name[1]}_{layer.replace('.', '_')}"
                tensors |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}
                tensors[f"{stem}.alpha"] = torch.tensor(float(rank))
    metadata = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "darkroom/lora",
        "modelspec.implementation": "darkroom",
        "modelspec.title": title,
        **{f"modelspec.{name}": text for name, text in about.items()},
    }
    if keys == "peft":
        told = {f"{name}.{key}": rank for name, rank in ranks.items() for key in ("r", "lora_alpha")}
        metadata[PEFT] = json.dumps(told)
    return publish(save(tensors, metadata), path)
