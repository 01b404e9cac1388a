"""The server when things go wrong (promises 2, 9, 12, 13, 14, 17): what fails, fails alone, and work goes on."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from darkroom.contracts.faults import VARIABLE
from tests.studio import SMALL, Server, studio


def ended(server: Server, *prompts: str, **how: object) -> list[tuple[str, str | None]]:
    """How jobs end that are asked for one after the other."""
    found = []
    for prompt in prompts:
        [job] = server.drawn(prompt, **how)
        found.append((job["state"], job["error"]))
    return found


def test_out_of_memory_is_a_failed_job(tmp_path: Path) -> None:
    """In a network, and when the picture is kept: the job fails with a hint, the next succeeds, the worker lives on."""
    with studio(tmp_path, environment={VARIABLE: "worker.evaluate:1-2:OOM,worker.publish:2:OOM"}) as server:
        worker = server.worker()
        failed, done = ("failed", "no_memory"), ("done", None)
        assert ended(server, *"abcde") == [failed, done, failed, done, done]
        with server.client() as client:
            [failed, *_] = client.get("/api/jobs", params={"state": "failed"}).json()
        assert "needs more memory than is free; try a smaller" in failed["message"]
        assert server.worker() == worker


def test_a_full_disk_is_a_failed_job(tmp_path: Path) -> None:
    """Of the picture, and of the store: what was kept stays, and work goes on without a restart."""
    with studio(tmp_path, environment={VARIABLE: "publish:2-3:ENOSPC"}) as server:
        assert ended(server, *"abcd") == [
            ("done", None),
            ("failed", "no_space"),
            ("failed", "no_space"),
            ("done", None),
        ]
        with server.client() as client:
            assert len(client.get("/api/pictures").json()) == 2


def test_what_kills_its_worker_is_fenced(tmp_path: Path) -> None:
    """Each worker dies at its fortieth pass: only the long job is in it every time."""
    with studio(tmp_path, environment={VARIABLE: "worker.round:40:SIGKILL"}) as server, server.client() as client:
        long, *short = (
            client.post("/api/jobs", json={"prompt": "a fox", **SMALL, "steps": steps}).json()["id"]
            for steps in (300, 1, 2, 1)
        )
        server.until(lambda: client.get(f"/api/jobs/{long}").json()["ended"])
        told = client.get(f"/api/jobs/{long}").json()
        assert (told["state"], told["error"], told["losses"]) == ("failed", "poison", 3)
        server.until(lambda: all(client.get(f"/api/jobs/{job}").json()["ended"] for job in short))
        assert {client.get(f"/api/jobs/{job}").json()["state"] for job in short} == {"done"}
        assert "darkroom_worker_deaths_total 3" in client.get("/metrics").text


def test_a_worker_that_hangs_is_started_again(tmp_path: Path) -> None:
    flags, environment = ("--hang", "8"), {VARIABLE: "worker.round:20:3600"}
    with studio(tmp_path, *flags, environment=environment) as server, server.client() as client:
        long = client.post("/api/jobs", json={"prompt": "a fox", **SMALL, "steps": 30}).json()["id"]
        server.until(lambda: client.get(f"/api/jobs/{long}").json()["losses"] == 1)
        assert client.get("/health").json()["status"] == "ok"
        [other] = server.drawn("a cat")
        assert other["state"] == "done"


def test_readers_that_never_read_cost_others_nothing(tmp_path: Path) -> None:
    """Two hundred streams that nobody reads, and as many uploads that stop half way."""
    with studio(tmp_path) as server:
        address = (urlsplit(server.url).hostname, urlsplit(server.url).port)
        lazy = []
        for asked in (
            b"GET /api/events?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"POST /api/inputs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nabc",
        ):
            for _ in range(200):
                lazy.append(socket.create_connection(address))
                lazy[-1].sendall(asked)
        assert ended(server, "a fox", "a cat") == [("done", None)] * 2
        for one in lazy:
            one.close()
        assert server.listens()


@pytest.mark.slow
def test_ten_times_too_much(tmp_path: Path) -> None:
    """Far more than it can draw for a minute: 429 with a time to come again; all that was taken is drawn."""
    with studio(tmp_path) as server:
        server.worker()
        taken, refused, waits, stop = [], [], [], time.monotonic() + 60

        def ask() -> None:
            with server.client() as client:
                while time.monotonic() < stop:
                    began = time.monotonic()
                    answer = client.post("/api/jobs", json={"prompt": "a fox", **SMALL, "steps": 20})
                    waits.append(time.monotonic() - began)
                    if answer.status_code == 201:
                        taken.append(answer.json()["id"])
                    else:
                        assert answer.status_code == 429 and int(answer.headers["retry-after"]) > 0, answer.text
                        refused.append(answer)

        threads = [threading.Thread(target=ask) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert refused and len(taken) >= 1000
        store = server.store()
        Server.until(lambda: store.counts().get("queued", 0) + store.counts().get("running", 0) == 0, 3000)
        assert {store.get(job).state for job in taken} == {"done"}
