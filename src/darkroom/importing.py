"""What ``darkroom models import`` does: a public checkpoint is recognised, checked, and taken into the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkroom.cards import CARD
from darkroom.checkpoints.folder import Folder, read_folder
from darkroom.checkpoints.header import check_finite, read_header
from darkroom.checkpoints.store import check_name, digest, name_of, place, staged
from darkroom.contracts.card import Card, Defaults, FileEntry
from darkroom.contracts.contract import Contract
from darkroom.contracts.errors import BadFile, BadInput, brief, shown
from darkroom.contracts.files import publish
from darkroom.synthesis.external import FAMILIES
from darkroom.synthesis.external.family import PIPELINE, Family, Part
from darkroom.synthesis.external.networks import TOKENIZERS, check_shapes, empty_network

Say = Callable[[str], None]
KNOWN = "take one of " + ", ".join(family.title for family in FAMILIES.values())


@dataclass(frozen=True, slots=True)
class Imported:
    """A model that was taken in, and how many of its bytes are copies; the others are second names of the files."""

    folder: Path
    card: Card
    copied: int


def import_model(path: Path, name: str | None = None, *, copy: bool = False, say: Say = lambda _: None) -> Imported:
    """Takes a checkpoint into the store: all of it, checked, or nothing.

    ``name`` None: that of the file or folder. ``copy``: files are copied even where a second name would do. ``say`` is
    told what goes on. Raises DarkroomError with what is wrong, and the fix.
    """
    if not path.exists():
        raise BadInput(f"{path}", "is not there", "give the folder of a checkpoint, or its file")
    if path.is_dir() and (path / CARD).is_file():
        raise BadInput(f"{path}", "is a model folder of ours", f"draw with it as it is: --model {path}")
    name = check_name(name_of(path) if name is None else name)
    folder = read_folder(path)
    family = family_of(folder)
    say(f"{family.title}, from {folder.path.name}")
    return _taken(folder, family, name, copy, say)


def family_of(folder: Folder) -> Family:
    """The family of a checkpoint's folder. Raises BadFile for one that is not known, or whose parts are not its own."""
    where = f"{folder.path}"
    named = [family for family in FAMILIES.values() if folder.pipeline in family.pipelines]
    if not named:
        raise BadFile(where, f"is for the pipeline {shown(folder.pipeline)}, which is no known family", KNOWN)
    for family in named:
        needed = [part for part in (*family.parts, *family.tokenizers) if part not in family.spare]
        if not all(folder.named(part) and (part in folder.configs or folder.words.get(part)) for part in needed):
            continue
        if "scheduler" in folder.configs and family.suits(folder.configs):
            check_parts(folder, family)
            return family
    parts = sorted({part for family in named for part in (*family.parts, *family.tokenizers, "scheduler")})
    lacking = [part for part in parts if part not in folder.configs and not folder.words.get(part)]
    if lacking:
        raise BadFile(where, f"lacks {brief(lacking)}", "fetch the whole folder again")
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


def _taken(folder: Folder, family: Family, name: str, copy: bool, say: Say) -> Imported:
    """The files put beside the store's models, checked there, and named last."""
    files: dict[str, FileEntry] = {}
    copied = 0
    networks = [part for part in family.parts if part in folder.weights]
    tokenizers = [part for part in family.tokenizers if folder.words.get(part)]
    configs = {part: folder.configs[part] for part in (*networks, "scheduler")}
    configs |= {part: {"tokenizer_class": (folder.named(part) or ("", ""))[1]} for part in tokenizers}
    configs[PIPELINE] = {name: value for name, value in folder.index.items() if isinstance(value, bool | str)}
    template = Defaults.checked(family.template(configs))
    with staged(name) as stage:
        for part in (*networks, *tokenizers):
            of = family.parts.get(part)
            say(f"checking {part}")
            sources = folder.weights[part] if of is not None else folder.words[part]
            for source in sources:
                target = stage / part / source.name
                copied += target.stat().st_size if place(source, target, copy=copy) else 0
            if of is not None:
                check_weights([stage / part / source.name for source in sources], of, configs[part])
            for source in sources:
                path = f"{part}/{source.name}"
                sha256, size = digest(stage / path), (stage / path).stat().st_size
                files[path] = FileEntry(path=path, sha256=sha256, bytes=size)
        card = _card(folder, family, name, template, files, configs)
        publish((card.to_json() + "\n").encode(), stage / CARD)
    from darkroom.cards import store

    return Imported(store() / name, card, copied)


def check_weights(files: list[Path], part: Part, config: Mapping[str, Any]) -> None:
    """Raises BadFile for weights that are damaged, not finite, or not those that a part's settings ask for."""
    shapes: dict[str, tuple[int, ...]] = {}
    headers = [read_header(path) for path in files]
    for header in headers:
        for tensor, entry in header.entries.items():
            if tensor in shapes:
                raise BadFile(
                    f"{header.path}", f"holds {shown(tensor)}, which another shard holds too", "fetch both again"
                )
            shapes[tensor] = entry.shape
    check_shapes(empty_network(part, config), shapes, f"{files[0].parent.name}/{files[0].name}")
    for header in headers:
        check_finite(header)


def _card(
    folder: Folder,
    family: Family,
    name: str,
    defaults: Contract,
    files: Mapping[str, FileEntry],
    configs: Mapping[str, Mapping[str, Any]],
) -> Card:
    kind = configs["scheduler"].get("prediction_type", "")
    about = f"{family.title}{f', predicts {kind}' if kind else ''}; imported from {folder.path.resolve().name}."
    return Card.checked(
        {
            "name": name,
            "family": family.name,
            "licence": folder.licence or "not named; see where the checkpoint came from",
            "description": about,
            "defaults": defaults,
            "files": files,
            "configs": configs,
        }
    )
