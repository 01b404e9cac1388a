"""The official client of OpenAI's against a real server with a real worker."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.studio import Running, studio

openai = pytest.importorskip("openai", reason="the client of OpenAI's is not installed: pip install openai")

STEPS = {"steps": 3}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with studio(tmp_path_factory.mktemp("studio")) as running:
        yield running


@pytest.fixture
def client(server: Running) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none needed", max_retries=0, timeout=280) as client:
        yield client


def test_a_picture(client: Any) -> None:
    from darkroom.picture.metadata import read_recipe

    reply = client.images.generate(prompt="a red fox", model="default", size="128x192", extra_body={"seed": 7, **STEPS})
    data = base64.b64decode(reply.data[0].b64_json)
    recipe = read_recipe(data)
    assert (recipe.prompt.text, recipe.seed, recipe.steps, recipe.width, recipe.height) == ("a red fox", 7, 3, 128, 192)
    assert (reply.size, reply.output_format, reply.quality, reply.background) == ("128x192", "png", "medium", "opaque")
    assert reply.darkroom["notes"] == []
    assert reply.usage.input_tokens == reply.usage.input_tokens_details.text_tokens == 3
    assert reply.usage.output_tokens == (128 // recipe.upscale // 16) * (192 // recipe.upscale // 16)
