"""A public checkpoint as a folder that diffusers opens by itself, whatever it was imported from.

Where nothing is to be changed its files leave as they came. Where the checkpoint is one file, or other numbers are
asked for, or LoRAs are to be in its weights, each network is opened, and written under the names that its class has.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import torch

from darkroom.checkpoints.folder import CONFIG, INDEX, SETTINGS
from darkroom.checkpoints.header import read_header
from darkroom.contracts.card import Card
from darkroom.contracts.steering import Lora
from darkroom.control.public.lora import read_lora
from darkroom.exporting.merging import merged
from darkroom.exporting.writing import DTYPES, Say, in_format, write_json, write_readme, write_weights
from darkroom.nn.public.branches import Branches
from darkroom.synthesis.external import FAMILIES
from darkroom.synthesis.external.family import PIPELINE, Family
from darkroom.synthesis.external.networks import class_named, dtypes_of, empty_network, library
from darkroom.synthesis.external.opening import CHECKPOINT, check_sound, files_of, filled
from darkroom.synthesis.external.single import PREFIX as NAMES_BEGIN

STEMS = {"diffusers": "diffusion_pytorch_model", "transformers": "model"}  # of files of weights, by library
FORMATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
SMALLER = torch.bfloat16  # what numbers of 8 bits fit into
PREFIXED = "CLIPTextModel"  # whose published files have a prefix that its class does not have any more
PREFIX = "text_model."


def write_public(folder: Path, card: Card, stage: Path, dtype: str | None, loras: Sequence[Lora], say: Say) -> None:
    """Fills a folder with a public checkpoint. ``dtype`` None: numbers as they are.

    Raises DarkroomError for a checkpoint that is damaged, or a LoRA that is not for it; OSError.
    """
    family = FAMILIES[card.family]
    check_sound(folder, card)
    parts = [part for part in family.parts if part in card.configs]
    worn = _worn(family, card, parts, loras)
    for part in parts:
        say(f"writing {part}")
        if dtype is None and not worn[part] and files_of(folder, card, part):
            _copy(folder, card, family, part, stage)
        else:
            _write(folder, card, part, stage, dtype, worn[part])
    for entry in card.files.values():
        if entry.path.split("/")[0] in family.tokenizers:
            (stage / entry.path).parent.mkdir(exist_ok=True)
            _copied(folder / entry.path, stage / entry.path)
    scheduler = stage / "scheduler" / SETTINGS["scheduler"]
    scheduler.parent.mkdir()
    write_json(card.configs["scheduler"], scheduler)
    write_json(_index(card, family, parts), stage / INDEX)
    write_readme({"license": _licence(card), "library_name": "diffusers"}, _read_me(card, loras), stage / "README.md")


def _worn(
    family: Family, card: Card, parts: Sequence[str], loras: Sequence[Lora]
) -> dict[str, list[tuple[Branches, float]]]:
    """The branches of LoRAs beside each network, and how strongly each acts."""
    found: dict[str, list[tuple[Branches, float]]] = {part: [] for part in parts}
    if loras:
        empty = {part: empty_network(family.parts[part], card.configs[part]) for part in parts if part != "vae"}
        for asked in loras:
            read = read_lora(Path(asked.file), empty, card.configs.get("unet", {}), family.title)
            for part, branches in read.parts.items():
                found[part].append((branches, asked.scale))
    return found


def _copy(folder: Path, card: Card, family: Family, part: str, stage: Path) -> None:
    """A part's files as they are, under the names that are looked for where nobody names a variant."""
    sources = sorted(files_of(folder, card, part))
    stem = STEMS[family.parts[part].library]
    names = [f"{stem}.safetensors"]
    if len(sources) > 1:
        names = [f"{stem}-{n + 1:05}-of-{len(sources):05}.safetensors" for n in range(len(sources))]
    (stage / part).mkdir()
    table: dict[str, str] = {}
    for source, name in zip(sources, names, strict=True):
        _copied(source, stage / part / name)
        table |= dict.fromkeys(read_header(source).entries, name)
    if len(sources) > 1:
        size = sum(source.stat().st_size for source in sources)
        index = {"metadata": {"total_size": size}, "weight_map": table}
        write_json(index, stage / part / f"{stem}.safetensors.index.json")
    write_json(card.configs[part], stage / part / CONFIG)


