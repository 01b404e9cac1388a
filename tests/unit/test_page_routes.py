"""What the page asks of the server beside jobs and pictures: prompts, styles, grids, films, a session."""

from __future__ import annotations

import io
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image, PngImagePlugin

from darkroom.contracts.request import Request
from darkroom.server.app import application
from darkroom.server.guard import COOKIE
from darkroom.server.keeping.folders import Folders
from darkroom.server.settings import Settings
from darkroom.server.studio import Studio

KEY = "a-key-of-enough-letters"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """A server without a worker: nothing here needs one."""
    yield TestClient(application(Studio(Settings(Folders(tmp_path)))), base_url="http://localhost")


@pytest.fixture
def locked(tmp_path: Path) -> TestClient:
    settings = Settings(Folders(tmp_path), keys={sha256(KEY.encode()).hexdigest(): "anna"})
    return TestClient(application(Studio(settings)), base_url="http://localhost")


@pytest.mark.parametrize("path", ["/", "/favicon.svg", "/page/js/jobs.js"])
def test_what_has_not_changed_is_not_sent_again(client: TestClient, path: str) -> None:
    first = client.get(path)
    assert first.status_code == 200 and first.headers["cache-control"] == "no-cache"
    again = client.get(path, headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304 and not again.content
    assert client.get(path, headers={"if-none-match": '"another"'}).content == first.content


def test_a_prompt_is_laid_open_with_its_tokens(client: TestClient) -> None:
    told = client.post("/api/prompt", json={"prompt": "a zorgly fox, 3d"}).json()
    [spell] = told["spells"]
    pieces = spell["read"][0]["pieces"]
    assert "".join(piece["text"] for piece in pieces) == " a zorgly fox, 3d"
    unknown = {piece["text"] for piece in pieces if not piece["known"]}
    assert unknown and not unknown & {" a", " fox", ","}
    assert len(pieces) + 2 == spell["read"][0]["tokens"]
    assert [role["role"] for role in spell["roles"]] == ["subject", "style"]
    assert told["width"] == 288 and told["limit"] == 48


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"prompt": " "}, "the prompt is blank; say what the picture shows"),
        ({"prompt": "a (fox:11)"}, "11"),
        ({"prompt": "a fox", "model": "nobody"}, "nobody"),
        ({"prompt": "a fox", "style": "noir"}, "noir"),
        ({"prompt": "a fox", "colour": 1}, "colour"),
    ],
)
def test_a_prompt_that_cannot_be_meant_is_refused_in_a_sentence(
    client: TestClient, body: dict[str, object], said: str
) -> None:
    answer = client.post("/api/prompt", json=body)
    assert answer.status_code == 422 and said in answer.json()["error"]["message"]


def test_talk_is_echoed_as_what_is_drawn(client: TestClient) -> None:
    told = client.post("/api/prompt", json={"prompt": "Could you please draw me a red fox?"}).json()
    assert (told["prompt"], told["written"]) == ("a red fox", "Could you please draw me a red fox?")


def test_styles_are_saved_used_replaced_and_deleted(client: TestClient) -> None:
    noir = {"prompt": "{prompt}, dramatic light", "negative": "colour", "settings": {"steps": 8}}
    assert client.put("/api/styles/noir", json=noir).status_code == 200
    assert [one["name"] for one in client.get("/api/styles").json()] == ["noir"]
    assert "noir" in client.get("/api/schema").json()["properties"]["style"]["examples"]
    told = client.post("/api/prompt", json={"prompt": "a fox", "style": "noir"}).json()
    assert (told["prompt"], told["negative"], told["settings"]) == ("a fox, dramatic light", "colour", {"steps": 8})
    again = client.put("/api/styles/noir", json={"prompt": "dark"})
    assert again.status_code == 422 and "is saved already" in again.json()["error"]["message"]
    assert client.put("/api/styles/noir?replace=true", json={"prompt": "dark"}).status_code == 200
    assert client.delete("/api/styles/noir").status_code == 200
    assert client.get("/api/styles").json() == []
    assert client.delete("/api/styles/noir").status_code == 422


@pytest.mark.parametrize("name", ["3d", "-x", "a\\b", " "])
def test_a_style_cannot_take_just_any_name(client: TestClient, name: str) -> None:
    assert client.put(f"/api/styles/{name}", json={"prompt": "dark"}).status_code in (404, 422)
    assert client.get("/api/styles").json() == []


def test_what_a_style_may_not_hold_is_published(client: TestClient) -> None:
    for field in client.get("/api/schema").json()["not_in_styles"]:
        assert field in Request.model_fields
        told = client.put("/api/styles/x", json={"prompt": "dark", "settings": {field: None}})
        assert told.status_code == 422, field


