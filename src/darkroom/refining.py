"""What ``darkroom refine`` does: pictures taken from files through a chain of steps, each into a file of its own.

A picture that darkroom drew keeps its recipe, with the steps at its end. Any other keeps a record of where it came from
and what was done.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import darkroom
from darkroom.contracts.errors import BadFile, BadInput, DarkroomError, NoRecipe, Stopped, Unfinished, reason
from darkroom.contracts.files import check_folder
from darkroom.contracts.recipe import Recipe, Refinement
from darkroom.contracts.refinement import Chain, Round, Upscale
from darkroom.picture import xmp
from darkroom.picture.containers import load, sniff
from darkroom.picture.inputs import Inputs, picture_file
from darkroom.picture.metadata import read_recipe, read_refinement, read_settings, read_source_type
from darkroom.picture.read import read
from darkroom.picture.write import write_refined
from darkroom.refine.chain import check, refined, size_after

if TYPE_CHECKING:  # torch is there where something is upscaled
    from darkroom.model import Model

ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"}  # of the files that a folder is taken to mean
OURS = "-refined"  # ends the name of what is written


@dataclass(frozen=True)
class Planned:
    """One picture and what its file will say. ``source_type`` None: as its recipe says."""

    path: Path
    pixels: np.ndarray
    told: Recipe | Refinement
    source_type: str | None
    notes: list[str]

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        kind = "recipe" if isinstance(self.told, Recipe) else "refinement"
        return {"source": str(self.path), kind: json.loads(self.told.to_json()), "notes": self.notes}


@dataclass
class _Done:
    """What a call has come to so far."""

    pictures: list[dict[str, Any]] = field(default_factory=list)
    failures: list[tuple[Path, str]] = field(default_factory=list)
    told: bool = True  # each failure as it happens; where there is one picture, its failure is the end

    def failed(self, path: Path, error: Exception) -> None:
        """A picture that could not be refined; the others go on."""
        if isinstance(error, MemoryError):
            error = DarkroomError(f"{path}", "needs more memory than is free", "make it smaller")
        said = reason(error)
        self.failures.append((path, said if said.startswith((path.name, str(path))) else f"{path}: {said}"))
        if self.told:
            print(f"{'failed':<12}{self.failures[-1][1]}", file=sys.stderr)

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        failed = [{"source": str(path), "error": said} for path, said in self.failures]
        return {"pictures": self.pictures, "failed": failed}


def refine(
    named: Sequence[Path],
    asked: Chain,
    out: Path,
    *,
    model: str = "default",
    format: str = "png",
    as_json: bool = False,
    dry_run: bool = False,
) -> None:
    """Refines pictures, and those in folders, into a folder; none is written over another.

    ``model`` is the one that upscales. Raises DarkroomError for what is wrong with all of them; else each that cannot
    be refined is named, the others go on, and the error is Unfinished, which says what was done.
    """
    if not asked:
        raise BadInput("the chain", "names no step", 'write one, such as "clean, sharpen"')
    inputs, done = Inputs(), _Done()
    steps = inputs.steps(asked)
    if not dry_run:
        check_folder(out)
    opened = _opened(model) if any(isinstance(step, Upscale) for step in steps) else None
    pictures = list(_pictures(named, done))
    done.told = len(pictures) + len(done.failures) > 1
    try:
        for path in pictures:
            try:
                plan = planned(path, steps, inputs, opened)
                told = plan.as_json()
                if not dry_run:
                    told = {"path": str(_made(plan, steps, inputs, opened, out, format)), **told}
            except (DarkroomError, OSError, MemoryError) as error:
                done.failed(path, error)
                continue
            done.pictures.append(told)
            for note in plan.notes:
                print(f"{'note':<12}{path.name}: {note}", file=sys.stderr)
            if not as_json and not dry_run:
                print(told["path"], flush=True)
    except KeyboardInterrupt:
        raise Stopped("stopped", fix=f"{len(done.pictures)} kept", done=done.as_json()) from None
    if dry_run:
        print(json.dumps(done.pictures, indent=1, ensure_ascii=False))
    if done.failures:
        (_, said), others = done.failures[0], len(done.failures) - 1
        raise Unfinished(said + (f" (and {others} more, named above)" if others else ""), done=done.as_json())
    if as_json and not dry_run:
        print(json.dumps(done.as_json()))


def _opened(name: str) -> Model:
    from darkroom.model import load as load_model

    model = load_model(name)
    if model.upscaler is None:
        fix = "leave upscale out, or take a model packed with one"
        raise BadInput(f"the model {model.card.name}", "has no upscaler", fix)
    return model


def _pictures(named: Iterable[Path], done: _Done) -> Iterator[Path]:
    """The files that are meant; a folder means the pictures in it."""
    for path in named:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(file for file in path.iterdir() if file.suffix.lower() in ENDINGS and file.is_file())
        if not inside:
            done.failed(path, BadFile(f"{path}", "holds no pictures", "give another folder"))
        yield from inside


def planned(path: Path, steps: Chain, inputs: Inputs, model: Model | None = None) -> Planned:
    """A picture and what its file will say, of steps whose files were found. ``model`` None: nothing is upscaled.

    Raises DarkroomError for what cannot be read, and for steps that cannot be done to it.
    """
    brought, notes = read(path), list[str]()
    pixels = on_white(brought)
    if pixels is not brought:
        notes.append("it is transparent; what shines through becomes white")
    size = (pixels.shape[1], pixels.shape[0])
    check(steps, size, inputs, None if model is None else model.upscaler)
    kept = pixels is brought and sniff(load(path)[0], path.name) == "PNG"  # the very pixels that were saved
    recipe = _recipe(path, notes)
    if recipe is not None and kept and size_after(recipe.refine, (recipe.width, recipe.height)) == size:
        if model is not None and model.card.model_hash != recipe.model_hash:
            rule = f"was made by the model {recipe.model} {recipe.model_hash[:12]}, and another one would upscale it"
            raise BadInput(f"{path}", rule, "name that model's folder with --model")
        longer = _longer(recipe.refine, steps)
        return Planned(path, pixels, Recipe.checked({**dict(recipe), "refine": longer, "verdict": None}), None, notes)
    if recipe is not None:
        notes.append("its pixels are not those that its recipe draws; it is recorded as a picture of its own")
    before = read_refinement(path) if kept else None
    if before is not None and size_after(before.refine, before.source.size) != size:
        before = None
    told = _record(path, brought, steps, before, model)
    return Planned(path, pixels, told, _source_type(path, recipe, told), notes)


def on_white(pixels: np.ndarray) -> np.ndarray:
    """(height, width, 3) uint8 of a picture that may be transparent, over white; what is not comes back itself."""
    if pixels.shape[2] == 3:
        return pixels
    share = pixels[..., 3:].astype(np.uint16)
    return ((pixels[..., :3] * share + 255 * (255 - share) + 127) // 255).astype(np.uint8)


def _recipe(path: Path, notes: list[str]) -> Recipe | None:
    try:
        return read_recipe(path)
    except NoRecipe:
        return None
    except BadFile as error:
        notes.append(str(error))
        return None


def _longer(before: Chain, steps: Chain) -> Chain:
    """Steps after others, between which the picture was saved."""
    return (*before, Round(), *steps) if before else steps


def _record(path: Path, pixels: np.ndarray, steps: Chain, before: Refinement | None, model: Model | None) -> Refinement:
    """What was done to a picture without a recipe; one that was refined before goes on from its own source."""
    by = {} if model is None else {"model": model.card.name, "model_hash": model.card.model_hash}
    if before is not None and (not by or before.model_hash in (None, by["model_hash"])):
        longer = _longer(before.refine, steps)
        return Refinement.checked({**dict(before), **by, "refine": longer, "darkroom": darkroom.__version__})
    source = picture_file(str(path), pixels)
    return Refinement.checked({"source": source, "refine": steps, **by, "darkroom": darkroom.__version__})


def _source_type(path: Path, recipe: Recipe | None, told: Refinement) -> str:
    """What a picture without a recipe is: what a model made stays so, a photo is edited by hand; where our upscaler had
    a part in it, it is both."""
    stated = read_source_type(path)
    if stated in xmp.GENERATED:
        return str(stated)
    if recipe is not None or read_settings(path) is not None:
        return xmp.MADE if recipe is None or recipe.init_image is None else xmp.EDITED
    return xmp.EDITED if told.model_hash is not None else xmp.BY_HAND


def _made(plan: Planned, steps: Chain, inputs: Inputs, model: Model | None, out: Path, format: str) -> Path:
    """The file of a refined picture."""
    task = refined(plan.pixels, steps, inputs, None if model is None else model.upscaler)
    if model is None:
        try:
            next(task)  # without a network nothing is asked for
        except StopIteration as ended:
            pixels = ended.value
    else:
        from darkroom.generate import run

        pixels = run(task, model.evaluate)
    stem = plan.path.stem.removesuffix(OURS) + OURS
    return write_refined(pixels, out, stem, plan.told, format, source_type=plan.source_type)
