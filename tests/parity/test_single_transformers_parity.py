"""Transformers in one file: what we make of one is what diffusers makes of it, tensor by tensor and in pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from darkroom.contracts.request import Request
from darkroom.generate import picture, run
from darkroom.importing import import_model
from darkroom.model import load
from darkroom.synthesis.external.single.transformers import flux_source
from tests.program import ran
from tests.public import flux, needs_public, saved, stable_diffusion_3
from tests.single_files import in_one_file

pytestmark = needs_public

HEADS = {"attention_head_dim": 64, "num_attention_heads": 2, "caption_projection_dim": 128, "num_layers": 3}
NORMED = {**HEADS, "qk_norm": "rms_norm", "dual_attention_layers": (0, 1)}
TURNED = {"attention_head_dim": 32, "axes_dims_rope": (4, 14, 14)}
PIPELINES: dict[str, tuple[str, Any]] = {
    "sd3": ("sd3", lambda: stable_diffusion_3(**HEADS)),
    "sd3.5": ("sd3", lambda: stable_diffusion_3(t5=False, **NORMED)),
    "flux dev": ("flux", lambda: flux(blocks=2, **TURNED)),
    "flux schnell": ("flux", lambda: flux(dev=False, blocks=2, **TURNED)),
}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "store"


def drawn(name: str) -> bytes:
    model = load(name, torch.float32)
    told = {"prompt": "a red fox", "seed": 4, "steps": 2, "width": 64, "height": 64}
    recipe = model.resolve(Request.checked(told))
    return run(picture(recipe, model), model.evaluate).pixels.tobytes()


@pytest.mark.parametrize("prefix", ["model.diffusion_model.", ""], ids=["prefixed", "bare"])
@pytest.mark.parametrize("name", PIPELINES)
def test_a_single_file_draws_what_its_folder_draws(name: str, prefix: str, tmp_path: Path) -> None:
    family, made = PIPELINES[name]
    pipeline = made()
    folder = saved(pipeline, tmp_path / "folder")
    file = in_one_file(pipeline, family, tmp_path / "painter.safetensors", prefix)
    other = import_model(folder, "folder").card
    done = import_model(file, words=folder if prefix else None)
    assert (done.card.name, done.card.family) == ("painter", family)
    assert done.card.defaults.model_dump(exclude={"width", "height"}) == other.defaults.model_dump(
        exclude={"width", "height"}
    )
    assert (done.folder / "checkpoint.safetensors").samefile(file), "a second name of the file"
    assert (done.folder / "vae" / "diffusion_pytorch_model.safetensors").samefile(
        folder / "vae" / "diffusion_pytorch_model.safetensors"
    )
    assert drawn("painter") == drawn("folder")


def test_the_names_of_flux_are_what_diffusers_reads() -> None:
    """Its reader knows FLUX.1's own width alone, so each tensor is one column, of as many rows as there are, all other
    numbers."""
    from diffusers import FluxTransformer2DModel
    from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers

    with torch.device("meta"):
        network = FluxTransformer2DModel(num_layers=2, num_single_layers=2, guidance_embeds=True)
    sources = {name: flux_source(name, network.config) for name in network.state_dict()}
    rows: dict[str, int] = {}
    for name, source in sources.items():
        own = len(network.state_dict()[name])
        last = source.rows[1] if source.rows else 3 * own if source.third is not None else own
        rows[source.name] = max(rows.get(source.name, 0), last)
    file = {
        name: torch.randn(count, generator=torch.Generator().manual_seed(n))
        for n, (name, count) in enumerate(rows.items())
    }
    made = convert_flux_transformer_checkpoint_to_diffusers(dict(file))
    assert made.keys() == sources.keys()
    assert all(torch.equal(source.taken(file[source.name]), made[name]) for name, source in sources.items())


@pytest.mark.parametrize("name", ["sd3", "sd3.5"])
def test_the_file_is_what_diffusers_reads(name: str, tmp_path: Path) -> None:
    family, made = PIPELINES[name]
    pipeline = made()
    folder = saved(pipeline, tmp_path / "folder")
    file = in_one_file(pipeline, family, tmp_path / "painter.safetensors", "")
    cls = type(pipeline.transformer)
    theirs = cls.from_single_file(str(file), config=str(folder), subfolder="transformer", local_files_only=True)
    own = pipeline.transformer.state_dict()
    assert theirs.state_dict().keys() == own.keys()
    assert all(torch.equal(tensor, own[key]) for key, tensor in theirs.state_dict().items())
    import_model(file, words=folder)
    assert ran("models", "export", "painter", "--out", "back") == 0
    again = cls.from_pretrained(tmp_path / "back" / "transformer", local_files_only=True).state_dict()
    assert all(torch.equal(tensor, own[key]) for key, tensor in again.items()) and again.keys() == own.keys()


def test_what_is_no_such_file_is_refused(tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline = flux(**TURNED)
    folder = saved(pipeline, tmp_path / "folder")
    other = saved(stable_diffusion_3(**HEADS), tmp_path / "other")
    file = in_one_file(pipeline, "flux", tmp_path / "painter.safetensors", "")
    whole = load_file(file)

    def refused(said: str, *more: object) -> None:
        capsys.readouterr()
        assert ran("models", "import", file, *more) in (1, 2)
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("error: ") and said in error and ";" in error, error
        assert not store.exists() or not list(store.iterdir()), "nothing of it stays"

    refused("has no vae, text_encoder, text_encoder_2, tokenizer; give a folder of any FLUX.1")
    refused("holds no tokenizer, tokenizer_2, vae, text_encoder, text_encoder_2", "--words", tmp_path)
    refused("--prediction is for files of Stable Diffusion 1.x, 2.x and XL", "--words", folder, "--prediction", "v")
    refused("class 'CLIPTextModelWithProjection' is not one of T5EncoderModel", "--words", other)
    save_file({**whole, "double_blocks.0.img_attn.qkv.scale_weight": torch.ones(1)}, file)
    refused("holds weights in 8 bits with scales of their own", "--words", folder)
    save_file({key: tensor for key, tensor in whole.items() if not key.endswith("linear2.bias")}, file)
    refused("lacks the tensor 'single_transformer_blocks.0.proj_out.bias'", "--words", folder)
    save_file({**whole, "single_blocks.0.linear1.bias": whole["single_blocks.0.linear1.bias"][:-3]}, file)
    refused("holds 'single_blocks.0.linear1.bias' of shape", "--words", folder)
    save_file({**whole, "img_in.weight": torch.ones(64, 96)}, file)  # it is shown more than the latent
    refused("is made otherwise than a FLUX.1", "--words", folder)
    save_file({key: tensor for key, tensor in whole.items() if not key.startswith("vector_in")}, file)
    refused("lacks tensors that its transformer is made of", "--words", folder)


def test_what_it_holds_besides_is_left_aside_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline = stable_diffusion_3(**HEADS)
    folder = saved(pipeline, tmp_path / "folder")
    file = in_one_file(pipeline, "sd3", tmp_path / "painter.safetensors")
    more = {"first_stage_model.decoder.conv_in.bias": torch.ones(2), "text_encoders.clip_l.logit": torch.ones(2)}
    save_file({**load_file(file), **more}, file)
    assert ran("models", "import", file, "--words", folder) == 0
    said = capsys.readouterr().err
    assert "left aside, no part of it: first_stage_model" in said and "text_encoders.clip_l" in said
    card = json.loads((tmp_path / "store" / "painter" / "card.json").read_text())
    assert card["configs"]["transformer"]["num_layers"] == 3
