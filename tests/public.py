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


def clip_text(tokenizer: Any, *, projected: bool = False, width: int = WIDTH, layers: int = 2, **more: Any) -> Any:
    """A CLIP text network for a tokenizer."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        max_position_embeddings=77,
        **{
            "num_attention_heads": 2,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            **more,
        },
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


def autoencoder(channels: int = 4, wide: int = 8, groups: int = 4, **more: Any) -> Any:
    """An autoencoder that halves three times."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(wide, wide, 2 * wide, 2 * wide),
        norm_num_groups=groups,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=channels,
        layers_per_block=1,
        **more,
    ).eval()


def stable_diffusion(seed: int = 0, prediction: str = "epsilon", width: int = WIDTH, **scheduled: Any) -> Any:
    """A pipeline of Stable Diffusion 1.x; 1024 wide it is one of 2.x."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    torch.manual_seed(seed)
    tokenizer = clip_tokenizer()
    plain = {"clip_sample": False, "set_alpha_to_one": True, "timestep_spacing": "leading"}
    scheduler = DDIMScheduler(**{**BETAS, **plain, **scheduled}, prediction_type=prediction)
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


def t5_tokenizer() -> Any:
    """T5's own, with single letters for words."""
    from transformers import T5Tokenizer

    letters = [(letter, -3.0) for letter in "▁abcdefghijklmnopqrstuvwxyzAQ,.0123456789"]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *letters]
    return T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=512)


def t5_text(tokenizer: Any, width: int = WIDTH) -> Any:
    """The encoder of a T5 for a tokenizer."""
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=len(tokenizer), d_model=width, d_kv=8, d_ff=2 * width, num_layers=2, num_heads=2, is_gated_act=True
    )
    return T5EncoderModel(config).eval()


def stable_diffusion_xl(seed: int = 0, *, zero: bool = True) -> Any:
    """A pipeline of Stable Diffusion XL."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    torch.manual_seed(seed)
    first, second = clip_tokenizer(), clip_tokenizer()
    sizes = {"addition_embed_type": "text_time", "addition_time_embed_dim": 4}
    return lively(
        StableDiffusionXLPipeline(
            vae=autoencoder(scaling_factor=0.13025),
            text_encoder=clip_text(first, layers=3),
            text_encoder_2=clip_text(second, projected=True, layers=3),
            tokenizer=first,
            tokenizer_2=second,
            unet=unet(2 * WIDTH, **sizes, projection_class_embeddings_input_dim=6 * 4 + WIDTH),
            scheduler=EulerDiscreteScheduler(**BETAS, timestep_spacing="leading"),
            force_zeros_for_empty_prompt=zero,
            add_watermarker=False,
        )
    )


def stable_diffusion_xl_refiner(seed: int = 1, *, zero: bool = False) -> Any:
    """A pipeline of Stable Diffusion XL's refiner."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLImg2ImgPipeline

    torch.manual_seed(seed)
    words = clip_tokenizer()
    sizes = {"addition_embed_type": "text_time", "addition_time_embed_dim": 4}
    return lively(
        StableDiffusionXLImg2ImgPipeline(
            vae=autoencoder(scaling_factor=0.13025),
            text_encoder=None,
            text_encoder_2=clip_text(words, projected=True, layers=3),
            tokenizer=None,
            tokenizer_2=words,
            unet=unet(WIDTH, **sizes, projection_class_embeddings_input_dim=5 * 4 + WIDTH),
            scheduler=EulerDiscreteScheduler(**BETAS, timestep_spacing="leading"),
            requires_aesthetics_score=True,
            force_zeros_for_empty_prompt=zero,
            add_watermarker=False,
        )
    )


