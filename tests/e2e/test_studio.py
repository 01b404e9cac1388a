"""The server over real HTTP, with a real worker: what it promises."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import signal
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

import darkroom
from darkroom.contracts.recipe import Recipe
from darkroom.picture.metadata import read_recipe
from darkroom.picture.read import read
from tests.studio import SMALL, Server, alive, studio


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with studio(tmp_path_factory.mktemp("served")) as running:
        yield running


def png(size: tuple[int, int] = (64, 64), exif: bool = False) -> bytes:
    file = io.BytesIO()
    told = Image.Exif()
    if exif:
        told[0x010E] = "a secret canary"
    Image.new("RGB", size, (200, 30, 30)).save(file, "JPEG" if exif else "PNG", exif=told)
    return file.getvalue()


def events(client: httpx.Client, path: str, after: int = 0) -> list[dict[str, object]]:
    """All events of a stream that ends."""
    found = []
    with client.stream("GET", path, headers={"last-event-id": str(after)}) as stream:
        number = 0
        for line in stream.iter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line[6:]))
            elif line.startswith("id: "):
                number = int(line[4:])
                found[-1]["number"] = number
    return found


def test_a_picture_is_what_the_command_line_draws(server: Server) -> None:
    """One path: the pixels are those of the same request drawn alone in this process."""
    [job] = server.drawn("a red fox, cartoon", seed=7, steps=4)
    assert job["state"] == "done" and job["error"] is None
    with server.client() as client:
        data = client.get(f"/api/pictures/{job['picture']}").content
        assert hashlib.sha256(data).hexdigest() == job["sha256"]
        recipe = client.get(f"/api/pictures/{job['picture']}/recipe").json()
        small = Image.open(io.BytesIO(client.get(f"/api/pictures/{job['picture']}/thumbnail").content))
    assert Recipe.from_json(json.dumps(recipe)) == read_recipe(data) and small.format == "WEBP"
    alone = darkroom.load().generate("a red fox, cartoon", seed=7, **{**SMALL, "steps": 4})
    assert np.array_equal(read(data), alone.pixels)


def test_what_happens_is_told_and_can_be_told_again(server: Server) -> None:
    [job] = server.drawn("a castle", seed=1, steps=3)
    with server.client() as client:
        told = events(client, f"/api/jobs/{job['id']}/events")
        kinds = [event["kind"] for event in told]
        assert kinds[:2] == ["queued", "running"] and kinds[-1] == "done" and "preview" in kinds
        seen = [event["step"] for event in told if event.get("stage") == "synthesise"]
        assert seen == [1, 2, 3]
        middle = told[3]["number"]
        assert isinstance(middle, int)
        assert events(client, f"/api/jobs/{job['id']}/events", after=middle) == told[4:]


def test_together_is_alone(server: Server) -> None:
    """Requests of other steps, samplers and guidance share passes; the pixels stay those of each alone."""
    prompts = ["a red fox", "a castle, cartoon", "three tulips", "a cat in the snow"]
    how = [
        {"steps": 3, "sampler": "heun"},
        {"steps": 5, "guidance": 4.0},
        {"steps": 2, "width": 96},
        {"steps": 4, "best_of": 2},
    ]
    with server.client() as client:
        asked = [{"prompt": p, **SMALL, "seed": i, **h} for i, (p, h) in enumerate(zip(prompts, how, strict=True))]
        jobs = [client.post("/api/jobs", json=one).json()["id"] for one in asked]
        ended = server.until(
            lambda: (
                (found := [client.get(f"/api/jobs/{job}").json() for job in jobs])
                and all(job["ended"] for job in found)
                and found
            )
        )
        drawn = [read(client.get(f"/api/pictures/{job['picture']}").content) for job in ended]
    model = darkroom.load()
    for one, pixels in zip(asked, drawn, strict=True):
        assert np.array_equal(pixels, model.generate(**one).pixels)  # type: ignore[arg-type]


def test_cancelled_between_steps(server: Server) -> None:
    with server.client() as client:
        long = client.post("/api/jobs", json={"prompt": "a fox", **SMALL, "steps": 1000}).json()["id"]
        server.until(lambda: client.get(f"/api/jobs/{long}").json()["state"] == "running")
        assert client.post(f"/api/jobs/{long}/cancel").json()["state"] == "cancelled"
        [other] = server.drawn("a cat")
        assert other["state"] == "done"
        assert client.get(f"/api/jobs/{long}").json()["state"] == "cancelled"
        assert events(client, f"/api/jobs/{long}/events")[-1]["kind"] == "cancelled"
        assert client.post(f"/api/jobs/{long}/cancel").status_code == 409
        again = client.post(f"/api/jobs/{long}/retry").json()
        assert again["id"] != long and client.post(f"/api/jobs/{again['id']}/cancel").status_code == 200


def test_what_is_wrong_is_said(server: Server) -> None:
    with server.client() as client:
        for asked, status, said in (
            ({"prompt": "a fox", "width": 1001}, 422, "width 1001 is not a multiple of 16; try 1008"),
            ({"prompt": "a fox", "sampler": "heum"}, 422, "did you mean 'heun'?"),
            ({"prompt": "a fox", "style": "cartoons"}, 422, "did you mean 'cartoon'?"),
            ({"prompt": "a fox", "stepz": 4}, 422, "did you mean 'steps'?"),
            ({"prompt": "a fox", "model": "/etc"}, 422, "unknown model '/etc'"),
            ({"prompt": "a fox", "init_image": "../../etc/passwd"}, 422, "is not the bare name of a file"),
            ({"prompt": "a fox", "init_image": "0" * 64 + ".png"}, 422, "was not brought along; send it first"),
            ({"prompt": "a fox", "lora": ["style.safetensors"]}, 422, "unknown adapter 'style.safetensors'"),
            ({"prompt": "a fox", "width": 2048, "height": 2048, "steps": 1000}, 422, "more work than one job may be"),
            ({"steps": 4}, 422, "prompt is missing; give it"),
        ):
            answer = client.post("/api/jobs", json=asked)
            assert answer.status_code == status and said in answer.json()["error"]["message"], answer.text
        beyond = {"request": {"prompt": "a fox", "seed": 2**63 - 2}, "count": 3}
        answer = client.post("/api/jobs/several", json=beyond)
        assert answer.status_code == 422 and "begin lower" in answer.json()["error"]["message"]
        for path in ("/api/jobs/nope", "/api/pictures/nope.png", "/api/pictures/nope.png/recipe", "/nowhere"):
            assert client.get(path).status_code == 404 and "message" in client.get(path).json()["error"]
        assert client.post("/api/jobs", content=b"{" * 100_000).status_code == 422


def test_the_same_key_is_one_job(server: Server) -> None:
    with server.client(headers={"idempotency-key": "once"}) as client:
        asked = {"prompt": "a fox", **SMALL}
        first, second = (client.post("/api/jobs", json=asked).json()["id"] for _ in range(2))
        assert first == second
        assert client.post("/api/jobs", json={**asked, "steps": 2}).status_code == 409


def test_what_is_brought_along_leaves_its_secrets_behind(server: Server) -> None:
    with server.client() as client:
        brought = client.post("/api/inputs", content=png(exif=True)).json()
        assert (brought["width"], brought["height"], brought["recipe"]) == (64, 64, None)
        for refused in (b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"", png()[:60], b"8BPS" + b"\0" * 400):
            assert client.post("/api/inputs", content=refused).status_code == 422
        [job] = server.drawn("a fox", init_image=brought["name"], strength=0.5)
        assert job["state"] == "done"
        drawn = client.get(f"/api/pictures/{job['picture']}").content
        assert b"canary" not in drawn and b"canary" not in client.get(f"/api/inputs/{brought['name']}").content
        back = client.post("/api/inputs", content=drawn).json()
        assert back["recipe"]["prompt"]["text"] == "a fox" and back["recipe"]["init_image"]["name"] == brought["name"]


def test_the_gallery_over_http(server: Server) -> None:
    jobs = server.drawn("a purple hippopotamus", "a purple umbrella", seed=3)
    names = [job["picture"] for job in jobs]
    with server.client() as client:
        found = client.get("/api/pictures", params={"words": "purple umb"}).json()
        assert [kept["name"] for kept in found] == [names[1]]
        changed = client.post(
            "/api/pictures/change", json={"names": names, "board": "purple", "favourite": True}
        ).json()
        assert [(kept["board"], kept["favourite"]) for kept in changed] == [("purple", True)] * 2
        assert client.get("/api/boards").json()["purple"] == 2
        archive = zipfile.ZipFile(io.BytesIO(client.post("/api/pictures/zip", json={"names": names}).content))
        assert sorted(archive.namelist()) == [
            *("001-a-purple-hippopotamus.json", "001-a-purple-hippopotamus.png"),
            *("002-a-purple-umbrella.json", "002-a-purple-umbrella.png"),
        ]
        assert hashlib.sha256(archive.read("002-a-purple-umbrella.png")).hexdigest() == jobs[1]["sha256"]
        client.post("/api/pictures/change", json={"names": names[:1], "trashed": True})
        assert client.get("/api/pictures", params={"board": "purple"}).json()[0]["name"] == names[1]
        path = server.folders.picture(names[0])
        assert path.is_file() and client.post("/api/trash/empty").json() == {"deleted": 1} and not path.exists()
        assert client.get(f"/api/pictures/{names[0]}").status_code == 404


def test_the_queue_over_http(server: Server) -> None:
    with server.client() as client:
        assert client.post("/api/queue/pause").json()["paused"]
        several = {"request": {"prompt": "a fox", **SMALL, "seed": 5}, "count": 3}
        a, b, c = (job["id"] for job in client.post("/api/jobs/several", json=several).json())
        assert client.post(f"/api/jobs/{c}/move", json={}).json()["position"] == 0
        assert client.post(f"/api/jobs/{b}/move", json={"before": a}).json()["position"] == 1
        assert client.post(f"/api/jobs/{a}/move", json={"priority": 3}).json()["position"] == 0
        assert [job["request"]["seed"] for job in client.get("/api/jobs", params={"state": "queued"}).json()] == [
            7,
            6,
            5,
        ]
        assert client.post(f"/api/jobs/{b}/cancel").json()["state"] == "cancelled"
        assert not client.post("/api/queue/resume").json()["paused"]
        server.until(lambda: client.get(f"/api/jobs/{c}").json()["state"] == "done")
        assert client.get("/api/queue").json()["ready"]
        metrics = client.get("/metrics").text
        assert 'darkroom_jobs{state="queued"} 0' in metrics and "darkroom_workers 1" in metrics


def test_a_worker_that_is_killed_comes_back(server: Server) -> None:
    worker = server.worker()
    with server.client() as client:
        job = client.post("/api/jobs", json={"prompt": "a fox", **SMALL, "steps": 400}).json()["id"]
        server.until(lambda: client.get(f"/api/jobs/{job}").json()["state"] == "running")
        os.kill(worker, signal.SIGKILL)
        assert client.get("/health").json()["status"] == "ok"
        server.until(lambda: client.get(f"/api/jobs/{job}").json()["state"] == "done")
        assert client.get(f"/api/jobs/{job}").json()["losses"] == 1
    assert server.worker() != worker


def test_two_servers_do_not_share_a_folder(server: Server) -> None:
    second = Server(server.data)
    with pytest.raises(AssertionError, match="belongs to a server that runs; stop it, or give another folder"):
        second.start()


def test_a_server_that_is_killed_blames_no_job(tmp_path: Path) -> None:
    """Its worker was well: what that drew is drawn by the next one, and is not taken for what kills workers."""
    with studio(tmp_path) as server, server.client() as client:
        job = client.post("/api/jobs", json={"prompt": "a fox", **SMALL, "steps": 60}).json()["id"]
        server.until(lambda: server.store().get(job).state == "running")
        server.kill()
        server.start()
        server.until(lambda: server.store().get(job).state == "done")
        assert server.store().get(job).losses == 0


def test_a_canary_leaks_nowhere(tmp_path: Path) -> None:
    """A key appears in no answer, no log, and no file but that of the keys (promise 28), whatever is asked with it; and
    what goes out is inert: of a type that is named, and never guessed (promise 24)."""
    key, wrong = "canary-that-is-a-key", "canary-that-is-no-key"
    file = tmp_path / "keys.txt"
    file.write_text(f"anna {key}\n")
    types = set()
    with studio(tmp_path, "--keys", str(file)) as server, server.client() as client:
        for headers in (
            *({"authorization": f"Bearer {key}"}, {"x-api-key": key}, {"cookie": f"darkroom_key={key}"}),
            *({"authorization": f"Bearer {wrong}"}, {"authorization": f"Basic {wrong}"}, {"x-api-key": wrong}),
        ):
            ours = key in str(headers)
            asked = {"prompt": "a fox", **SMALL}
            answers = [client.post("/api/jobs", json=asked, headers=headers)]
            if ours:
                job = answers[0].json()["id"]
                server.until(lambda: server.store().get(job).final)  # noqa: B023 (it is asked at once)
                picture = f"/api/pictures/{server.store().get(job).picture}"
                answers += [client.get(picture + part, headers=headers) for part in ("", "/thumbnail", "/recipe")]
            answers += [
                client.get(path, headers=headers)
                for path in ("/", "/health", "/metrics", "/api/jobs", "/nowhere", "/api/queue", "/page/js/jobs.js")
            ]
            answers += [
                client.post("/api/jobs", json={"prompt": 7}, headers=headers),
                client.post("/api/session", json={"key": wrong}, headers=headers),
                client.post("/api/inputs", content=b"GIF89a", headers=headers),
                client.post("/v1/images/generations", json={"prompt": 7}, headers=headers),
                client.post("/sdapi/v1/txt2img", json={"prompt": 7}, headers=headers),
            ]
            for answer in answers:
                assert b"canary" not in answer.content and "canary" not in str(answer.headers)
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert "default-src 'none'" in answer.headers["content-security-policy"]
                types.add(answer.headers["content-type"].partition(";")[0])
    assert types == {*("application/json", "text/html", "text/plain", "text/javascript", "image/png", "image/webp")}
    assert "canary" not in "".join(server.said)
    assert not [
        path for path in tmp_path.rglob("*") if path.is_file() and path != file and b"canary" in path.read_bytes()
    ]


def test_told_to_stop_it_finishes_what_runs(tmp_path: Path) -> None:
    with studio(tmp_path) as server:
        worker = server.worker()
        with server.client() as client:
            first = client.post("/api/jobs", json={"prompt": "a fox", **SMALL, "steps": 60}).json()["id"]
            server.until(lambda: client.get(f"/api/jobs/{first}").json()["state"] == "running")
            assert server.process is not None
            said: list[str] = []
            hearing = threading.Thread(target=hear, args=[server, said])
            hearing.start()
            server.until(lambda: said)
            server.process.send_signal(signal.SIGTERM)
            server.until(lambda: client.get("/health").json()["status"] == "draining")
            late = client.post("/api/jobs", json={"prompt": "a cat", **SMALL})
            assert late.status_code == 503 and int(late.headers["retry-after"]) > 0
        server.process.wait(60)
        hearing.join(60)
        assert "event: draining" in said
        assert not alive(worker)
        if server.store().get(first).state != "done":  # there was no time for it: it is drawn by the next server
            assert server.store().get(first).state == "queued" and server.store().get(first).losses == 0
            server.start()
            server.until(lambda: server.store().get(first).state == "done")


def hear(server: Server, said: list[str]) -> None:
    """Follows all that happens, until the server is gone."""
    with suppress(httpx.TransportError), server.client() as client, client.stream("GET", "/api/events") as stream:
        for line in stream.iter_lines():
            said.append(line)


def test_an_acknowledged_job_survives(tmp_path: Path) -> None:
    survives(tmp_path, jobs=40, kills=4)


@pytest.mark.slow
@pytest.mark.timeout(10800)
def test_an_acknowledged_job_survives_two_hundred_kills(tmp_path: Path) -> None:
    survives(tmp_path, jobs=1000, kills=200)


def survives(folder: Path, jobs: int, kills: int) -> None:
    """Server and worker are killed at random while jobs are submitted (promise 1): no acknowledged job is missing, each
    that is done has its file, none is published twice."""
    rng, acknowledged, stop = random.Random(1), [], threading.Event()
    with studio(folder) as server:

        def ask() -> None:
            for number in range(jobs):
                asked = {"prompt": f"a fox, number {number}", **SMALL, "seed": number}
                while not stop.is_set():
                    try:
                        answer = httpx.post(
                            server.url + "/api/jobs", json=asked, headers={"idempotency-key": str(number)}, timeout=5
                        )
                    except httpx.TransportError:
                        time.sleep(0.05)
                        continue
                    if answer.status_code == 201:
                        acknowledged.append(answer.json()["id"])
                        break
                    time.sleep(0.05)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            for number in range(kills):
                worker = server.worker()
                time.sleep(rng.uniform(0.0, 1.5))
                if number % 2:
                    os.kill(worker, signal.SIGKILL)
                else:
                    server.kill()
                    server.start()
            asking.join(3600)
        finally:
            stop.set()
        assert len(set(acknowledged)) == jobs
        store = server.store()
        Server.until(lambda: not {"queued", "running"} & store.counts().keys(), 7200)
        ended = [store.get(job) for job in acknowledged]
    assert {job.error for job in ended if job.state == "failed"} <= {"poison"}
    done = [job for job in ended if job.state == "done"]
    assert len(done) >= 0.9 * jobs
    for job in done:
        assert job.picture is not None
        assert hashlib.sha256(server.folders.picture(job.picture).read_bytes()).hexdigest() == job.sha256
        assert [event.kind for _, event in store.events(job=job.id)].count("done") == 1
    assert not list(server.folders.pictures.rglob(".darkroom-*"))
