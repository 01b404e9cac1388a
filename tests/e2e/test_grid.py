"""A grid as a user draws it: its cells are pictures like any others, and its sheets say what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkroom.model import Model
from darkroom.picture.grid import Heads, lay_out
from darkroom.picture.metadata import read_grid, read_recipe
from darkroom.picture.read import read
from tests.program import ran
from tests.tiny import saved, tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(saved(tiny_model(), tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def drawn(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and what a program is told."""
    capsys.readouterr()
    code = ran("generate", *arguments, "--json")
    return code, json.loads(capsys.readouterr().out)


def test_cells_are_the_pictures_they_are_alone_and_stand_where_they_belong(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("a {red|blue|green} fox", "--model", model, "--x", "steps=1,2", "--y", "sampler=euler,heun,lms")
    code, told = drawn(capsys, *asked, "--z", "prompt=fox,cat", "--out", "out")
    assert code == 0 and len(told["cells"]) == 12 and told["sheets"] == ["out/grid.png", "out/grid-2.png"]
    recipes = [read_recipe(cell["path"]) for cell in told["cells"]]
    assert len({recipe.seed for recipe in recipes}) == 1
    assert [Path(cell["path"]).stem[-2:] for cell in told["cells"]] == [f"{n:02d}" for n in range(1, 13)]
    chosen = {recipe.prompt.text.split()[1] for recipe in recipes}
    assert len(chosen) == 1 and chosen < {"red", "blue", "green"}  # by the seed alone

    seed = str(recipes[0].seed)
    for cell in told["cells"]:
        text = asked[0].replace("fox", cell["z"])
        alone = ("generate", text, "--model", model, "--seed", seed, "--steps", cell["x"], "--sampler", cell["y"])
        folder = Path("alone") / "-".join((cell["x"], cell["y"], cell["z"]))
        assert ran(*alone, "--out", str(folder)) == 0
        [one] = folder.glob("*.png")
        assert np.array_equal(read(one), read(cell["path"]))

    layout = lay_out((64, 64), Heads("steps", ["1", "2"]), Heads("sampler", ["euler", "heun", "lms"]), "a\nb")
    for z, name in enumerate(told["sheets"]):
        page = read(name)
        for number, cell in enumerate(told["cells"][6 * z : 6 * z + 6]):
            box = layout.cells[number % 2, number // 2]
            below = page.shape[0] - layout.height  # a title of more lines
            assert np.array_equal(page[box.top + below : box.bottom + below, box.left : box.right], read(cell["path"]))


def test_a_sheet_says_what_it_was_made_of(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("a red fox", "--model", model, "--seed", "5", "--x", "steps=1,2", "--z", "guidance=1,3", "--out", "out")
    assert ran("generate", *asked, "--negative", "snow") == 0
    told = read_grid("out/grid-2.png")
    assert told is not None and told["z"] == "3"
    assert told["base"]["prompt"] == "a red fox" and told["base"]["negative"] == "snow" and told["base"]["seed"] == "5"
    assert told["axes"]["x"] == {"field": "steps", "values": ["1", "2"]}
    capsys.readouterr()
    assert ran("recipe", "show", "out/grid.png", "--json") == 0
    assert json.loads(capsys.readouterr().out)["axes"] == told["axes"]
    assert ran("recipe", "show", "out/grid.png") == 0
    assert "steps" in capsys.readouterr().out
    [picture, *_] = sorted(Path("out").glob("0005-*.png"))
    assert read_grid(picture) is None


def test_a_cell_that_fails_is_empty_and_the_rest_is_done(
    model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("a fox", "--model", model, "--steps", "1", "--seed", "1", "--x", "upscale=1,2", "--y", "size=64,128")
    evaluate = Model.evaluate

    def fails(self: Model, calls: Any) -> Any:
        if any(call.network == "denoiser" and call.inputs["x"].shape[-1] > 8 for call in calls):
            raise RuntimeError("the network failed")
        return evaluate(self, calls)

    monkeypatch.setattr(Model, "evaluate", fails)
    code, told = drawn(capsys, *asked, "--out", "out")
    assert code == 1 and told["error"] == "2 pictures of 4 failed; their places on the sheet are empty"
    assert ["error" in cell for cell in told["cells"]] == [False, True, True, False]
    assert "would be drawn at 32x32" in told["cells"][1]["error"]
    assert told["cells"][2]["error"] == "the network failed"
    assert Path(told["sheets"][0]).is_file() and len(list(Path("out").glob("*.png"))) == 3


def test_what_no_cell_can_be_drawn_with_is_refused_before_anything_is(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for axis, said in (
        ("sampler=euler,eular", "--x sampler: unknown sampler 'eular'; did you mean 'euler'?"),
        ("steps=0,1", "--x steps: steps 0 is below 1; try 1"),
        ("model=default,none-such", "unknown model 'none-such'"),
        ("init-image=none.png", "none.png"),
        ("strength=0.5,1", "needs a picture to start from"),
    ):
        asked = ("--model", model) if not axis.startswith("model") else ()
        assert ran("generate", "a fox", *asked, "--steps", "1" if "steps" not in axis else "2", "--x", axis) == 2
        assert said in capsys.readouterr().err and not Path("pictures").exists()


def test_a_dry_run_says_how_much_it_would_be(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("generate", "a fox", "--model", model, "--x", "steps=4,8", "--y", "sampler=euler,heun", "--z", "seed=1-3")
    assert ran(*asked, "--dry-run") == 0
    out, err = capsys.readouterr()
    assert "12 pictures on 3 sheets, 102 evaluations" in err and len(json.loads(out)) == 12
    assert ran(*asked[:4], "--x", "seed=0-499", "--y", "steps=1..21", "--dry-run") == 2
    assert "a grid of 10,500 pictures is more than 10,000" in capsys.readouterr().err
    assert not Path("pictures").exists()
