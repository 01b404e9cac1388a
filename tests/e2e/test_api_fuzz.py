"""Whatever the published schema allows, and what it does not, is answered, and never with a fault (promise 27)."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from starlette.testclient import TestClient

from darkroom.server.app import application
from darkroom.server.keeping.folders import Folders
from darkroom.server.settings import Settings
from darkroom.server.studio import Studio

schemathesis = pytest.importorskip(
    "schemathesis", reason="not installed: pip install schemathesis (make test-all does)"
)
pytestmark = pytest.mark.slow
REQUESTS = int(os.environ.get("DARKROOM_EXAMPLES", "10000"))
AT_ONCE = 20
ENDLESS = ("/api/events",)  # a stream of all that happens


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """A server without a worker, that takes no job: what waits for a picture would wait for ever."""
    studio = Studio(Settings(Folders(tmp_path / "studio"), most_queued_each=0))
    with TestClient(application(studio), base_url="http://localhost", raise_server_exceptions=False) as opened:
        yield opened


@pytest.mark.timeout(7200)
def test_ten_thousand_requests_without_a_fault(client: TestClient) -> None:
    """Half of them as the schema says, half not: no 5xx, every error a sentence in JSON."""
    told = client.get("/api/openapi.json").json()
    schema = schemathesis.openapi.from_dict(json.loads(json.dumps(told)))
    operations = [found.ok() for found in schema.get_all_operations() if found.ok().path not in ENDLESS]
    modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
    seen = Counter[int]()
    for turn in range(REQUESTS):
        for operation in operations:
            for mode in modes:
                ask(client, operation, mode, turn, seen)
        if seen.total() >= REQUESTS:
            break
    print(f"{len(operations)} operations, {seen.total()} requests: {dict(sorted(seen.items()))}")
    assert seen.total() >= REQUESTS


def ask(client: TestClient, operation: Any, mode: Any, turn: int, seen: Counter[int]) -> None:
    """Asks for one operation some times, in each turn otherwise; what takes nothing cannot be asked for wrongly."""

    @seed(turn)
    @settings(
        max_examples=AT_ONCE,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def once(case: Any) -> None:
        answer = client.request(**case.as_transport_kwargs(base_url="http://localhost"), follow_redirects=False)
        seen[answer.status_code] += 1
        assert answer.status_code < 500, (operation.label, answer.status_code, answer.text[:500])
        if answer.status_code >= 400:
            assert "json" in answer.headers["content-type"] and answer.json(), (operation.label, answer.text[:500])

    with suppress(Unsatisfiable):
        once()
