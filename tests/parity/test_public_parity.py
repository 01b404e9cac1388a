"""Public checkpoints against their own pipelines: equal noise, equal pictures, step by step and at the end.

Every checkpoint is tiny, of random weights, made of the families' own classes, saved in its real format and taken in by
``darkroom models import``. They need the extra: ``pip install 'darkroom-studio[public]'``; without it they are skipped,
and say so.

Tolerances, of the largest number compared: 1e-6 in fp64, in which both sides round at 1e-16 and what is left is the
schedulers' fp32 tables, replaced by fp64 ones where they can be; 1e-3 in fp32, where both sides round in another order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from darkroom.contracts.request import Request
from darkroom.generate import Words, interpret, run
from darkroom.importing import import_model
from darkroom.model import Model, load
from darkroom.protocols import Guidance, SynthesisSpec, Task
from darkroom.synthesis.external.flux import packed, unpacked
from darkroom.synthesis.noise import SeededNoise
from darkroom.synthesis.samplers import SAMPLERS
from darkroom.synthesis.spacing import SPACINGS, spaced
from tests.public import (
    close,
    flux,
    needs_public,
    saved,
    stable_diffusion,
    stable_diffusion_3,
    stable_diffusion_xl,
    steps_of,
    z_image,
)

pytestmark = needs_public
STEPS, SEED = 4, 5
FORMATS = [(torch.float64, 1e-6), (torch.float32, 1e-3)]
PROMPT, NEGATIVE = "A red fox, QUICK", "blurry"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path / "store"))
    return tmp_path / "store"


def imported(pipeline: Any, folder: Path, dtype: torch.dtype) -> Model:
    """The pipeline, saved, taken in by the program and opened."""
    done = import_model(saved(pipeline, folder / "saved"), "tiny")
    assert done.folder.is_dir()
    return load("tiny", dtype)


def words_of(model: Model, prompt: str, negative: str) -> Words:
    """What a prompt comes to."""
    recipe = model.resolve(asked(prompt, negative))
    return run(interpret(recipe, model), model.evaluate)


def asked(prompt: str, negative: str) -> Request:
    return Request.checked({"prompt": {"text": prompt, "negative": negative}, "seed": SEED})


def drawn(model: Model, words: Words, spec: SynthesisSpec) -> list[Tensor]:
    """x after each step, from the sampler that draws it, and the last latent: what the program itself goes through."""
    seen: list[Tensor] = []
    inner = spec.sampler

    def told(denoise: Any, x: Tensor, levels: Any, noise: Any) -> Task[Tensor]:
        def looked(x: Tensor, level: Any, toward: Any = None, /) -> Task[Tensor]:
            seen.append(x)
            return (yield from denoise(x, level, toward))

        return (yield from inner(looked, x, levels, noise))

    spec = replace(spec, sampler=told)
    last = run(model.synthesizer.task(words.wanted, words.negative, spec, SEED), model.evaluate)
    return [*seen[1:], last]


def spec_of(model: Model, sampler: str, spacing: str, guidance: float, shift: float | None = None) -> SynthesisSpec:
    return SynthesisSpec(
        shape=model.codec.shape(64, 64),
        steps=STEPS,
        sampler=SAMPLERS[sampler],
        guidance=Guidance(guidance),
        spacing=SPACINGS[spacing],
        shift=shift,
    )


def start(model: Model, spec: SynthesisSpec) -> tuple[Tensor, Any]:
    """The x that the program begins with, and the level it lies at."""
    schedule = model.synthesizer.schedule
    shift = model.synthesizer.shift(spec.shape) if spec.shift is None else spec.shift
    first = spaced(schedule, spec.steps, shift, spec.spacing)[0]
    return first.sigma * SeededNoise(SEED, "start").draw(spec.shape), first


# --- Stable Diffusion 1.x and 2.x: schedulers on a table of betas -----------------------------------------------------


def euler(config: Any) -> tuple[Any, Callable[[Tensor, Any], Tensor], Callable[[Tensor, Any], Tensor]]:
    """diffusers' Euler, which works in x / alpha; what it is given to begin with, and how its x becomes ours."""
    from diffusers import EulerDiscreteScheduler

    scheduler = EulerDiscreteScheduler.from_config(config, timestep_spacing="leading")
    return scheduler, lambda x, level: x / level.alpha, lambda y, level: y * level.alpha


def ddim(config: Any) -> tuple[Any, Callable[[Tensor, Any], Tensor], Callable[[Tensor, Any], Tensor]]:
    from diffusers import DDIMScheduler

    plain = {"clip_sample": False, "set_alpha_to_one": True}  # x0 as it is, and an end without noise
    scheduler = DDIMScheduler.from_config(config, timestep_spacing="leading", **plain)
    return scheduler, lambda x, level: x, lambda y, level: y


