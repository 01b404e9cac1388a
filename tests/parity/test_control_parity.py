"""ControlNets against diffusers' own pipelines: equal noise, equal pictures, step by step and at the end.

The networks are tiny and of random weights, saved in their real format and opened by our own code. Tolerances are those
of ``test_public_parity.py``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from darkroom.generate import run
from darkroom.picture.inputs import Inputs
from darkroom.synthesis.external.flux import packed, unpacked
from tests.public import close, control_net, flux, needs_public, stable_diffusion, stable_diffusion_xl, steps_of
from tests.side_by_side import (
    FORMATS,
    NEGATIVE,
    PROMPT,
    STEPS,
    WAYS,
    around_of,
    as_on_a_table,
    asked,
    drawn,
    imported,
    spec_of,
    start,
    words_of,
)

pytestmark = needs_public
slow = pytest.mark.slow


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path / "store"))


def sketch(path: Path, seed: int = 0) -> Path:
    """A map as large as the picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Pillow.fromarray(pixels).save(path)
    return path


def with_control(pipeline: Any, networks: list[Any]) -> Any:
    """diffusers' pipeline of the same parts with ControlNets."""
    from diffusers import StableDiffusionControlNetPipeline, StableDiffusionXLControlNetPipeline

    xl = hasattr(pipeline, "text_encoder_2")
    more: dict[str, Any] = {"add_watermarker": False} if xl else {"requires_safety_checker": False}
    cls = StableDiffusionXLControlNetPipeline if xl else StableDiffusionControlNetPipeline
    made = cls(**pipeline.components, controlnet=networks if networks[1:] else networks[0], **more)
    made.set_progress_bar_config(disable=True)
    return made


@pytest.mark.parametrize("guidance", [1.0, 5.0], ids=["plain", "guided"])
@pytest.mark.parametrize("sampler", WAYS)
@pytest.mark.parametrize(("dtype", "within"), FORMATS, ids=["fp64", "fp32"])
def test_a_control_net_draws_as_in_the_pipeline(
    dtype: torch.dtype, within: float, sampler: str, guidance: float, tmp_path: Path
) -> None:
    pipeline = stable_diffusion().to(dtype)
    network = control_net(pipeline).to(dtype)
    network.save_pretrained(tmp_path / "canny")
    edges = sketch(tmp_path / "edges.png")
    said = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": guidance, "image": Pillow.open(edges)}
    said |= {"controlnet_conditioning_scale": 0.8}
    asked = [f"{tmp_path / 'canny'}={edges}:0.8"]
    reference = with_control(pipeline, [network])
    given: tuple[Any, ...] = (sampler, guidance, dtype, within, tmp_path, NEGATIVE)
    as_on_a_table(pipeline, said, *given, reference=reference, control=asked)


@pytest.mark.parametrize("sampler", ["euler", *(pytest.param(one, marks=slow) for one in ("ddim", "dpmpp-2m"))])
@pytest.mark.parametrize("guidance", [5.0, pytest.param(1.0, marks=slow)])
@pytest.mark.parametrize(("dtype", "within"), FORMATS, ids=["fp64", "fp32"])
def test_one_of_the_larger_family_does_too(
    dtype: torch.dtype, within: float, guidance: float, sampler: str, tmp_path: Path
) -> None:
    pipeline = stable_diffusion_xl(zero=True).to(dtype)
    network = control_net(pipeline).to(dtype)
    network.save_pretrained(tmp_path / "depth")
    depth = sketch(tmp_path / "depth.png")
    said = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": guidance, "image": Pillow.open(depth)}
    said |= {"controlnet_conditioning_scale": 0.8}
    asked = [f"{tmp_path / 'depth'}={depth}:0.8"]
    reference = with_control(pipeline, [network])
    given: tuple[Any, ...] = (sampler, guidance, dtype, within, tmp_path, NEGATIVE)
    as_on_a_table(pipeline, said, *given, reference=reference, control=asked)