def test_a_grid_is_one_request_along_two_fields(client: TestClient) -> None:
    body = {"request": {"prompt": "a red fox", "guidance": 2.0}, "x": "steps=4,8", "y": "prompt=fox,owl"}
    answer = client.post("/api/grid", json=body)
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert told["x"] == {"field": "steps", "labels": ["4", "8"]} and told["y"]["labels"] == ["fox", "owl"]
    asked = [[(job["request"]["steps"], job["request"]["prompt"]["text"]) for job in row] for row in told["jobs"]]
    assert asked == [[(4, "a red fox"), (8, "a red fox")], [(4, "a red owl"), (8, "a red owl")]]
    assert len({job["request"]["seed"] for row in told["jobs"] for job in row}) == 1


def test_a_cell_that_cannot_be_drawn_says_why_and_the_others_are(client: TestClient) -> None:
    told = client.post("/api/grid", json={"request": {"prompt": "a"}, "x": "width=256,100"}).json()
    assert told["jobs"][0][0] and told["jobs"][0][1] is None
    assert "100" in told["problems"][0][1] and told["problems"][0][0] == ""


@pytest.mark.parametrize("x", ["steps", "colour=1", "steps=1..200", "steps=0"])
def test_a_grid_that_cannot_be_laid_out_is_refused(client: TestClient, x: str) -> None:
    assert client.post("/api/grid", json={"request": {"prompt": "a"}, "x": x}).status_code == 422
    assert client.get("/api/jobs").json() == []


def test_a_film_goes_from_one_prompt_to_another(client: TestClient) -> None:
    request = {"prompt": "a fox", "toward": {"prompt": "an owl", "share": 1.0}}
    told = client.post("/api/film", json={"request": request, "frames": 3}).json()
    assert [job["request"]["toward"]["share"] for job in told] == [0, 0.5, 1]
    assert client.post("/api/film", json={"request": {"prompt": "a fox"}, "frames": 3}).status_code == 422


def test_settings_of_another_program_come_back_as_a_request(client: TestClient) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text(
        "parameters",
        "a red fox <lora:x:1>\nNegative prompt: blurry\n"
        "Steps: 9, Sampler: Euler a, CFG scale: 4, Seed: 7, Size: 256x256",
    )
    file = io.BytesIO()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(file, "PNG", pnginfo=texts)
    told = client.post("/api/inputs", content=file.getvalue()).json()
    assert told["request"]["prompt"] == {"text": "a red fox", "negative": "blurry"}
    assert (told["request"]["steps"], told["request"]["sampler"], told["request"]["seed"]) == (9, "euler-a", 7)
    assert told["recipe"] is None and told["settings"]["Steps"] == "9" and "Adapters" in told["left_out"]
    assert client.get(f"/api/inputs/{told['name']}").headers["content-type"] == "image/png"


def test_where_no_key_is_asked_for_none_is_kept(client: TestClient) -> None:
    for key in ("anything", "no cookie can hold ĸ", "\0"):
        answer = client.post("/api/session", json={"key": key})
        assert answer.json() == {"owner": "local"} and "set-cookie" not in answer.headers


def test_a_photo_holds_nothing(client: TestClient) -> None:
    file = io.BytesIO()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(file, "PNG")
    told = client.post("/api/inputs", content=file.getvalue()).json()
    assert told["recipe"] is told["request"] is told["settings"] is None and told["problem"] == ""


def test_the_page_comes_without_a_key_and_is_asked_about_each_time(locked: TestClient) -> None:
    for path in ("/", "/favicon.svg", "/page/js/main.js", "/page/css/base.css"):
        answer = locked.get(path)
        assert answer.status_code == 200 and answer.headers["cache-control"] == "no-cache", path
        assert "script-src 'self'" in answer.headers["content-security-policy"]
    etag = locked.get("/page/js/main.js").headers["etag"]
    assert locked.get("/page/js/main.js", headers={"if-none-match": etag}).status_code == 304
    assert locked.get("/api/jobs").status_code == 401
    assert locked.get("/page/../app.py").status_code in (401, 404)


def test_a_key_becomes_a_cookie_that_no_script_reads(locked: TestClient) -> None:
    assert locked.get("/api/session").json() == {"asked": True, "owner": None}
    wrong = locked.post("/api/session", json={"key": "not-a-key-of-this-server"})
    assert wrong.status_code == 401 and COOKIE not in wrong.cookies
    answer = locked.post("/api/session", json={"key": KEY})
    assert answer.json() == {"owner": "anna"}
    cookie = answer.headers["set-cookie"].lower()
    assert all(part in cookie for part in ("httponly", "samesite=strict", "max-age=2592000")) and "secure" not in cookie
    assert locked.get("/api/jobs").status_code == 200
    assert locked.get("/api/session").json() == {"asked": True, "owner": "anna"}
    assert locked.delete("/api/session").status_code == 200
    locked.cookies.clear()
    assert locked.get("/api/jobs").status_code == 401


def test_the_cookie_is_secure_over_https(locked: TestClient) -> None:
    answer = locked.post("https://localhost/api/session", json={"key": KEY})
    assert "secure" in answer.headers["set-cookie"].lower()
