"""A checkpoint as it lies on the disk, and whose it is: told by the names and settings of a folder's parts, or by the
names and shapes of one file's tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkroom.checkpoints.folder import Folder, read_folder
from darkroom.checkpoints.header import Header, read_header
from darkroom.contracts.errors import BadFile, brief, shown
from darkroom.importing.lending import lent_at_hand, lent_by
from darkroom.synthesis.external import FAMILIES
from darkroom.synthesis.external.family import PIPELINE, Family
from darkroom.synthesis.external.networks import TOKENIZERS
from darkroom.synthesis.external.single import Shapes

KNOWN = "take one of " + ", ".join(family.title for family in FAMILIES.values())
SCALED = (".scale_weight", ".scale_input", ".weight_scale", "scaled_fp8")  # ends of names
LICENCES = ("modelspec.license", "license")  # in a file's metadata


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint of a known family.

    ``weights`` are the files of each part; of one in a single file they are that file under ``""``. ``words`` are the
    files of each tokenizer. ``licence`` None: it names none.
    """

    where: Path
    family: Family
    configs: Mapping[str, Mapping[str, Any]]
    weights: Mapping[str, tuple[Path, ...]]
    words: Mapping[str, tuple[Path, ...]]
    licence: str | None


# --- a folder ---------------------------------------------------------------------------------------------------------


def of_folder(path: Path) -> Checkpoint:
    """The checkpoint in a folder, as diffusers saves it. Raises BadFile."""
    folder = read_folder(path)
    family = family_of(folder)
    networks = [part for part in family.parts if part in folder.weights]
    tokenizers = [part for part in family.tokenizers if folder.words.get(part)]
    configs = {part: folder.configs[part] for part in (*networks, "scheduler")}
    configs |= {part: {"tokenizer_class": (folder.named(part) or ("", ""))[1]} for part in tokenizers}
    configs[PIPELINE] = {name: value for name, value in folder.index.items() if isinstance(value, bool | str)}
    weights = {part: folder.weights[part] for part in networks}
    words = {part: folder.words[part] for part in tokenizers}
    return Checkpoint(path, family, configs, weights, words, folder.licence)


def family_of(folder: Folder) -> Family:
    """The family of a checkpoint's folder. Raises BadFile for one that is not known, or whose parts are not its own."""
    where = f"{folder.path}"
    named = [family for family in FAMILIES.values() if folder.pipeline in family.pipelines]
    if not named:
        raise BadFile(where, f"is for the pipeline {shown(folder.pipeline)}, which is no known family", KNOWN)
    for family in named:
        check_parts(folder, family)
    needed = [part for part in (*named[0].parts, *named[0].tokenizers, "scheduler") if part not in named[0].spare]
    lacking = [part for part in needed if part not in folder.configs and not folder.words.get(part)]
    lacking += [part for part in needed if part.startswith("tokenizer") and not folder.words.get(part)]
    if lacking:
        raise BadFile(where, f"lacks {brief(list(dict.fromkeys(lacking)))}", "fetch the whole folder again")
    for family in named:
        if family.suits(folder.configs):
            return family
    raise BadFile(where, f"is for {folder.pipeline} with settings that no known family has", KNOWN)


def check_parts(folder: Folder, family: Family) -> None:
    """Raises BadFile for a part that the family does not have, or a class that may not stand there."""
    expected: dict[str, tuple[str, ...]] = {part: of.classes for part, of in family.parts.items()}
    expected |= dict.fromkeys(family.tokenizers, TOKENIZERS)
    for part in folder.parts:
        library, cls = folder.named(part) or ("", "")
        if part in family.optional or part == "scheduler":
            continue
        if part not in expected or cls not in expected[part] or library not in ("diffusers", "transformers"):
            rule = f"names {library}.{cls} for its {part}, which {family.title} does not have"
            raise BadFile(f"{folder.path}", rule, "take a checkpoint without it; no other class is opened")


# --- one file ---------------------------------------------------------------------------------------------------------


def of_file(path: Path, words: Path | None, prediction: str | None) -> Checkpoint:
    """The checkpoint in one safetensors file.

    ``words`` is a folder of the same family, which lends what such a file has not: tokenizers, and where it holds a
    transformer alone, text encoders and autoencoder; None: a model in the store does. ``prediction`` is what it
    predicts; None: as it is marked, or as its family does. Raises BadFile, or BadInput where nothing is lent.
    """
    header = read_header(path)
    shapes = {name: entry.shape for name, entry in header.entries.items()}
    family = family_of_names(path, shapes)
    assert family.single is not None
    if scaled := next((name for name in shapes if name.endswith(SCALED)), None):
        rule = f"holds weights in 8 bits with scales of their own ({shown(scaled)}), which are not read here"
        raise BadFile(f"{path}", rule, "take the file in 16 bits, or one in 8 bits without scales")
    found = family.single.settings(shapes, prediction)
    lent = lent_by(words, family) if words is not None else lent_at_hand(path, family)
    configs = {**lent.configs, **found, PIPELINE: {"layout": "single", **found[PIPELINE]}}
    if not family.suits(configs):
        raise BadFile(f"{path}", f"is made otherwise than a {family.title} that is known here", KNOWN)
    return Checkpoint(path, family, configs, {"": (path,), **lent.weights}, lent.words, _licence(header))


def family_of_names(path: Path, shapes: Shapes) -> Family:
    """The family whose files have such names. Raises BadFile."""
    if any(".lora_" in name or name.startswith("lora_") for name in shapes):
        raise BadFile(f"{path}", "is a LoRA, which changes a checkpoint and is none", KNOWN)
    for family in FAMILIES.values():
        if family.single is not None and family.single.is_of(shapes):
            return family
    if not any(name.startswith("model.diffusion_model.") for name in shapes):
        rule = f"holds no whole checkpoint: its first tensor is {shown(next(iter(shapes), ''))}"
        raise BadFile(f"{path}", rule, "give the folder of the checkpoint, or a file that holds all of it")
    raise BadFile(f"{path}", "is of no family that is known as one file", KNOWN)


def _licence(header: Header) -> str | None:
    named = next((header.metadata[key] for key in LICENCES if header.metadata.get(key)), None)
    return None if named is None else " ".join(named.split())[:200]
