"""The gallery: pictures, their recipes, boards, the trash."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, Response
from pydantic import Field

from darkroom.contracts.contract import Contract, Name, Text
from darkroom.contracts.recipe import Recipe
from darkroom.picture.write import slug
from darkroom.server.keeping.gallery import LONGEST_BOARD, Kept
from darkroom.server.studio import AnyStudio, Owner

router = APIRouter(prefix="/api", tags=["pictures"])
KEEP = {"cache-control": "private, max-age=31536000, immutable"}  # a name is the hash of what it names
TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}
Names = Annotated[tuple[Name, ...], Field(min_length=1, max_length=500)]


class Change(Contract):
    """What shall be otherwise about some pictures. None: that stays."""

    names: Names = Field(description="The pictures.")
    favourite: bool | None = Field(None, description="Whether they are favourites.")
    board: Text | None = Field(None, max_length=LONGEST_BOARD, description="The board they are on; empty: none.")
    trashed: bool | None = Field(None, description="Whether they are in the trash.")


class Some(Contract):
    """Some pictures."""

    names: Names = Field(description="The pictures.")


@router.get("/pictures")
def listed(
    studio: AnyStudio,
    owner: Owner,
    words: Annotated[str, Query(max_length=1000)] = "",
    board: Annotated[str | None, Query(max_length=LONGEST_BOARD)] = None,
    favourites: bool = False,
    trashed: bool = False,
    before: Annotated[str | None, Query(max_length=200)] = None,
    most: Annotated[int, Query(ge=1, le=500)] = 60,
) -> list[Kept]:
    """Your pictures, the newest first."""
    how = {"words": words, "board": board, "favourites": favourites, "trashed": trashed, "before": before}
    return studio.gallery.listed(owner, **how, most=most)  # type: ignore[arg-type]


@router.get("/boards")
def boards(studio: AnyStudio, owner: Owner) -> dict[str, int]:
    """Your boards, and how many pictures each holds."""
    return studio.gallery.boards(owner)


@router.post("/pictures/change")
def change(change: Change, studio: AnyStudio, owner: Owner) -> list[Kept]:
    """Makes pictures favourites, puts them on a board, throws them away or takes them back: all or none."""
    told = {name: value for name, value in dict(change).items() if name != "names" and value is not None}
    return (
        studio.gallery.change(owner, change.names, **told)
        if told
        else [studio.gallery.get(owner, name) for name in change.names]
    )


@router.post("/pictures/zip")
def zipped(some: Some, studio: AnyStudio, owner: Owner) -> Response:
    """Pictures with their recipes beside them, as a zip."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number, name in enumerate(dict.fromkeys(some.names), 1):
            kept = studio.gallery.get(owner, name)
            stem = f"{number:03d}-{slug(kept.prompt)}"
            archive.write(studio.settings.folders.picture(name), stem + Path(name).suffix)
            archive.writestr(f"{stem}.json", studio.gallery.recipe(owner, name) + "\n")
    headers = {"content-disposition": 'attachment; filename="pictures.zip"'}
    return Response(file.getvalue(), media_type="application/zip", headers=headers)


@router.post("/trash/empty")
def empty(studio: AnyStudio, owner: Owner) -> dict[str, int]:
    """Deletes what is in your trash, for good."""
    gone = studio.gallery.emptied(owner)
    for name in gone:
        studio.settings.folders.picture(name).unlink(missing_ok=True)
    return {"deleted": len(gone)}


@router.get("/pictures/{name}")
def file(name: str, studio: AnyStudio, owner: Owner) -> FileResponse:
    """A picture's file, with its recipe inside."""
    studio.gallery.get(owner, name)
    path = studio.settings.folders.picture(name)
    return FileResponse(path, media_type=TYPES[path.suffix], headers=KEEP)


@router.get("/pictures/{name}/thumbnail")
def thumbnail(name: str, studio: AnyStudio, owner: Owner) -> Response:
    """A small one."""
    return Response(studio.gallery.thumbnail(owner, name), media_type="image/webp", headers=KEEP)


@router.get("/pictures/{name}/recipe")
def recipe(name: str, studio: AnyStudio, owner: Owner) -> dict[str, Any]:
    """Everything that decided its pixels."""
    told: dict[str, Any] = json.loads(studio.gallery.recipe(owner, name))
    return told


@router.get("/pictures/{name}/request")
def request(name: str, studio: AnyStudio, owner: Owner) -> dict[str, Any]:
    """The request that draws it again, as short as it can be said."""
    recipe = Recipe.from_json(studio.gallery.recipe(owner, name))
    return recipe.request().model_dump(mode="json", exclude_defaults=True)


@router.get("/pictures/{name}/about")
def about(name: str, studio: AnyStudio, owner: Owner) -> Kept:
    """What the gallery knows of it."""
    return studio.gallery.get(owner, name)
