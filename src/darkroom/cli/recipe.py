"""The verbs under ``darkroom recipe``: what is written in a picture."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from darkroom.cli.given.values import Folder
from darkroom.contracts.errors import BadInput, NoRecipe
from darkroom.contracts.refinement import STEPS, chain_text
from darkroom.contracts.request import Request

if TYPE_CHECKING:
    from darkroom.contracts.recipe import Recipe

recipe_app = App(name="recipe", help="What is written in a picture: how it was made.")


@recipe_app.command
def show(picture: Path, *, json_: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """Show how a picture was made: darkroom's own recipe, or the settings of A1111 or ComfyUI; a grid's axes.

    Parameters
    ----------
    picture
        A PNG, JPEG or WebP.
    json_
        Print one JSON object.
    """
    told, left_out = _told(picture)
    if json_:
        print(json.dumps({**told, **({"left_out": left_out} if left_out is not None else {})}, ensure_ascii=False))
        return
    for name, value in told.items():
        print(f"{name:<20}{_written(value)}")
    if left_out is not None:
        _note(left_out)


@recipe_app.command
def diff(one: Path, other: Path, *, json_: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """Show where the recipes of two pictures differ. Exit code 1 where they do.

    Parameters
    ----------
    one
        A picture.
    other
        Another picture.
    json_
        Print one JSON object: each setting that differs, with both values.
    """
    (first, _), (second, _) = _told(one), _told(other)
    names = [name for name in dict.fromkeys([*first, *second]) if first.get(name) != second.get(name)]
    if json_:
        print(json.dumps({name: [first.get(name), second.get(name)] for name in names}, ensure_ascii=False))
    elif not names:
        print("the same recipe")
    else:
        width = max(len(_written(first.get(name))) for name in names) + 2
        for name in names:
            print(f"{name:<20}{_written(first.get(name)):<{width}}{_written(second.get(name))}")
    if names:
        raise SystemExit(1)


@recipe_app.command
def run(
    picture: Path,
    *,
    model: str = "default",
    out: Folder = Path("pictures"),
    init_image: str | None = None,
    mask: str | None = None,
    guide: str | None = None,
    refiner: str | None = None,
    lora: list[str] | None = None,
    control: list[str] | None = None,
    embedding: list[str] | None = None,
    vae: str | None = None,
    files: Folder | None = None,
    offload: bool = False,
    json_: Annotated[bool, Parameter(name="--json")] = False,
    dry_run: bool = False,
) -> None:
    """Draw a picture again: darkroom's own bit for bit, another program's as far as its settings mean something here.

    Parameters
    ----------
    picture
        A PNG, JPEG or WebP.
    model
        The model, by name or folder.
    out
        Folder for the picture.
    init_image
        The picture it began with; without it, looked for beside it.
    mask
        The mask it was drawn within; without it, looked for beside it.
    guide
        The weaker model it was led away from, by name or folder.
    refiner
        The second model that finished it, by name or folder; without it, looked for in the store.
    lora
        An adapter's file that took part; without it, looked for beside it.
    control
        A control network that took part, and its map: NETWORK=MAP; without it, both are looked for beside it.
    embedding
        A file of learnt words that took part; without it, looked for beside it.
    vae
        The autoencoder that took the model's place; without it, looked for beside it.
    files
        Folder in which what the recipe names is looked for; without it, that of the picture.
    offload
        Keep only the network at work in memory: slower, the same pixels.
    json_
        Print one JSON object.
    dry_run
        Print the resolved recipe and draw nothing.
    """
    from darkroom.drawing import draw
    from darkroom.picture.metadata import read_recipe, read_refinement

    given = {"init_image": init_image, "mask": mask, "guide": guide, "refiner": refiner, "lora": lora}
    given |= {"control": control, "embedding": embedding, "vae": vae}
    brought = {name: value for name, value in given.items() if value is not None}
    try:
        read_recipe(picture)
    except NoRecipe:
        if read_refinement(picture) is not None:
            raise
        request, left_out = _asked(picture)
        if brought:
            flag = "--" + next(iter(brought)).replace("_", "-")
            raise BadInput(flag, "is no part of this picture's settings", "leave it out") from None
        _note(left_out)
        named = [request.model_copy(update={"model": model})]
        draw(named, None, out, model=model, offload=offload, as_json=json_, dry_run=dry_run)
        return
    draw([], picture, out, model=model, offload=offload, given=brought, files=files, as_json=json_, dry_run=dry_run)


def _note(left_out: dict[str, str]) -> None:
    """That the settings are another program's, and which of them mean nothing here."""
    said = ", ".join(f"{name}: {value}" for name, value in left_out.items())
    print(f"{'note':<12}another program's settings{'; left out ' + said if said else ''}", file=sys.stderr)


def _told(picture: Path) -> tuple[dict[str, Any], dict[str, str] | None]:
    """What a picture says, by our names, and what it says besides; None: the recipe is darkroom's own."""
    from darkroom.picture.metadata import read_grid, read_recipe, read_refinement

    try:
        return _plain(read_recipe(picture)), None
    except NoRecipe:
        if (grid := read_grid(picture)) is not None:
            return grid, None
        if (refinement := read_refinement(picture)) is not None:
            return {
                name: value for name, value in refinement.model_dump(mode="json").items() if value is not None
            }, None
        request, left_out = _asked(picture)
        return _plain(request, leaving_out={"model"}), left_out


def _asked(picture: Path) -> tuple[Request, dict[str, str]]:
    """The request that another program's settings amount to. Raises NoRecipe where there are none."""
    from darkroom.picture.metadata import read_settings

    found = read_settings(picture)
    if found is None:
        fix = "give a picture as it was saved; editors and chats often remove what is written in it"
        raise NoRecipe(f"{picture}", "holds no recipe and no settings", fix)
    return found.request(), found.left_out()


def _plain(contract: Recipe | Request, leaving_out: Collection[str] = ()) -> dict[str, Any]:
    """The fields of a contract that were decided, as JSON has them; prompt and negative side by side."""
    default = {name: field.default for name, field in type(contract).model_fields.items()}
    decided = {name for name, value in contract if value is not None and (value != default[name] or name == "seed")}
    values, prompt = json.loads(contract.to_json()), contract.prompt
    told = {"prompt": prompt.text, **({"negative": prompt.negative} if prompt.negative else {})}
    first = ("prompt", "seed", "width", "height")  # and then as the contract has them
    names = [name for name in dict.fromkeys([*first, *default]) if name in decided - {"prompt", *leaving_out}]
    return told | {name: values[name] for name in names}


def _written(value: Any) -> str:
    if isinstance(value, dict) and "step" in value:
        return chain_text([STEPS[value["step"]].checked(value)])
    if isinstance(value, dict):
        return ", ".join(f"{name} {_written(inner)}" for name, inner in value.items() if inner is not None)
    if isinstance(value, list):
        return ", ".join(map(_written, value))
    return "-" if value is None else str(value)
