"""LoRA files: read in the keys of peft and of kohya, written in both, with ModelSpec metadata.

peft names a layer by its path (``transformer.blocks.0.qkv.lora_A.weight``) and keeps its settings in the metadata, or
in an ``adapter_config.json`` beside the file; kohya joins the path by underscores
(``lora_unet_blocks_0_qkv.lora_down.weight``) and keeps alpha beside it.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from darkroom.contracts.errors import BadFile, reason, shown
from darkroom.contracts.files import publish
from darkroom.control.adapters import Adapter, Branch

MAX_RANK = 1024
LARGEST = 2_000_000_000  # bytes of a file
PEFT = "lora_adapter_metadata"  # where peft keeps its settings
SETTINGS = "adapter_config.json"  # and where it does so beside a file of this name:
PEFT_FILE = "adapter_model.safetensors"
SIGHT = "transformer.control.weight"  # what a control sees by
PARTS = {"transformer": "denoiser", "unet": "denoiser", "denoiser": "denoiser", "text_encoder": "text", "te": "text"}
"""Parts of a model by the names that files have for them."""
WRITTEN = {"denoiser": ("transformer", "unet"), "text": ("text_encoder", "te")}  # in the keys of peft, and of kohya
Keys = Literal["peft", "kohya"]
_PEFT = re.compile(
    r"(?:base_model\.model\.)?(?:(transformer|unet|denoiser|text_encoder)\.)?(.+)\.lora_"
    r"(A|B|magnitude_vector)(?:\.default)?(?:\.weight)?"
)
_KOHYA = re.compile(
    r"lora_(unet|transformer|te1?|text_encoder)_(.+)\.(lora_down\.weight|lora_up\.weight|alpha|dora_scale)"
)
ENDS: dict[Keys, dict[str, str]] = {
    "peft": {"down": "lora_A.weight", "up": "lora_B.weight", "magnitude": "lora_magnitude_vector"},
    "kohya": {"down": "lora_down.weight", "up": "lora_up.weight", "magnitude": "dora_scale", "alpha": "alpha"},
}
"""How a key ends, by what it is."""
_SIDES = {end: side for side, end in ENDS["kohya"].items()} | {"A": "down", "B": "up", "magnitude_vector": "magnitude"}
"""And what a key that ends so is."""
_OTHER_KINDS = re.compile(r"hada_|lokr_|\.diff|lora_mid|lora_embedding|bias")
Layers = Mapping[str, Mapping[str, Tensor]]  # part of a model -> its layers, with their weights (outer, inner)


class _Half(NamedTuple):
    """What one key of a file names."""

    part: str
    path: str
    side: str  # "down", "up", "alpha" or "magnitude"


def read_lora(
    path: Path, layers: Layers, dtype: torch.dtype = torch.float32, sight: tuple[int, int] | None = None
) -> Adapter:
    """Opens a LoRA for a model with these layers, or a control, which sees by a matrix of the shape ``sight``.

    Raises BadFile that names the tensors that belong to no layer of the model, or to one of other widths.
    """
    what = "LoRA" if sight is None else "control"
    data, tensors, metadata = _opened(path, what)
    seeing = _seeing(path, tensors.pop(SIGHT, None), sight, dtype)
    found: dict[tuple[str, str], dict[str, Tensor]] = defaultdict(dict)
    strangers = []
    for key, tensor in sorted(tensors.items()):
        if _OTHER_KINDS.search(key):
            rule = f"holds {key}, which is of a kind of adapter that is not read (LoHa, LoKr, biases)"
            raise BadFile(f"{path}", rule, "take a LoRA or a DoRA")
        if not tensor.is_floating_point():
            raise BadFile(f"{path}", f"holds {key} in whole numbers", "take a LoRA in 16 or 32 bits")
        half = _half(key, layers)
        if half is None:
            strangers.append(key)
        else:
            found[half.part, half.path][half.side] = tensor.float()
    if strangers or not found:
        some = ", ".join(strangers[:3]) + (f" and {len(strangers) - 3} more" if len(strangers) > 3 else "")
        rule = f"holds {some or 'nothing'}, which this model has no layers for"
        raise BadFile(f"{path}", rule, f"take a {what} that was trained for this model")
    settings = _settings(path, metadata)
    branches: dict[str, dict[str, Branch]] = defaultdict(dict)
    for (part, layer), halves in found.items():
        branches[part][layer] = _branch(path, part, layer, halves, layers[part][layer], settings, dtype)
    return Adapter(path.stem, sha256(data).hexdigest(), branches, seeing)


def _seeing(path: Path, found: Tensor | None, wanted: tuple[int, int] | None, dtype: torch.dtype) -> Tensor | None:
    """What a control sees by. Raises BadFile for a control given as a LoRA, and the other way round."""
    if found is None and wanted is None:
        return None
    if found is None:
        fix = "give a control of `darkroom train control`; a LoRA is given with --lora"
        raise BadFile(f"{path}", "sees no map: it is no control of a model of ours", fix)
    if wanted is None:
        raise BadFile(f"{path}", "is a control, which sees a map", f"give it with --control {path}=MAP.png")
    if tuple(found.shape) != wanted or not found.is_floating_point() or not torch.isfinite(found).all():
        rule = f"holds {SIGHT} as {tuple(found.shape)}, and this model takes it as {wanted}, in finite numbers"
        raise BadFile(f"{path}", rule, "take a control that was trained for this model")
    return found.to(dtype)


def _opened(path: Path, what: str) -> tuple[bytes, dict[str, Tensor], Mapping[str, Any]]:
    """A file's bytes, its tensors and its metadata; ``what`` it should be, "LoRA" or "control"."""
    fix = f"name a {what}'s safetensors file"
    try:
        if path.stat().st_size > LARGEST:
            raise BadFile(f"{path}", f"is larger than {LARGEST / 1e9:g} GB, and no {what} is", fix)
        data = path.read_bytes()
    except OSError as error:
        raise BadFile(f"{path}", f"cannot be read ({reason(error)})", fix) from error
    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (SafetensorError, ValueError, KeyError, RecursionError) as error:
        raise BadFile(f"{path}", f"is no sound safetensors file ({reason(error)})", fix) from error
    return data, tensors, header.get("__metadata__", {})


