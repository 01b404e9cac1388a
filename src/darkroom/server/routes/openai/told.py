"""What clients of OpenAI's are told: replies, events of a stream, what it cost in tokens."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import Request as Asking
from fastapi.responses import JSONResponse, Response
from fastapi.sse import format_sse_event
from starlette.concurrency import run_in_threadpool

from darkroom.cards import EMBEDDED, known_models, read_card, read_tokenizer
from darkroom.contracts.errors import BadInput, DarkroomError
from darkroom.contracts.job import Event, Job
from darkroom.contracts.recipe import Recipe
from darkroom.contracts.request import SIDE_STEP, Request
from darkroom.picture.read import read
from darkroom.picture.write import encode
from darkroom.server.awaited import Awaited, Stream, failure, finished
from darkroom.server.routes.openai.asked import Asked
from darkroom.server.spoken import spoken
from darkroom.server.studio import Studio
from darkroom.wording.tokenizer import Tokenizer

NOTES = "x-darkroom-notes"
LONGEST_HEADER = 2000  # characters


@dataclass(frozen=True)
class Call:
    """One call, while it is answered."""

    asked: Asked
    notes: tuple[str, ...]
    edit: bool

    @property
    def kind(self) -> str:
        """What its events are called."""
        return "image_edit" if self.edit else "image_generation"


async def answer(call: Call, requests: Sequence[Request], asking: Asking, studio: Studio, owner: str) -> Response:
    """Draws the pictures and tells of them, at once or as a stream. Raises DarkroomError."""
    key = asking.headers.get("idempotency-key", "")[:200] or None
    awaited = await run_in_threadpool(Awaited, requests, studio, owner, key)
    headers = noted(call.notes)
    if call.asked.stream:
        return Stream(_lines(call, awaited, asking), awaited, headers)
    jobs = await awaited.ended(asking)
    if (failed := failure(jobs)) is not None:
        return refused(asking, *failed)
    return JSONResponse(await run_in_threadpool(_reply, call, jobs, asking, studio, owner), headers=headers)


def noted(notes: Sequence[str]) -> dict[str, str]:
    """The header that names what was not honoured; none where all was."""
    text = "; ".join(notes).encode("ascii", "replace").decode()
    plain = "".join(letter if letter.isprintable() else "?" for letter in text)
    return {NOTES: plain[:LONGEST_HEADER]} if notes else {}


def refused(asking: Asking, status: int, told: dict[str, Any]) -> Response:
    """What a job that failed is answered with; asked again it would fail again."""
    status, body = spoken(asking.url.path, status, told)
    return JSONResponse(body, status, {"x-should-retry": "false"})


# ---- at once


def _reply(call: Call, jobs: Sequence[Job], asking: Asking, studio: Studio, owner: str) -> dict[str, Any]:
    asked = call.asked
    recipes = [Recipe.from_json(studio.gallery.recipe(owner, name_of(job))) for job in jobs]
    data = []
    for job, recipe in zip(jobs, recipes, strict=True):
        shown: dict[str, Any] = {"revised_prompt": recipe.prompt.text}
        if asked.response_format == "url":
            shown["url"] = _address(job, asked, asking)
        else:
            shown["b64_json"] = _encoded(job, asked, studio, owner)
        data.append(shown)
    return {
        "created": int(max(job.ended or 0 for job in jobs)),
        "data": data,
        **_about(asked, studio, owner, jobs[0]),
        "usage": usage(asked, recipes),
        "darkroom": _extra(call, jobs, recipes),
    }


def _extra(call: Call, jobs: Sequence[Job], recipes: Sequence[Recipe]) -> dict[str, Any]:
    named = {"jobs": [job.id for job in jobs], "pictures": [job.picture for job in jobs]}
    return {"notes": list(call.notes), **named, "seeds": [recipe.seed for recipe in recipes]}


def name_of(job: Job) -> str:
    """The name of a job's picture; it is done."""
    assert job.picture is not None
    return job.picture


def _about(asked: Asked, studio: Studio, owner: str, job: Job) -> dict[str, Any]:
    kept = studio.gallery.get(owner, name_of(job))
    size = f"{kept.width}x{kept.height}"
    return {"background": "opaque", "output_format": asked.format, "quality": asked.grade.name, "size": size}


def _encoded(job: Job, asked: Asked, studio: Studio, owner: str) -> str:
    return base64.b64encode(finished(name_of(job), owner, studio, asked.format, asked.compression)).decode()


