"""A checkpoint put into the store: checked where it will lie, described last, and named when all of it is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from darkroom.cards import CARD, store
from darkroom.checkpoints.header import check_finite, read_header, shapes_of
from darkroom.checkpoints.store import check_name, digest, name_of, place, staged
from darkroom.contracts.card import Card, Defaults, FileEntry
from darkroom.contracts.errors import BadInput, brief, shown
from darkroom.contracts.files import publish
from darkroom.importing.own import is_ours, read_own, take_own
from darkroom.importing.pickles import PICKLES, converted
from darkroom.importing.recognised import Checkpoint, of_file, of_folder
from darkroom.synthesis.external.naming import by_own_names
from darkroom.synthesis.external.networks import check_shapes, check_size, check_used, empty_network
from darkroom.synthesis.external.opening import CHECKPOINT, file_sources
from darkroom.synthesis.external.single import unused

Say = Callable[[str], None]
PREDICTIONS = {"eps": "epsilon", "v": "v_prediction"}


@dataclass(frozen=True, slots=True)
class Imported:
    """A model that was taken in, and how many of its bytes are copies; the others are second names of the files."""

    folder: Path
    card: Card
    copied: int


def import_model(
    path: Path,
    name: str | None = None,
    *,
    copy: bool = False,
    words: Path | None = None,
    prediction: str | None = None,
    say: Say = lambda _: None,
) -> Imported:
    """Takes a checkpoint into the store: all of it, checked, or nothing.

    ``name`` None: that of the file or folder. ``copy``: files are copied even where a second name would do. ``words``
    is where a single file's tokenizers are, None: in the store; ``prediction`` is what it predicts, eps or v, None: as
    it says. ``say`` is told what goes on. Raises DarkroomError with what is wrong, and the fix.
    """
    if not path.exists():
        raise BadInput(f"{path}", "is not there", "give the folder of a checkpoint, or its file")
    if path.is_dir() and (path / CARD).is_file():
        raise BadInput(f"{path}", "is a model folder of ours", f"draw with it as it is: --model {path}")
    if prediction is not None and prediction not in PREDICTIONS:
        raise BadInput(f"--prediction {shown(prediction)}", "is not eps or v", "leave it out, or give one of them")
    name = check_name(name_of(path) if name is None else name)
    with ExitStack() as stack:
        if path.is_dir():
            if words is not None or prediction is not None:
                given = "--words" if words is not None else "--prediction"
                raise BadInput(given, "is for a checkpoint in one file, and a folder has its own", "leave it out")
            if is_ours(path):
                return _taken_back(path, name, copy, say)
            found = of_folder(path)
        else:
            file = path
            if path.suffix.lower() in PICKLES:
                say("converting the pickle, in a process of its own")
                file = converted(path, Path(stack.enter_context(TemporaryDirectory())))
            elif path.suffix.lower() != ".safetensors":
                raise BadInput(f"{path}", "is no checkpoint's file", "give a folder, a .safetensors or a .ckpt")
            found = of_file(file, words, PREDICTIONS.get(prediction or ""))
        say(f"{found.family.title}, from {path.name}")
        return _taken(found, path, name, copy, say)


def _taken(found: Checkpoint, path: Path, name: str, copy: bool, say: Say) -> Imported:
    """The files put beside the store's models, checked there, and named last."""
    copied = 0
    files: dict[str, FileEntry] = {}
    defaults = Defaults.checked(found.family.template(found.configs))
    with staged(name) as stage:
        for part, sources in {**found.weights, **found.words}.items():
            targets = [stage / part / (source.name if part else CHECKPOINT) for source in sources]
            for source, target in zip(sources, targets, strict=True):
                copied += target.stat().st_size if place(source, target, copy=copy) else 0
            if part in found.weights:
                say(f"checking {part or 'the file'}")
                _check(found, part, targets, say)
            for target in targets:
                inside = target.relative_to(stage).as_posix()
                files[inside] = FileEntry(path=inside, sha256=digest(target), bytes=target.stat().st_size)
        card = card_of(found, path, name, defaults, files)
        publish((card.to_json() + "\n").encode(), stage / CARD)
    return Imported(store() / name, card, copied)


def _taken_back(path: Path, name: str, copy: bool, say: Say) -> Imported:
    """A model of ours that was exported."""
    say(f"a model of ours, from {path.name}")
    card, copied, changed = take_own(read_own(path), name, copy)
    if changed:
        say(f"not as exported, and taken as it is: {brief(changed)}")
    return Imported(store() / name, card, copied)


def _check(found: Checkpoint, part: str, files: list[Path], say: Say) -> None:
    """Raises BadFile for weights that are damaged, not finite, or not those that a part's settings ask for."""
    headers = [read_header(path) for path in files]
    shapes = shapes_of(headers)
    if part:
        where = f"{part}/{files[0].name}"
        check_size(found.configs[part], len(shapes), f"{part}/config.json")
        network = empty_network(found.family.parts[part], found.configs[part])
        sources = by_own_names(network, list(shapes))
        check_shapes(network, sources, shapes, where)
        check_used(shapes, sources, where)
    else:
        used: set[str] = set()
        assert found.family.single is not None  # of a file
        for each, of in found.family.parts.items():
            if not found.family.single.holds(each):
                continue
            network = empty_network(of, found.configs[each])
            sources = file_sources(found.family, found.configs, each, network)
            check_shapes(network, sources, shapes, f"{found.where.name}")
            used |= {source.name for source in sources.values()}
        if left := unused(shapes, used):
            say(f"left aside, no part of it: {brief(left)}")
    for header in headers:
        check_finite(header)


def card_of(found: Checkpoint, path: Path, name: str, defaults: Defaults, files: Mapping[str, FileEntry]) -> Card:
    """The card of a checkpoint."""
    kind = found.configs["scheduler"].get("prediction_type", "")
    about = f"{found.family.title}{f', predicts {kind}' if kind else ''}; imported from {path.resolve().name}."
    return Card.checked(
        {
            "name": name,
            "family": found.family.name,
            "licence": found.licence or "not named; see where the checkpoint came from",
            "description": about,
            "defaults": defaults,
            "files": files,
            "configs": found.configs,
        }
    )