def _half(key: str, layers: Layers) -> _Half | None:
    """What a key names; None: no layer of the model. A path without its part is the denoiser's."""
    if match := _PEFT.fullmatch(key):
        part, layer = PARTS[match[1] or "denoiser"], match[2]
    elif match := _KOHYA.fullmatch(key):
        part = PARTS[match[1].rstrip("1")]
        layer = next((path for path in layers.get(part, ()) if path.replace(".", "_") == match[2]), "")
    else:
        return None
    return _Half(part, layer, _SIDES[match[3]]) if layer in layers.get(part, ()) else None


def _settings(path: Path, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """What peft says of how strongly its branches act: in the metadata, or beside the file."""
    beside = path.with_name(SETTINGS)
    text = metadata.get(PEFT)
    try:
        if text is None and path.name == PEFT_FILE and beside.is_file():
            text = beside.read_text(encoding="utf-8")
        told = json.loads(text) if text is not None else {}
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise BadFile(f"{path}", f"has settings that cannot be read ({reason(error)})", "take the file anew") from error
    if not isinstance(told, dict):
        raise BadFile(f"{path}", f"has settings that are no table: {shown(told)}", "take the file anew")
    return told


def _strength(settings: Mapping[str, Any], part: str, layer: str, rank: int) -> float:
    """What a branch of peft's is multiplied by: alpha over the rank, or over its root (arXiv:2312.03732)."""
    prefixes = ["", *(f"{name}." for name, known in PARTS.items() if known == part)]

    def told(name: str, otherwise: Any) -> Any:
        return next((settings[prefix + name] for prefix in reversed(prefixes) if prefix + name in settings), otherwise)

    patterns = told("alpha_pattern", {}) or {}
    special = [value for name, value in patterns.items() if layer == name or layer.endswith(f".{name}")]
    alpha = float(special[-1] if special else told("lora_alpha", rank))
    return alpha / (math.sqrt(rank) if told("use_rslora", False) is True else rank)


def _branch(
    path: Path,
    part: str,
    layer: str,
    halves: Mapping[str, Tensor],
    weight: Float[Tensor, "outer inner"],
    settings: Mapping[str, Any],
    dtype: torch.dtype,
) -> Branch:
    down, up, name = halves.get("down"), halves.get("up"), f"{part}.{layer}"
    if down is None or up is None:
        raise BadFile(f"{path}", f"holds one half of {name} only", "take the whole file")
    rank = len(down) if down.ndim == 2 else 0
    outer, inner = weight.shape
    if not 1 <= rank <= MAX_RANK or down.shape != (rank, inner) or up.shape != (outer, rank):
        theirs, ours = f"{tuple(down.shape)} and {tuple(up.shape)}", f"(rank, {inner}) and ({outer}, rank)"
        raise BadFile(
            f"{path}", f"holds {name} as {theirs}, and this model has it as {ours}", "take one for this model"
        )
    try:
        alpha = halves.get("alpha")
        strength = _strength(settings, part, layer, rank) if alpha is None else alpha.item() / rank
    except (ValueError, TypeError, AttributeError, OverflowError, RuntimeError) as error:
        raise BadFile(f"{path}", f"says of {name} how strong it is in no number", "take the file anew") from error
    branch = Branch(down, up * strength)
    if (magnitude := halves.get("magnitude")) is not None:
        if magnitude.shape not in ((outer,), (outer, 1)):
            rule = (
                f"holds {name}'s magnitudes as {tuple(magnitude.shape)}, and they are read as ({outer},), one an output"
            )
            raise BadFile(f"{path}", rule, "take one decomposed that way")
        branch = decomposed(branch, magnitude.flatten(), weight)
    gain = None if branch.gain is None else branch.gain.to(dtype)
    branch = Branch(branch.down.to(dtype), branch.up.to(dtype), gain)
    if not all(torch.isfinite(half).all() for half in branch if half is not None):
        raise BadFile(f"{path}", f"holds numbers that are not finite in {name}", "take the file anew")
    return branch


def decomposed(branch: Branch, magnitude: Float[Tensor, " outer"], weight: Float[Tensor, "outer inner"]) -> Branch:
    """A branch whose sum with the weight has rows as long as ``magnitude`` says (DoRA, arXiv:2402.09353, eq. 5)."""
    whole = weight.float() + branch.up @ branch.down
    gain = magnitude / whole.norm(dim=1)
    return Branch(branch.down, branch.up * gain[:, None], gain - 1)


def write_lora(
    branches: Mapping[str, Mapping[str, Branch]],
    path: Path,
    *,
    title: str,
    about: Mapping[str, str],
    keys: Keys = "peft",
    magnitudes: Mapping[str, Mapping[str, Tensor]] | None = None,
    sight: Float[Tensor, "width cells"] | None = None,
) -> Path:
    """Writes a LoRA in bf16, with ModelSpec metadata (version 1.0.1); ``about`` are further entries of that.

    ``magnitudes`` of the layers make it a DoRA; its ``branches`` are then as they were before :func:`decomposed`.
    ``sight`` makes it a control.
    """
    tensors: dict[str, Tensor] = {}
    settings: dict[str, Any] = {}
    for part, layers in branches.items():
        theirs, short = WRITTEN[part]
        ranks = {layer: len(branch.down) for layer, branch in layers.items()}
        # Alpha is the rank: the branches are as strong as they are, whatever the rank of each.
        usual = max(ranks.values(), default=0)
        others = {layer: rank for layer, rank in ranks.items() if rank != usual}
        settings |= {f"{theirs}.r": usual, f"{theirs}.lora_alpha": usual}
        settings |= {f"{theirs}.rank_pattern": others, f"{theirs}.alpha_pattern": others} if others else {}
        for layer, branch in layers.items():
            stem = f"{theirs}.{layer}" if keys == "peft" else f"lora_{short}_{layer.replace('.', '_')}"
            half = {"down": branch.down.bfloat16().contiguous(), "up": branch.up.bfloat16().contiguous()}
            if magnitudes is not None:
                magnitude = magnitudes[part][layer].float()  # what is 1 and a little more has no bits for it in bf16
                half["magnitude"] = magnitude if keys == "peft" else magnitude[:, None]
            if keys == "kohya":
                half["alpha"] = torch.tensor(float(ranks[layer]))
            tensors |= {f"{stem}.{ENDS[keys][side]}": tensor for side, tensor in half.items()}
    if sight is not None:
        tensors[SIGHT] = sight.bfloat16().contiguous()
    metadata = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"darkroom/{'lora' if sight is None else 'control'}",
        "modelspec.implementation": "darkroom",
        "modelspec.title": title,
        **{f"modelspec.{name}": text for name, text in about.items()},
    }
    if keys == "peft":
        settings |= {f"{WRITTEN[part][0]}.use_dora": True for part in magnitudes or ()}
        metadata[PEFT] = json.dumps(settings)
    return publish(save(tensors, metadata), path)
