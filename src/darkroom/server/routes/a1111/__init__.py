"""The API of A1111's web UI: ``/sdapi/v1``."""

from __future__ import annotations

from fastapi import APIRouter

from darkroom.server.routes.a1111 import drawing, files, progress, shelves

router = APIRouter(prefix="/sdapi/v1", tags=["a1111"])
for part in (drawing, progress, shelves, files):
    router.include_router(part.router)
