"""Tiny public checkpoints with random weights, made of their own classes and saved in their real formats."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")

LIBRARIES = ("diffusers", "transformers")
INSTALLED = all(importlib.util.find_spec(name) is not None for name in LIBRARIES)
needs_public = pytest.mark.skipif(
    not INSTALLED, reason="the extra is not installed: pip install 'darkroom-studio[public]'"
)

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
WIDTH = 16  # of text vectors


def clip_tokenizer(limit: int = 77) -> Any:
    """CLIP's own, with single bytes for words."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: n for n, token in enumerate(tokens)}, merges=[], model_max_length=limit)


def clip_text(tokenizer: Any, *, projected: bool = False, width: int = WIDTH, layers: int = 2) -> Any:
    """A CLIP text network for a tokenizer."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()


def unet(width: int = WIDTH, **more: Any) -> Any:
    """A UNet of Stable Diffusion's kind."""
    from diffusers import UNet2DConditionModel

    settings: dict[str, Any] = {
        "sample_size": 8,
        "block_out_channels": (16, 32),
        "norm_num_groups": 8,
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": width,
        "attention_head_dim": 2,
    }
    return UNet2DConditionModel(**{**settings, **more}).eval()


def autoencoder(channels: int = 4, **more: Any) -> Any:
    """An autoencoder that halves three times."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=channels,
        layers_per_block=1,
        **more,
    ).eval()


def stable_diffusion(seed: int = 0, prediction: str = "epsilon", width: int = WIDTH) -> Any:
    """A pipeline of Stable Diffusion 1.x; 1024 wide it is one of 2.x."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    torch.manual_seed(seed)
    tokenizer = clip_tokenizer()
    scheduler = DDIMScheduler(
        **BETAS, prediction_type=prediction, clip_sample=False, set_alpha_to_one=True, timestep_spacing="leading"
    )
    return lively(
        StableDiffusionPipeline(
            vae=autoencoder(),
            text_encoder=clip_text(tokenizer, width=width),
            tokenizer=tokenizer,
            unet=unet(width),
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            image_encoder=None,
            requires_safety_checker=False,
        )
    )


def lively(pipeline: Any) -> Any:
    """The pipeline with weights that are zero, and biases, drawn anew, so that every input counts."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for part in pipeline.components.values():
            for parameter in part.parameters() if isinstance(part, torch.nn.Module) else ():
                if not parameter.any():
                    parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def saved(pipeline: Any, folder: Path, readme: str = "", **more: Any) -> Path:
    """The pipeline as it is saved for others."""
    pipeline.save_pretrained(folder, **more)
    if readme:
        (folder / "README.md").write_text(readme, encoding="utf-8")
    return folder


def steps_of(pipeline: Any, **asked: Any) -> tuple[list[torch.Tensor], Any]:
    """Each latent that a pipeline's loop comes to, and what it returns."""
    seen: list[torch.Tensor] = []

    def look(_: Any, step: int, time: Any, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        seen.append(values["latents"].clone())
        return values

    with torch.inference_mode():
        made = pipeline(callback_on_step_end=look, callback_on_step_end_tensor_inputs=["latents"], **asked)
    return seen, made


def close(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor], within: float) -> None:
    """Fails where two ways part by more than ``within`` of the largest number on theirs."""
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other.to(mine), rtol=0, atol=within * max(1.0, float(other.abs().max())))
