"""A pipeline of diffusers and ours beside each other: the same noise, the same schedule, step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from darkroom.contracts.recipe import Recipe
from darkroom.contracts.request import Request
from darkroom.control.adapters import carried
from darkroom.control.controls import controlling
from darkroom.generate import Words, interpret, run
from darkroom.importing import import_model
from darkroom.model import Model, load
from darkroom.picture.inputs import Inputs
from darkroom.protocols import Around, Guidance, SynthesisSpec, Task
from darkroom.synthesis.noise import SeededNoise
from darkroom.synthesis.samplers import SAMPLERS
from darkroom.synthesis.spacing import SPACINGS, spaced
from tests.public import close, saved, steps_of

STEPS, SEED = 4, 5
FORMATS = [(torch.float64, 1e-6), (torch.float32, 1e-3)]
PROMPT, NEGATIVE = "A red fox, QUICK", "blurry"


def imported(pipeline: Any, folder: Path, dtype: torch.dtype) -> Model:
    """The pipeline, saved, taken in by the program and opened."""
    done = import_model(saved(pipeline, folder / "saved"), "tiny")
    assert done.folder.is_dir()
    return load("tiny", dtype)


def words_of(model: Model, prompt: str, negative: str) -> Words:
    """What a prompt comes to."""
    recipe = model.resolve(asked(prompt, negative))
    return run(interpret(recipe, model), model.evaluate)


def asked(prompt: str, negative: str, **more: Any) -> Request:
    return Request.checked({"prompt": {"text": prompt, "negative": negative}, "seed": SEED, **more})


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


def around_of(model: Model, recipe: Recipe, inputs: Inputs) -> Around | None:
    """What a recipe's controls add to estimates."""
    asked = controlling(recipe.controls, inputs, (64, 64), model.synthesizer, model.codec)
    return run(asked, model.evaluate)


def as_on_a_table(
    pipeline: Any,
    said: dict[str, Any],
    sampler: str,
    guidance: float,
    dtype: torch.dtype,
    within: float,
    folder: Path,
    negative: str,
    *,
    prompt: str = PROMPT,
    reference: Any = None,
    **brought: Any,
) -> None:
    """Fails where a pipeline whose scheduler has a table of betas, and ours, draw apart.

    ``reference`` is the pipeline that draws where that is another one than is taken in; ``brought`` are fields of the
    request that say what is brought along, which must be seen in the picture.
    """
    way, spacing = MORE_WAYS[sampler]
    reference = reference or pipeline
    whole = imported(pipeline, folder, dtype)
    recipe = whole.resolve(asked(prompt, negative, **brought), inputs := Inputs())
    model, riders = whole.fitted(recipe), whole.riders(recipe.adapters)
    spec = replace(spec_of(model, sampler.split()[0], spacing, guidance), around=around_of(model, recipe, inputs))
    x, level = start(model, spec)
    reference.scheduler, given, ours = way(pipeline.scheduler.config)
    if dtype == torch.float64:
        reference.scheduler = sharpened(reference.scheduler)
    reference.scheduler.set_timesteps(STEPS)
    begun = given(x.to(dtype), level)[None] / reference.scheduler.init_noise_sigma  # which it multiplies by
    more = {"num_inference_steps": STEPS, "latents": begun}
    theirs, made = steps_of(reference, **said, **more, height=64, width=64, output_type="pt")
    levels = spaced(model.synthesizer.schedule, STEPS, 1.0, spec.spacing)[1:]
    words = run(carried(interpret(recipe, model), riders), model.evaluate)
    mine = drawn(model, words, spec)
    off = close(mine, [ours(y[0], at) for y, at in zip(theirs, levels, strict=True)], within)
    pixels = run(model.codec.decode(mine[-1]), model.evaluate)
    seen = close([pixels], [made.images[0]], within)
    print(f"{sampler}, {dtype}, guidance {guidance:g}: apart in steps by {off:.1e}, in pixels by {seen:.1e}")
    if brought:
        bare = drawn(whole, words_of(whole, prompt, negative), replace(spec, around=None))
        plain = run(whole.codec.decode(bare[-1]), whole.evaluate)
        assert (pixels - plain).abs().max() > 0.01, "it would be seen if it did nothing"