def _address(job: Job, asked: Asked, asking: Asking) -> str:
    """Where a picture is fetched, with the key that asked for it."""
    stem = Path(name_of(job)).stem
    quality = "" if asked.compression is None or asked.format == "png" else f"?quality={asked.compression}"
    return f"{str(asking.base_url).rstrip('/')}/v1/images/files/{stem}.{asked.format}{quality}"


# ---- what it cost


def usage(asked: Asked, recipes: Sequence[Recipe]) -> dict[str, Any]:
    """Tokens of the texts, by the model's tokenizer, and of pictures: one for each 16 x 16 pixels that are drawn."""
    model = recipes[0].model
    text = sum(len(_tokenizer(model).encode(said)) for said in (asked.prompt, asked.negative_prompt or ""))
    cells = [_cells(recipe) for recipe in recipes]
    start = recipes[0].drawn[0] * recipes[0].drawn[1] // SIDE_STEP**2 if recipes[0].init_image is not None else 0
    return {
        "input_tokens": text + start,
        "input_tokens_details": {"text_tokens": text, "image_tokens": start},
        "output_tokens": sum(cells),
        "output_tokens_details": {"text_tokens": 0, "image_tokens": sum(cells)},
        "total_tokens": text + start + sum(cells),
    }


def _cells(recipe: Recipe) -> int:
    """Cells of 16 x 16 pixels that are drawn; where the enlarged picture is drawn anew, those too."""
    width, height = recipe.drawn
    again = recipe.width * recipe.height if recipe.hires else 0
    return (width * height + again) // SIDE_STEP**2


@lru_cache(maxsize=4)
def _tokenizer(model: str) -> Tokenizer:
    """That of a model by its own name; of a public checkpoint, which has none of ours, that of the embedded model."""
    for folder in known_models().values():
        if (card := read_card(folder)).name == model:
            try:
                return read_tokenizer(folder, card)
            except BadInput:
                break
    return read_tokenizer(EMBEDDED, read_card(EMBEDDED))


# ---- as a stream


async def _lines(call: Call, awaited: Awaited, asking: Asking) -> AsyncIterator[bytes]:
    asked = call.asked
    sent = [0] * len(awaited.jobs)
    yield b": here\n\n"
    try:
        async for entry in awaited.events():
            if entry is None:
                yield b": still here\n\n"
                continue
            index, event = entry
            if event.kind == "preview" and _is_due(event, sent[index], asked.partial_images or 0):
                yield _event(await run_in_threadpool(_partial, call, event, sent[index], index))
                sent[index] += 1
            elif event.kind in ("done", "failed", "cancelled"):
                yield _event(await run_in_threadpool(_completed, call, awaited, index, asking))
    except DarkroomError as error:
        yield _event(_fault(asking, 500, {"code": error.code, "message": str(error)}))


def _is_due(event: Event, sent: int, wanted: int) -> bool:
    """Whether a preview is the next partial picture: the first there is, then one in each further part of the way."""
    return sent < wanted and event.step * wanted >= sent * event.steps


def _partial(call: Call, event: Event, number: int, index: int) -> dict[str, Any]:
    assert event.preview is not None
    pixels = read(event.preview)
    data = encode(pixels, None, call.asked.format, quality=call.asked.compression, edited=call.edit)
    return {
        "type": f"{call.kind}.partial_image",
        "b64_json": base64.b64encode(data).decode(),
        "partial_image_index": number,
        "created_at": int(time.time()),
        "size": f"{pixels.shape[1]}x{pixels.shape[0]}",
        "quality": call.asked.grade.name,
        "background": "opaque",
        "output_format": call.asked.format,
        "darkroom": {"index": index, "step": event.step, "steps": event.steps},
    }


def _completed(call: Call, awaited: Awaited, index: int, asking: Asking) -> dict[str, Any]:
    studio, owner = awaited.studio, awaited.owner
    job = studio.store.get(awaited.jobs[index])
    if (failed := failure([job])) is not None:
        return _fault(asking, *failed)
    recipe = Recipe.from_json(studio.gallery.recipe(owner, name_of(job)))
    return {
        "type": f"{call.kind}.completed",
        "b64_json": _encoded(job, call.asked, studio, owner),
        "created_at": int(job.ended or time.time()),
        **_about(call.asked, studio, owner, job),
        "usage": usage(call.asked, [recipe]),
        "darkroom": {"index": index, **_extra(call, [job], [recipe])},
    }


def _fault(asking: Asking, status: int, told: dict[str, Any]) -> dict[str, Any]:
    _, body = spoken(asking.url.path, status, told)
    return {"type": "error", **body}


def _event(told: dict[str, Any]) -> bytes:
    return format_sse_event(data_str=json.dumps(told), event=told["type"])
