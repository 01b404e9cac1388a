"""A model of ours that was exported, taken back: read from its folder as it lies there, settings and weights alike.

Who changed its weights or its defaults meant it: what is taken is what is there, and what is not what was exported is
said. The card is made anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from darkroom.cards import CARD
from darkroom.checkpoints import ours
from darkroom.checkpoints.folder import INDEX, Folder, read_folder, read_json
from darkroom.checkpoints.header import check_finite, read_header, shapes_of
from darkroom.checkpoints.store import digest, place, staged
from darkroom.contracts.card import OPTIONAL, OWN, Card, Defaults, FileEntry
from darkroom.contracts.errors import BadFile, DarkroomError, shown
from darkroom.contracts.files import publish
from darkroom.nn.config import read_config
from darkroom.own import NETWORKS
from darkroom.synthesis.external.naming import Source
from darkroom.synthesis.external.networks import check_shapes, check_used
from darkroom.wording.tokenizer import Tokenizer, TokenizerError

AGAIN = "export the model again, or take another one"
ASIDE = ("prediction_type",)  # of the scheduler's settings: what follows from the family


@dataclass(frozen=True, slots=True)
class Own:
    """An exported model of ours: where each component's weights are, their settings, and the rest of its card."""

    folder: Folder
    weights: Mapping[str, Path]
    configs: Mapping[str, dict[str, Any]]
    about: Mapping[str, Any]


def is_ours(path: Path) -> bool:
    """Whether a folder's index names a pipeline of ours. Raises BadFile for an index that cannot be read."""
    return (path / INDEX).is_file() and read_json(path / INDEX).get("_class_name") == ours.PIPELINE


def read_own(path: Path) -> Own:
    """An exported model of ours, looked at. Raises BadFile with what is wrong with it."""
    folder = read_folder(path)
    weights: dict[str, Path] = {}
    configs: dict[str, dict[str, Any]] = {}
    for component, at in ours.PLACES.items():
        if component in OPTIONAL and folder.named(at.part) is None:
            continue
        if at.part not in folder.configs or not folder.words.get(ours.TOKENIZER) or "scheduler" not in folder.configs:
            raise BadFile(f"{path}", f"lacks {at.part}, the tokenizer or the scheduler", AGAIN)
        files, said = folder.weights[at.part], dict(folder.configs[at.part])
        if len(files) > 1:
            raise BadFile(f"{path / at.part}", "holds its weights in shards", "put them into one file")
        if (named := said.pop("_class_name", at.network)) != at.network:
            raise BadFile(f"{path / at.part}", f"is for the class {shown(named)}, not {at.network}", AGAIN)
        weights[component], configs[component] = files[0], said
    about = read_json(path / ours.ABOUT) if (path / ours.ABOUT).is_file() else {}
    return Own(folder, weights, configs, about)


def take_own(found: Own, name: str, copy: bool) -> tuple[Card, int, list[str]]:
    """Puts an exported model into the store under a name, all of it or nothing.

    Returns its card, how many bytes are copies, and the files that are not as they were exported. Raises DarkroomError.
    """
    path = found.folder.path
    exported = found.about.get("exported")
    hashes = dict(exported.get("files") or {}) if isinstance(exported, dict) else {}
    sources = {component: (file, f"{component}.safetensors") for component, file in found.weights.items()}
    sources[ours.TOKENIZER] = (path / ours.TOKENIZER / ours.TOKENS, ours.TOKENS)
    copied, changed = 0, []
    files: dict[str, FileEntry] = {}
    with staged(name) as stage:
        for component, (source, called) in sources.items():
            target = stage / called
            copied += target.stat().st_size if place(source, target, copy=copy) else 0
            entry = FileEntry(path=called, sha256=digest(target), bytes=target.stat().st_size)
            files[component] = entry
            inside = source.relative_to(path).as_posix()
            changed += [inside] if hashes.get(inside, entry.sha256) != entry.sha256 else []
            if component == ours.TOKENIZER:
                _check_words(target, source)
            else:
                _check_weights(component, found.configs[component], target, source)
        for licence in sorted(path.glob(ours.LICENCES)):
            shutil.copyfile(licence, stage / licence.name)
        card = _card(found, name, files)
        publish((card.to_json() + "\n").encode(), stage / CARD)
    return card, copied, changed


def _check_weights(component: str, said: Mapping[str, Any], file: Path, source: Path) -> None:
    """Raises BadFile for weights that are damaged, not finite, or not those that a component's settings ask for."""
    where = f"{source.parent.name}/{source.name}"
    config, make = NETWORKS[component]
    try:
        with torch.device("meta"):
            network = make(read_config(config, said))
    except (ValueError, TypeError, RuntimeError) as error:
        raise BadFile(f"{source.parent.name}/config.json", f"makes no network ({error})", AGAIN) from error
    try:
        header = read_header(file)
        check_finite(header)
    except BadFile as error:  # of a folder that is not there any more when it is read
        raise BadFile(f"{source}", error.rule, AGAIN) from error
    shapes = shapes_of([header])
    own = {name: Source(name) for name in network.state_dict()}
    check_shapes(network, own, shapes, where, fix=AGAIN)
    check_used(shapes, own, where, fix=AGAIN)


def _check_words(file: Path, source: Path) -> None:
    try:
        Tokenizer.from_json(file.read_bytes())
    except (TokenizerError, ValueError) as error:
        raise BadFile(f"{source}", f"holds no tokenizer that can be read ({error})", AGAIN) from error


def _card(found: Own, name: str, files: Mapping[str, FileEntry]) -> Card:
    """The card of an exported model: what it says of itself, and the defaults that its scheduler's settings are."""
    said = found.folder.configs["scheduler"]
    told = {key: value for key, value in said.items() if not key.startswith("_") and key not in ASIDE}
    about = {key: value for key, value in found.about.items() if key in ours.TOLD}
    licence = about.get("licence") or found.folder.licence or "not named; see where the model came from"
    try:
        defaults = Defaults.checked(told)
        text = {**about, "licence": licence, "name": name, "family": OWN, "defaults": defaults}
        return Card.checked({**text, "files": files, "configs": found.configs})
    except DarkroomError as error:
        raise BadFile(f"{found.folder.path}", f"says of itself what no card can ({error})", AGAIN) from error
