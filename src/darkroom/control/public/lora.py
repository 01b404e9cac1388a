"""LoRA files of public checkpoints: which branch of one belongs to which layer.

Two spellings are read. peft's, as diffusers saves it: ``unet.<layer>.lora_A.weight`` and ``lora_B`` (older:
``lora.down``, ``lora.up``), with alpha in the metadata. kohya's: ``lora_unet_<layer>.lora_down.weight``, ``lora_up``
and ``alpha``, dots of layers as underscores, by diffusers' names or by those they were trained under. Every tensor of a
file has to belong to a layer: one that was made for another family is refused, by the first name that says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from darkroom.checkpoints.header import Header, check_finite, read_header
from darkroom.checkpoints.store import digest
from darkroom.contracts.errors import BadFile, BadInput, shown
from darkroom.nn.public.branches import Branch, Branches, fits
from darkroom.synthesis.external.single import unet_name

_DOWN, _UP = ("lora_A", "lora.down", "lora_down"), ("lora_B", "lora.up", "lora_up")
_TENSOR = re.compile(r"(.+)\.(lora_A|lora_B|lora\.down|lora\.up|lora_down|lora_up)(?:\.default)?\.weight")
_KOHYA = {
    "unet": ("lora_unet",),
    "transformer": ("lora_transformer", "lora_unet"),
    "text_encoder": ("lora_te", "lora_te1"),
    "text_encoder_2": ("lora_te2",),
}
OTHER_KINDS = ("dora_scale", "hada_", "lokr_", "lora_mid", "oft_", "diff_b")
METADATA = "lora_adapter_metadata"


@dataclass(frozen=True, slots=True)
class Lora:
    """A file of branches: its hash, and those of each part of the checkpoint."""

    sha256: str
    parts: Mapping[str, Branches]


def read_lora(path: Path, networks: Mapping[str, nn.Module], layers: Mapping[str, Any], family: str) -> Lora:
    """The branches of a LoRA file, for the networks of a checkpoint.

    Args:
        path: a safetensors file.
        networks: the checkpoint's, by part.
        layers: the settings of its UNet, whose layers have other names where they were trained; empty: it has none.
        family: what the checkpoint is, for people.

    Raises:
        BadInput: there is no such file, or it is made for another family. BadFile: it is damaged, or another kind of
            adapter.
    """
    if not path.is_file():
        raise BadInput(f"the LoRA {shown(str(path))}", "is not there", "give a safetensors file")
    header = read_header(path)
    check_finite(header)
    tensors = load_file(path)
    odd = next((name for name in tensors if any(kind in name for kind in OTHER_KINDS)), None)
    if odd is not None:
        raise BadFile(f"{path}", f"holds {shown(odd)}, which is no plain LoRA's", "take a LoRA of up and down alone")
    known = {name: place for part, network in networks.items() for name, place in _spelt(part, network, layers)}
    found: dict[str, dict[str, dict[str, Tensor]]] = {}
    for name, tensor in tensors.items():
        match = _TENSOR.fullmatch(name)
        layer, kind = (match[1], match[2]) if match else (name.removesuffix(".alpha"), "alpha")
        if layer not in known or (match is None and not name.endswith(".alpha")):
            rule = f"holds {shown(name)}, which belongs to no layer of a {family}"
            raise BadInput(f"the LoRA {shown(path.name)}", rule, "take one that was made for this family")
        part, place = known[layer]
        half = "down" if kind in _DOWN else "up" if kind in _UP else "alpha"
        found.setdefault(part, {}).setdefault(place, {})[half] = tensor
    scales = _scales(header)
    parts = {
        part: {place: _branch(path, part, place, halves, networks[part], scales) for place, halves in of_part.items()}
        for part, of_part in found.items()
    }
    return Lora(digest(path), parts)


def _branch(
    path: Path, part: str, place: str, halves: Mapping[str, Tensor], network: nn.Module, scales: Mapping[str, Any]
) -> Branch:
    if "down" not in halves or "up" not in halves:
        raise BadFile(f"{path}", f"has half of a branch for {part}.{place}", "fetch the file again")
    down, up = halves["down"], halves["up"]
    rank = down.shape[0]
    alpha = halves.get("alpha")
    told = float(alpha) if alpha is not None and alpha.numel() == 1 else _told(scales, part, place, rank)
    branch = Branch(down, up, told / max(rank, 1))
    if down.ndim < 2 or up.ndim < 2 or not fits(network.get_submodule(place), branch):
        rule = (
            f"has a branch of {tuple(down.shape)} and {tuple(up.shape)} for {part}.{place}, which is of another shape"
        )
        raise BadInput(f"the LoRA {shown(path.name)}", rule, "take one that was made for this checkpoint's size")
    return branch


def _spelt(part: str, network: nn.Module, layers: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Every way to write each of a network's layers, and part and layer it stands for."""
    for name, layer in network.named_modules():
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            continue
        names = [name]
        if part.startswith("text"):
            names.append(f"text_model.{name}" if not name.startswith("text_model.") else name.split(".", 1)[1])
        yield from ((f"{part}.{one}", (part, name)) for one in names)
        if part == "unet" and layers:
            names.append(unet_name(f"{name}.weight", layers).removesuffix(".weight"))
        for prefix in _KOHYA.get(part, ()):
            yield from ((f"{prefix}_{one.replace('.', '_')}", (part, name)) for one in names)


def _scales(header: Header) -> Mapping[str, Any]:
    """What the metadata says of alphas; nothing where it is none of diffusers'."""
    try:
        found = json.loads(header.metadata.get(METADATA, "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _told(scales: Mapping[str, Any], part: str, place: str, rank: int) -> float:
    """The alpha of a layer as metadata has it: its own, or that of all; the rank, which scales nothing, where it has
    none."""
    own = scales.get(f"{part}.alpha_pattern") or {}
    alpha = own.get(place, scales.get(f"{part}.lora_alpha", rank)) if isinstance(own, dict) else rank
    return float(alpha) if isinstance(alpha, int | float) else float(rank)