def test_two_that_act_at_other_times_draw_as_in_the_pipeline(tmp_path: Path) -> None:
    pipeline = stable_diffusion().to(torch.float64)
    networks = [control_net(pipeline, seed).to(torch.float64) for seed in (7, 8)]
    maps = [sketch(tmp_path / f"{n}.png", n) for n in (1, 2)]
    for network, name in zip(networks, ("canny", "depth"), strict=True):
        network.save_pretrained(tmp_path / name)
    asked = [f"{tmp_path / 'canny'}={maps[0]}:0.8:0-0.5", f"{tmp_path / 'depth'}={maps[1]}:1.5:25%-1"]
    said = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": 5.0}
    said |= {"image": [Pillow.open(one) for one in maps], "controlnet_conditioning_scale": [0.8, 1.5]}
    said |= {"control_guidance_start": [0.0, 0.25], "control_guidance_end": [0.5, 1.0]}
    reference = with_control(pipeline, networks)
    given: tuple[Any, ...] = ("euler", 5.0, torch.float64, 1e-6, tmp_path, NEGATIVE)
    as_on_a_table(pipeline, said, *given, reference=reference, control=asked)


@pytest.mark.parametrize("dev", [True, False], ids=["dev", "schnell"])
@pytest.mark.parametrize(("dtype", "within"), FORMATS, ids=["fp64", "fp32"])
def test_a_transformers_control_net_draws_as_in_the_pipeline(
    dtype: torch.dtype, within: float, dev: bool, tmp_path: Path
) -> None:
    """Its blocks are fewer than the transformer's (2 for 4, 1 for 4), and it reads the latent of its map."""
    from diffusers import FluxControlNetPipeline

    pipeline = flux(dev=dev, blocks=4).to(dtype)
    network = control_net(pipeline).to(dtype)
    network.save_pretrained(tmp_path / "canny")
    edges = sketch(tmp_path / "edges.png")
    model, guidance = imported(pipeline, tmp_path, dtype), 3.5 if dev else 1.0
    inputs, use = Inputs(), f"{tmp_path / 'canny'}={edges}:0.8:0.25-1"
    recipe = model.resolve(asked(PROMPT, "", control=[use]), inputs)
    spec = replace(spec_of(model, "euler", "even", guidance), around=around_of(model, recipe, inputs))
    x, _ = start(model, spec)
    reference = FluxControlNetPipeline(**with_modes(pipeline).components, controlnet=network)
    reference.set_progress_bar_config(disable=True)
    said = {"prompt": PROMPT, "guidance_scale": guidance, "num_inference_steps": STEPS}
    said |= {"control_image": Pillow.open(edges), "controlnet_conditioning_scale": 0.8, "control_guidance_start": 0.25}
    said |= {} if dev else {"max_sequence_length": 256}
    begun = packed(x.to(dtype)[None])
    theirs, made = steps_of(reference, **said, latents=begun, height=64, width=64, output_type="pt")
    mine = drawn(model, words_of(model, PROMPT, ""), spec)
    off = close(mine, [unpacked(y, 4, 4)[0] for y in theirs], within)
    seen = close([run(model.codec.decode(mine[-1]), model.evaluate)], [made.images[0]], within)
    print(f"flux, {dtype}, guidance {guidance:g}: apart in steps by {off:.1e}, in pixels by {seen:.1e}")
    plain = drawn(model, words_of(model, PROMPT, ""), replace(spec, around=None))
    assert torch.equal(mine[0], plain[0]), "the first of four steps it does not act"
    assert (mine[-1] - plain[-1]).abs().max() > 0.05, "it would be seen if it did nothing"


def with_modes(pipeline: Any) -> Any:
    """The pipeline, whose autoencoder gives a map's latent without the draw around it, as ours does."""
    encode = pipeline.vae.encode

    def encoded(*given: Any, **named: Any) -> Any:
        found = encode(*given, **named)
        found.latent_dist.sample = lambda generator=None: found.latent_dist.mode()
        return found

    pipeline.vae.encode = encoded
    return pipeline
