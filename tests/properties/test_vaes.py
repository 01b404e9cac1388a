"""Another autoencoder for some pictures: the model keeps its own, and each picture has the one it was asked with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from safetensors.torch import load_file, save_file

from darkroom.contracts.errors import BadFile, BadInput
from darkroom.contracts.request import Request
from darkroom.engine import Engine
from darkroom.generate import picture, run
from darkroom.importing import import_model
from darkroom.model import Model, load
from darkroom.picture.image import Image
from darkroom.picture.inputs import Inputs
from tests.public import autoencoder, flux, needs_public, saved, stable_diffusion, stable_diffusion_3, z_image
from tests.tiny import tiny_model

pytestmark = needs_public
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    """A model, and a folder with other autoencoders, one of them its own."""
    root = tmp_path_factory.mktemp("vaes")
    pipeline = stable_diffusion()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DARKROOM_MODELS", str(root / "store"))
        import_model(saved(pipeline, root / "painter"))
        model = load("painter")
    torch.manual_seed(9)
    pipeline.vae.save_pretrained(root / "own")
    for name in ("brighter", "darker"):
        autoencoder().save_pretrained(root / name)
    autoencoder(channels=16).save_pretrained(root / "wide")
    Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(root / "start.png")
    return model, root


def recipe_of(model: Model, vae: Path | None, inputs: Inputs, **asked: Any) -> Any:
    fields = {"prompt": "a red fox", "seed": 1, "steps": 2, "width": 64, "height": 64, **asked}
    return model.resolve(Request.checked({**fields, "vae": None if vae is None else str(vae)}), inputs)


def drawn(model: Model, vae: Path | None = None, **asked: Any) -> np.ndarray:
    inputs = Inputs()
    return run(picture(recipe_of(model, vae, inputs, **asked), model, inputs=inputs), model.evaluate).pixels


def test_its_own_is_none_bit_for_bit(painter: tuple[Model, Path]) -> None:
    model, root = painter
    start = {"init_image": str(root / "start.png"), "strength": 0.5}
    for asked in ({}, start):
        plain = drawn(model, **asked)
        assert np.array_equal(plain, drawn(model, root / "own", **asked))
        assert not np.array_equal(plain, drawn(model, root / "brighter", **asked))
        assert np.array_equal(plain, drawn(model, **asked))


def test_the_models_own_is_as_it_was(painter: tuple[Model, Path]) -> None:
    model, root = painter
    codec: Any = model.codec
    before = {name: tensor.clone() for name, tensor in codec.network.state_dict().items()}
    drawn(model, root / "brighter")
    assert model.codec is codec
    assert all(torch.equal(tensor, before[name]) for name, tensor in codec.network.state_dict().items())


def test_alone_is_in_company_bit_for_bit(painter: tuple[Model, Path]) -> None:
    model, root = painter
    vaes = [None, root / "brighter", root / "darker", root / "brighter", None]
    start = {"init_image": str(root / "start.png"), "strength": 0.5}
    inputs = Inputs()
    recipes = [recipe_of(model, vae, inputs, seed=n, **start if n % 2 else {}) for n, vae in enumerate(vaes)]
    alone = [run(picture(recipe, model, inputs=inputs), model.evaluate).pixels for recipe in recipes]
    tasks = (picture(recipe, model, inputs=inputs) for recipe in recipes)
    for outcome in Engine[Image](model.evaluate).run(tasks):
        assert outcome.result is not None, outcome.error
        assert np.array_equal(outcome.result.pixels, alone[outcome.index])


@pytest.mark.parametrize("maker", [stable_diffusion_3, flux, z_image], ids=["sd3", "flux", "z-image"])
def test_families_that_read_sentences_as_a_whole_take_one_too(
    maker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path / "store"))
    pipeline = maker()
    import_model(saved(pipeline, tmp_path / "painter"))
    model = load("painter")
    pipeline.vae.save_pretrained(tmp_path / "own")
    said = {name: pipeline.vae.config[name] for name in ("shift_factor", "scaling_factor")}
    torch.manual_seed(9)
    autoencoder(**said, use_quant_conv=False, use_post_quant_conv=False).save_pretrained(tmp_path / "brighter")
    plain = drawn(model)
    assert np.array_equal(plain, drawn(model, tmp_path / "own"))
    assert not np.array_equal(plain, drawn(model, tmp_path / "brighter"))


# --- what is refused --------------------------------------------------------------------------------------------------


def refused(model: Model, vae: Path) -> str:
    with pytest.raises((BadInput, BadFile)) as caught:
        drawn(model, vae)
    return str(caught.value)


def test_what_is_no_autoencoder_of_the_family_is_refused(painter: tuple[Model, Path], tmp_path: Path) -> None:
    model, root = painter
    said = refused(model, root / "wide")
    assert "makes latents of 16 channels, 8 times smaller, and this model's are of 4 channels, 8 times smaller" in said
    assert "is a 'UNet2DConditionModel', and Stable Diffusion 1.x takes Auto" in refused(
        model, root / "painter" / "unet"
    )
    file = tmp_path / "wide.safetensors"
    save_file(load_file(root / "wide" / WEIGHTS), file)
    said = refused(model, file)
    assert "of shape (32, 16, 3, 3), and the settings of Stable Diffusion 1.x ask for (8, 16, 3, 3)" in said
    assert "is not there" in refused(model, tmp_path / "nowhere")
    assert "is no safetensors file" in refused(model, root / "start.png")
    assert "--vae is for public checkpoints, and tiny is a model of ours" in refused(tiny_model(), root / "brighter")
    assert drawn(model) is not None


CHANGES: list[tuple[Callable[[dict[str, Any], dict[str, Any]], Any], str]] = [
    (
        lambda c, t: t.update(over=torch.ones(3)),
        "holds 'over', which its settings know nothing of; take another autoenc",
    ),
    (lambda c, t: t.pop("quant_conv.bias"), "lacks the tensor 'quant_conv.bias', which its settings ask for"),
    (
        lambda c, t: t.update({"quant_conv.bias": t["quant_conv.bias"] * float("inf")}),
        "not finite in 'quant_conv.bias'",
    ),
    (lambda c, t: c.update(_class_name="AutoencoderTiny"), "is a 'AutoencoderTiny', and Stable Diffusion 1.x takes"),
    (lambda c, t: c.update(layers_per_block=10**6), "asks for layers_per_block 1000000, and its files hold"),
]


@pytest.mark.parametrize(("change", "said"), CHANGES)
def test_a_folder_that_is_not_sound_is_refused(
    change: Callable[[dict[str, Any], dict[str, Any]], Any], said: str, painter: tuple[Model, Path], tmp_path: Path
) -> None:
    model, root = painter
    (folder := tmp_path / "vae").mkdir()
    config = json.loads((root / "brighter" / "config.json").read_text())
    tensors = load_file(root / "brighter" / WEIGHTS)
    change(config, tensors)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / WEIGHTS)
    assert said in refused(model, folder)
