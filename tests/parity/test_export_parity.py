"""Public checkpoints given back: diffusers opens what was exported by itself, whatever it was imported from, and finds
the weights, the words and the settings of the pipeline that it began with."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from darkroom.contracts.request import Request
from darkroom.contracts.steering import Lora
from darkroom.exporting import export_model
from darkroom.generate import picture, run
from darkroom.importing import import_model
from darkroom.model import load
from tests.program import ran
from tests.public import (
    flux,
    needs_public,
    saved,
    stable_diffusion,
    stable_diffusion_3,
    stable_diffusion_xl,
    stable_diffusion_xl_refiner,
    z_image,
)
from tests.single_files import as_trained, in_one_file

pytestmark = needs_public
README = "---\nlicense: creativeml-openrail-m\n---\n# A checkpoint\n"


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)


def opened(folder: Path, pipeline: Any, **more: Any) -> Any:
    """A folder as diffusers opens it, by the class its index names, which knows all that the index says."""
    name = json.loads((folder / "model_index.json").read_text())["_class_name"]
    assert name == type(pipeline).__name__
    return getattr(importlib.import_module("diffusers"), name).from_pretrained(folder, local_files_only=True, **more)


def same(found: Any, pipeline: Any, dtype: torch.dtype = torch.float32) -> int:
    """Fails unless two pipelines have the same parts, weights and words; returns how many tensors they have."""
    count = 0
    for part, network in pipeline.components.items():
        other = getattr(found, part)
        assert type(other) is type(network), part
        if isinstance(network, torch.nn.Module):
            weights, others = network.state_dict(), other.state_dict()
            assert weights.keys() == others.keys(), part
            assert all(torch.equal(tensor.to(dtype), others[name].to(dtype)) for name, tensor in weights.items()), part
            kept = {torch.float32} if type(network).__name__ == "T5EncoderModel" else set()  # in which it keeps some
            assert {tensor.dtype for tensor in others.values()} - kept <= {dtype}, part
            count += len(weights)
        elif part.startswith("tokenizer") and network is not None:
            assert other("a red fox, quick").input_ids == network("a red fox, quick").input_ids
        elif part == "scheduler":  # and what the index says besides
            said = {key: value for key, value in pipeline.config.items() if isinstance(value, bool)}
            assert {key: found.config[key] for key in said} == said
            assert {**network.config, **other.config} == {**other.config, **network.config}
    return count


PIPELINES = {
    "sd1": stable_diffusion,
    "sdxl": stable_diffusion_xl,
    "sdxl-refiner": stable_diffusion_xl_refiner,
    "sd3": stable_diffusion_3,
    "sd3 without T5": lambda: stable_diffusion_3(t5=False),
    "flux": flux,
    "z-image": z_image,
}


@pytest.mark.parametrize("name", PIPELINES)
def test_a_folder_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    pipeline = PIPELINES[name]()
    folder = saved(pipeline, tmp_path / "painter", README)
    import_model(folder)
    assert ran("models", "export", "painter", "--out", "back") == 0
    absent = {part: None for part in ("text_encoder_3", "tokenizer_3") if name.endswith("without T5")}
    assert same(opened(Path("back"), pipeline, **absent), pipeline) > 50  # diffusers wants to be told of what is absent
    first = next(iter(sorted((folder / "vae").glob("*.safetensors"))))
    assert (Path("back/vae") / first.name).read_bytes() == first.read_bytes(), "the file as it came"
    assert "license: creativeml-openrail-m\n" in Path("back/README.md").read_text()
    import_model(Path("back"), "again")
    assert drawn("again") == drawn("painter")


def drawn(name: str, **more: Any) -> bytes:
    """The pixels that a model draws of one request."""
    return pixels(name, **more).tobytes()


def pixels(name: str, **more: Any) -> np.ndarray:
    model = load(name, torch.float32)
    told = {"prompt": "a red fox", "seed": 4, "steps": 2, "width": 64, "height": 64, **more}
    recipe = model.resolve(Request.checked(told))
    return run(picture(recipe, model), model.evaluate).pixels


def test_shards_come_back_as_shards(tmp_path: Path) -> None:
    pipeline = stable_diffusion()
    import_model(saved(pipeline, tmp_path / "painter", max_shard_size="300KB"))
    export_model("painter", Path("back"))
    assert len(list(Path("back/unet").glob("*.safetensors"))) > 1
    assert same(opened(Path("back"), pipeline), pipeline) > 50


def test_a_half_precision_variant_comes_back_under_the_usual_name(tmp_path: Path) -> None:
    pipeline = stable_diffusion().to(torch.float16)
    import_model(saved(pipeline, tmp_path / "painter", variant="fp16"))
    export_model("painter", Path("back"))
    assert same(opened(Path("back"), pipeline, torch_dtype=torch.float16), pipeline, torch.float16) > 50


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl", "sdxl-refiner"])
def test_one_file_comes_back_as_a_folder(family: str, tmp_path: Path) -> None:
    pipeline = as_trained(family)
    folder = saved(pipeline, tmp_path / "folder")
    file = in_one_file(pipeline, family, tmp_path / "painter.safetensors", **{"modelspec.license": "CC0-1.0"})
    import_model(file, words=folder)
    assert ran("models", "export", "painter", "--out", "back") == 0
    found = opened(Path("back"), pipeline)
    assert same(found, pipeline) > 100
    said, other = dict(pipeline.unet.config), dict(found.unet.config)
    others = ("sample_size", "attention_head_dim", "transformer_layers_per_block")  # said for each level, or once
    shaped = [key for key in said if not key.startswith("_") and key not in others]
    listed = {key: list(said[key]) if isinstance(said[key], tuple) else said[key] for key in shaped}
    assert {key: list(other[key]) if isinstance(other[key], tuple) else other[key] for key in shaped} == listed
    import_model(Path("back"), "again")
    assert drawn("again", guidance=3) == drawn("painter", guidance=3)


@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32"])
def test_other_numbers(dtype: str, tmp_path: Path) -> None:
    pipeline = flux()
    import_model(saved(pipeline, tmp_path / "painter"))
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[dtype]
    assert ran("models", "export", "painter", "--out", "back", "--dtype", dtype) == 0
    found = opened(Path("back"), pipeline, torch_dtype=kind)
    assert same(found, pipeline, kind) > 50
    size = sum(path.stat().st_size for path in Path("back").rglob("*.safetensors"))
    assert size < (0.6 if dtype != "fp32" else 1.1) * sum(p.stat().st_size for p in Path("painter").rglob("*.safet*"))


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_what_is_merged_draws_as_it_did_beside(family: str, tmp_path: Path) -> None:
    """A LoRA of linear layers, convolutions and text encoders: within 1 of 255, the rounding of another order."""
    pipeline = stable_diffusion() if family == "sd1" else stable_diffusion_xl()
    import_model(saved(pipeline, tmp_path / "painter"))
    generator = torch.Generator().manual_seed(2)
    tensors = {}
    for part in [name for name in pipeline.components if name in ("unet", "text_encoder", "text_encoder_2")]:
        for name, layer in getattr(pipeline, part).named_modules():
            if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d) and "time_emb" not in name:
                down = torch.randn(2, *layer.weight.shape[1:], generator=generator)
                tensors[f"{part}.{name}.lora_A.weight"] = down
                up = 0.1 * torch.randn(len(layer.weight), 2, *[1 for _ in down.shape[2:]], generator=generator)
                tensors[f"{part}.{name}.lora_B.weight"] = up
    save_file(tensors, tmp_path / "bold.safetensors")
    lora = {"file": str(tmp_path / "bold.safetensors"), "scale": 0.7}
    assert ran("models", "export", "painter", "--out", "back", "--lora", "bold.safetensors:0.7") == 0
    assert same_shapes(opened(Path("back"), pipeline), pipeline)
    import_model(Path("back"), "again")
    within, beside = pixels("again").astype(int), pixels("painter", lora=[Lora.checked(lora)]).astype(int)
    assert abs(within - beside).max() <= 1
    assert abs(pixels("painter").astype(int) - beside).max() > 8
    assert "bold.safetensors at 0.7" in Path("back/README.md").read_text()


def same_shapes(found: Any, pipeline: Any) -> bool:
    pairs = zip(found.unet.state_dict().items(), pipeline.unet.state_dict().items(), strict=True)
    return all(name == other and a.shape == b.shape for (name, a), (other, b) in pairs)
