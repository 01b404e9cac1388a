"""Many pictures of one request: laid out along two of its fields, or as the way to another prompt or seed."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from darkroom.contracts.contract import Contract, Text, Whole
from darkroom.contracts.errors import BadInput
from darkroom.contracts.request import CHOSEN_SEEDS, Request
from darkroom.requests.axes import Axis, grid_of
from darkroom.requests.spelling import Asked, frames_of
from darkroom.server.admit import check
from darkroom.server.routes.jobs import MOST_AT_ONCE, IdempotencyKey, Shown, shown
from darkroom.server.studio import AnyStudio, Owner, Studio

router = APIRouter(prefix="/api", tags=["layouts"])
Along = Annotated[Text, Field(max_length=2000)]


class Laid(Contract):
    """A request, and the fields it is laid out along, written as `darkroom generate --x` reads them."""

    request: Request = Field(description="What all cells have in common.")
    x: Along | None = Field(None, description='From left to right, such as "steps=4,8,16". None: one column.')
    y: Along | None = Field(None, description='From top to bottom, such as "prompt=fox,cat". None: one row.')


class Way(Contract):
    """A request that leads somewhere (``toward``, ``variation``), and in how many pictures."""

    request: Request = Field(description="Where it leads.")
    frames: Annotated[Whole, Field(ge=2, le=MOST_AT_ONCE, description="Pictures on the way, both ends included.")] = 8


class Side(Contract):
    """One axis of a grid."""

    field: str = Field(description="The field.")
    labels: list[str] = Field(description="Its values, as they are shown.")


class Table(Contract):
    """A grid that is being drawn."""

    x: Side | None = Field(description="Its columns. None: one without a name.")
    y: Side | None = Field(description="Its rows. None: one without a name.")
    jobs: list[list[Shown | None]] = Field(description="The jobs of each row. None: that cell cannot be asked for.")
    problems: list[list[str]] = Field(description="Why a cell cannot be asked for. Empty: it can.")


@router.post("/grid", status_code=201)
def grid(laid: Laid, studio: AnyStudio, owner: Owner, idempotency_key: IdempotencyKey = None) -> Table:
    """Asks for the pictures of a grid, all with one seed; cells that cannot be drawn say why, and the others are."""
    studio.check_open()
    seeds = secrets.randbelow(CHOSEN_SEEDS), secrets.randbelow(CHOSEN_SEEDS)
    found = grid_of(asked(laid.request), {n: v for n in ("x", "y") if (v := getattr(laid, n)) is not None}, *seeds)
    wide, high, _ = found.shape
    if wide * high > MOST_AT_ONCE:
        raise BadInput(f"a grid of {wide * high} pictures", f"is more than {MOST_AT_ONCE}", "give fewer values")
    cells = [cell.request for cell in found.cells()]
    good = [cell for cell in cells if isinstance(cell, Request)]
    if not good:
        raise next(cell for cell in cells if isinstance(cell, BadInput))
    check(good, studio)
    jobs = iter(_submitted(good, studio, owner, idempotency_key))
    placed = [next(jobs) if isinstance(cell, Request) else None for cell in cells]
    told = ["" if isinstance(cell, Request) else str(cell) for cell in cells]
    rows = [slice(row * wide, (row + 1) * wide) for row in range(high)]
    x, y, _ = found.axes
    return Table(x=_side(x), y=_side(y), jobs=[placed[row] for row in rows], problems=[told[row] for row in rows])


@router.post("/film", status_code=201)
def film(way: Way, studio: AnyStudio, owner: Owner, idempotency_key: IdempotencyKey = None) -> list[Shown]:
    """Asks for the pictures on the way from a request to what it leads to."""
    studio.check_open()
    chosen = secrets.randbelow(CHOSEN_SEEDS), secrets.randbelow(CHOSEN_SEEDS)
    requests = frames_of(way.request, way.frames, chosen)
    check(requests, studio)
    return _submitted(requests, studio, owner, idempotency_key)


def asked(request: Request) -> Asked:
    """A request as text spells it: what it leaves open is left out, so that an axis may say it."""
    fields: dict[str, Any] = {name: getattr(request, name) for name in request.model_fields_set - {"prompt", "seed"}}
    fields = {name: value for name, value in fields.items() if value is not None}
    fields |= {"prompt": request.prompt.text, "negative": request.prompt.negative}
    return Asked(fields, None if request.seed is None else str(request.seed))


def _submitted(requests: list[Request], studio: Studio, owner: str, key: str | None) -> list[Shown]:
    return shown(studio.store.submit(requests, owner=owner, key=key), studio)


def _side(axis: Axis | None) -> Side | None:
    return None if axis is None else Side(field=axis.title, labels=axis.labels)
