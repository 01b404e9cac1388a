"""The usual Python client of A1111's API against a real server with a real worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.studio import Running, studio

webuiapi = pytest.importorskip("webuiapi", reason="the client of A1111's is not installed: pip install webuiapi")

SMALL = {"width": 128, "height": 128, "steps": 3}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with studio(tmp_path_factory.mktemp("studio")) as running:
        yield running


@pytest.fixture
def client(server: Running) -> Any:
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
