"""The server with much to do (promises 9, 10, 15, 16, 26, 36): it answers, grows not, finishes what it took.

Times and memory hold for a machine that does nothing else; the short forms have bars that a busy one passes, too.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from darkroom.picture.read import read
from tests.studio import SMALL, Server, percentile, studio, used

ODD = {
    "as long as may be": "a red fox, " * 2909,
    "too long": "x" * 32_001,
    "nested": "(" * 100_000,
    "nested, closed": "(" * 15_000 + "fox" + ")" * 15_000,
    "nested choices": "{a|" * 10_000 + "}" * 1_000,
    "NUL": "a fox\0with a zero",
    "right to left": "\u202eثعلب أحمر في الثلج \u2066a fox",
    "half a character": "a fox \ud83e",
    "names of files": "a fox {{7*7}} ${7*7} __import__('os').system('touch evaluated')",
    "code": "a fox `touch evaluated` $(touch evaluated) %s %n; import os; os.system('touch evaluated')",
}


def test_prompts_of_any_kind_are_drawn_or_refused(tmp_path: Path) -> None:
    """Through the server and its worker (promise 26): soon, nothing of them is run, and nothing is said of them that
    fills the log."""
    with studio(tmp_path) as server, server.client() as client:
        server.worker()
        jobs = []
        for text in ODD.values():
            body = {"prompt": text, **SMALL}
            plain = json.dumps(body).encode()  # in ASCII, in which half a character can be said
            answer = client.post("/api/jobs", content=plain, headers={"content-type": "application/json"})
            assert answer.status_code in (201, 422) and len(answer.text) < 100_000
            jobs += [answer.json()["id"]] if answer.status_code == 201 else []
        assert len(jobs) >= 5
        server.until(lambda: all(client.get(f"/api/jobs/{job}").json()["ended"] for job in jobs))
        ended = [client.get(f"/api/jobs/{job}").json() for job in jobs]
        assert {job["state"] for job in ended} <= {"done", "failed"}
        assert all(job["error"] == "bad_input" for job in ended if job["state"] == "failed"), ended
        assert ended[-1]["state"] == "done", ended[-1]["message"]
        recipe = client.get(f"/api/pictures/{ended[-1]['picture']}/recipe").json()
        assert "`touch evaluated` $(touch" in (recipe["written"] or recipe["prompt"]["text"])
    assert not list(tmp_path.rglob("evaluated")) and not Path("evaluated").exists()
    assert len("".join(server.said)) < 1000 * len(ODD)


def test_twenty_times_the_same(tmp_path: Path) -> None:
    """The same request gives the same pixels (promise 36), 20 of 20, at whatever load."""
    with studio(tmp_path) as server, server.client() as client:
        jobs = server.drawn(*["a red fox"] * 20, seed=7, steps=2)
        names = {job["picture"] for job in jobs}
        first, *others = (read(client.get(f"/api/pictures/{name}").content) for name in names)
        assert all(np.array_equal(first, other) for other in others) and {job["state"] for job in jobs} == {"done"}


def test_under_load_it_answers_and_does_not_grow(tmp_path: Path) -> None:
    """The short form: of answers about its health half come soon, and nothing is left behind."""
    with studio(tmp_path) as server:
        waits = grows_not(server, requests=200, warm=100, memory=64)
        assert percentile(waits, 50) < 0.1


@pytest.mark.parametrize("many", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_one_picture_does_not_wait_for_many_of_another(tmp_path: Path, many: int) -> None:
    """Who asks for one has it begun within two lengths of a job, however much another has asked for (promise 15)."""
    keys = tmp_path / "keys.txt"
    keys.write_text("anna annas-key-that-nobody-knows\nben bens-key-that-nobody-knows\n")
    with studio(tmp_path, "--keys", str(keys)) as server:
        server.worker()
        annas, bens = (server.client(headers={"authorization": f"Bearer {who}s-key-that-nobody-knows"})
                       for who in ("anna", "ben"))  # fmt: skip
        with annas, bens:
            asked = {"prompt": "a fox", **SMALL, "steps": 6}
            for _ in range(many // 100):
                several = {"request": {**asked, "seed": 1}, "count": 100}
                assert annas.post("/api/jobs/several", json=several).status_code == 201
            done = server.until(lambda: annas.get("/api/jobs", params={"state": "done"}).json())
            [job] = [bens.post("/api/jobs", json=asked).json()["id"]]
            ben = server.until(lambda: (told := bens.get(f"/api/jobs/{job}").json())["ended"] and told)
            before = annas.get("/api/queue").json()["counts"]
            annas.post("/api/queue/cancel")
            length = statistics.median(one["ended"] - one["started"] for one in done)
            print(f"begun after {ben['started'] - ben['created']:.2f} s; a job takes {length:.2f} s; then {before}")
            assert ben["state"] == "done" and ben["started"] - ben["created"] < 2 * length


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_five_thousand_requests_leave_nothing_behind(tmp_path: Path) -> None:
    """Memory, descriptors and threads of the server and its worker (promise 16)."""
    with studio(tmp_path) as server:
        grows_not(server, requests=5000, warm=1500, memory=48)


def grows_not(server: Server, requests: int, warm: int, memory: int) -> list[float]:
    """Asks for so many things, a fifth of them pictures, and how the server is beside; how long that took. The first
    ``warm`` ones do not count; afterwards it may take ``memory`` MB more, for what it remembers."""
    worker, waits, before = server.worker(), [], None
    assert server.process is not None
    with server.client() as client:
        job = client.post("/api/jobs", json={"prompt": "a fox", **SMALL}).json()["id"]
        picture = server.until(lambda: client.get(f"/api/jobs/{job}").json()["picture"])
        for number in range(0, requests, 10):
            if before is None and number >= warm:
                settled(server, client)
                before = [used(pid) for pid in (server.process.pid, worker)]
            asked = {"prompt": f"a fox, number {number}", **SMALL}
            jobs = [client.post("/api/jobs", json=asked).json()["id"] for _ in range(2)]
            for path in (
                *("/api/jobs?most=20", f"/api/pictures/{picture}", f"/api/pictures/{picture}/thumbnail", "/api/queue"),
                *("/nowhere", "/metrics", f"/api/jobs/{jobs[0]}/events"),
            ):
                assert client.get(path).status_code in (200, 404)
            began = time.monotonic()
            assert client.get("/health").status_code == 200
            waits.append(time.monotonic() - began)
        settled(server, client)
        assert before is not None and server.worker() == worker
        for one, then in zip((server.process.pid, worker), before, strict=True):
            now = used(one)
            assert now.memory - then.memory < memory * 2**20, (then, now)
            assert now.descriptors <= then.descriptors + 4 and now.threads <= then.threads + 4, (then, now)
    return waits


def settled(server: Server, client: httpx.Client) -> None:
    """Waits until nothing is drawn or waits."""
    server.until(lambda: not {"queued", "running"} & client.get("/api/queue").json()["counts"].keys(), 600)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_how_it_is_it_says_at_full_load(tmp_path: Path) -> None:
    """99 of 100 answers of /health within a tenth of a second, while 32 clients have pictures drawn (promise 10)."""
    with studio(tmp_path) as server, server.client() as client:
        server.worker()
        spawn, waits = multiprocessing.get_context("spawn"), []
        others = spawn.Process(target=draw, args=[server.url, 32, 60.0], daemon=True)
        others.start()  # a process of their own: what it takes them to run is not what it takes the server to answer
        server.until(lambda: client.get("/api/queue").json()["counts"].get("running", 0) >= 8)
        while others.is_alive():
            began = time.monotonic()
            assert client.get("/health").status_code == 200
            waits.append(time.monotonic() - began)
            time.sleep(0.05)
        assert others.exitcode == 0
        print(f"/health: {len(waits)} asked, p50 {percentile(waits, 50):.3f} s, p99 {percentile(waits, 99):.3f} s")
        assert len(waits) > 300 and percentile(waits, 99) < 0.1


def draw(url: str, clients: int, seconds: float) -> None:
    """Clients that have one picture drawn after the other, and follow each as it appears."""
    stop = time.monotonic() + seconds

    def one() -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            while time.monotonic() < stop:
                job = client.post("/api/jobs", json={"prompt": "a fox", **SMALL, "steps": 8}).json()["id"]
                client.get(f"/api/jobs/{job}/events")

    at_once(*[one] * clients)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_ten_times_too_much(tmp_path: Path) -> None:
    """Ten times what it can draw, for a minute (promise 9): refused within a tenth of a second, 99 of 100 times, with a
    time to come again; memory stays, and all that was taken is drawn."""
    with studio(tmp_path) as server, server.client() as client:
        server.worker()
        assert server.process is not None
        asked = {"prompt": "a fox", **SMALL, "steps": 4}
        several = {"request": {**asked, "seed": 1}, "count": 50}
        began = time.monotonic()
        client.post("/api/jobs/several", json=several)
        settled(server, client)
        capacity = 50 / (time.monotonic() - began)
        for _ in range(19):
            assert client.post("/api/jobs/several", json=several).status_code == 201  # the queue is nearly full
        before, memory = used(server.process.pid).memory, [0]
        taken, refused, stop, clients = [], [], time.monotonic() + 60, 16
        pause = clients / (10 * capacity)

        def asks() -> None:
            with server.client() as client:
                due = time.monotonic()
                while (due := due + pause) < stop:
                    time.sleep(max(0.0, due - time.monotonic()))
                    began = time.monotonic()
                    answer = client.post("/api/jobs", json=asked)
                    if answer.status_code == 201:
                        taken.append(answer.json()["id"])
                    else:
                        assert answer.status_code == 429 and int(answer.headers["retry-after"]) > 0, answer.text
                        refused.append(time.monotonic() - began)

        def watches() -> None:
            while time.monotonic() < stop:
                assert server.process is not None
                memory[0] = max(memory[0], used(server.process.pid).memory)
                time.sleep(0.5)

        at_once(*[asks] * clients, watches)
        said = f"capacity {capacity:.1f} a second; {len(taken)} taken, {len(refused)} refused"
        print(f"{said}, p50 {percentile(refused, 50):.3f} s, p99 {percentile(refused, 99):.3f} s; "
              f"memory {before / 2**20:.0f} to {memory[0] / 2**20:.0f} MB")  # fmt: skip
        server.until(lambda: not {"queued", "running"} & client.get("/api/queue").json()["counts"].keys(), 5000)
        store = server.store()
        assert {store.get(job).state for job in taken} <= {"done"}
        assert store.counts() == {"done": 50 * 20 + len(taken)}
        assert refused and memory[0] - before < 64 * 2**20
        assert percentile(refused, 99) < 0.1


def at_once(*tasks: Callable[[], None]) -> None:
    """Does things in threads of their own; an error of one is raised, once all have ended."""
    errors = []

    def caught(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=caught, args=[task]) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
