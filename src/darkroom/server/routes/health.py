"""Whether the server is well, in words and in numbers."""

from __future__ import annotations

import time

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response

import darkroom
from darkroom.server.studio import AnyStudio

router = APIRouter(tags=["health"])
STARTED = time.time()


@router.get("/health")
async def health(studio: AnyStudio) -> dict[str, object]:
    """Quick, whatever else goes on: nothing is read from the disk."""
    return {"status": "draining" if studio.draining else "ok", "version": darkroom.__version__}


@router.get("/metrics")
def metrics(studio: AnyStudio) -> Response:
    """Numbers in Prometheus' text format."""
    counts = studio.store.counts()
    lines = ["# TYPE darkroom_jobs gauge"]
    lines += [f'darkroom_jobs{{state="{state}"}} {counts.get(state, 0)}' for state in
              ("queued", "running", "done", "failed", "cancelled")]  # fmt: skip
    seen = studio.workers.all()
    lines += ["# TYPE darkroom_workers gauge", f"darkroom_workers {len(seen)}"]
    lines += ["# TYPE darkroom_worker_deaths_total counter", f"darkroom_worker_deaths_total {studio.supervisor.deaths}"]
    lines += ["# TYPE darkroom_seconds_a_picture gauge"]
    if (pace := studio.store.line.pace()) is not None:
        lines.append(f"darkroom_seconds_a_picture {pace:.4f}")
    lines += ["# TYPE darkroom_start_time_seconds gauge", f"darkroom_start_time_seconds {STARTED:.3f}"]
    return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")
