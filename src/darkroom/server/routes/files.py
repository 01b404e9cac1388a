"""What is brought along: pictures to start from, masks, maps; and what is read in them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from darkroom.contracts.contract import Contract, Name, Whole
from darkroom.contracts.errors import NoRecipe
from darkroom.picture.metadata import read_recipe
from darkroom.picture.read import read
from darkroom.server.brought import kept
from darkroom.server.studio import AnyStudio, Owner

router = APIRouter(prefix="/api", tags=["files"])


class Brought(Contract):
    """A file that requests may name now."""

    name: Name = Field(description="The name that requests have for it.")
    width: Annotated[Whole, Field(ge=1, description="Pixels.")]
    height: Annotated[Whole, Field(ge=1, description="Pixels.")]
    recipe: dict[str, Any] | None = Field(None, description="The recipe in it. None: there is none.")
    settings: dict[str, Any] | None = Field(None, description="What another program wrote in it. None: nothing.")


@router.post("/inputs", status_code=201)
async def bring(request: Request, studio: AnyStudio, owner: Owner) -> Brought:
    """Takes a picture (PNG, JPEG, WebP, GIF, BMP), its bytes as the body. Only its pixels are kept: no EXIF, no GPS."""
    data = await request.body()
    return await run_in_threadpool(_kept, data, studio)


def _kept(data: bytes, studio: AnyStudio) -> Brought:
    pixels = read(data)
    try:
        recipe = read_recipe(data).model_dump(mode="json")
    except NoRecipe:
        recipe = None
    name = kept(pixels, studio.settings.folders)
    return Brought(name=name, width=pixels.shape[1], height=pixels.shape[0], recipe=recipe)


@router.get("/inputs/{name}")
def brought(name: str, studio: AnyStudio, owner: Owner) -> FileResponse:
    """A picture that was brought along."""
    return FileResponse(studio.settings.folders.input(name), media_type="image/png")
