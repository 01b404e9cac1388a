"""Pictures from pictures and words: as a whole, or where a mask says."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import APIRouter
from fastapi import Request as Asking
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from darkroom.contracts.errors import BadFile
from darkroom.picture.read import read as read_picture
from darkroom.server.brought import kept
from darkroom.server.keeping.folders import Folders
from darkroom.server.routes.openai.asked import from_form, notes_on, read, requests_of
from darkroom.server.routes.openai.told import Call, answer
from darkroom.server.spoken import WrongField
from darkroom.server.studio import AnyStudio, Owner

router = APIRouter()
MOST_IMAGES, MOST_FIELDS = 16, 100


@router.post("/images/edits")
async def edit(asking: Asking, studio: AnyStudio, owner: Owner) -> Response:
    """Draws a picture anew, all of it or where the mask is transparent. As for generations otherwise."""
    if not asking.headers.get("content-type", "").startswith("multipart/form-data"):
        raise WrongField("an edit", "needs the picture itself", "send multipart/form-data with a file 'image'", "image")
    async with asking.form(max_files=MOST_IMAGES + 2, max_fields=MOST_FIELDS) as form:
        files: dict[str, list[bytes]] = {}
        fields: dict[str, Any] = {}
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                files.setdefault(name.removesuffix("[]"), []).append(await value.read())
            else:
                fields[name] = value
    told = from_form({name: value for name, value in fields.items() if isinstance(value, str)})
    asked = read(told)
    notes = notes_on({**told, **{name: "" for name in files if name not in ("image", "mask")}}, asked, edit=True)
    start = await run_in_threadpool(_start, files, notes, studio.settings.folders)
    requests = await run_in_threadpool(requests_of, asked, notes, studio, start)
    return await answer(Call(asked=asked, notes=tuple(notes), edit=True), requests, asking, studio, owner)


def _start(files: dict[str, list[bytes]], notes: list[str], folders: Folders) -> dict[str, Any]:
    """The fields of a request that say what it begins from. Adds to ``notes``."""
    images, masks = files.get("image", []), files.get("mask", [])
    if not images:
        raise WrongField("image", "is missing", "send the picture to edit as a file", "image")
    if len(images) > 1:
        notes.append(f"image[1] to image[{len(images) - 1}] change nothing: one picture is edited, the first")
    pixels = _pixels(images[0], "image")
    drawn = mask_of(pixels)
    if masks:
        mask = _pixels(masks[0], "mask")
        if mask.shape[:2] != pixels.shape[:2]:
            sizes = [f"{one.shape[1]}x{one.shape[0]}" for one in (mask, pixels)]
            rule = f"is not of the picture's size, {sizes[1]}"
            raise WrongField(f"the mask, {sizes[0]},", rule, "give one that is", "mask")
        if (drawn := mask_of(mask)) is None:
            rule = "is transparent nowhere, and says nothing of where to draw"
            raise WrongField("the mask", rule, "make transparent what is to change", "mask")
    start = {"init_image": kept(pixels[..., :3], folders)}
    return start if drawn is None else {**start, "mask": kept(drawn, folders)}


def mask_of(pixels: np.ndarray) -> np.ndarray | None:
    """Where a picture is transparent, as a mask of ours: white is drawn anew. None: it is nowhere."""
    return np.repeat(255 - pixels[..., 3:], 3, axis=2) if pixels.shape[2] == 4 else None


def _pixels(data: bytes, param: str) -> np.ndarray:
    try:
        return read_picture(data)
    except BadFile as error:
        raise WrongField(f"{param}: {error.value}", error.rule, error.fix, param) from None
