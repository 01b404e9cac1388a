"""What a checkpoint in one file has not, lent by a folder of the same family: one that diffusers saved, or a model's in
the store. Its tokenizers, and where the file holds a transformer alone, its text encoders and its autoencoder, too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkroom.cards import CARD, known_models, read_card
from darkroom.checkpoints.folder import CONFIG, INDEX, WORDS, read_json, read_part
from darkroom.contracts.errors import BadInput, DarkroomError, brief
from darkroom.synthesis.external.family import Family
from darkroom.synthesis.external.opening import files_of


@dataclass(frozen=True, slots=True)
class Lent:
    """Settings and files of weights of parts, and the files of tokenizers."""

    configs: Mapping[str, Mapping[str, Any]]
    weights: Mapping[str, tuple[Path, ...]]
    words: Mapping[str, tuple[Path, ...]]


def lent_by(folder: Path, family: Family) -> Lent:
    """What a folder lends to a family's file. Raises BadInput where it lacks a part, BadFile where it is damaged."""
    words = {
        part: tuple(folder / part / name for name in WORDS if (folder / part / name).is_file())
        for part in family.tokenizers
    }
    missing = [part for part, files in words.items() if not files and part not in family.spare]
    words = {part: files for part, files in words.items() if files}
    assert family.single is not None
    kinds = _kinds(folder)
    configs: dict[str, Mapping[str, Any]] = {
        part: {"tokenizer_class": kinds.get(part, "CLIPTokenizer")} for part in words
    }
    weights: dict[str, tuple[Path, ...]] = {}
    for part in family.parts:
        if family.single.holds(part):
            continue
        found = _part(folder, part)
        if found is not None:
            configs[part], weights[part] = found
        elif part not in family.spare:
            missing.append(part)
    if missing:
        rule = f"holds no {brief(missing)}"
        raise BadInput(f"--words {folder}", rule, f"give the folder of a {family.title} as diffusers saves it")
    return Lent(configs, weights, words)


def lent_at_hand(path: Path, family: Family) -> Lent:
    """What a model of the same family in the store lends to a file. Raises BadInput where none can."""
    for folder in known_models().values():
        try:
            if read_card(folder).family == family.name:
                return lent_by(folder, family)
        except DarkroomError:
            continue  # another one may be whole
    assert family.single is not None
    parts = [part for part in family.parts if not family.single.holds(part)]
    rule = f"is one file, in which a checkpoint has no {brief([*parts, 'tokenizer'])}"
    fix = f"give a folder of any {family.title} as diffusers saves it: --words FOLDER"
    raise BadInput(f"{path}", rule, fix)


def _part(folder: Path, part: str) -> tuple[Mapping[str, Any], tuple[Path, ...]] | None:
    """Settings and files of a network in a folder; None: it holds none."""
    if (folder / CARD).is_file():
        card = read_card(folder)
        files = tuple(files_of(folder, card, part))
        return (card.configs[part], files) if files and part in card.configs else None
    return read_part(folder / part) if (folder / part / CONFIG).is_file() else None


def _kinds(folder: Path) -> dict[str, str]:
    """The classes of a folder's tokenizers, by part."""
    if (folder / CARD).is_file():
        said = {part: config.get("tokenizer_class") for part, config in read_card(folder).configs.items()}
        return {part: str(kind) for part, kind in said.items() if kind}
    index = read_json(folder / INDEX) if (folder / INDEX).is_file() else {}
    pairs = {part: of for part, of in index.items() if part.startswith("tokenizer") and isinstance(of, list)}
    return {part: str(of[1]) for part, of in pairs.items() if len(of) == 2 and of[1]}
