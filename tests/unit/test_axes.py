"""What axes of grids say, and what they refuse."""

from __future__ import annotations

import pytest

from darkroom.contracts.errors import BadInput
from darkroom.contracts.request import Request
from darkroom.requests.axes import Grid, grid_of, parse_axis
from darkroom.requests.spelling import Asked, kind_of, names

BASE = Asked({"prompt": "a red fox by a foxglove"})


def requests(grid: Grid) -> list[Request]:
    return [cell.request for cell in grid.cells() if isinstance(cell.request, Request)]


@pytest.mark.parametrize(
    ("text", "field", "values"),
    [
        ("steps=4,8, 16", "steps", ("4", "8", "16")),
        ("seed=0-3", "seed", ("0", "1", "2", "3")),
        ("guidance=1..5", "guidance", ("1", "2", "3", "4", "5")),
        ("guidance=1..2:0.25,9", "guidance", ("1", "1.25", "1.5", "1.75", "2", "9")),
        ("steps=30..10:-10", "steps", ("30", "20", "10")),
        ("guidance-interval=0.1-0.9,0-1", "guidance_interval", ("0.1-0.9", "0-1")),
        ("negative=,x", None, None),
        ('negative="",x', "negative", ("", "x")),
        ('prompt="red, big","a ""b"""', "prompt", ("red, big", 'a "b"')),
        ("--best_of=1,2", "best_of", ("1", "2")),
        ("size=128,256x192", "size", ("128", "256x192")),
    ],
)
def test_an_axis_is_a_field_and_its_values(text: str, field: str | None, values: tuple[str, ...] | None) -> None:
    if field is None:
        with pytest.raises(BadInput, match='write it as ""'):
            parse_axis("x", text)
        return
    axis = parse_axis("x", text)
    assert (axis.field, axis.values) == (field, values)


SAMPLES = {
    "string": '"a",b',
    "number": "0.5,0.25",
    "integer": "1,2",
    "boolean": "yes,no",
    "interval": "0-1,0-0.5",
    "size": "64,128",
    "margins": "16,32",
}
SHORT = {"swap": "fox->cat,fox->dog", "regions": '"left: a fox","right: a fox"', "refine": "clean,sharpen"}


@pytest.mark.parametrize("name", sorted(set(names()) - {"count"}))
def test_every_field_can_be_an_axis(name: str) -> None:
    sample = SHORT.get(name, SAMPLES[kind_of(name)])
    assert len(parse_axis("y", f"{name.replace('_', '-')}={sample}").values) == 2


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"x": "samplr=heun,euler"}, "unknown field of --x 'samplr'; did you mean 'sampler'"),
        ({"x": "steps"}, "names no field with its values; write --x steps=4,8,16"),
        ({"x": "steps="}, "names no field with its values"),
        ({"x": "steps=4,4"}, "names one value twice"),
        ({"x": "steps=four"}, "steps 'four' is not a whole number"),
        ({"x": "count=1,2"}, "lay out seeds"),
        ({"x": "steps=9..1:2"}, "never arrives"),
        ({"x": "guidance=1...5"}, "is not a number"),
        ({"x": "steps=1..100000000000"}, "100,000,000,000 values, more than 10,000"),
        ({"x": "seed=0-999", "y": "steps=1..11"}, "a grid of 11,000 pictures is more than 10,000"),
        ({"z": "steps=1,2"}, "--z needs --x or --y"),
        ({"x": "steps=1,2", "y": "steps=3,4"}, "--x and --y say two different things"),
        ({"x": "size=64,128", "z": "height=64,128"}, "--x and --z say two different things"),
        ({"x": "prompt=dog,cat"}, "replaces 'dog', and the prompt does not hold it"),
        ({"x": "prompt=fox,cat", "y": "prompt=foxglove,rose"}, "and so does another axis"),
        ({"x": "prompt=fox"}, "nothing to put in its place"),
        ({"x": 'steps="4'}, "no list of values"),
    ],
)
def test_what_is_no_grid_is_refused_with_the_fix(axes: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        grid_of(BASE, axes, 0, 0)


def test_several_pictures_of_a_cell_are_an_axis() -> None:
    for base in (Asked(BASE.fields, "0-3"), Asked(BASE.fields, None, 2)):
        with pytest.raises(BadInput, match="make it an axis: --z seed=0-3"):
            grid_of(base, {"x": "steps=1,2"}, 0, 0)


def test_cells_differ_in_what_is_laid_out_and_in_nothing_else() -> None:
    grid = grid_of(BASE, {"x": "steps=4,8,16", "y": "sampler=euler,heun", "z": "guidance=1..2"}, 7, 8)
    found = requests(grid)
    assert [(r.steps, r.sampler, r.guidance) for r in found] == [
        (steps, sampler, guidance) for guidance in (1, 2) for sampler in ("euler", "heun") for steps in (4, 8, 16)
    ]
    alike = {r.model_copy(update={"steps": 1, "sampler": None, "guidance": None}) for r in found}
    assert len(alike) == 1 and alike.pop().seed == 7


def test_words_are_replaced_all_at_once() -> None:
    grid = grid_of(BASE, {"x": "prompt=fox,red cat", "y": "prompt=red,blue"}, 0, 0)
    assert [r.prompt.text for r in requests(grid)] == [
        "a red fox by a foxglove",
        "a red red cat by a red catglove",
        "a blue fox by a foxglove",
        "a blue red cat by a red catglove",
    ]


def test_the_other_seed_of_a_variation_is_the_same_in_all_cells() -> None:
    [one, other] = requests(grid_of(BASE, {"x": "variation=0.1,0.2"}, 7, 8))
    assert one.variation_seed == other.variation_seed == 8


def test_an_empty_value_leaves_a_field_out() -> None:
    base = Asked({**BASE.fields, "style": "flat"})
    assert [r.style for r in requests(grid_of(base, {"x": 'style="",3d'}, 0, 0))] == [None, "3d"]


def test_a_cell_that_cannot_be_asked_for_is_an_error_in_its_place() -> None:
    grid = grid_of(BASE, {"x": "upscale=1,4", "y": "size=128,256"}, 0, 0)
    assert [isinstance(cell.request, Request) for cell in grid.cells()] == [True] * 4  # only a model tells
    grid = grid_of(BASE, {"x": "steps=0,4"}, 0, 0)
    first, second = grid.cells()
    assert isinstance(first.request, BadInput) and isinstance(second.request, Request)
