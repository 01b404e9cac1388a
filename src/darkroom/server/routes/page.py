"""The page: its files, and who is at it."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import Field
from starlette.types import Scope

from darkroom.contracts.contract import Contract, Text
from darkroom.server.guard import COOKIE
from darkroom.server.studio import AnyStudio, Owner

WEB = Path(__file__).parents[1] / "web"
REVALIDATED = {"cache-control": "no-cache"}  # an etag says whether it is still the same
KEPT_S = 30 * 24 * 3600  # that a browser keeps a key

router = APIRouter(tags=["page"])


class PageFiles(StaticFiles):
    """Files that a browser asks about again each time."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, or that it has not changed."""
        response = await super().get_response(path, scope)
        response.headers.update(REVALIDATED)
        return response


class Key(Contract):
    """What lets somebody in."""

    key: Text = Field(min_length=1, max_length=1000, description="A key of the server's.")


FILES = PageFiles(directory=WEB)


@router.get("/", include_in_schema=False)
async def index(request: Request) -> Response:
    """The page."""
    return await FILES.get_response("index.html", request.scope)


@router.get("/favicon.svg", include_in_schema=False)
async def icon(request: Request) -> Response:
    """Its icon."""
    return await FILES.get_response("icon.svg", request.scope)


class Session(Contract):
    """Who is at the page."""

    asked: bool = Field(description="Whether the server asks for keys.")
    owner: Text | None = Field(description="Whose key came along. None: nobody's, or none is asked for.")


@router.get("/api/session")
def session(studio: AnyStudio, owner: Owner) -> Session:
    """Who is at the page, as far as the server knows."""
    keys = studio.settings.keys
    return Session(asked=bool(keys), owner=owner if owner in keys.values() else None)


@router.post("/api/session")
def enter(key: Key, request: Request, studio: AnyStudio) -> Response:
    """Lets a browser in: from now on it brings the key along by itself, and no script of a page can read it."""
    owner = studio.settings.owner(key.key)
    if owner is None:
        told = {"code": "no_key", "message": "this key opens nothing here; take one of those the server was given"}
        return JSONResponse({"error": told}, 401)
    response = JSONResponse({"owner": owner})
    if not studio.settings.keys:  # anything opens then, and nothing has to be brought along
        return response
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, key.key, max_age=KEPT_S, httponly=True, samesite="strict", secure=secure)
    return response


@router.delete("/api/session")
def leave(request: Request) -> Response:
    """Forgets the key that a browser brings along."""
    response = JSONResponse({"left": True})
    secure = request.url.scheme == "https"
    response.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=secure)
    return response
