"""The usual Python client of A1111's API against a real server with a real worker."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from darkroom.picture.metadata import read_recipe, read_source_type
from darkroom.picture.xmp import EDITED
from tests.api_guide import curled, run_example
from tests.studio import Server, studio

webuiapi = pytest.importorskip("webuiapi", reason="the client of A1111's is not installed: pip install webuiapi")

SMALL = {"width": 128, "height": 128, "steps": 3}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with studio(tmp_path_factory.mktemp("studio")) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Any:
    return webuiapi.WebUIApi(host="127.0.0.1", port=server.port)


def test_pictures_from_words(client: Any) -> None:
    told = client.txt2img(
        prompt="a (red:1.1) fox", negative_prompt="blurry", seed=5, n_iter=2, sampler_name="DPM++ 2M Karras", **SMALL
    )
    assert [image.size for image in told.images] == [(128, 128)] * 2
    assert told.info["all_seeds"] == [5, 6]
    assert (told.info["sampler_name"], told.info["scheduler"]) == ("DPM++ 2M", "Karras")
    assert "Steps: 3" in told.info["infotexts"][0] and "Negative prompt: blurry" in told.info["infotexts"][0]
    assert told.parameters["darkroom_notes"] == told.info["darkroom_notes"] == []
    assert told.images[0].info["parameters"] == told.info["infotexts"][0]


def square() -> Any:
    """A picture to begin from."""
    rows, columns = np.mgrid[:128, :128]
    return Image.fromarray(np.stack([rows, columns, np.full_like(rows, 200)], -1).astype(np.uint8))


def test_a_picture_from_a_picture_where_a_mask_says(client: Any) -> None:
    mask = Image.new("L", (128, 128))
    mask.paste(255, (0, 0, 128, 64))
    start = square()
    told = client.img2img(
        images=[start], mask_image=mask, prompt="a red ball", denoising_strength=0.8, inpainting_fill=1, seed=3,
        mask_blur=2, **SMALL,
    )  # fmt: skip
    drawn, before = np.asarray(told.image), np.asarray(start)
    assert (drawn[64:] == before[64:]).all() and (drawn[:64] != before[:64]).any()
    recipe = read_recipe(base64.b64decode(told.json["images"][0]))
    assert (recipe.strength, recipe.mask_blur, recipe.seed) == (0.8, 2, 3)
    assert [note.split()[0] for note in told.info["darkroom_notes"]] == ["inpaint_full_res"]
    assert told.parameters["init_images"] is None and told.parameters["denoising_strength"] == 0.8
    assert read_source_type(base64.b64decode(told.json["images"][0])) == EDITED


def test_variations_and_enlarging(client: Any) -> None:
    options = {"prompt": "a cup", "seed": 4, "steps": 2, "width": 128, "height": 128}
    plain = client.txt2img(**options)
    varied = client.txt2img(**options, subseed=9, subseed_strength=0.5)
    assert varied.info["subseed"] == 9 and varied.info["subseed_strength"] == 0.5
    assert (np.asarray(varied.image) != np.asarray(plain.image)).any()
    large = client.txt2img(**options, enable_hr=True, hr_scale=2, denoising_strength=0.3, restore_faces=True)
    assert large.image.size == (256, 256) and large.info["denoising_strength"] == 0.3
    assert {note.split()[0] for note in large.parameters["darkroom_notes"]} == {"hr_upscaler", "restore_faces"}


def test_the_same_seed_is_the_same_picture_as_elsewhere(client: Any, server: Server) -> None:
    told = client.txt2img(prompt="a boat", seed=11, sampler_name="Heun", cfg_scale=3.0, **SMALL)
    body = {"prompt": "a boat", "seed": 11, "sampler": "heun", "guidance": 3.0, **SMALL}
    job = asked(server, "/api/jobs", body)["id"]
    while (found := asked(server, f"/api/jobs/{job}"))["state"] in ("queued", "running"):
        time.sleep(0.05)
    with urllib.request.urlopen(f"{server.url}/api/pictures/{found['picture']}", timeout=60) as reply:
        assert reply.read() == base64.b64decode(told.json["images"][0])


def test_progress_and_an_end_before_its_time(client: Any, server: Server) -> None:
    found: list[Any] = []
    long = {"prompt": "a fox", "width": 512, "height": 512, "steps": 1000, "batch_size": 2}
    thread = threading.Thread(target=lambda: found.append(client.txt2img(**long)))
    thread.start()
    while not (seen := client.get_progress())["current_image"]:
        time.sleep(0.05)
    assert seen["state"]["job_count"] == 2 and seen["state"]["sampling_steps"] == 1000
    assert 0 < seen["progress"] < 1 and seen["state"]["sampling_step"] >= 1
    assert Image.open(io.BytesIO(base64.b64decode(seen["current_image"]))).format == "PNG"
    other = asked(server, "/api/jobs", {"prompt": "a cup", "steps": 1})  # of the page, which goes on
    assert client.interrupt() == {}
    thread.join()
    assert found[0].images == [] and found[0].info["darkroom_notes"] == ["2 pictures were cancelled"]
    while (state := asked(server, f"/api/jobs/{other['id']}")["state"]) in ("queued", "running"):
        time.sleep(0.05)
    assert state == "done"
    client.util_wait_for_ready()


def asked(server: Server, path: str, body: Any = None) -> Any:
    """What the server's own API says."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


def test_its_shelves(client: Any) -> None:
    assert {"Euler a", "DPM++ 2M", "UniPC"} < set(client.util_get_sampler_names())
    assert {"karras", "automatic"} < set(client.util_get_scheduler_names())
    assert client.get_loras() == [] and client.get_latent_upscale_modes() == []
    [title] = client.util_get_model_names()
    client.util_set_model("default")
    assert client.util_get_current_model() == title
    assert client.txt2img(prompt="a cup", override_settings={"sd_model_checkpoint": title}, **SMALL).image
    assert client.get_cmd_flags() == {"error": "http_404", "detail": "Not Found", "body": "", "errors": "Not Found"}


def test_what_a_picture_says_and_larger_ones(client: Any) -> None:
    told = client.txt2img(prompt="a cup", seed=2, **SMALL)
    assert client.png_info(told.image).info == told.info["infotexts"][0]
    assert client.extra_single_image(square(), upscaler_1=webuiapi.Upscaler.Lanczos).image.size == (256, 256)


def test_what_cannot_be_drawn_says_why(client: Any) -> None:
    with pytest.raises(RuntimeError, match="is above 30"):
        client.txt2img(prompt="a cup", cfg_scale=900.0, **SMALL)
    with pytest.raises(RuntimeError, match="unknown sampler"):
        client.txt2img(prompt="a cup", sampler_name="Euler b", **SMALL)


@pytest.mark.slow
def test_the_guide(server: Server, tmp_path: Path) -> None:
    assert run_example(server, "webuiapi", tmp_path) == "[7, 8] []\n"
    assert read_recipe(tmp_path / "fox.png").sampler == "euler-a"
    told = curled(server, "/sdapi/v1")
    assert json.loads(told["info"])["seed"] == 7 and told["parameters"]["darkroom_notes"] == []
