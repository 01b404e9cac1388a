"""Saved styles: words and settings under a name, in the data folder's styles.toml."""

from __future__ import annotations

import threading
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from darkroom.cards import known_models, read_card
from darkroom.contracts.contract import Contract, Name
from darkroom.contracts.errors import BadFile, BadInput, shown, unknown
from darkroom.server.studio import AnyStudio, Owner
from darkroom.wording.stylefile import check_name, read_styles, write_style
from darkroom.wording.styles import SavedStyle, style_named

router = APIRouter(prefix="/api", tags=["styles"])
_WRITING = threading.Lock()  # the file is read and written whole


class Shelved(Contract):
    """A saved style. Where it cannot be used, why."""

    name: Name = Field(description="Its name.")
    style: SavedStyle | None = Field(description="What it says. None: it cannot be used.")
    problem: str = Field("", description="Why it cannot be used. Empty: it can.")


@router.get("/styles")
def listed(studio: AnyStudio, owner: Owner) -> list[Shelved]:
    """The saved styles."""
    path = studio.settings.folders.styles
    found = []
    for name in read_styles(path):
        try:
            found.append(Shelved(name=name, style=style_named(name, path)))
        except BadFile as error:  # the others are listed
            found.append(Shelved(name=name, style=None, problem=str(error)))
    return found


@router.put("/styles/{name}")
def save(
    name: str, style: SavedStyle, studio: AnyStudio, owner: Owner, replace: Annotated[bool, Query()] = False
) -> Shelved:
    """Saves a style under a name that is free, or over the one of that name."""
    check_name(name)
    own = {word for folder in known_models().values() for word in read_card(folder).styles}
    if name in own:
        raise BadInput(f"the style's name {shown(name)}", "is one of a model's own", "take another name")
    inner = style.settings.get("style")
    if inner is not None and inner not in own:
        raise unknown("style", inner, own)
    path = studio.settings.folders.styles
    with _WRITING:
        if name in read_styles(path) and not replace:
            raise BadInput(f"the style {shown(name)}", "is saved already", "take another name, or replace it")
        write_style(path, name, style.table())
    return Shelved(name=name, style=style)


@router.delete("/styles/{name}")
def delete(name: str, studio: AnyStudio, owner: Owner) -> dict[str, Any]:
    """Deletes a saved style."""
    path = studio.settings.folders.styles
    with _WRITING:
        if name not in (told := read_styles(path)):
            raise unknown("saved style", name, told)
        write_style(path, name, None)
    return {"deleted": name}
