"""Another autoencoder in place of a checkpoint's own, against diffusers' pipeline with that one in it.

Tolerances are those of ``test_public_parity.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from darkroom.contracts.request import Request
from darkroom.generate import run
from darkroom.importing import import_model
from darkroom.model import load
from darkroom.synthesis.external.single import vae_name
from tests.public import (
    autoencoder,
    close,
    needs_public,
    saved,
    stable_diffusion,
    stable_diffusion_3,
    stable_diffusion_xl,
)
from tests.side_by_side import FORMATS, NEGATIVE, PROMPT, WAYS, as_on_a_table

pytestmark = needs_public


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path / "store"))


def another(seed: int = 9, **more: Any) -> Any:
    torch.manual_seed(seed)
    return autoencoder(**more)


def in_a_file(vae: Any, path: Path, spelling: str) -> Path:
    """An autoencoder's tensors in one file: under today's names or those it was trained with, without its settings."""
    tensors = {name: tensor.contiguous() for name, tensor in vae.state_dict().items()}
    if spelling != "today":
        prefix, levels = {"trained": "", "prefixed": "first_stage_model."}[spelling], len(vae.config.block_out_channels)
        tensors = {prefix + vae_name(name, levels): _as_kernel(name, tensor) for name, tensor in tensors.items()}
    save_file(tensors, path)
    return path


def _as_kernel(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Matrices of its attention were convolutions of one pixel when it was trained."""
    return tensor[:, :, None, None] if "attentions" in name and tensor.ndim == 2 else tensor


@pytest.mark.parametrize("guidance", [1.0, 5.0], ids=["plain", "guided"])
@pytest.mark.parametrize("sampler", WAYS)
@pytest.mark.parametrize(("dtype", "within"), FORMATS, ids=["fp64", "fp32"])
def test_another_autoencoder_draws_as_in_the_pipeline(
    dtype: torch.dtype, within: float, sampler: str, guidance: float, tmp_path: Path
) -> None:
    pipeline, reference = (stable_diffusion().to(dtype) for _ in range(2))
    reference.vae = another(wide=16, groups=8, scaling_factor=0.3).to(dtype)
    reference.vae.save_pretrained(tmp_path / "brighter")
    said = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": guidance}
    given: tuple[Any, ...] = (sampler, guidance, dtype, within, tmp_path, NEGATIVE)
    as_on_a_table(pipeline, said, *given, reference=reference, vae=str(tmp_path / "brighter"))


@pytest.mark.parametrize("spelling", ["today", "trained", "prefixed"])
@pytest.mark.parametrize("maker", [stable_diffusion, stable_diffusion_xl], ids=["sd1", "sdxl"])
def test_one_in_a_file_has_the_settings_of_the_checkpoints_own(maker: Any, spelling: str, tmp_path: Path) -> None:
    pipeline, reference = (maker().to(torch.float64) for _ in range(2))
    vae = another(scaling_factor=pipeline.vae.config.scaling_factor).to(torch.float64)
    reference.vae = vae
    file = in_a_file(vae, tmp_path / "brighter.safetensors", spelling)
    said = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": 5.0}
    given: tuple[Any, ...] = ("ddim", 5.0, torch.float64, 1e-6, tmp_path, NEGATIVE)
    as_on_a_table(pipeline, said, *given, reference=reference, vae=str(file))


def test_latents_with_a_shift_are_encoded_and_decoded_as_by_its_class(tmp_path: Path) -> None:
    plain = {"use_quant_conv": False, "use_post_quant_conv": False}
    vae = another(shift_factor=0.2, scaling_factor=1.2, **plain).to(torch.float64)
    vae.save_pretrained(tmp_path / "brighter")
    import_model(saved(stable_diffusion_3().to(torch.float64), tmp_path / "painter"))
    model = load("painter", torch.float64)
    asked = Request.checked({"prompt": "a fox", "seed": 1, "vae": str(tmp_path / "brighter")})
    fitted = model.fitted(model.resolve(asked))
    pixels = torch.rand(3, 64, 64, dtype=torch.float64)
    latent = run(fitted.codec.encode(pixels), model.evaluate)
    with torch.inference_mode():
        theirs = (vae.encode(2 * pixels[None] - 1).latent_dist.mode()[0] - 0.2) * 1.2
        back = (vae.decode(theirs[None] / 1.2 + 0.2).sample[0] / 2 + 0.5).clamp(0, 1)
    close([latent, run(fitted.codec.decode(latent), model.evaluate)], [theirs, back], 1e-12)