def _write(
    folder: Path,
    card: Card,
    part: str,
    stage: Path,
    dtype: str | None,
    worn: Sequence[tuple[Branches, float]],
) -> None:
    """A part's network, opened and written in the names of its class."""
    of = FAMILIES[card.family].parts[part]
    kind = DTYPES[dtype] if dtype is not None else _format(folder, card, part)
    kept = dtypes_of(torch.float32 if worn else kind).denoiser
    network = filled(folder, card, part, empty_network(of, card.configs[part]), kept)
    tensors = in_format(merged(network.state_dict(), worn), kind, f"{card.name} {part}")
    if "shared.weight" in tensors:  # one table under two names, of which files hold one
        tensors.pop("encoder.embed_tokens.weight", None)
    if type(network).__name__ == PREFIXED:
        tensors = {PREFIX + name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    about = {"architecture": f"{card.family}/{part}", "title": f"{card.name} {part}", "license": _licence(card)}
    write_weights(tensors, stage / part / f"{STEMS[of.library]}.safetensors", about)
    write_json(_settings(network, card.configs[part], of.library, kind), stage / part / CONFIG)


def _settings(network: Any, said: Mapping[str, Any], of: str, kind: torch.dtype) -> dict[str, Any]:
    """A network's settings with its class, as its library writes them."""
    if of == "diffusers":
        return {**said, "_class_name": type(network).__name__}
    kept = {name: value for name, value in said.items() if name != "dtype"}
    named = {"architectures": [type(network).__name__], "model_type": network.config.model_type}
    return {**kept, **named, "torch_dtype": str(kind).removeprefix("torch.")}


def _format(folder: Path, card: Card, part: str) -> torch.dtype:
    """The number format of most of a part's values."""
    counts: dict[str, int] = {}
    for path in files_of(folder, card, part) or [folder / CHECKPOINT]:
        for entry in read_header(path).entries.values():
            counts[entry.dtype] = counts.get(entry.dtype, 0) + entry.end - entry.start
    return FORMATS.get(max(counts, key=lambda name: counts[name]), SMALLER)


def _index(card: Card, family: Family, parts: Sequence[str]) -> dict[str, Any]:
    """What ``model_index.json`` says: the pipeline, its parts, and which of those that it may have are not there."""
    source = library("diffusers")
    said = {
        name: value for name, value in card.configs.get(PIPELINE, {}).items() if name not in ("layout", NAMES_BEGIN)
    }
    index: dict[str, Any] = {"_class_name": family.pipelines[0], "_diffusers_version": source.__version__, **said}
    takes = signature(getattr(source, index["_class_name"]).__init__).parameters
    if "requires_safety_checker" in takes:
        index.setdefault("requires_safety_checker", False)  # there is none to go with it
    index |= {part: [None, None] for part in (*family.optional, *family.spare) if part in takes}
    index |= {part: [family.parts[part].library, class_named(family.parts[part], card.configs[part])] for part in parts}
    for part in family.tokenizers:
        if part in card.configs:
            index[part] = ["transformers", card.configs[part]["tokenizer_class"]]
    index["scheduler"] = ["diffusers", card.configs["scheduler"]["_class_name"]]
    return index


def _licence(card: Card) -> str:
    """The licence that the checkpoint named; empty: it named none."""
    return "" if card.licence.startswith("not named") else card.licence


def _read_me(card: Card, loras: Sequence[Lora]) -> str:
    told = [f"# {card.name}", "", card.description]
    told += [f"In its weights besides: {Path(one.file).name} at {one.scale:g}." for one in loras]
    told += ["", f"Licence: {card.licence}.", "", "Exported by darkroom as a folder for diffusers."]
    return "\n".join(told) + "\n"


def _copied(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())
