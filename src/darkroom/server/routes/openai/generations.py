"""Pictures from words, and the files that replies have addresses of."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi import Request as Asking
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from darkroom.server.awaited import finished
from darkroom.server.brought import json_object
from darkroom.server.keeping.gallery import NoPicture
from darkroom.server.routes.openai.asked import notes_on, read, requests_of
from darkroom.server.routes.openai.told import Call, answer
from darkroom.server.studio import AnyStudio, Owner

router = APIRouter()
TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


@router.post("/images/generations")
async def generate(asking: Asking, studio: AnyStudio, owner: Owner) -> Response:
    """Draws pictures, and answers when they are done or as a stream of events. Who hangs up wants them no more."""
    fields = await json_object(asking)
    asked = read(fields)
    notes = notes_on(fields, asked, edit=False)
    requests = await run_in_threadpool(requests_of, asked, notes, studio, {})
    return await answer(Call(asked=asked, notes=tuple(notes), edit=False), requests, asking, studio, owner)


@router.get("/images/files/{name}")
def file(
    name: str, studio: AnyStudio, owner: Owner, quality: Annotated[int | None, Query(ge=1, le=100)] = None
) -> Response:
    """A finished picture as PNG, JPEG or WebP, its recipe inside."""
    stem, _, ending = name.rpartition(".")
    if ending not in TYPES:
        raise NoPicture("the picture", "is to be had as .png, .jpeg or .webp", "give one of them")
    return Response(finished(f"{stem}.png", owner, studio, ending, quality), media_type=TYPES[ending])
