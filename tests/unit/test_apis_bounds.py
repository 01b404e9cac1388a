"""Whatever a field of the two APIs holds: a request within bounds, or an error that says why. Promise 11."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darkroom.contracts.errors import DarkroomError
from darkroom.contracts.request import MAX_SIDE, MAX_STEPS
from darkroom.server.keeping.folders import Folders
from darkroom.server.routes.a1111 import asked as a1111
from darkroom.server.routes.a1111 import requested
from darkroom.server.routes.openai import asked as openai
from darkroom.server.settings import Settings
from darkroom.server.studio import Studio

VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63), 10**400, 0.5, 1e308, math.inf, math.nan),
    *("", "a", "1", "\0", "\ud800", "x" * 40_000, "../../etc/passwd", "https://example.org/a.png"),
    *([], [1], [None], [[]], {}, {"a": 1}, {"args": [{}]}, {"ControlNet": {"args": [{"model": 1, "image": 2}]}}),
    *({"ControlNet": 1}, {"sd_model_checkpoint": []}, {"sd_vae": {}}, {"prompt": {}}, {"model": "/etc"}),
]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(Settings(Folders(tmp_path_factory.mktemp("studio"))))


def generated(studio: Studio, fields: dict[str, Any]) -> list[Any]:
    asked = openai.read(fields)
    notes = openai.notes_on(fields, asked, edit=False)
    return openai.requests_of(asked, notes, studio, {})


def drawn(studio: Studio, fields: dict[str, Any], starts: bool) -> list[Any]:
    asked = a1111.read(fields)
    notes = a1111.notes_on(fields, asked)
    return requested.requests_of(asked, notes, studio, "default", starts=starts)


def check(requests: list[Any], most: int) -> None:
    assert 1 <= len(requests) <= most
    for request in requests:
        assert (request.width or 0) <= MAX_SIDE and (request.height or 0) <= MAX_SIDE
        assert (request.steps or 0) <= MAX_STEPS


@pytest.mark.parametrize("name", [*openai.Asked.model_fields, "unknown"])
def test_openai_bounds(studio: Studio, name: str) -> None:
    taken = 0
    for value in VALUES:
        try:
            check(generated(studio, {"prompt": "a", name: value}), openai.MOST)
            taken += 1
        except DarkroomError as error:
            assert str(error)
    assert taken > 0


@pytest.mark.parametrize("name", [*a1111.Asked.model_fields, "unknown", "script_args", "hr_prompt"])
@pytest.mark.parametrize("starts", [False, True])
def test_a1111_bounds(studio: Studio, name: str, starts: bool) -> None:
    taken = 0
    for value in VALUES:
        try:
            check(drawn(studio, {"prompt": "a", "enable_hr": True, name: value}, starts), a1111.MOST)
            taken += 1
        except DarkroomError as error:
            assert str(error)
    assert taken > 0 or starts  # which needs a picture, too


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=st.sampled_from("<lora:ahyper>0.8(){}[]|\\ "), max_size=200))
def test_prompts_are_read_whatever_they_hold(studio: Studio, text: str) -> None:
    try:
        check(drawn(studio, {"prompt": "a" + text}, False), 1)
    except DarkroomError as error:
        assert "strength" in str(error)


def test_long_prompts_of_brackets_take_linear_time(studio: Studio) -> None:
    for unit in ("<lora:", "<lora:a:", "<hypernet:", "\\", "(", "["):
        check(drawn(studio, {"prompt": "a " + unit * (31_990 // len(unit))}, False), 1)
