"""What the two APIs of others say to what cannot be drawn: in their clients' words, and naming the field.

The application itself, without a worker: nothing here gets as far as a picture.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from darkroom.server.app import application
from darkroom.server.keeping.folders import Folders
from darkroom.server.settings import Settings
from darkroom.server.studio import Studio

KEY = "a key that nobody guesses"


def client(folder: Path, **settings: Any) -> TestClient:
    """A client of an application of its own."""
    return TestClient(application(Studio(Settings(Folders(folder), **settings))), base_url="http://127.0.0.1")


@pytest.fixture
def ours(tmp_path: Path) -> TestClient:
    return client(tmp_path)


def png(width: int = 32, height: int = 32, alpha: int | None = None) -> bytes:
    """A picture, as transparent as asked."""
    pixels = np.full((height, width, 3 if alpha is None else 4), 90, np.uint8)
    if alpha is not None:
        pixels[: height // 2, :, 3] = alpha
        pixels[height // 2 :, :, 3] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# ---- OpenAI's


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({}, "prompt", "prompt is missing"),
        ({"prompt": " "}, "prompt", "is blank"),
        ({"prompt": 7}, "prompt", "is not text"),
        ({"prompt": "a", "n": 0}, "n", "is below 1"),
        ({"prompt": "a", "n": 11}, "n", "is above 10"),
        ({"prompt": "a", "n": True}, "n", "is not a whole number"),
        ({"prompt": "a", "n": 2**63}, "n", "is above 10"),
        ({"prompt": "a", "size": "1001x64"}, "size", "is not a multiple of 16; try 1008"),
        ({"prompt": "a", "size": "4096x4096"}, "size", "is not between 64 and 2048"),
        ({"prompt": "a", "size": "large"}, "size", "is not a size"),
        ({"prompt": "a", "quality": "best"}, "quality", "is not allowed"),
        ({"prompt": "a", "background": "transparent"}, "background", "no transparent parts"),
        ({"prompt": "a", "output_format": "gif"}, "output_format", "is not allowed"),
        ({"prompt": "a", "output_compression": 101}, "output_compression", "is above 100"),
        ({"prompt": "a", "partial_images": 4}, "partial_images", "is above 3"),
        ({"prompt": "a", "steps": 1001}, "steps", "is above 1000"),
        ({"prompt": "a", "seed": -1}, "seed", "is below 0"),
        ({"prompt": "a", "guidance_scale": 31}, "guidance_scale", "is above 30"),
        ({"prompt": "a", "style": "baroque"}, "style", "unknown style"),
        ({"prompt": "a", "darkroom": {"tile": "sideways"}}, "tile", "is not allowed"),
        ({"prompt": "a", "darkroom": {"upscal": 2}}, None, "did you mean 'upscale'?"),
        ({"prompt": "a", "darkroom": {"init_image": "../../etc/passwd"}}, None, "is not the bare name of a file"),
        ({"prompt": "a", "size": "2048x2048", "steps": 1000}, None, "is more work than one job may be here"),
    ],
)
def test_openai_names_the_field(ours: TestClient, body: dict[str, Any], param: str | None, words: str) -> None:
    reply = ours.post("/v1/images/generations", json=body)
    error = reply.json()["error"]
    assert reply.status_code == 400, error
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error" and error["param"] == param
    assert words in error["message"], error["message"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"n": NaN}', '{"n": 1e309}', "[" * 100_000, '{"prompt": "\ud800"}'])
def test_openai_takes_no_broken_bodies(ours: TestClient, text: str) -> None:
    body = text.encode("utf-8", "surrogatepass")
    reply = ours.post("/v1/images/generations", content=body)
    assert reply.status_code == 400 and "message" in reply.json()["error"]


def test_openai_knows_its_models(ours: TestClient) -> None:
    listed = ours.get("/v1/models").json()
    assert listed["object"] == "list" and listed["data"][0]["id"] == "default"
    assert ours.get("/v1/models/default").json() == listed["data"][0]
    for reply in (
        ours.get("/v1/models/dall-e"),
        ours.post("/v1/images/generations", json={"prompt": "a", "model": "defaul"}),
    ):
        assert reply.status_code == 404
        assert reply.json()["error"]["code"] == "model_not_found" and reply.json()["error"]["param"] == "model"


@pytest.mark.parametrize(
    ("files", "param", "words"),
    [
        ({"mask": png()}, "image", "is missing"),
        ({"image": b"<svg/>"}, "image", "image"),
        ({"image": png(), "mask": png()}, "mask", "is transparent nowhere"),
        ({"image": png(), "mask": png(16, 16, 0)}, "mask", "is not of the picture's size, 32x32"),
    ],
)
def test_openai_edits_need_pictures(ours: TestClient, files: dict[str, bytes], param: str, words: str) -> None:
    reply = ours.post("/v1/images/edits", data={"prompt": "a"}, files=files)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (400, param) and words in error["message"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"nothing"),
        ("multipart/form-data; boundary=x", b"--y\r\n\r\n"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n\xff\r\n--x--',
        ),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--"),
        ("multipart/form-data; boundary=\xff", b"--x--"),
    ],
)
def test_openai_takes_no_broken_forms(ours: TestClient, kind: str, body: bytes) -> None:
    reply = ours.post("/v1/images/edits", content=body, headers={"content-type": kind.encode("latin-1")})
    assert reply.status_code == 400 and reply.json()["error"]["type"] == "invalid_request_error"


def test_openai_fetches_nothing(ours: TestClient) -> None:
    reply = ours.post("/v1/images/edits", json={"prompt": "a", "image": "https://example.org/a.png"})
    assert reply.status_code == 400 and "multipart/form-data" in reply.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/images/generations", "/sdapi/v1/txt2img"])
def test_the_guard_speaks_as_its_clients_do(tmp_path: Path, path: str) -> None:
    from hashlib import sha256

    guarded = client(tmp_path, keys={sha256(KEY.encode()).hexdigest(): "anna"}, most_bytes=1000)
    allowed = {"authorization": f"Bearer {KEY}"}
    long = iter([b"{" + b" " * 600, b" " * 600 + b"}"])  # a body whose length is not said before
    replies = {
        401: guarded.post(path, json={"prompt": "a"}),
        403: guarded.post(path, json={"prompt": "a"}, headers={**allowed, "origin": "http://elsewhere.example"}),
        421: guarded.post(path, json={"prompt": "a"}, headers={**allowed, "host": "elsewhere.example"}),
        413: guarded.post(path, content=b" " * 1001, headers=allowed),
    }
    replies_while_read = guarded.post(path, content=long, headers=allowed)
    kinds = {401: "authentication_error", 403: "permission_error"}
    for status, reply in [*replies.items(), (413, replies_while_read)]:
        assert reply.status_code == status
        if path.startswith("/v1"):
            assert reply.json()["error"].keys() == {"message", "type", "param", "code"}
            assert reply.json()["error"]["type"] == kinds.get(status, "invalid_request_error")
        else:
            assert reply.json().keys() == {"error", "detail", "body", "errors"}


def test_a_password_is_a_key(tmp_path: Path) -> None:
    from hashlib import sha256

    guarded = client(tmp_path, keys={sha256(KEY.encode()).hexdigest(): "anna"})
    assert guarded.get("/sdapi/v1/options", auth=("anybody", KEY)).status_code == 200
    assert guarded.get("/sdapi/v1/options", auth=("anna", "a key that is wrong")).status_code == 401
    assert guarded.get("/sdapi/v1/options", headers={"authorization": "Basic é".encode()}).status_code == 401


def test_unknown_paths_too(ours: TestClient) -> None:
    assert ours.get("/v1/nothing").json()["error"]["type"] == "invalid_request_error"
    assert ours.get("/sdapi/v1/cmd-flags").status_code == 404
    assert ours.get("/sdapi/v1/cmd-flags").json()["detail"] == "Not Found"


# ---- A1111's


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("txt2img", {}, "is blank"),
        ("txt2img", {"prompt": "a", "width": 2**63}, "width"),
        ("txt2img", {"prompt": "a", "width": 32}, "is below 64"),
        ("txt2img", {"prompt": "a", "steps": -1}, "steps -1 is below 1"),
        ("txt2img", {"prompt": "a", "steps": "20"}, "is not a whole number"),
        ("txt2img", {"prompt": "a", "cfg_scale": 1000}, "is above 30"),
        ("txt2img", {"prompt": "a", "seed": -2}, "is below -1"),
        ("txt2img", {"prompt": "a", "batch_size": 20, "n_iter": 20}, "is more than 100 pictures"),
        ("txt2img", {"prompt": "a", "batch_size": 100, "width": 2048, "height": 2048}, "ask for 15 at most"),
        ("txt2img", {"prompt": "a", "enable_hr": True, "width": 2048, "hr_scale": 4}, "is not between 64 and 2048"),
        ("txt2img", {"prompt": "a", "sampler_name": "Eulr a"}, "did you mean 'Euler a'?"),
        ("txt2img", {"prompt": "a", "scheduler": "Karas"}, "did you mean 'Karras'?"),
        ("txt2img", {"prompt": "a", "override_settings": {"sd_model_checkpoint": "v1-5"}}, "unknown model 'v1-5'"),
        ("txt2img", {"prompt": "a <lora:b:x>"}, "is not a number"),
        ("img2img", {"prompt": "a"}, "init_images is missing"),
        ("img2img", {"prompt": "a", "init_images": ["http://example.org/a.png"]}, "is an address"),
        ("img2img", {"prompt": "a", "init_images": ["file:///etc/passwd"]}, "is an address"),
        ("img2img", {"prompt": "a", "init_images": ["%%%"]}, "is not valid base64"),
        ("img2img", {"prompt": "a", "init_images": [7]}, "is no picture"),
        ("img2img", {"prompt": "a", "init_images": [in_base64(b"GIF89a")]}, ""),
        ("png-info", {"image": in_base64(b"nothing")}, ""),
        ("png-info", {}, "is no picture"),
        ("extra-single-image", {"image": in_base64(png()), "upscaler_1": "R-ESRGAN 4x+"}, "unknown upscaler"),
        ("extra-single-image", {"image": in_base64(png(2000, 16)), "upscaling_resize": 8}, "enlarge it less"),
    ],
)
def test_a1111_says_why(ours: TestClient, path: str, body: dict[str, Any], words: str) -> None:
    reply = ours.post(f"/sdapi/v1/{path}", json=body)
    assert reply.status_code == 422, reply.text[:300]
    assert words in reply.json()["detail"]


def test_a1111_needs_maps_not_photos(ours: TestClient, tmp_path: Path) -> None:
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / "canny.safetensors").write_bytes(b"")
    unit = {"image": in_base64(png()), "model": "canny [abc]", "module": "canny"}
    body = {"prompt": "a", "alwayson_scripts": {"ControlNet": {"args": [unit]}}}
    reply = ours.post("/sdapi/v1/txt2img", json=body)
    assert reply.status_code == 422 and "send the map itself" in reply.json()["detail"]
    body["alwayson_scripts"]["ControlNet"]["args"][0] |= {"module": "none", "model": "depth"}
    reply = ours.post("/sdapi/v1/txt2img", json=body)
    assert reply.status_code == 422 and "unknown ControlNet model 'depth'" in reply.json()["detail"]


def test_a1111_has_its_shelves(ours: TestClient) -> None:
    [model] = ours.get("/sdapi/v1/sd-models").json()
    assert model["title"] == f"default [{model['hash']}]" and model["filename"] == "default"
    assert {"Euler a", "DPM++ 2M"} < {one["name"] for one in ours.get("/sdapi/v1/samplers").json()}
    assert {"automatic", "karras"} < {one["name"] for one in ours.get("/sdapi/v1/schedulers").json()}
    assert ours.get("/sdapi/v1/loras").json() == []
    assert [one["name"] for one in ours.get("/sdapi/v1/upscalers").json()] == ["None", "Lanczos", "Nearest"]
    assert {one["name"] for one in ours.get("/sdapi/v1/prompt-styles").json()} == {"3d", "cartoon", "flat"}
    assert ours.get("/sdapi/v1/options").json()["sd_model_checkpoint"] == model["title"]
    told = ours.post("/sdapi/v1/options", json={"sd_model_checkpoint": "default", "token_merging_ratio": 0.5}).json()
    assert told["darkroom_notes"] == ["token_merging_ratio changes nothing: it is not known here"]
    assert ours.post("/sdapi/v1/options", json={"sd_model_checkpoint": "v1-5"}).status_code == 422
    progress = ours.get("/sdapi/v1/progress").json()
    assert progress["progress"] == 0 and progress["state"]["job_count"] == 0 and progress["current_image"] is None


def test_a1111_enlarges(ours: TestClient) -> None:
    body = {"image": "data:image/png;base64," + in_base64(png(32, 16)), "upscaler_1": "Lanczos", "upscaling_resize": 2}
    reply = ours.post("/sdapi/v1/extra-single-image", json=body).json()
    assert Image.open(io.BytesIO(base64.b64decode(reply["image"]))).size == (64, 32)
    body |= {"resize_mode": 1, "upscaling_resize_w": 40, "upscaling_resize_h": 40, "gfpgan_visibility": 1}
    reply = ours.post("/sdapi/v1/extra-single-image", json=body).json()
    assert Image.open(io.BytesIO(base64.b64decode(reply["image"]))).size == (40, 40)
    assert reply["darkroom_notes"] == ["gfpgan_visibility changes nothing: it is not here"]


def test_a1111_reads_what_others_wrote(ours: TestClient) -> None:
    from PIL.PngImagePlugin import PngInfo

    text = "a cat\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 3, Size: 512x512"
    file, told = io.BytesIO(), PngInfo()
    told.add_text("parameters", text)
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=told)
    reply = ours.post("/sdapi/v1/png-info", json={"image": in_base64(file.getvalue())}).json()
    assert reply["info"] == reply["items"]["parameters"] == text
    assert reply["parameters"]["Sampler"] == "Euler a" and reply["parameters"]["Prompt"] == "a cat"
    assert ours.post("/sdapi/v1/png-info", json={"image": in_base64(png())}).json()["info"] == ""


def test_nothing_comes_back_that_breaks_the_reply(ours: TestClient) -> None:
    body = json.dumps({"prompt": "a", "\ud800": "\ud800", "steps": 0})
    reply = ours.post("/sdapi/v1/txt2img", content=body)
    assert reply.status_code == 422 and "steps" in reply.json()["detail"]
