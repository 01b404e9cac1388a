"""Never a silent black picture (promise 37): where numbers overflow it is drawn again in fp32, as its recipe says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from darkroom.contracts.contract import Dtypes
from darkroom.contracts.errors import NumericalFailure
from darkroom.contracts.faults import VARIABLE
from darkroom.contracts.request import Request
from darkroom.engine import Engine
from darkroom.generate import Moment, picture, run
from darkroom.importing import import_model
from darkroom.model import Model, load
from darkroom.picture.image import Image
from darkroom.refine.upscale import NetworkUpscaler
from darkroom.synthesis.diffusion import DiffusionSynthesizer
from tests.public import needs_public, stable_diffusion
from tests.public import saved as saved_public
from tests.tiny import saved, tiny_model

ASKED = {"prompt": "a red fox", "steps": 2, "width": 128, "height": 128, "upscale": 2}
HIGHEST = 3.4e38  # a number that fp32 has, and bf16 has no more


def overflowing(folder: Path, kind: str) -> str:
    """A model, in fp32 within its files, that has another number format's overflow in its first block's feed-forward
    part, or in its upscaler: a channel a million times as large, that counts a millionth (beyond fp16), or one that is
    always zero and counts as much as fp32 can tell (infinity in bf16)."""
    model = tiny_model(dtype=torch.float32)
    assert isinstance(model.synthesizer, DiffusionSynthesizer) and isinstance(model.upscaler, NetworkUpscaler)
    feed = model.synthesizer.network.blocks[0].feed
    with torch.no_grad():
        up = feed.into.weight[len(feed.into.weight) // 2 :]
        if kind == "upscaler":
            next(p for p in model.upscaler.network.parameters() if p.ndim == 4).mul_(1e6)
        elif kind == "fp16":
            up[0] *= 1e6
            feed.down.weight[:, 0] *= 1e-6
        else:
            up[0] = 0.0
            feed.down.weight[:, 0] = HIGHEST
    return str(saved(model, folder))


def drawn(model: Model, seed: int = 1, **asked: object) -> Image:
    recipe = model.resolve(Request.checked({**ASKED, "seed": seed, **asked}))
    return run(picture(recipe, model), model.evaluate)


@pytest.mark.parametrize(("kind", "dtype"), [("fp16", "fp16"), ("bf16", "bf16"), ("upscaler", "fp16")])
def test_drawn_again_in_fp32(tmp_path: Path, kind: str, dtype: str) -> None:
    """The pixels, and the recipe, are those of the model opened in fp32; whoever watches is told."""
    folder = overflowing(tmp_path / "model", kind)
    model, moments = load(folder, dtype), list[Moment]()
    recipe = model.resolve(Request.checked({**ASKED, "seed": 1}))
    image = run(picture(recipe, model, moments.append), model.evaluate)
    fine = drawn(load(folder, "fp32"))
    assert np.array_equal(image.pixels, fine.pixels) and len(np.unique(image.pixels)) > 5  # and so it is not black
    assert recipe.environment.dtype != "float32" and image.recipe == fine.recipe
    assert [moment.note for moment in moments if moment.note] == ["numbers overflowed: it is drawn again, in fp32"]


def test_together_is_alone(tmp_path: Path) -> None:
    """Pictures that are drawn again share passes with their like, and the memory of the model in fp32 is given back."""
    model = load(overflowing(tmp_path / "model", "bf16"))
    recipes = [model.resolve(Request.checked({**ASKED, "seed": seed, "steps": 1 + seed})) for seed in range(2)]
    alone = [run(picture(recipe, model), model.evaluate).pixels for recipe in recipes]
    assert not dict(model.finer)
    together = Engine[Image](model.evaluate).ended(picture(recipe, model) for recipe in recipes)
    assert all(isinstance(a, Image) and np.array_equal(a.pixels, b) for a, b in zip(together, alone, strict=True))
    assert not dict(model.finer)


def test_what_overflows_in_fp32_too_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(saved(tiny_model(), tmp_path / "model"))
    for times, dtype in (("1-2", "bf16"), ("1", "fp32")):
        monkeypatch.setenv(VARIABLE, f"generate.latent:{times}:NaN")
        monkeypatch.setattr("darkroom.contracts.faults._seen", Counter())
        with pytest.raises(NumericalFailure, match="made numbers that are not finite, in float32; lower the guidance"):
            drawn(load(folder, dtype))


def test_one_that_cannot_be_opened_in_fp32(tmp_path: Path) -> None:
    folder = overflowing(tmp_path / "model", "bf16")
    model = load(folder)
    (Path(folder) / "denoiser.safetensors").unlink()
    with pytest.raises(
        NumericalFailure, match=r"overflows in bfloat16, and cannot be opened in fp32 \(.*cannot be read"
    ):
        drawn(model)


@needs_public
def test_an_autoencoder_that_overflows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The black picture that public autoencoders are known for: half of the numbers are too large for fp16."""
    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path / "store"))
    pipeline = stable_diffusion()
    with torch.no_grad():
        pipeline.vae.decoder.conv_in.weight.mul_(1e7)
    import_model(saved_public(pipeline, tmp_path / "half"))
    how = {"width": 64, "height": 64, "upscale": 1}
    image, fine = drawn(load("half", "fp16"), **how), drawn(load("half", "fp32"), **how)
    assert np.array_equal(image.pixels, fine.pixels) and len(np.unique(image.pixels)) > 20
    assert image.recipe == fine.recipe and image.recipe.dtype == Dtypes.checked(
        dict.fromkeys(("text", "denoiser", "vae"), "fp32")
    )
