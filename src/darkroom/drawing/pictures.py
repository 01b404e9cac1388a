"""Pictures of requests, or of a picture's recipe: drawn together, each saved as it ends."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from darkroom.cards import folder_of
from darkroom.contracts.errors import DarkroomError, Stopped, Unfinished, reason
from darkroom.contracts.files import check_folder
from darkroom.contracts.recipe import Recipe
from darkroom.contracts.request import Request
from darkroom.control.canvas import canvas_of
from darkroom.drawing.again import recipe_again
from darkroom.drawing.pace import Load
from darkroom.drawing.reading import Reading, read_prompt
from darkroom.drawing.results import Judging, Wanted, load_for, raise_fault, results
from darkroom.drawing.sheets import contact_sheets, film
from darkroom.drawing.speaker import Speaker, pictures
from darkroom.model import Model
from darkroom.picture.inputs import Inputs
from darkroom.picture.metadata import read_recipe
from darkroom.picture.write import place_of, write_new
from darkroom.refine.chain import check


@dataclass(frozen=True)
class Drawn:
    """One saved picture."""

    path: Path
    recipe: Recipe

    def as_json(self) -> dict[str, Any]:
        """For a program; ``holds`` is None where the judge was not asked."""
        verdict = self.recipe.verdict
        holds = None if verdict is None else verdict.holds
        return {"path": str(self.path), "recipe": json.loads(self.recipe.to_json()), "holds": holds}


@dataclass
class _Done:
    """What a call has come to so far; ``drawn`` by the number of the request."""

    drawn: dict[int, Drawn] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)
    sheets: list[Path] = field(default_factory=list)
    film: Path | None = None

    def as_json(self, reading: Reading) -> dict[str, Any]:
        """For a program."""
        told = {"unknown": reading.unknown, "dropped": reading.dropped, "notes": reading.notes}
        sheets = [str(sheet) for sheet in self.sheets]
        made = {
            "sheet": sheets[0] if sheets else None,
            "sheets": sheets,
            "film": None if self.film is None else str(self.film),
        }
        return {"pictures": [d.as_json() for d in self.drawn.values()], **made, **told}


def draw(
    requests: Sequence[Request],
    again: Path | None,
    out: Path,
    *,
    model: str = "default",
    offload: bool = False,
    judge: Path | None = None,
    inputs: Inputs | None = None,
    given: dict[str, Any] | None = None,
    files: Path | None = None,
    sheet: bool = False,
    as_film: bool = False,
    as_json: bool = False,
    dry_run: bool = False,
) -> list[Drawn]:
    """Draws requests, or the picture ``again`` was made from (None: the requests), into a folder.

    ``offload``: the model keeps only the network at work in memory, whether or not requests ask for it.
    ``as_film``: also write them as an animation, in the order of the requests.
    ``judge`` is the folder of the judge they are verified and chosen by; None is the one in the package. ``inputs`` are
    the files that requests name, ``given`` the names of those that ``again`` was made from; None: as they are found.
    ``files`` is the folder where they are looked for; None: that of ``again``.
    Raises DarkroomError; once drawing has begun it is Unfinished, which says what was saved before.
    """
    if not dry_run:
        check_folder(out)
    judging = Judging(judge)
    if any(request.judged for request in requests):
        judging.open()
    asks = requests[0] if again is None else read_recipe(again).request()
    opened = load_for(asks.model_copy(update={"model": model, "offload": offload or asks.offload}))
    say = Speaker(quiet=as_json)
    inputs = inputs or Inputs()
    if again is not None:
        given = dict(given or {})
        recipes = [say.moved(recipe_again(opened, again, given, files or again.parent), opened)]
        inputs.looked_for(recipes[0], files or again.parent, given)
        requests = [recipes[0].request()]
    else:
        recipes = [opened.resolve(request, inputs) for request in requests]
    canvas_of(recipes[0], inputs)  # a picture or mask that cannot be drawn from is refused before anything is drawn
    reading = read_prompt(opened, recipes[0])
    say.notes(reading.notes)
    say.sized(recipes[0], check(recipes[0].refine, (recipes[0].width, recipes[0].height), inputs, opened.upscaler))
    if dry_run:
        say.needs(folder_of(model), opened, recipes[0])
        print(json.dumps([json.loads(recipe.to_json()) for recipe in recipes], indent=1, ensure_ascii=False))
        return []
    say.interpreted(reading)
    wanted = [Wanted(asked, recipe, at) for at, (asked, recipe) in enumerate(zip(requests, recipes, strict=True))]
    say.begins(Load.sum(one.load(opened) for one in wanted))
    done = _Done()
    try:
        _save(wanted, opened, judging, inputs, out, done, say, len(wanted) if as_film else 0)
        in_order = [done.drawn[at].path for at in sorted(done.drawn)]
        if sheet and in_order:
            done.sheets += contact_sheets(in_order, out, say)
        if as_film:
            done.film = film(in_order, out, say)
    except KeyboardInterrupt:
        say.clear()
        raise Stopped("stopped", fix=f"{pictures(len(done.drawn))} kept", done=done.as_json(reading)) from None
    except (DarkroomError, OSError) as error:
        done.failures.append(error)
    if done.failures:
        raise_fault(first := done.failures[0])
        raise Unfinished(reason(first), done=done.as_json(reading)) from first
    if as_json:
        print(json.dumps(done.as_json(reading)))
    return list(done.drawn.values())


def _save(
    wanted: Iterable[Wanted[int]],
    model: Model,
    judging: Judging,
    inputs: Inputs,
    out: Path,
    done: _Done,
    say: Speaker,
    frames: int = 0,
) -> None:
    """Writes each picture as soon as it ends; ``frames`` of a film are numbered."""
    for one, result, watched in results(wanted, model, judging, inputs, say):
        if isinstance(result, Exception):
            done.failures.append(result)
            if say.several:
                say.failed(f"seed {one.recipe.seed}", str(result))
            watched.ended(drawn=False)
            continue
        path = write_new(result.pixels, out, result.recipe, number=place_of(one.what, frames) if frames else "")
        done.drawn[one.what] = Drawn(path, result.recipe)
        say.saved(path)
        say.judged(result.recipe)
        watched.ended(drawn=True)
    say.ends()
