"""The official client of OpenAI's against a real server with a real worker."""

from __future__ import annotations

import base64
import http.client
import io
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from darkroom.picture.metadata import read_recipe
from darkroom.picture.read import read
from tests.api_guide import curled, run_example
from tests.studio import Server, studio

openai = pytest.importorskip("openai", reason="the client of OpenAI's is not installed: pip install openai")

STEPS = {"steps": 3}
LONG = {"prompt": "a fox", "size": "512x512", "steps": 1000, "darkroom": {"upscale": 1}}  # minutes on any machine


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with studio(tmp_path_factory.mktemp("studio")) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none needed", max_retries=0, timeout=280) as client:
        yield client


def test_a_picture(client: Any) -> None:
    reply = client.images.generate(prompt="a red fox", model="default", size="128x192", extra_body={"seed": 7, **STEPS})
    data = base64.b64decode(reply.data[0].b64_json)
    recipe = read_recipe(data)
    assert (recipe.prompt.text, recipe.seed, recipe.steps, recipe.width, recipe.height) == ("a red fox", 7, 3, 128, 192)
    assert (reply.size, reply.output_format, reply.quality, reply.background) == ("128x192", "png", "medium", "opaque")
    assert reply.darkroom["notes"] == []
    assert reply.usage.input_tokens == reply.usage.input_tokens_details.text_tokens == 3
    assert reply.usage.output_tokens == (128 // recipe.upscale // 16) * (192 // recipe.upscale // 16)


def bytes_of(shown: Any) -> bytes:
    return base64.b64decode(shown.b64_json)


def png(pixels: np.ndarray) -> tuple[str, bytes, str]:
    """Pixels as a client sends a file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return "picture.png", file.getvalue(), "image/png"


def gradient() -> np.ndarray:
    """A picture to edit."""
    return np.stack(np.broadcast_arrays(np.arange(128)[:, None], np.arange(128)[None], 200), -1).astype(np.uint8)


def states(server: Server) -> dict[str, str]:
    """The jobs of the studio, and where they stand."""
    with urllib.request.urlopen(f"{server.url}/api/jobs?most=500", timeout=60) as reply:
        return {job["id"]: job["state"] for job in json.load(reply)}


def test_several_as_jpeg(client: Any) -> None:
    reply = client.images.generate(
        prompt="a boat", n=2, size="128x128", output_format="jpeg", output_compression=60, quality="low", style="flat",
        user="u1", extra_body={"seed": 20, "brand_new": True},
    )  # fmt: skip
    pictures = [bytes_of(one) for one in reply.data]
    assert [Image.open(io.BytesIO(data)).format for data in pictures] == ["JPEG", "JPEG"]
    recipes = [read_recipe(data) for data in pictures]
    assert [(one.seed, one.steps, one.style) for one in recipes] == [(20, 6, "flat"), (21, 6, "flat")]
    assert reply.darkroom["seeds"] == [20, 21] and len(reply.darkroom["jobs"]) == 2
    assert [note.split()[0] for note in reply.darkroom["notes"]] == ["user", "brand_new"]
    assert reply.data[0].revised_prompt == recipes[0].prompt.text
    one = client.images.generate(prompt="a boat", size="128x128", extra_body=STEPS).usage
    assert reply.usage.output_tokens == 2 * one.output_tokens and reply.usage.input_tokens == one.input_tokens


def test_notes_are_in_a_header_too(client: Any) -> None:
    raw = client.images.with_raw_response.generate(prompt="a cup", size="128x128", moderation="low", extra_body=STEPS)
    assert raw.headers["x-darkroom-notes"] == "moderation changes nothing: no pictures are filtered here"
    assert raw.parse().darkroom["notes"] == [raw.headers["x-darkroom-notes"]]


def test_an_address_instead(client: Any) -> None:
    reply = client.images.generate(
        prompt="a cup", size="128x128", response_format="url", output_format="webp", output_compression=70,
        extra_body={"seed": 3, **STEPS},
    )  # fmt: skip
    with urllib.request.urlopen(reply.data[0].url, timeout=60) as answer:
        assert answer.headers["content-type"] == "image/webp"
        assert read_recipe(answer.read()).seed == 3
    assert reply.data[0].b64_json is None


def test_a_stream(client: Any) -> None:
    events = list(
        client.images.generate(
            prompt="a red fox", size="128x128", stream=True, partial_images=2, output_format="jpeg",
            extra_body={"seed": 7, "steps": 8},
        )
    )  # fmt: skip
    *partial, last = events
    assert last.type == "image_generation.completed" and 1 <= len(partial) <= 2
    assert [one.type for one in partial] == ["image_generation.partial_image"] * len(partial)
    assert [one.partial_image_index for one in partial] == list(range(len(partial)))
    assert {Image.open(io.BytesIO(bytes_of(one))).format for one in events} == {"JPEG"}
    assert last.size == "128x128" and last.quality == "medium" and last.usage.total_tokens > last.usage.input_tokens
    assert read_recipe(bytes_of(last)).seed == 7


def test_an_edit_where_the_mask_is_transparent(client: Any) -> None:
    pixels, mask = gradient(), np.full((128, 128, 4), 255, np.uint8)
    mask[:64, :, 3] = 0
    reply = client.images.edit(
        image=[png(pixels), png(pixels)], mask=png(mask), prompt="a red ball", extra_body={"seed": 7, **STEPS}
    )
    data = bytes_of(reply.data[0])
    drawn, recipe = read(data), read_recipe(data)
    assert (drawn[64:] == pixels[64:]).all() and (drawn[:64] != pixels[:64]).any()
    assert (recipe.strength, recipe.steps, reply.size) == (1.0, 3, "128x128")
    assert [note.split()[0] for note in reply.darkroom["notes"]] == ["image[1]"]
    assert reply.usage.input_tokens_details.image_tokens == reply.usage.output_tokens


def test_a_stream_of_an_edit(client: Any) -> None:
    options = {"input_fidelity": "high", "stream": True, "partial_images": 1, "size": "128x128"}
    *partial, last = client.images.edit(image=png(gradient()), prompt="a sunset", extra_body=STEPS, **options)
    assert [one.type for one in partial] == ["image_edit.partial_image"]
    assert last.type == "image_edit.completed" and read_recipe(bytes_of(last)).strength == 0.5


def test_what_is_wrong_comes_as_the_clients_own_errors(client: Any) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        client.images.generate(prompt="a", size="1001x64")
    assert bad.value.param == "size" and "try 1008" in str(bad.value)
    with pytest.raises(openai.NotFoundError) as missing:
        client.images.generate(prompt="a", model="flux")
    assert (missing.value.param, missing.value.code) == ("model", "model_not_found")
    assert [model.id for model in client.models.list()] == ["default"]
    assert client.models.retrieve("default").owned_by == "diffusion"


def test_the_same_key_is_the_same_picture(client: Any) -> None:
    asked = {"prompt": "a cup", "size": "128x128", "extra_body": STEPS, "extra_headers": {"Idempotency-Key": "one"}}
    first, again = client.images.generate(**asked), client.images.generate(**asked)
    assert first.darkroom == again.darkroom and first.data == again.data
    with pytest.raises(openai.ConflictError):
        client.images.generate(**{**asked, "prompt": "another"})


@pytest.mark.parametrize(("key", "stream"), [(None, False), (None, True), ("kept", False)])
def test_who_hangs_up_wants_it_no_more_unless_it_has_a_key(server: Server, key: str | None, stream: bool) -> None:
    before = states(server)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    body = json.dumps({**LONG, "stream": stream})
    connection.request("POST", "/v1/images/generations", body, {} if key is None else {"idempotency-key": key})
    while not (new := states(server).keys() - before.keys()):
        time.sleep(0.05)
    [job] = new
    while states(server)[job] == "queued":
        time.sleep(0.05)
    connection.close()
    if key is None:
        while states(server)[job] != "cancelled":
            time.sleep(0.05)
    else:  # it goes on: a later call, begun after the first was left, is done and the job still is not cancelled
        later = http.client.HTTPConnection("127.0.0.1", server.port, timeout=200)
        later.request("POST", "/v1/images/generations", json.dumps({"prompt": "a cup", "size": "128x128", "steps": 1}))
        assert later.getresponse().status == 200
        assert states(server)[job] != "cancelled"
        urllib.request.urlopen(f"{server.url}/api/jobs/{job}/cancel", b"", timeout=60).close()


def test_a_job_that_fails_is_the_callers_fault_or_ours(client: Any, server: Server) -> None:
    (server.data / "adapters").mkdir(exist_ok=True)
    (server.data / "adapters" / "broken.safetensors").write_bytes(b"no tensors")
    asked = {"prompt": "a cup", "size": "128x128", "extra_body": {"darkroom": {"lora": "broken.safetensors"}}}
    with pytest.raises(openai.BadRequestError) as bad:
        client.images.generate(**asked)
    assert bad.value.code == "bad_file" and bad.value.response.headers["x-should-retry"] == "false"
    with pytest.raises(openai.APIError, match=r"broken\.safetensors"):
        list(client.images.generate(**asked, stream=True))


@pytest.mark.slow
def test_the_guide(server: Server, tmp_path: Path) -> None:
    mask = np.full((512, 512, 4), 255, np.uint8)
    mask[:256, :, 3] = 0
    (tmp_path / "mask.png").write_bytes(png(mask)[1])
    printed = run_example(server, "OpenAI(", tmp_path).splitlines()
    assert printed[0] == "image_generation.partial_image 0" and printed[-1] == "image_generation.completed "
    assert read_recipe(tmp_path / "fox.png").steps == 20
    assert curled(server, "/v1/images")["darkroom"]["seeds"] == [7, 8]


@pytest.mark.slow
def test_a_server_that_stops_says_so(tmp_path: Path) -> None:
    with studio(tmp_path) as running:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=200)
        connection.request("POST", "/v1/images/generations", json.dumps(LONG))
        while "running" not in states(running).values():
            time.sleep(0.05)
        running.process.terminate()
        reply = connection.getresponse()
        assert (reply.status, reply.headers["retry-after"]) == (503, "10")
        assert json.load(reply)["error"]["type"] == "server_error"


def test_a_key_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text("anna a-key-that-nobody-guesses\nben another-key-of-some-length\n")
    with studio(tmp_path, "--keys", str(tmp_path / "keys.txt")) as running:
        options = {"base_url": f"{running.url}/v1", "max_retries": 0, "timeout": 280}
        with pytest.raises(openai.AuthenticationError) as refused:
            openai.OpenAI(api_key="wrong", **options).models.list()
        assert refused.value.code == "no_key"
        anna = openai.OpenAI(api_key="a-key-that-nobody-guesses", **options)
        asked = {"prompt": "a cup", "size": "128x128", "response_format": "url", "extra_body": {"steps": 1}}
        address = anna.images.generate(**asked).data[0].url
        for key, status in (("a-key-that-nobody-guesses", 200), ("another-key-of-some-length", 404)):
            request = urllib.request.Request(address, headers={"Authorization": f"Bearer {key}"})
            try:
                found = urllib.request.urlopen(request, timeout=60).status
            except urllib.error.HTTPError as error:
                found = error.code
            assert found == status
