"""The application without a worker: who gets in, what is bounded, what is said."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from darkroom.contracts.errors import BadFile, BadInput
from darkroom.contracts.request import Request
from darkroom.server.app import application
from darkroom.server.guard import OPEN, PAGE
from darkroom.server.keeping.folders import Folders, located
from darkroom.server.settings import Settings, is_loopback, read_keys
from darkroom.server.studio import Studio
from tests.hostile import HOSTILE

KEY, BENS = "a-key-that-nobody-guesses", "another-key-nobody-guesses"
ANNA, BEN = ({"authorization": f"Bearer {key}"} for key in (KEY, BENS))


def studio_of(folder: Path, **settings: Any) -> Studio:
    return Studio(Settings(Folders(folder / "studio"), **settings))


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return studio_of(tmp_path)


@pytest.fixture
def client(studio: Studio) -> Iterator[TestClient]:
    with TestClient(application(studio), base_url="http://127.0.0.1:7860") as opened:
        yield opened


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[TestClient]:
    keys = {sha256(key.encode()).hexdigest(): name for key, name in ((KEY, "anna"), (BENS, "ben"))}
    studio = studio_of(tmp_path, host="0.0.0.0", keys=keys)
    with TestClient(application(studio), base_url="http://studio.example") as opened:
        yield opened


def routes(client: TestClient) -> list[tuple[str, str]]:
    """Every method and path there is, with something in place of its parameters."""
    app = client.app.app  # type: ignore[attr-defined]
    found = [route for route in app.routes if isinstance(route, APIRoute)]
    for router in (route for route in app.routes if hasattr(route, "original_router")):
        found += [route for route in router.original_router.routes if isinstance(route, APIRoute)]
    assert len(found) > 15
    return [(method, route.path.replace("{", "").replace("}", "")) for route in found for method in route.methods or ()]


def test_a_stranger_gets_nothing(keyed: TestClient) -> None:
    """Every route there is (promise 23): without a key, with a wrong one, with half of one."""
    for method, path in routes(keyed):
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": f"Bearer {KEY[:-1]}"},
            {"x-api-key": ""},
        ):
            answer = keyed.request(method, path, headers=headers)
            if path in OPEN or path.startswith(PAGE):
                assert answer.status_code not in (401, 500), (method, path)
            else:
                assert answer.status_code == 401, (method, path, answer.text[:200])
                assert answer.headers["www-authenticate"] == "Bearer"


def test_another_sites_page_changes_nothing(client: TestClient) -> None:
    """Every route that is not safe (promise 23): a foreign origin, null, another port, a site that embeds us."""
    unsafe = [(method, path) for method, path in routes(client) if method not in ("GET", "HEAD", "OPTIONS")]
    assert len(unsafe) > 8
    for method, path in unsafe:
        for headers in (
            {"origin": "http://evil.example"},
            {"origin": "null"},
            {"origin": "http://127.0.0.1:7861"},
            {"origin": "https://evil.example:7860"},
            {"sec-fetch-site": "cross-site"},
        ):
            assert client.request(method, path, headers=headers).status_code == 403, (method, path, headers)
    assert client.post("/api/queue/pause", headers={"origin": "http://127.0.0.1:7860"}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "", "127.0.0.1.evil.example", "[::2]:7860"])
def test_a_name_that_is_not_ours(client: TestClient, host: str) -> None:
    """Against DNS rebinding: the page of a stranger's name that leads here reads nothing."""
    assert client.get("/api/jobs", headers={"host": host}).status_code == 421


