"""Checkpoints in one file: what we make of one is what diffusers makes of it, tensor by tensor and in pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from darkroom.contracts.request import Request
from darkroom.generate import picture, run
from darkroom.importing import import_model
from darkroom.model import load
from tests.public import needs_public, saved
from tests.single_files import as_trained, in_one_file

pytestmark = needs_public


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl", "sdxl-refiner"])
def test_a_single_file_draws_what_its_folder_draws(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path / "store"))
    pipeline = as_trained(family)
    folder = saved(pipeline, tmp_path / "folder")
    file = in_one_file(pipeline, family, tmp_path / "painter.safetensors", **{"modelspec.license": "CC0-1.0"})
    other = import_model(folder, "folder").card
    done = import_model(file, words=folder)
    assert (done.card.name, done.card.family, done.card.licence) == ("painter", family, "CC0-1.0")
    assert done.card.configs["scheduler"]["prediction_type"] == other.configs["scheduler"]["prediction_type"]
    assert (done.folder / "checkpoint.safetensors").samefile(file), "a second name of the file"
    request = Request(prompt="a red fox", seed=4, steps=2, width=64, height=64, guidance=3, sampler="euler")
    pictures = []
    for name in ("folder", "painter"):
        model = load(name, torch.float32)
        pictures.append(run(picture(model.resolve(request), model), model.evaluate).pixels)
    assert (pictures[0] == pictures[1]).all()


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl", "sdxl-refiner"])
def test_the_file_is_what_diffusers_reads(family: str, tmp_path: Path) -> None:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
    from safetensors.torch import load_file

    pipeline = as_trained(family)
    folder = saved(pipeline, tmp_path / "folder")
    file = in_one_file(pipeline, family, tmp_path / "painter.safetensors")
    for cls, part in ((UNet2DConditionModel, "unet"), (AutoencoderKL, "vae")):
        theirs = cls.from_single_file(str(file), config=str(folder), subfolder=part, local_files_only=True)
        own = getattr(pipeline, part).state_dict()
        assert theirs.state_dict().keys() == own.keys()
        assert all(torch.equal(tensor, own[name]) for name, tensor in theirs.state_dict().items())
    tensors = load_file(file)
    texts = {name: part for name, part in pipeline.components.items() if name.startswith("text_encoder") and part}
    for part, text in texts.items():
        if len(texts) > 1 and part == "text_encoder_2":  # told from the first by its width, which is the same here
            tensors = {name: tensor for name, tensor in tensors.items() if "embedders.0" not in name}
        made = create_diffusers_clip_model_from_ldm(type(text), dict(tensors), subfolder=part, config=str(folder))
        assert all(torch.equal(tensor, text.state_dict()[name]) for name, tensor in made.state_dict().items())
