"""Pictures from words, and from pictures and words."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi import Request as Asking
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from darkroom.server.awaited import Awaited, failure
from darkroom.server.brought import json_object
from darkroom.server.routes.a1111.asked import notes_on, read
from darkroom.server.routes.a1111.desk import AnyDesk, Desk
from darkroom.server.routes.a1111.requested import requests_of
from darkroom.server.routes.a1111.told import replied, reply
from darkroom.server.spoken import spoken
from darkroom.server.studio import AnyStudio, Owner, Studio

router = APIRouter()


@router.post("/txt2img")
async def from_words(asking: Asking, studio: AnyStudio, owner: Owner, desk: AnyDesk) -> Response:
    """Draws pictures, and answers when they are done. Who hangs up wants them no more."""
    return await _drawn(asking, studio, owner, desk, starts=False)


@router.post("/img2img")
async def from_picture(asking: Asking, studio: AnyStudio, owner: Owner, desk: AnyDesk) -> Response:
    """Draws a picture anew, all of it or where a mask says."""
    return await _drawn(asking, studio, owner, desk, starts=True)


async def _drawn(asking: Asking, studio: Studio, owner: str, desk: Desk, *, starts: bool) -> Response:
    fields = await json_object(asking)
    asked = read(fields)
    notes = notes_on(fields, asked)
    requests = await run_in_threadpool(requests_of, asked, notes, studio, desk.model, starts=starts)
    key = asking.headers.get("idempotency-key", "")[:200] or None
    awaited = await run_in_threadpool(Awaited, requests, studio, owner, key)
    desk.calls.append(awaited)
    try:
        jobs = await awaited.ended(asking)
    finally:
        desk.calls.remove(awaited)
    failed = failure([job for job in jobs if job.state != "cancelled"])  # what was interrupted is no error here
    if failed is not None:
        status, body = spoken(asking.url.path, *failed)
        return JSONResponse(body, status)
    return replied(await run_in_threadpool(reply, fields, asked, notes, jobs, studio, owner))
