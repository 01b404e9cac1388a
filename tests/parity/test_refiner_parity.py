"""A second model that finishes a picture: the base until a time, Stable Diffusion XL's refiner from there on, as two
pipelines of diffusers do it (``denoising_end``, ``denoising_start``), step by step.

Tolerances as in ``test_public_parity.py``: 1e-6 in fp64, 1e-3 in fp32. Samplers that remember steps
go on with what they remember where the second pipeline begins anew; so they are not compared.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from darkroom.contracts.request import Request
from darkroom.engine import Engine
from darkroom.generate import interpret, picture, run
from darkroom.importing import import_model
from darkroom.model import Model, load
from darkroom.picture.metadata import read_recipe
from darkroom.synthesis.spacing import spaced
from tests.program import ran
from tests.public import (
    close,
    needs_public,
    saved,
    stable_diffusion,
    stable_diffusion_xl,
    stable_diffusion_xl_refiner,
    steps_of,
)
from tests.side_by_side import FORMATS, NEGATIVE, PROMPT, STEPS, WAYS, asked, drawn, sharpened, spec_of, start

pytestmark = needs_public


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)


def taken_in(dtype: torch.dtype, folder: Path) -> tuple[Any, Any, Model]:
    """Both pipelines, and the base as the program opens it; the refiner is in the store."""
    base, refiner = stable_diffusion_xl().to(dtype), stable_diffusion_xl_refiner().to(dtype)
    refiner.register_modules(vae=base.vae)  # it has the same latents
    import_model(saved(base, folder / "base"))
    card = import_model(saved(refiner, folder / "refiner")).card
    assert card.family == "sdxl-refiner"
    return base, refiner, load("base", dtype)


@pytest.mark.parametrize("negative", ["", NEGATIVE], ids=["plain", "negative"])
@pytest.mark.parametrize("at", [0.5, 0.8])
@pytest.mark.parametrize("sampler", ["euler", "ddim"])
@pytest.mark.parametrize(("dtype", "within"), FORMATS, ids=["fp64", "fp32"])
def test_base_and_refiner_draw_as_their_pipelines_do(
    dtype: torch.dtype, within: float, sampler: str, at: float, negative: str, tmp_path: Path
) -> None:
    base, refiner, model = taken_in(dtype, tmp_path)
    way, spacing = WAYS[sampler]
    spec = spec_of(model, sampler, spacing, 5.0)
    x, level = start(model, spec)
    given = ours = None
    for pipeline in (base, refiner):
        pipeline.scheduler, given, ours = way(pipeline.scheduler.config)
        if dtype == torch.float64:
            pipeline.scheduler = sharpened(pipeline.scheduler)
        pipeline.scheduler.set_timesteps(STEPS)
    assert given is not None and ours is not None
    said = {"prompt": PROMPT, "negative_prompt": negative or None, "guidance_scale": 5.0, "num_inference_steps": STEPS}
    if not negative:  # the base was trained without words, the refiner reads the empty sentence
        said["negative_prompt"] = None
    begun = given(x.to(dtype), level)[None] / base.scheduler.init_noise_sigma
    first, noisy = steps_of(base, **said, latents=begun, height=64, width=64, denoising_end=at, output_type="latent")
    then, made = steps_of(refiner, **said, image=noisy.images, denoising_start=at, output_type="pt")
    assert len(first) == round(at * STEPS) and len(first) + len(then) == STEPS, "each has its share of the steps"
    levels = spaced(model.synthesizer.schedule, STEPS, 1.0, spec.spacing)[1:]
    recipe = model.resolve(asked(PROMPT, negative, refiner=f"refiner:{at}"))
    words = run(interpret(recipe, model), model.evaluate)
    mine = drawn(model, words, spec)
    off = close(mine, [ours(y[0], now) for y, now in zip([*first, *then], levels, strict=True)], within)
    pixels = run(model.codec.decode(mine[-1]), model.evaluate)
    close([pixels], [made.images[0]], within)
    print(f"{sampler}, {dtype}, at {at}: apart by {off:.1e}")
    bare = replace(words, wanted=replace(words.wanted, finisher=None))
    assert (drawn(model, bare, spec)[-1] - mine[-1]).abs().max() > 0.01, "it would be seen if it did nothing"


@pytest.mark.parametrize(("dtype", "within"), FORMATS, ids=["fp64", "fp32"])
def test_a_refiner_alone_begins_from_a_picture_as_its_pipeline_does(
    dtype: torch.dtype, within: float, tmp_path: Path
) -> None:
    """From noise alone, which is ours, given to both."""
    _, refiner, _ = taken_in(dtype, tmp_path)
    model = load("refiner", dtype)
    way, spacing = WAYS["euler"]
    spec = spec_of(model, "euler", spacing, 5.0)
    x, level = start(model, spec)
    refiner.scheduler, given, ours = way(refiner.scheduler.config)
    if dtype == torch.float64:
        refiner.scheduler = sharpened(refiner.scheduler)
    refiner.scheduler.set_timesteps(STEPS)
    said = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": 5.0, "num_inference_steps": STEPS}
    begun = given(x.to(dtype), level)[None]
    theirs, _ = steps_of(refiner, **said, image=begun, denoising_start=0.0001, output_type="latent")
    words = run(interpret(model.resolve(asked(PROMPT, NEGATIVE)), model), model.evaluate)
    mine = drawn(model, words, spec)
    levels = spaced(model.synthesizer.schedule, STEPS, 1.0, spec.spacing)[1:]
    close(mine, [ours(y[0], now) for y, now in zip(theirs, levels, strict=True)], within)


def pixels(model: Model, **more: Any) -> np.ndarray:
    told = {"prompt": "a red fox", "seed": 4, "steps": 4, "width": 64, "height": 64, **more}
    return run(picture(model.resolve(Request.checked(told)), model), model.evaluate).pixels


@pytest.mark.parametrize("sampler", ["heun", "dpmpp-2m", "euler-a"])
def test_a_model_finished_by_itself_is_the_model(sampler: str, tmp_path: Path) -> None:
    """Bit for bit, whatever the sampler, with regions and edges that meet; one that draws nothing is not there."""
    _, _, model = taken_in(torch.float32, tmp_path)
    for more in ({}, {"regions": "left: a dog"}, {"tile": "across"}, {"toward": "a dog:0.3"}):
        plain = pixels(model, sampler=sampler, **more)
        assert (pixels(model, sampler=sampler, refiner="base:0.5", **more) == plain).all()
    assert (pixels(model, sampler=sampler, refiner="refiner:1") == pixels(model, sampler=sampler)).all()
    assert (pixels(model, sampler=sampler, refiner="refiner:0.5") != pixels(model, sampler=sampler)).any()


def test_one_that_draws_all_of_it_is_that_model(tmp_path: Path) -> None:
    _, _, model = taken_in(torch.float32, tmp_path)
    alone = pixels(load("refiner", torch.float32), sampler="euler", guidance=4)
    assert (pixels(model, refiner="refiner:0", sampler="euler", guidance=4) == alone).all()


def test_in_company_it_is_as_alone(tmp_path: Path) -> None:
    _, _, model = taken_in(torch.float32, tmp_path)
    told = {"prompt": "a red fox", "steps": 3, "width": 64, "height": 64}
    requests = [
        Request.checked({**told, "seed": seed, **({"refiner": "refiner:0.5"} if seed % 2 else {})}) for seed in range(4)
    ]
    recipes = [model.resolve(request) for request in requests]
    alone = [run(picture(recipe, model), model.evaluate).pixels for recipe in recipes]
    together = Engine(model.evaluate).ended([picture(recipe, model) for recipe in recipes])
    assert all((one == image.pixels).all() for one, image in zip(alone, together, strict=True))


# --- as a user meets it -----------------------------------------------------------------------------------------------


def test_it_is_part_of_the_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken_in(torch.float32, tmp_path)
    draw = ("generate", "a red fox", "--model", "base", "--seed", 3, "--steps", 4, "--size", 64)
    assert ran(*draw, "--refiner", "refiner:0.5", "--out", "one") == 0
    assert ran(*draw, "--out", "plain") == 0
    [one], [plain] = list(Path("one").iterdir()), list(Path("plain").iterdir())
    use = read_recipe(one).refiner
    assert (
        use is not None and (use.name, use.at) == ("refiner", 0.5) and use.model_hash == load("refiner").card.model_hash
    )
    assert same(one, plain) is False
    assert "Refiner: refiner [" in Image.open(one).text["parameters"]
    again = ("generate", "--recipe", one, "--model", "base")
    for n, more in enumerate(((), ("--refiner", "refiner"), ("--refiner", tmp_path / "store" / "refiner"))):
        assert ran(*again, *more, "--out", f"again{n}") == 0
        [two] = Path(f"again{n}").iterdir()
        assert same(one, two)
    capsys.readouterr()
    for more, said in (
        (("--refiner", "base"), "was finished by refiner"),
        (("--refiner", "refiner:0.8"), "took over at 0.5 in"),
    ):
        assert ran(*again, *more) == 2
        assert said in capsys.readouterr().err
    assert ran("models", "remove", "refiner") == 0
    assert ran(*again) == 2
    assert "is part of this recipe and was not opened; give its folder (refiner)" in capsys.readouterr().err
    assert ran("generate", "--recipe", plain, "--model", "base", "--refiner", "base") == 2
    assert "is no part of this recipe" in capsys.readouterr().err


def same(one: Path, other: Path) -> bool:
    return bool((np.asarray(Image.open(one)) == np.asarray(Image.open(other))).all())


@pytest.mark.parametrize(
    ("model", "asked", "said"),
    [
        ("base", "other", "the refiner 'other' has other latents than the model"),
        ("base", "default", "the refiner 'default' is no public checkpoint"),
        ("base", "refinr", "unknown model 'refinr'; did you mean 'refiner'?"),
        ("base", "refiner:1.2", "1.2"),
        ("default", "refiner", "--refiner is for public checkpoints, and default is a model of ours"),
        ("noisy", "other", "was trained on other noise"),
    ],
)
def test_what_cannot_go_on_is_refused(
    model: str, asked: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken_in(torch.float32, tmp_path)
    import_model(saved(stable_diffusion(), tmp_path / "other"))
    import_model(saved(stable_diffusion(beta_end=0.02), tmp_path / "noisy"))
    assert ran("generate", "a fox", "--model", model, "--refiner", asked, "--out", "none") == 2
    assert said in capsys.readouterr().err
    assert not Path("none").exists()


def test_a_picture_is_gone_over(tmp_path: Path) -> None:
    """The refiner as it is used elsewhere: some of a finished picture drawn anew."""
    taken_in(torch.float32, tmp_path)
    assert ran("generate", "a red fox", "--model", "base", "--seed", 3, "--steps", 4, "--size", 64, "--out", "one") == 0
    [one] = Path("one").iterdir()
    more = ("--init-image", one, "--strength", 0.3, "--steps", 10)
    assert ran("generate", "a red fox", "--model", "refiner", "--seed", 3, *more, "--out", "two") == 0
    [two] = Path("two").iterdir()
    assert not same(one, two)
