"""Requests, prompts, seeds and sizes: what is accepted, and the sentence that says why not."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from darkroom.contracts.contract import Contract
from darkroom.contracts.errors import BadInput, explain
from darkroom.contracts.prompt import MAX_TEXT, Prompt
from darkroom.contracts.request import MAX_SEED, MAX_SEEDS, MAX_SIDE, Request, expand, parse_seeds, parse_size


def refusal(**fields: object) -> str:
    with pytest.raises(ValidationError) as caught:
        Request.model_validate({"prompt": "a fox", **fields})
    return explain(caught.value)


def test_a_text_is_a_prompt() -> None:
    assert Request.model_validate({"prompt": "a fox"}) == Request(prompt=Prompt(text="a fox"))
    assert Request.model_validate({"prompt": {"text": "a fox", "negative": "blurry"}}).prompt.negative == "blurry"


def test_nothing_but_the_prompt_is_decided() -> None:
    request = Request(prompt=Prompt(text="a fox"))
    untouched = {"verify": False, "best_of": 1, "retry": 0, "verbatim": False, "offload": False}
    assert {name: value for name, value in request if value is not None and name != "prompt"} == {
        "model": "default",
        "refine": (),
        **untouched,
    }
    assert not request.judged


def test_requests_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Request(prompt=Prompt(text="a fox")).seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"width": 1001}, "width 1001 is not a multiple of 16; try 1008"),
        ({"height": 8}, "height 8 is not between 64 and 2048; try 64"),
        ({"height": 2049}, "height 2049 is not between 64 and 2048; try 2048"),
        ({"steps": 0}, "steps 0 is below 1; try 1"),
        ({"steps": "12"}, "steps '12' is not a whole number; write 12 without quotes"),
        ({"guidance": 30.5}, "guidance 30.5 is above 30; try 30"),
        ({"guidance": float("nan")}, "guidance nan is not a finite number; give one like 3.5"),
        ({"seed": -1}, "seed -1 is below 0; try 0"),
        ({"prompt": " \n"}, "the prompt is blank; say what the picture shows"),
        ({"prompt": ""}, "the prompt is blank; say what the picture shows"),
        ({"prompt": "a\0b"}, "the prompt holds a NUL character at position 1; remove it"),
        (
            {"prompt": {"text": "a", "negative": "\0"}},
            "the negative prompt holds a NUL character at position 0; remove it",
        ),
        ({"upscale": 3}, "upscale 3 is not 1, 2 or 4; try 2"),
        ({"upscale": 8}, "upscale 8 is not 1, 2 or 4; try 4"),
        ({"upscale": -1}, "upscale -1 is not 1, 2 or 4; try 1"),
        ({"upscale": True}, "upscale True is not a whole number; give one like 12"),
        ({"prompt": 5}, "prompt 5 is not text; say what the picture shows"),
        ({"sampler": "a\nb"}, "the name 'a\\nb' holds the control character '\\n'; remove it"),
        ({"steps": 0, "seed": -1}, "seed -1 is below 0; try 0. Also: steps 0 is below 1; try 1"),
    ],
)
def test_a_refusal_names_value_rule_and_fix(fields: dict[str, object], sentence: str) -> None:
    assert refusal(**fields) == sentence


def test_an_unknown_field_is_answered_with_the_nearest() -> None:
    said = refusal(widht=64)
    assert said.startswith("unknown Request field 'widht'; did you mean 'width'? known: best_of, control, ")


def test_prompts_have_a_length() -> None:
    assert Prompt(text="é" * MAX_TEXT, negative="x" * MAX_TEXT)
    assert "32001 characters" in refusal(prompt="x" * (MAX_TEXT + 1))
    assert "32001 characters" in refusal(prompt={"text": "x", "negative": "x" * (MAX_TEXT + 1)})


def test_broken_unicode_is_refused() -> None:
    assert "not valid Unicode" in refusal(prompt="a \ud800 fox")


def test_sides_bound_the_area() -> None:
    assert MAX_SIDE == 2048


def test_the_schema_says_the_bounds_and_describes_every_field() -> None:
    def contracts(of: type[Contract] = Contract) -> list[type[Contract]]:
        return [sub for direct in of.__subclasses__() for sub in (direct, *contracts(direct))]

    for contract in contracts():
        for name, field in contract.model_fields.items():
            assert field.description, f"{contract.__name__}.{name}"
    width = Request.model_json_schema()["properties"]["width"]["anyOf"][0]
    assert width == {"type": "integer", "minimum": 64, "maximum": 2048, "multipleOf": 16}
    assert {"type": "string"} in Request.model_json_schema()["properties"]["prompt"]["anyOf"]


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("7", [7]),
        ("0-7", list(range(8))),
        ("1,4,9", [1, 4, 9]),
        (" 3 , 5 - 6 ", [3, 5, 6]),
        ("4-4", [4]),
        (str(MAX_SEED), [MAX_SEED]),
        (f"1-{MAX_SEEDS}", list(range(1, MAX_SEEDS + 1))),
    ],
)
def test_seeds_are_read(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "are not whole numbers"),
        ("a", "are not whole numbers"),
        ("-1", "are not whole numbers"),
        ("1,,2", "are not whole numbers"),
        ("1.5", "are not whole numbers"),
        ("٣", "are not whole numbers"),
        ("7-0", "try 0-7"),
        ("9223372036854775808", f"is above {MAX_SEED}"),
        ("9" * 5000, "are not whole numbers"),
        (f"0-{MAX_SEEDS}", f"more than {MAX_SEEDS}"),
        ("0-9223372036854775807", f"more than {MAX_SEEDS}"),
        ("1," * 1_000_000, f"more than {MAX_SEEDS}"),
        (f"0-{MAX_SEEDS - 1},5", f"more than {MAX_SEEDS}"),
        ("0-7,5", "twice"),
    ],
)
def test_bad_seeds_are_refused(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        parse_seeds(text)


def test_sizes_are_read_and_bounded() -> None:
    assert parse_size("256x192") == parse_size(" 256 X 192 ") == parse_size("256×192") == (256, 192)
    assert parse_size("128") == (128, 128)
    for text, said in (
        ("1001", "width 1001 is not a multiple of 16; try 1008"),
        ("128x4096", "height 4096 is not between 64 and 2048; try 2048"),
        ("128x", "is not a size"),
        ("-128", "is not a size"),
        ("1e3", "is not a size"),
        ("9" * 5000, "is not a size"),
    ):
        with pytest.raises(BadInput, match=said):
            parse_size(text)


def test_expand_gives_one_request_for_each_seed() -> None:
    request = Request(prompt=Prompt(text="a fox"), width=64, style="3d")
    several = expand(request, [3, 1, 3])
    assert [r.seed for r in several] == [3, 1, 3]
    assert all(r.model_copy(update={"seed": None}) == request for r in several)
    with pytest.raises(ValidationError):
        expand(request, [-1])