def dpmpp_2m(config: Any) -> tuple[Any, Callable[[Tensor, Any], Tensor], Callable[[Tensor, Any], Tensor]]:
    from diffusers import DPMSolverMultistepScheduler

    scheduler = DPMSolverMultistepScheduler.from_config(config, timestep_spacing="trailing")
    return scheduler, lambda x, level: x, lambda y, level: y


def sharpened(scheduler: Any) -> Any:
    """The scheduler with its tables in fp64, as ours are."""
    c = scheduler.config
    betas = torch.linspace(c.beta_start**0.5, c.beta_end**0.5, c.num_train_timesteps, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1.0 - betas, 0).sqrt()
    if c.get("rescale_betas_zero_snr"):
        alphas = (alphas - alphas[-1]) * alphas[0] / (alphas[0] - alphas[-1])
        torch.testing.assert_close(alphas.float(), scheduler.alphas_cumprod.sqrt(), rtol=0, atol=2e-4)
    scheduler.alphas_cumprod = alphas**2
    if hasattr(scheduler, "final_alpha_cumprod"):
        scheduler.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
    inner = scheduler.set_timesteps

    def set_timesteps(*given: Any, **named: Any) -> None:
        inner(*given, **named)
        if hasattr(scheduler, "sigmas"):
            bars = scheduler.alphas_cumprod[scheduler.timesteps.long()]
            scheduler.sigmas = torch.cat([((1 - bars) / bars).sqrt(), torch.zeros(1, dtype=torch.float64)])

    scheduler.set_timesteps = set_timesteps
    return scheduler


def ddim_to_the_end(config: Any) -> tuple[Any, Callable[[Tensor, Any], Tensor], Callable[[Tensor, Any], Tensor]]:
    from diffusers import DDIMScheduler

    return DDIMScheduler.from_config(config), lambda x, level: x, lambda y, level: y


WAYS = {"euler": (euler, "leading"), "ddim": (ddim, "leading"), "dpmpp-2m": (dpmpp_2m, "even")}
MORE_WAYS = {**WAYS, "ddim to the end": (ddim_to_the_end, "even")}


@pytest.mark.parametrize("guidance", [1.0, 5.0], ids=["plain", "guided"])
@pytest.mark.parametrize("sampler", WAYS)
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(("dtype", "within"), FORMATS, ids=["fp64", "fp32"])
def test_stable_diffusion_draws_as_its_pipeline_does(
    dtype: torch.dtype, within: float, prediction: str, sampler: str, guidance: float, tmp_path: Path, store: Path
) -> None:
    pipeline = stable_diffusion(prediction=prediction).to(dtype)
    said = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": guidance}
    _as_on_a_table(pipeline, said, sampler, guidance, dtype, within, tmp_path, NEGATIVE)


@pytest.mark.parametrize(("dtype", "within"), FORMATS, ids=["fp64", "fp32"])
def test_a_table_that_ends_in_noise_alone_is_as_in_the_pipeline(
    dtype: torch.dtype, within: float, tmp_path: Path, store: Path
) -> None:
    scheduled = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    pipeline = stable_diffusion(prediction="v_prediction", **scheduled).to(dtype)
    said = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": 5.0}
    _as_on_a_table(pipeline, said, "ddim to the end", 5.0, dtype, within, tmp_path, NEGATIVE)


def _as_on_a_table(
    pipeline: Any,
    said: dict[str, Any],
    sampler: str,
    guidance: float,
    dtype: torch.dtype,
    within: float,
    folder: Path,
    negative: str,
) -> None:
    """Fails where a pipeline whose scheduler has a table of betas, and ours, draw apart."""
    way, spacing = MORE_WAYS[sampler]
    model = imported(pipeline, folder, dtype)
    spec = spec_of(model, sampler.split()[0], spacing, guidance)
    x, level = start(model, spec)
    pipeline.scheduler, given, ours = way(pipeline.scheduler.config)
    if dtype == torch.float64:
        pipeline.scheduler = sharpened(pipeline.scheduler)
    pipeline.scheduler.set_timesteps(STEPS)
    begun = given(x.to(dtype), level)[None] / pipeline.scheduler.init_noise_sigma  # which it multiplies by
    more = {"num_inference_steps": STEPS, "latents": begun}
    theirs, made = steps_of(pipeline, **said, **more, height=64, width=64, output_type="pt")
    levels = spaced(model.synthesizer.schedule, STEPS, 1.0, spec.spacing)[1:]
    mine = drawn(model, words_of(model, PROMPT, negative), spec)
    close(mine, [ours(y[0], at) for y, at in zip(theirs, levels, strict=True)], within)
    pixels = run(model.codec.decode(mine[-1]), model.evaluate)
    close([pixels], [made.images[0]], within)


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
    _as_on_a_table(pipeline, said, sampler, guidance, dtype, within, tmp_path, negative)


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
