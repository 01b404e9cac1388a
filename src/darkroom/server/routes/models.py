"""What there is to draw with: models, adapters, styles, and the schema that forms follow."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from darkroom.cards import known_models, read_card
from darkroom.contracts.contract import Contract, Name
from darkroom.contracts.errors import unknown
from darkroom.contracts.request import NO_SETTINGS, Request
from darkroom.server.admit import styles
from darkroom.server.studio import AnyStudio, Owner

router = APIRouter(prefix="/api", tags=["models"])


class Shelf(Contract):
    """A model at hand."""

    name: Name = Field(description="The name that requests have for it.")
    title: Name = Field(description="Its own name.")
    family: Name = Field(description="Its kind.")
    licence: str = Field(description="Its licence.")
    defaults: dict[str, Any] = Field(description="What holds where a request says nothing.")
    styles: list[str] = Field(description="The styles it may be asked for.")
    vocabulary: list[str] = Field(description="The things it learnt to draw, as far as its card says.")
    limits: list[str] = Field(description="What it cannot draw, in plain words.")


@router.get("/models")
def models(studio: AnyStudio, owner: Owner) -> list[Shelf]:
    """The models there are."""
    found = []
    for name, folder in known_models().items():
        card = read_card(folder)
        told = {"title": card.name, "family": card.family, "licence": card.licence}
        lists = {"styles": styles(name, studio), "vocabulary": list(card.vocabulary), "limits": list(card.limits)}
        found.append(Shelf(name=name, **told, defaults=card.defaults.model_dump(mode="json"), **lists))
    return found


@router.get("/adapters")
def adapters(studio: AnyStudio, owner: Owner) -> list[str]:
    """LoRAs, controls, learnt words and autoencoders that requests may name."""
    return studio.settings.folders.adapter_names()


@router.get("/schema")
def schema(studio: AnyStudio, owner: Owner, model: Annotated[str, Query(max_length=200)] = "default") -> dict[str, Any]:
    """The JSON schema of a request, with the names there are and what holds where nothing is said."""
    if model not in (known := known_models()):
        raise unknown("model", model, known)
    told = Request.model_json_schema()
    names = {**studio.workers.offers(), "style": styles(model, studio), "model": list(known), "guide": list(known)}
    for field, names_there_are in names.items():
        if field in told["properties"]:
            told["properties"][field]["examples"] = names_there_are
    for field, value in read_card(known[model]).defaults.model_dump(mode="json").items():
        if field in told["properties"]:
            told["properties"][field]["resolved_default"] = value
    told["not_in_styles"] = sorted(NO_SETTINGS)
    return told
