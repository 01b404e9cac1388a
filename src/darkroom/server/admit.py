"""What is looked at before a request becomes a job: its files, its names, and how much work it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from darkroom.cards import known_models, read_card
from darkroom.contracts.errors import BadInput, unknown
from darkroom.contracts.job import Job, Priority
from darkroom.contracts.request import MAX_SIDE, Request
from darkroom.server.keeping.folders import located
from darkroom.server.studio import Studio
from darkroom.wording.stylefile import read_styles


def admitted(
    requests: Sequence[Request], studio: Studio, owner: str, key: str | None, priority: Priority = 0
) -> list[Job]:
    """Requests as jobs, all or none; an owner's same ``key`` gives the same jobs. Raises DarkroomError."""
    studio.check_open()
    check(requests, studio)
    return studio.store.submit(requests, owner=owner, key=key, priority=priority)


def check(requests: Iterable[Request], studio: Studio) -> None:
    """Raises BadInput for what could not be drawn anyway, where that can be told without a model."""
    offers = studio.workers.offers()
    seedless = [request.model_copy(update={"seed": None, "variation_seed": None}) for request in requests]
    for request in {request.to_json(): request for request in seedless}.values():  # many differ in seeds alone
        located(request, studio.settings.folders)
        for field in ("sampler", "spacing", "guidance_method"):
            name, known = getattr(request, field), offers.get(field)
            if name is not None and known is not None and name not in known:
                raise unknown(field.replace("_", " "), name, known)
        if request.style is not None and request.style not in (known := styles(request.model, studio)):
            raise unknown("style", request.style, known)
        check_work(request, studio.settings.most_work)


def check_work(request: Request, most: int) -> None:
    """Raises BadInput for a job of too much work: pixels of the finished picture, times steps, times pictures drawn."""
    defaults = read_card(known_models()[request.model]).defaults
    width, height = request.width or defaults.width, request.height or defaults.height
    steps = request.steps or defaults.steps
    candidates = request.best_of + request.retry
    work = width * height * steps * candidates
    if work > most:
        told = f"{width}x{height} in {steps} steps" + (f", {candidates} times" if candidates > 1 else "")
        fewest = max(1, most // (width * height * candidates))
        fix = f"try {fewest} steps" if width * height * candidates <= most else f"ask for less than {MAX_SIDE} a side"
        raise BadInput(told, "is more work than one job may be here", fix)


def styles(model: str, studio: Studio) -> list[str]:
    """The styles that may be asked for: those the model knows, and saved ones."""
    saved: dict[str, Any] = dict(read_styles(studio.settings.folders.styles))
    return [*read_card(known_models()[model]).styles, *saved]
