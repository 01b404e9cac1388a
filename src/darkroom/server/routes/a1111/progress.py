"""How far the calls are that somebody waits for, and their end before their time."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from fastapi import APIRouter

from darkroom.contracts.errors import BadInput
from darkroom.contracts.job import Job
from darkroom.picture.read import read
from darkroom.picture.write import encode
from darkroom.server.keeping.latest import latest
from darkroom.server.routes.a1111.desk import AnyDesk
from darkroom.server.studio import AnyStudio, Owner, Studio

router = APIRouter()


@router.get("/progress")
def progress(studio: AnyStudio, owner: Owner, desk: AnyDesk, skip_current_image: bool = False) -> dict[str, Any]:
    """How far your calls are, all together: 0 and no jobs where there is none."""
    jobs = [studio.store.get(job) for job in desk.jobs]
    running = [job for job in jobs if job.state == "running"]
    seen = [latest(studio.store.database, job.id) for job in running]
    done = sum(job.final for job in jobs)
    share = (done + sum(one.share for one in seen)) / len(jobs) if jobs else 0.0
    preview = next((one.preview for one in seen if one.preview is not None), None)
    pace = studio.store.line.pace() or 0.0
    return {
        "progress": share,
        "eta_relative": pace * len(jobs) * (1 - share),
        "state": {
            "skipped": False,
            "interrupted": any(job.state == "cancelled" for job in jobs),
            "stopping_generation": False,
            "job": running[0].id if running else "",
            "job_count": len(jobs),
            "job_timestamp": f"{jobs[0].created:.0f}" if jobs else "0",
            "job_no": done,
            "sampling_step": seen[0].step if seen else 0,
            "sampling_steps": seen[0].steps if seen else 0,
        },
        "current_image": None if skip_current_image or preview is None else _shown(preview),
        "textinfo": None,
    }


def _shown(preview: bytes) -> str:
    return base64.b64encode(encode(read(preview), None)).decode()


@router.post("/interrupt")
def interrupt(studio: AnyStudio, owner: Owner, desk: AnyDesk) -> dict[str, Any]:
    """Cancels what your calls wait for; they answer with the pictures that are done. Other jobs go on."""
    _cancel([studio.store.get(job) for job in desk.jobs], studio)
    return {}


@router.post("/skip")
def skip(studio: AnyStudio, owner: Owner, desk: AnyDesk) -> dict[str, Any]:
    """Cancels the first picture that is drawn now."""
    _cancel([job for job in map(studio.store.get, desk.jobs) if job.state == "running"][:1], studio)
    return {}


def _cancel(jobs: Sequence[Job], studio: Studio) -> None:
    for job in jobs:
        if not job.final:
            with suppress(BadInput):  # it has ended meanwhile
                studio.store.cancel(job.id)
