"""The server when things go wrong (promises 2, 12, 13, 14, 17, 37): what fails, fails alone, and work goes on."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

import darkroom
from darkroom.contracts.faults import VARIABLE
from darkroom.picture.read import read
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
    with studio(tmp_path, environment={VARIABLE: "worker.evaluate:1:OOM,worker.publish:2:OOM"}) as server:
        worker = server.worker()
        failed, done = ("failed", "no_memory"), ("done", None)
        assert ended(server, *"abcde") == [failed, done, failed, done, done]
        with server.client() as client:
            [failed, *_] = client.get("/api/jobs", params={"state": "failed"}).json()
        assert "needs more memory than is free; try a smaller" in failed["message"]
        assert server.worker() == worker


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("stage", ["evaluate.text", "evaluate.denoiser", "evaluate.decoder", "publish"])
def test_out_of_memory_fifty_times_in_a_row(tmp_path: Path, stage: str) -> None:
    """While a text is read, in a step, while it is decoded, or kept: fifty jobs fail, the next one does not."""
    with studio(tmp_path, environment={VARIABLE: f"worker.{stage}:1-55:OOM"}) as server:
        worker, found = server.worker(), []
        while not found or found[-1] != ("done", None):
            found += ended(server, "a fox")
            assert len(found) <= 56
        assert len(found) > 50 and set(found[:-1]) == {("failed", "no_memory")}
        assert server.worker() == worker


def test_numbers_that_overflow_are_drawn_again(tmp_path: Path) -> None:
    """In fp32, which the recipe says; where that overflows too it is a failed job, and never a black picture."""
    with studio(tmp_path, environment={VARIABLE: "generate.latent:1:NaN,generate.latent:4-5:NaN"}) as server:
        [again] = server.drawn("a red fox", seed=7)
        assert ended(server, "a cat", "a castle") == [("done", None), ("failed", "numerical")]
        with server.client() as client:
            recipe = client.get(f"/api/pictures/{again['picture']}/recipe").json()
            pixels = read(client.get(f"/api/pictures/{again['picture']}").content)
            [failed] = client.get("/api/jobs", params={"state": "failed"}).json()
            told = client.get(f"/api/jobs/{again['id']}/events").text
    assert recipe["environment"]["dtype"] == "float32" and "drawn again, in fp32" in told
    assert np.array_equal(pixels, darkroom.load(dtype="fp32").generate("a red fox", seed=7, **SMALL).pixels)
    assert "made numbers that are not finite, in float32; lower the guidance" in failed["message"]


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
    """Each worker dies at its sixtieth pass: only the long job is in it every time."""
    with studio(tmp_path, environment={VARIABLE: "worker.round:60:SIGKILL"}) as server, server.client() as client:
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


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_that_is_killed_is_back_soon(tmp_path: Path) -> None:
    """Ten times in a row: the server answers meanwhile, another is ready within ten seconds, and draws the job."""
    with studio(tmp_path) as server, server.client() as client:
        took = []
        for number in range(10):
            worker = server.worker()
            job = client.post("/api/jobs", json={"prompt": "a fox", **SMALL, "steps": 200, "seed": number}).json()["id"]
            server.until(lambda job=job: client.get(f"/api/jobs/{job}").json()["state"] == "running")
            os.kill(worker, signal.SIGKILL)
            began = time.monotonic()
            while server.worker() == worker:
                assert client.get("/health").json()["status"] == "ok"
                time.sleep(0.05)
            took.append(time.monotonic() - began)
            server.until(lambda job=job: client.get(f"/api/jobs/{job}").json()["state"] == "done")
            assert client.get(f"/api/jobs/{job}").json()["losses"] == 1
        print(f"back after {min(took):.1f} to {max(took):.1f} s")
        assert max(took) < 10


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
