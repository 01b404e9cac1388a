"""The OpenAI Images API: ``/v1/images`` and ``/v1/models``."""

from __future__ import annotations

from fastapi import APIRouter

from darkroom.server.routes.openai import edits, generations, models

router = APIRouter(prefix="/v1", tags=["openai"])
for part in (generations, edits, models):
    router.include_router(part.router)
