"""Public checkpoints against their own pipelines: equal noise, equal pictures, step by step and at the end.

Every checkpoint is tiny, of random weights, made of the families' own classes, saved in its real format and taken in by
``darkroom models import``. They need the extra: ``pip install 'darkroom-studio[public]'``; without it they are skipped,
and say so.

Tolerances, of the largest number compared: 1e-6 in fp64, in which both sides round at 1e-16 and what is left is the
schedulers' fp32 tables, replaced by fp64 ones where they can be; 1e-3 in fp32, where both sides round in another order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from darkroom.generate import run
from darkroom.synthesis.external.flux import packed, unpacked
from tests.public import (
    close,
    flux,
    needs_public,
    stable_diffusion,
    stable_diffusion_3,
    stable_diffusion_xl,
    steps_of,
    z_image,
)
from tests.side_by_side import (
    FORMATS,
    NEGATIVE,
    PROMPT,
    STEPS,
    WAYS,
    as_on_a_table,
    drawn,
    imported,
    spec_of,
    start,
    words_of,
)

pytestmark = needs_public


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path / "store"))
    return tmp_path / "store"


# --- Stable Diffusion 1.x and 2.x: schedulers on a table of betas -----------------------------------------------------


@pytest.mark.parametrize("guidance", [1.0, 5.0], ids=["plain", "guided"])
@pytest.mark.parametrize("sampler", WAYS)
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(("dtype", "within"), FORMATS, ids=["fp64", "fp32"])
def test_stable_diffusion_draws_as_its_pipeline_does(
    dtype: torch.dtype, within: float, prediction: str, sampler: str, guidance: float, tmp_path: Path, store: Path
) -> None:
    pipeline = stable_diffusion(prediction=prediction).to(dtype)
    said = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": guidance}
    as_on_a_table(pipeline, said, sampler, guidance, dtype, within, tmp_path, NEGATIVE)


@pytest.mark.parametrize(("dtype", "within"), FORMATS, ids=["fp64", "fp32"])
def test_a_table_that_ends_in_noise_alone_is_as_in_the_pipeline(
    dtype: torch.dtype, within: float, tmp_path: Path, store: Path
) -> None:
    scheduled = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    pipeline = stable_diffusion(prediction="v_prediction", **scheduled).to(dtype)
    said = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": 5.0}
    as_on_a_table(pipeline, said, "ddim to the end", 5.0, dtype, within, tmp_path, NEGATIVE)


# --- Stable Diffusion XL ----------------------------------------------------------------------------------------------

slow = pytest.mark.slow
SAID = [(False, ""), (True, NEGATIVE)]
WITH = [("euler", 1.0), ("dpmpp-2m", 5.0), ("ddim", 5.0)]


@pytest.mark.parametrize(("zero", "negative"), [(True, ""), *(pytest.param(*one, marks=slow) for one in SAID)])
@pytest.mark.parametrize(("dtype", "within"), FORMATS, ids=["fp64", "fp32"])
@pytest.mark.parametrize(("sampler", "guidance"), [("euler", 5.0), *(pytest.param(*one, marks=slow) for one in WITH)])
def test_stable_diffusion_xl_draws_as_its_pipeline_does(
    sampler: str,
    guidance: float,
    dtype: torch.dtype,
    within: float,
    zero: bool,
    negative: str,
    tmp_path: Path,
    store: Path,
) -> None:
    pipeline = stable_diffusion_xl(zero=zero).to(dtype)
    said = {"prompt": PROMPT, "negative_prompt": negative or (None if zero else ""), "guidance_scale": guidance}
    as_on_a_table(pipeline, said, sampler, guidance, dtype, within, tmp_path, negative)


def finer(scheduler: Any) -> Any:
    """diffusers' flow Euler in fp64: its levels are rounded to fp32, and so is x before every step.

    The step is theirs, taken from where it was rounded: what it adds to the rounded x is added to x.
    """
    inner, step = scheduler.set_timesteps, scheduler.step

    def set_timesteps(*given: Any, **named: Any) -> None:
        inner(*given, **named)
        count = scheduler.num_inference_steps
        first, last = 1.0, 3.0 / 1002
        even = torch.linspace(first, last, count, dtype=torch.float64)
        shifted = 3.0 * even / (1.0 + 2.0 * even)
        torch.testing.assert_close(shifted.float(), scheduler.sigmas[:-1], rtol=1e-6, atol=1e-7)
        scheduler.sigmas = torch.cat([shifted, torch.zeros(1, dtype=torch.float64)])
        scheduler.timesteps = 1000 * shifted

    def stepped(velocity: Tensor, time: Any, x: Tensor, **more: Any) -> Any:
        (after,) = step(velocity, time, x, return_dict=False)
        return (after.double() + (x - x.float()),)

    scheduler.set_timesteps, scheduler.step = set_timesteps, stepped
    return scheduler


# --- rectified flows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t5", [True, False], ids=["with T5", "without"])
@pytest.mark.parametrize("guidance", [1.0, 5.0], ids=["plain", "guided"])
@pytest.mark.parametrize(("dtype", "within"), FORMATS, ids=["fp64", "fp32"])
def test_stable_diffusion_3_draws_as_its_pipeline_does(
    dtype: torch.dtype, within: float, guidance: float, t5: bool, tmp_path: Path, store: Path
) -> None:
    pipeline = stable_diffusion_3(t5=t5).to(dtype)
    model = imported(pipeline, tmp_path, dtype)
    assert model.card.defaults.spacing == "sd3" and model.card.defaults.sampler == "euler"
    spec = spec_of(model, "euler", "sd3", guidance)
    x, level = start(model, spec)
    assert level.t == 1.0
    said = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": guidance, "num_inference_steps": STEPS}
    if dtype == torch.float64:
        pipeline.scheduler = finer(pipeline.scheduler)
    theirs, made = steps_of(pipeline, **said, latents=x.to(dtype)[None], height=64, width=64, output_type="pt")
    mine = drawn(model, words_of(model, PROMPT, NEGATIVE), spec)
    close(mine, [y[0] for y in theirs], within)
    close([run(model.codec.decode(mine[-1]), model.evaluate)], [made.images[0]], within)


@pytest.mark.parametrize("dev", [True, False], ids=["dev", "schnell"])
@pytest.mark.parametrize(("dtype", "within"), FORMATS, ids=["fp64", "fp32"])
def test_flux_draws_as_its_pipeline_does(
    dtype: torch.dtype, within: float, dev: bool, tmp_path: Path, store: Path
) -> None:
    pipeline = flux(dev=dev).to(dtype)
    model = imported(pipeline, tmp_path, dtype)
    guidance = 3.5 if dev else 1.0
    spec = spec_of(model, "euler", "even", guidance)
    x, _ = start(model, spec)
    limit = {} if dev else {"max_sequence_length": 256}
    said = {"prompt": PROMPT, "guidance_scale": guidance, "num_inference_steps": STEPS, **limit}
    begun = packed(x.to(dtype)[None])
    theirs, made = steps_of(pipeline, **said, latents=begun, height=64, width=64, output_type="pt")
    mine = drawn(model, words_of(model, PROMPT, ""), spec)
    close(mine, [unpacked(y, 4, 4)[0] for y in theirs], within)
    close([run(model.codec.decode(mine[-1]), model.evaluate)], [made.images[0]], within)


@pytest.mark.parametrize("guidance", [1.0, 5.0], ids=["plain", "guided"])
def test_z_image_draws_as_its_pipeline_does(guidance: float, tmp_path: Path, store: Path) -> None:
    pipeline = z_image()  # in fp32 alone: its transformer turns places in fp32 whatever it is in
    model = imported(pipeline, tmp_path, torch.float32)
    assert model.card.family == "z-image" and model.card.defaults.guidance == 1.0
    spec = spec_of(model, "euler", "even", guidance)
    x, _ = start(model, spec)
    said = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": guidance - 1.0}  # it counts from 0
    more = {"num_inference_steps": STEPS, "latents": x[None]}
    theirs, made = steps_of(pipeline, **said, **more, height=64, width=64, output_type="pt")
    mine = drawn(model, words_of(model, PROMPT, NEGATIVE), spec)
    close(mine, [y[0] for y in theirs], 1e-3)
    close([run(model.codec.decode(mine[-1]), model.evaluate)], [made.images[0]], 1e-3)