def stable_diffusion_3(seed: int = 0, *, t5: bool = True, **more: Any) -> Any:
    """A pipeline of Stable Diffusion 3; ``more`` are settings of its transformer."""
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    torch.manual_seed(seed)
    first, second, third = clip_tokenizer(), clip_tokenizer(), t5_tokenizer()
    settings: dict[str, Any] = {
        "sample_size": 8,
        "in_channels": 4,
        "num_layers": 2,
        "attention_head_dim": 8,
        "num_attention_heads": 2,
        "joint_attention_dim": 2 * WIDTH,
        "caption_projection_dim": 16,
        "pooled_projection_dim": 2 * WIDTH,
        "out_channels": 4,
        "pos_embed_max_size": 16,
    }
    transformer = SD3Transformer2DModel(**{**settings, **more})
    return lively(
        StableDiffusion3Pipeline(
            vae=autoencoder(shift_factor=0.06, scaling_factor=1.5, use_quant_conv=False, use_post_quant_conv=False),
            text_encoder=clip_text(first, projected=True),
            text_encoder_2=clip_text(second, projected=True),
            text_encoder_3=t5_text(third, 2 * WIDTH) if t5 else None,
            tokenizer=first,
            tokenizer_2=second,
            tokenizer_3=third if t5 else None,
            transformer=transformer.eval(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        )
    )


def flux(seed: int = 0, *, dev: bool = True, blocks: int = 1, **more: Any) -> Any:
    """A pipeline of FLUX.1, with so many blocks of each kind; ``more`` are settings of its transformer."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    torch.manual_seed(seed)
    first, second = clip_tokenizer(), t5_tokenizer()
    settings: dict[str, Any] = {
        "in_channels": 16,
        "num_layers": blocks,
        "num_single_layers": blocks,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": WIDTH,
        "pooled_projection_dim": WIDTH,
        "axes_dims_rope": (4, 4, 8),
        "guidance_embeds": dev,
    }
    transformer = FluxTransformer2DModel(**{**settings, **more})
    return lively(
        FluxPipeline(
            vae=autoencoder(shift_factor=0.1, scaling_factor=0.4, use_quant_conv=False, use_post_quant_conv=False),
            text_encoder=clip_text(first),
            text_encoder_2=t5_text(second),
            tokenizer=first,
            tokenizer_2=second,
            transformer=transformer.eval(),
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=dev, shift=3.0 if dev else 1.0),
        )
    )


def qwen_tokenizer() -> Any:
    """Qwen's own, with single bytes for words, and the marks of a conversation."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Tokenizer

    tokens = ["<|endoftext|>", *sorted(ByteLevel.alphabet()), "<|im_start|>", "<|im_end|>"]
    tokenizer = Qwen2Tokenizer(vocab={token: n for n, token in enumerate(tokens)}, merges=[], model_max_length=600)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return tokenizer


def z_image(seed: int = 0) -> Any:
    """A pipeline of Z-Image."""
    from diffusers import FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel
    from transformers import Qwen3Config, Qwen3Model

    torch.manual_seed(seed)
    tokenizer = qwen_tokenizer()
    text = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=600,
    )
    transformer = ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=WIDTH,
        axes_dims=[4, 4, 8],
        axes_lens=[1024, 64, 64],
    )
    return lively(
        ZImagePipeline(
            vae=autoencoder(shift_factor=0.1, scaling_factor=0.4, use_quant_conv=False, use_post_quant_conv=False),
            text_encoder=Qwen3Model(text).eval(),
            tokenizer=tokenizer,
            transformer=transformer.eval(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        )
    )


def control_net(pipeline: Any, seed: int = 7) -> Any:
    """A ControlNet for a pipeline's denoiser, in which nothing is zero."""
    from diffusers import ControlNetModel, FluxControlNetModel

    torch.manual_seed(seed)
    if hasattr(pipeline, "unet"):
        network = ControlNetModel.from_unet(pipeline.unet).eval()
    else:
        said = dict(pipeline.transformer.config)
        kept = {name: said[name] for name in ("in_channels", "attention_head_dim", "num_attention_heads")}
        kept |= {name: said[name] for name in ("joint_attention_dim", "pooled_projection_dim", "axes_dims_rope")}
        kept |= {"guidance_embeds": said["guidance_embeds"], "num_layers": 2, "num_single_layers": 1}
        network = FluxControlNetModel(**kept).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.copy_(0.2 * torch.randn(parameter.shape))
    return network


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


def close(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor], within: float) -> float:
    """Fails where two ways part by more than ``within`` of the largest number on theirs; returns how far they do."""
    assert len(ours) == len(theirs)
    parted = 0.0
    for mine, other in zip(ours, theirs, strict=True):
        largest = max(1.0, float(other.abs().max()))
        torch.testing.assert_close(mine, other.to(mine), rtol=0, atol=within * largest)
        parted = max(parted, float((mine - other.to(mine)).abs().max()) / largest)
    return parted
