"""Led away from a weaker model: what it comes to, that it is never a second way, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from darkroom.cli import main
from darkroom.contracts.errors import BadInput
from darkroom.contracts.recipe import Recipe
from darkroom.contracts.request import Request
from darkroom.drawing import draw
from darkroom.engine import Engine
from darkroom.generate import picture, run
from darkroom.model import Model, load
from darkroom.picture.image import Image
from darkroom.picture.metadata import read_recipe
from darkroom.picture.read import read
from darkroom.protocols import Call, Denoise, Level, NoiseSource, Task
from tests.tiny import saved, tiny_model

PROMPT = "a red fox and a green tree"
ASKED: list[dict[str, Any]] = [
    {},
    {"regions": "left: a red fox", "toward": "two blue cats:0.4", "sampler": "heun"},
    {"swap": "fox->cat", "guidance_method": "projected", "guidance_rescale": 0.5},
    {"width": 128, "height": 128, "upscale": 2, "hires": 0.5},
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """A model, a weaker one of its latent space (all else is another), and one of another space."""
    strong, weak, other = tiny_model(0), tiny_model(1), tiny_model(2)
    weak.codec.network.load_state_dict(strong.codec.network.state_dict())  # type: ignore[attr-defined]
    root = tmp_path_factory.mktemp("models")
    names = ("strong", "weak", "other")
    one, two, three = (str(saved(model, root / name)) for model, name in zip((strong, weak, other), names, strict=True))
    return one, two, three


@pytest.fixture(scope="module")
def model(folders: tuple[str, str, str]) -> Model:
    return load(folders[0])


def resolved(model: Model, **asked: Any) -> Recipe:
    return model.resolve(Request.checked({"prompt": PROMPT, "seed": 3, "guidance": 2.5, **asked}))


def pixels(model: Model, **asked: Any) -> np.ndarray:
    return run(picture(resolved(model, **asked), model), model.evaluate).pixels


def first_estimate(model: Model, **asked: Any) -> Tensor:
    """x0 at the first level of a picture."""
    seen: list[Tensor] = []

    def once(denoise: Denoise, x: Tensor, levels: Sequence[Level], noise: NoiseSource) -> Task[Tensor]:
        seen.append((yield from denoise(x, levels[len(levels) // 2])))
        return seen[0]

    run(picture(resolved(model, **asked), model, sampler=once), model.evaluate)
    return seen[0].double()


def test_the_estimate_lies_beyond_the_models_seen_from_the_guides(model: Model, folders: tuple[str, str, str]) -> None:
    strong, weak = first_estimate(model, guidance=1.0), first_estimate(load(folders[1]), guidance=1.0)
    led = first_estimate(model, guide=folders[1])
    assert not torch.equal(strong, weak)
    torch.testing.assert_close(led, weak + 2.5 * (strong - weak), rtol=0, atol=1e-5)


@pytest.mark.parametrize("asked", ASKED)
def test_a_model_is_not_led_by_itself(model: Model, folders: tuple[str, str, str], asked: dict[str, Any]) -> None:
    asked = {name: value for name, value in asked.items() if not name.startswith("guidance")}
    plain = pixels(model, **{**asked, "guidance": 1.0})
    assert np.array_equal(pixels(model, guide=folders[0], **asked), plain)
    assert not np.array_equal(pixels(model, guide=folders[1], **asked), plain)


def test_without_guidance_a_guide_is_not_asked(model: Model, folders: tuple[str, str, str]) -> None:
    asked: list[str] = []

    def listening(calls: Sequence[Call]) -> list[Tensor]:
        asked.extend(call.network for call in calls)
        return model.evaluate(calls)

    for guidance, times in ((1.0, 4), (2.5, 8)):
        asked.clear()
        recipe = resolved(model, guide=folders[1], guidance=guidance, guidance_interval=(0.0, 1.0))
        led = run(picture(recipe, model), listening).pixels
        assert sum(name.endswith("denoiser") for name in asked) == times
        assert np.array_equal(led, pixels(model, guidance=1.0)) == (guidance == 1.0)


def test_led_and_plain_pictures_share_an_engine(model: Model, folders: tuple[str, str, str]) -> None:
    several = [{**asked, **guide} for asked in ASKED for guide in ({}, {"guide": folders[1]}, {"guide": folders[0]})]
    recipes = [resolved(model, **asked) for asked in several]
    together = Engine[Image](model.evaluate).ended(picture(recipe, model) for recipe in recipes)
    for asked, image in zip(several, together, strict=True):
        assert isinstance(image, Image) and np.array_equal(image.pixels, pixels(model, **asked))


def test_opening_a_guide_changes_no_other_picture(folders: tuple[str, str, str]) -> None:
    model = load(folders[0])
    enlarged = {"width": 128, "height": 128, "upscale": 2}
    before = pixels(model, **enlarged)
    networks = dict(model.networks)
    assert not np.array_equal(pixels(model, guide=folders[1], **enlarged), before)
    assert np.array_equal(pixels(model, **enlarged), before)
    assert {name: model.networks[name] for name in networks} == networks and len(model.networks) == len(networks) + 3


def test_a_guide_is_a_flag_a_column_and_an_axis(
    folders: tuple[str, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    strong, weak, _ = folders
    monkeypatch.setattr("darkroom.cli.run.share_cores", lambda: None)
    monkeypatch.chdir(tmp_path)

    def said(*arguments: str) -> list[str]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--model", strong])
        assert not ended.value.code
        return capsys.readouterr().out.split()

    [led] = said("generate", PROMPT, "--seed", "1", "--guide", weak)
    recipe = read_recipe(Path(led))
    for again in (("recipe", "run", led), ("generate", "--recipe", led)):
        [drawn] = said(*again, "--guide", weak, "--out", "again")
        assert read_recipe(Path(drawn)) == recipe and np.array_equal(read(drawn), read(led))
    Path("rows.jsonl").write_text(json.dumps({"prompt": PROMPT, "seed": 1, "guide": weak}) + "\n")
    [row] = said("generate", "--batch", "rows.jsonl", "--out", "rows")
    assert np.array_equal(read(row), read(led))
    plain, same, grid = said("generate", PROMPT, "--x", f'guide="",{weak}', "--seed", "1", "--out", "grid")
    assert (
        read_recipe(Path(plain)).guide is None and np.array_equal(read(same), read(led)) and grid.endswith("grid.png")
    )
    frames = said(
        "generate", PROMPT, "--toward", "a cat", "--frames", "3", "--seed", "1", "--guide", weak, "--out", "f"
    )
    assert np.array_equal(read(frames[0]), read(led))


def test_a_picture_is_drawn_again_with_its_guide_alone(folders: tuple[str, str, str], tmp_path: Path) -> None:
    strong, weak, _ = folders
    [drawn] = draw([Request(prompt=PROMPT, seed=1, guide=weak)], None, tmp_path / "one", model=strong)
    recipe = read_recipe(drawn.path)
    assert recipe.guide is not None and recipe.guide.model_hash == load(weak).card.model_hash
    [again] = draw([], drawn.path, tmp_path / "two", model=strong, given={"guide": weak})
    assert np.array_equal(read(drawn.path), read(again.path))
    for given, said in (({}, "was not opened"), ({"guide": strong}, "was led away from tiny")):
        with pytest.raises(BadInput, match=said):
            draw([], drawn.path, tmp_path / "two", model=strong, given=given)
    [plain] = draw([Request(prompt=PROMPT, seed=1)], None, tmp_path / "one", model=strong)
    with pytest.raises(BadInput, match="is no part of this recipe"):
        draw([], plain.path, tmp_path / "two", model=strong, given={"guide": weak})


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"guide": 2}, "has another autoencoder than tiny; take an earlier or a smaller model"),
        ({"guide": 1, "prompt": {"text": PROMPT, "negative": "snow"}}, "leads away from a weaker model"),
        ({"guide": "nowhere"}, "unknown model 'nowhere'"),
    ],
)
def test_what_cannot_lead_is_refused(
    model: Model, folders: tuple[str, str, str], asked: dict[str, Any], said: str
) -> None:
    guide = folders[asked["guide"]] if isinstance(asked["guide"], int) else asked["guide"]
    with pytest.raises(BadInput, match=said):
        resolved(model, **asked | {"guide": guide})


def test_a_flow_map_has_its_guidance_within(folders: tuple[str, str, str], tmp_path: Path) -> None:
    mapped, strong = tiny_model(0, flow_map=(1.0, 4.0)), load(folders[0])
    mapped.codec.network.load_state_dict(strong.codec.network.state_dict())  # type: ignore[attr-defined]
    path = str(saved(mapped, tmp_path / "mapped"))
    with pytest.raises(BadInput, match="within the network"):
        load(path).resolve(Request(prompt=PROMPT, guide=folders[1], guidance=2.0))
    alone = load(path)
    plain, weak = first_estimate(strong, guidance=1.0), first_estimate(alone, guidance=1.0)
    led = first_estimate(strong, guide=path)  # a flow map may lead: it is told not to guide
    torch.testing.assert_close(led, weak + 2.5 * (plain - weak), rtol=0, atol=1e-5)
