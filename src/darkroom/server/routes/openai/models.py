"""The models there are, as clients of OpenAI's list them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from darkroom.cards import CARD, known_models, read_card
from darkroom.contracts.errors import unknown
from darkroom.server.spoken import NoModel
from darkroom.server.studio import Owner

router = APIRouter()


@router.get("/models")
def listed(owner: Owner) -> dict[str, Any]:
    """The models there are."""
    return {"object": "list", "data": [_shown(name) for name in known_models()]}


@router.get("/models/{name}")
def one(name: str, owner: Owner) -> dict[str, Any]:
    """A model."""
    if name not in (known := known_models()):
        told = unknown("model", name, known)
        raise NoModel(told.value, told.rule, told.fix, "model")
    return _shown(name)


def _shown(name: str) -> dict[str, Any]:
    folder = known_models()[name]
    created = int((folder / CARD).stat().st_mtime)
    return {"id": name, "object": "model", "created": created, "owned_by": read_card(folder).family}