def test_what_goes_out_is_inert(client: TestClient) -> None:
    for path in ("/health", "/api/jobs", "/nowhere", "/api/jobs/nope"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
        policy = headers["content-security-policy"]
        assert (
            policy.startswith("default-src 'none'; script-src 'self'") and "unsafe" not in policy and "*" not in policy
        )


def test_each_key_sees_its_own(keyed: TestClient) -> None:
    mine = keyed.post("/api/jobs", json={"prompt": "a fox"}, headers=ANNA).json()
    assert mine["owner"] == "anna"
    assert [job["id"] for job in keyed.get("/api/jobs", headers=ANNA).json()] == [mine["id"]]
    assert keyed.get("/api/jobs", headers=BEN).json() == []
    for method, path in (("GET", ""), ("POST", "/cancel"), ("POST", "/retry"), ("GET", "/events")):
        assert keyed.request(method, f"/api/jobs/{mine['id']}{path}", headers=BEN).status_code == 404
    theirs = keyed.post("/api/jobs", json={"prompt": "a fox"}, headers=BEN).json()["id"]
    assert keyed.post(f"/api/jobs/{mine['id']}/move", json={"before": theirs}, headers=ANNA).status_code == 404
    assert keyed.post("/api/queue/cancel", headers=BEN).json()[0]["id"] == theirs
    assert keyed.get(f"/api/jobs/{mine['id']}", headers=ANNA).json()["state"] == "queued"


def test_a_canary_leaks_nowhere(keyed: TestClient, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A key appears in no answer, log or file (promise 28)."""
    said = [
        keyed.request(method, path, headers=ANNA, json={}) for method, path in routes(keyed) if "events" not in path
    ]
    assert not any(KEY in answer.text or KEY in str(answer.headers) for answer in said)
    assert KEY not in caplog.text
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_leads_out_of_the_data_folder(name: str, client: TestClient, studio: Studio, tmp_path: Path) -> None:
    """Hostile names on every field and route that takes one (promise 21)."""
    (tmp_path / "etc").mkdir(exist_ok=True)
    fields: list[dict[str, Any]] = [
        {"init_image": name},
        {"init_image": name, "mask": name},
        {"model": name},
        {"guide": name},
        {"refiner": {"model": name}},
        {"vae": name},
        {"lora": [{"file": name}]},
        {"embedding": [name]},
        {"control": [{"network": name, "map": name}]},
        {"image_prompt": [{"file": name}]},
        {"refine": [{"step": "lut", "file": name}]},
        {"refine": [{"step": "match", "file": name}]},
    ]
    for field in fields:
        answer = client.post("/api/jobs", json={"prompt": "a fox", **field})
        assert answer.status_code == 422, (field, answer.text)
    for path in (
        "/api/pictures/{}",
        "/api/pictures/{}/thumbnail",
        "/api/pictures/{}/recipe",
        "/api/inputs/{}",
        "/api/jobs/{}",
    ):
        url = client.base_url.join(path.replace("{}", "")).copy_with(raw_path=raw(path, name))
        answer = client.request("GET", url, follow_redirects=False)
        listed = answer.status_code == 200 and answer.json() == []  # "." is the list, which is empty
        assert listed or answer.status_code in (404, 405, 422, 307), (path, name, answer.status_code)
    assert client.get("/api/jobs").json() == []


def test_a_reference_picture_is_one_that_was_brought_along(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    name = folders.publish_input(b"pixels", "png")
    [one] = (
        located(Request.checked({"prompt": "a fox", "image_prompt": f"{name}:0.6:style"}), folders).image_prompt or ()
    )
    assert (one.file, one.scale, one.keep) == (str(folders.inputs / name), 0.6, "style")


def raw(path: str, name: str) -> bytes:
    from urllib.parse import quote

    return path.replace("{}", quote(name, safe="")).encode()


def numbers() -> list[tuple[str, dict[str, Any]]]:
    """The number fields of a request, from its schema."""
    found = []
    for name, told in Request.model_json_schema()["properties"].items():
        for shape in told.get("anyOf", [told]):
            if shape.get("type") in ("integer", "number"):
                found.append((name, shape))
    return found


@pytest.mark.parametrize(("name", "shape"), numbers(), ids=[name for name, _ in numbers()])
def test_every_number_is_bounded(name: str, shape: dict[str, Any], client: TestClient) -> None:
    """Beyond either end, and what is no number at all (promise 11): refused with a sentence, never a fault."""
    most, least = shape["maximum"], shape["minimum"]
    for value in (
        most + 1,
        least - 1,
        -1 if least >= 0 else least - 2,
        2**63,
        2**70,
        True,
        "12",
        None if name == "prompt" else [1],
    ):
        answer = client.post("/api/jobs", json={"prompt": "a fox", name: value})
        if most >= 2**63 - 1 and value == 2**63 - 1:
            continue
        assert answer.status_code == 422 and answer.json()["error"]["message"], (name, value, answer.text[:200])
    for text in ("1e309", "-1e309", "NaN", "Infinity", "-Infinity", "1" * 5000):
        body = f'{{"prompt": "a fox", "{name}": {text}}}'
        answer = client.post("/api/jobs", content=body, headers={"content-type": "application/json"})
        assert 400 <= answer.status_code < 500, (name, text[:20], answer.text[:200])
    assert client.get("/api/jobs").json() == []


def test_too_much_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with TestClient(application(studio_of(tmp_path, most_bytes=1000)), base_url="http://localhost") as client:
        assert client.post("/api/inputs", content=b"x" * 2000).status_code == 413
        assert client.post("/api/inputs", content=iter([b"x" * 600] * 3)).status_code == 413  # of unknown length
        assert client.post("/api/inputs", content=b"x" * 900).status_code == 422


def test_a_full_queue_says_when_to_come_again(tmp_path: Path) -> None:
    with TestClient(application(studio_of(tmp_path, most_queued_each=2)), base_url="http://localhost") as client:
        for _ in range(2):
            assert client.post("/api/jobs", json={"prompt": "a fox"}).status_code == 201
        refused = client.post("/api/jobs", json={"prompt": "a fox"})
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 0
        assert refused.json()["error"]["code"] == "queue_full"


@pytest.mark.parametrize(
    "prompt",
    [
        "x" * 32_000,
        "(" * 100_000,
        "[" * 30_000 + "]" * 30_000,
        "\u202e" * 500,
        "a\0b",
        "Negative prompt: x",
        "🦊" * 5000,
    ],
    ids=lambda text: f"{text[:8]!r}x{len(text)}",
)
def test_prompts_of_any_kind(prompt: str, client: TestClient) -> None:
    """Taken or refused with a sentence (promise 26); nothing hangs on them."""
    answer = client.post("/api/jobs", json={"prompt": prompt})
    assert answer.status_code in (201, 422)
    if answer.status_code == 422:
        assert len(answer.json()["error"]["message"]) < 500


@pytest.mark.parametrize("piece", ["a red fox, ", "(", "[", "{a|", '"', " AND ", "no fox, "])
def test_a_prompt_takes_time_by_its_length(piece: str, client: TestClient) -> None:
    """Eight times as long, no more than three times eight times as much work (promise 26); squared it were 64 times."""
    spent(client, "a fox")  # what is read once is read
    short, long = (spent(client, (piece * length)[:length]) for length in (2_000, 16_000))
    assert long < 24 * max(short, 0.005)


def spent(client: TestClient, prompt: str) -> float:
    """Seconds of work for a prompt that is laid open and taken as a job."""
    began = time.process_time()
    for path in ("/api/prompt", "/api/jobs"):
        assert client.post(path, json={"prompt": prompt}).status_code in (200, 201, 422)
    return time.process_time() - began


def test_the_schema_is_the_contract(client: TestClient) -> None:
    told = client.get("/api/schema").json()
    assert told["properties"].keys() == Request.model_fields.keys()
    assert "cartoon" in told["properties"]["style"]["examples"] and "default" in told["properties"]["model"]["examples"]
    assert told["properties"]["steps"]["resolved_default"] == client.get("/api/models").json()[0]["defaults"]["steps"]
    assert client.get("/api/schema", params={"model": "nope"}).status_code == 422
    json.dumps(client.get("/api/openapi.json").json())


def test_nobody_else_is_let_in_without_keys(tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=r"--host '0.0.0.0' lets others in, and no key is asked of them; give --keys FILE"
    ):
        Settings(Folders(tmp_path), host="0.0.0.0")
    assert is_loopback("127.0.0.1") and is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("0.0.0.0") and not is_loopback("::") and not is_loopback("studio.example")


def test_keys_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_text(f"# of the team\n\nanna {KEY}\nben   {BENS}\n")
    keys = read_keys(file)
    settings = Settings(Folders(tmp_path), host="0.0.0.0", keys=keys)
    assert [settings.owner(key) for key in (KEY, BENS, "", None, KEY.upper())] == ["anna", "ben", None, None, None]
    assert KEY not in str(keys)
    for text, said in (
        ("anna short", "line 1 of .* is no name and a key of 16 ASCII characters or more; take one like 'anna "),
        ("anna schlüssel-den-keiner-kennt", "ASCII"),  # headers cannot carry it
        ("# none", "holds no key"),
    ):
        file.write_text(text)
        with pytest.raises(BadFile, match=said):
            read_keys(file)
    with pytest.raises(BadFile, match="cannot be read"):
        read_keys(tmp_path / "none.txt")
