"""All that can be brought to a public checkpoint, in one picture and in one batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from safetensors.torch import save_file

from darkroom.contracts.request import Request
from darkroom.engine import Engine
from darkroom.generate import picture, run
from darkroom.importing import import_model
from darkroom.model import load
from darkroom.picture.image import Image
from darkroom.picture.inputs import Inputs
from tests.public import autoencoder, control_net, needs_public, saved, stable_diffusion, stable_diffusion_xl

pytestmark = needs_public


def lora(pipeline: Any, path: Path) -> None:
    """A LoRA of one layer of the denoiser and one of the text encoder, in peft's keys."""
    tensors = {}
    for part in ("unet", "text_encoder"):
        network = getattr(pipeline, part)
        layer = next(name for name, _ in network.named_modules() if name.endswith(("attn1.to_q", "self_attn.q_proj")))
        out, into = network.get_submodule(layer).weight.shape
        generator = torch.Generator().manual_seed(3)
        tensors[f"{part}.{layer}.lora_A.weight"] = torch.randn(2, into, generator=generator)
        tensors[f"{part}.{layer}.lora_B.weight"] = torch.randn(out, 2, generator=generator)
    save_file(tensors, path)


@pytest.mark.parametrize("maker", [stable_diffusion, stable_diffusion_xl], ids=["sd1", "sdxl"])
def test_every_mixture_is_alone_what_it_is_in_company(
    maker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path / "store"))
    pipeline = maker()
    import_model(saved(pipeline, tmp_path / "painter"))
    model = load("painter")
    lora(pipeline, tmp_path / "bold.safetensors")
    control_net(pipeline).save_pretrained(tmp_path / "canny")
    vectors = {"clip_l": torch.ones(2, 16), "clip_g": 0.5 * torch.ones(2, 16)}
    save_file(
        vectors if maker is stable_diffusion_xl else {"emb_params": torch.ones(2, 16)}, tmp_path / "inky.safetensors"
    )
    torch.manual_seed(9)
    autoencoder().save_pretrained(tmp_path / "brighter")
    Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "map.png")
    brought: dict[str, Any] = {
        "lora": [f"{tmp_path}/bold.safetensors:0.5"],
        "control": [f"{tmp_path}/canny={tmp_path}/map.png:0.7:0-0.5"],
        "embedding": [f"{tmp_path}/inky.safetensors"],
        "vae": f"{tmp_path}/brighter",
    }
    asked = {"prompt": "an inky fox", "seed": 1, "steps": 3, "width": 64, "height": 64}
    mixtures = [{}, brought, *({name: value} for name, value in brought.items())]
    mixtures += [{name: value for name, value in brought.items() if name != left} for left in brought]
    inputs = Inputs()
    recipes = [model.resolve(Request.checked({**asked, **some}), inputs) for some in mixtures]
    alone = [run(picture(recipe, model, inputs=inputs), model.evaluate).pixels for recipe in recipes]
    assert len({one.tobytes() for one in alone}) == len(alone), "each is seen"
    for outcome in Engine[Image](model.evaluate).run(picture(recipe, model, inputs=inputs) for recipe in recipes):
        assert outcome.result is not None, outcome.error
        assert np.array_equal(outcome.result.pixels, alone[outcome.index])
