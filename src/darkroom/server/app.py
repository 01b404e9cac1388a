"""The application: routes, errors and what runs beside them. It never imports torch."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

import darkroom
from darkroom.contracts.errors import BadInput, DarkroomError, explained
from darkroom.server.guard import Guard, Refused
from darkroom.server.routes import a1111, files, health, jobs, models, openai, page, pictures, queue
from darkroom.server.routes.making import layouts, prompts, styles
from darkroom.server.spoken import WrongField, spoken
from darkroom.server.studio import Studio

STATUS = {
    "bad_input": 422,
    "bad_file": 422,
    "no_recipe": 422,
    "conflict": 409,
    "no_job": 404,
    "no_picture": 404,
    "model_not_found": 404,
    "hung_up": 499,  # as proxies write it in their logs; nobody reads it
    "queue_full": 429,
    "draining": 503,
    "no_space": 507,
}
RETRY_S = {429: 5, 503: 10}


def application(studio: Studio) -> ASGIApp:
    """The server, with its guard around it."""
    return Guard(_routed(studio), studio.settings)


def _routed(studio: Studio) -> FastAPI:
    app = FastAPI(
        title="darkroom",
        version=darkroom.__version__,
        docs_url=None,  # its page takes scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/openapi.json",
        exception_handlers={
            DarkroomError: _told,
            RequestValidationError: _invalid,
            HTTPException: _plain,
        },
    )
    app.state.studio = studio
    for part in (health, jobs, queue, pictures, files, models, prompts, styles, layouts, page, openai, a1111):
        app.include_router(part.router)
    app.mount("/page", page.PageFiles(directory=page.WEB), name="page")
    return app


async def _told(request: Request, error: DarkroomError) -> Response:
    status = STATUS.get(error.code, 422 if isinstance(error, BadInput) else 500)
    told = {"code": error.code, "message": str(error), "value": error.value, "rule": error.rule, "fix": error.fix}
    named = {"param": error.param} if isinstance(error, WrongField) else {}
    return _answer(request, status, {**told, **named})


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    return _answer(request, 422, {"code": "bad_input", "message": explained(error.errors())})


async def _plain(request: Request, error: HTTPException) -> Response:
    code = error.code if isinstance(error, Refused) else f"http_{error.status_code}"
    return _answer(request, error.status_code, {"code": code, "message": str(error.detail)})


def _answer(request: Request, status: int, told: dict[str, Any]) -> Response:
    """An error in the words that the client of a path expects."""
    headers = {"retry-after": str(RETRY_S[status])} if status in RETRY_S else {}
    status, body = spoken(request.url.path, status, told)
    return JSONResponse(body, status, headers)
