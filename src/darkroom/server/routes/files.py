"""What is brought along: pictures to start from, masks, maps; and what is read in them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from darkroom.cards import known_models
from darkroom.contracts.contract import Contract, Name, Whole
from darkroom.contracts.errors import BadFile, BadInput, NoRecipe
from darkroom.contracts.request import Request as Asked
from darkroom.picture.metadata import read_recipe, read_settings
from darkroom.picture.read import read
from darkroom.server.brought import kept
from darkroom.server.studio import AnyStudio, Owner, Studio

router = APIRouter(prefix="/api", tags=["files"])


class Brought(Contract):
    """A file that requests may name now."""

    name: Name = Field(description="The name that requests have for it.")
    width: Annotated[Whole, Field(ge=1, description="Pixels.")]
    height: Annotated[Whole, Field(ge=1, description="Pixels.")]
    recipe: dict[str, Any] | None = Field(None, description="The recipe in it. None: there is none.")
    settings: dict[str, str] | None = Field(None, description="What another program wrote in it. None: nothing.")
    request: dict[str, Any] | None = Field(None, description="The request that either amounts to. None: there is none.")
    left_out: dict[str, str] = Field(default_factory=dict, description="What has no word here, and what is not here.")
    problem: str = Field("", description="Why what was written in it cannot be used. Empty: it can, or there is none.")


@router.post("/inputs", status_code=201)
async def bring(request: Request, studio: AnyStudio, owner: Owner) -> Brought:
    """Takes a picture (PNG, JPEG, WebP, GIF, BMP), its bytes as the body. Only its pixels are kept: no EXIF, no GPS."""
    data = await request.body()
    return await run_in_threadpool(_kept, data, studio)


def _kept(data: bytes, studio: Studio) -> Brought:
    pixels = read(data)
    name = kept(pixels, studio.settings.folders)
    height, width = pixels.shape[:2]
    return Brought(name=name, width=width, height=height, **_told(data, studio))


def _told(data: bytes, studio: Studio) -> dict[str, Any]:
    """What is written in a picture: its recipe, or another program's settings, and the request it amounts to."""
    try:
        recipe = read_recipe(data)
        return {"recipe": recipe.model_dump(mode="json"), **_usable(recipe.request(), studio)}
    except NoRecipe:
        pass
    except BadFile as error:
        return {"problem": str(error)}
    try:
        if (found := read_settings(data)) is None:
            return {}
        settings = {"Prompt": found.prompt, "Negative prompt": found.negative, **found.settings}
        told = _usable(found.request(), studio)
        return {**told, "settings": settings, "left_out": {**found.left_out(), **told["left_out"]}}
    except (BadFile, BadInput) as error:
        return {"problem": str(error)}


def _usable(request: Asked, studio: Studio) -> dict[str, Any]:
    """A request without the files that are not here, and what they are."""
    told = request.model_dump(mode="json", exclude_defaults=True)
    folders = studio.settings.folders
    left = {
        field: name
        for field in ("init_image", "mask")
        if (name := told.get(field)) is not None and not (folders.inputs / Path(name).name).is_file()
    }
    if "init_image" in left:  # what only a start picture gives a meaning
        left |= {field: str(told[field]) for field in ("strength", "mask", "mask_blur", "outpaint") if field in told}
    if request.model not in known_models():
        left["model"] = request.model
    return {"request": {name: value for name, value in told.items() if name not in left}, "left_out": left}


@router.get("/inputs/{name}")
def brought(name: str, studio: AnyStudio, owner: Owner) -> FileResponse:
    """A picture that was brought along."""
    return FileResponse(studio.settings.folders.input(name), media_type="image/png")
