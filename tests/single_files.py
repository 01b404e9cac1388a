"""Tiny public checkpoints that can be written in one file, as their families were trained, and those files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.public import BETAS, autoencoder, clip_text, clip_tokenizer, lively, unet

# Norms of 32 groups, heads of 8 (1.x) or 64 wide.
CLIP_ENDS = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "num_attention_heads": 1}
WIDE = 64  # of text vectors: one head


def as_trained(family: str) -> Any:
    """A pipeline that can be written in one file, of sd1, sd2, sdxl or sdxl-refiner."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline

    torch.manual_seed(3)
    kind = "v_prediction" if family == "sd2" else "epsilon"
    scheduler = EulerDiscreteScheduler(**BETAS, timestep_spacing="leading", prediction_type=kind)
    wide: dict[str, Any] = {"block_out_channels": (64, 128), "norm_num_groups": 32}
    words, vae = clip_tokenizer(), autoencoder(wide=32, groups=32)
    if family == "sdxl":
        wide |= {"addition_embed_type": "text_time", "addition_time_embed_dim": 4, "attention_head_dim": (1, 2)}
        wide |= {"use_linear_projection": True, "transformer_layers_per_block": (1, 2)}
        first = clip_text(words, width=WIDE, layers=3, **CLIP_ENDS)
        second = clip_text(words, projected=True, width=WIDE, layers=3, hidden_act="gelu", **CLIP_ENDS)
        network = unet(2 * WIDE, **wide, projection_class_embeddings_input_dim=6 * 4 + WIDE, layers_per_block=2)
        parts = {"text_encoder": first, "text_encoder_2": second, "tokenizer": words, "tokenizer_2": clip_tokenizer()}
        vae = autoencoder(wide=32, groups=32, scaling_factor=0.13025)
        return lively(
            StableDiffusionXLPipeline(vae=vae, unet=network, scheduler=scheduler, add_watermarker=False, **parts)
        )
    if family == "sdxl-refiner":
        return refiner_as_trained(scheduler)
    width = 1024 if family == "sd2" else WIDE
    heads: Any = (1, 2) if family == "sd2" else 8
    gelu = {"hidden_act": "gelu", **CLIP_ENDS, "num_attention_heads": 16} if family == "sd2" else CLIP_ENDS
    linear = {"use_linear_projection": family == "sd2"}
    return lively(
        StableDiffusionPipeline(
            vae=vae,
            text_encoder=clip_text(words, width=width, **gelu),
            tokenizer=words,
            unet=unet(width, **wide, attention_head_dim=heads, layers_per_block=2, **linear),
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            image_encoder=None,
            requires_safety_checker=False,
        )
    )


def refiner_as_trained(scheduler: Any) -> Any:
    """A refiner whose UNet looks at tokens in the middle and in one level that is not the last, as published ones."""
    from diffusers import StableDiffusionXLImg2ImgPipeline

    words = clip_tokenizer()
    wide: dict[str, Any] = {
        "block_out_channels": (64, 128, 128),
        "attention_head_dim": (1, 2, 2),
        "norm_num_groups": 32,
    }
    wide |= {"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D")}
    wide |= {"up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "transformer_layers_per_block": 2}
    wide |= {"addition_embed_type": "text_time", "addition_time_embed_dim": 4, "use_linear_projection": True}
    text = clip_text(words, projected=True, width=WIDE, layers=3, hidden_act="gelu", **CLIP_ENDS)
    return lively(
        StableDiffusionXLImg2ImgPipeline(
            vae=autoencoder(wide=32, groups=32, scaling_factor=0.13025),
            text_encoder=None,
            text_encoder_2=text,
            tokenizer=None,
            tokenizer_2=words,
            unet=unet(WIDE, **wide, projection_class_embeddings_input_dim=5 * 4 + WIDE, layers_per_block=2),
            scheduler=scheduler,
            requires_aesthetics_score=True,
            force_zeros_for_empty_prompt=False,
            add_watermarker=False,
        )
    )


def in_one_file(pipeline: Any, name: str, path: Path, prefix: str = "model.diffusion_model.", **metadata: str) -> Path:
    """The pipeline's weights as a file of its family has them, with what else such files hold."""
    from safetensors.torch import save_file

    from darkroom.synthesis.external import FAMILIES
    from darkroom.synthesis.external.single import Single

    single = FAMILIES[name].single
    assert single is not None
    parts = {part: getattr(pipeline, part) for part in FAMILIES[name].parts if single.holds(part)}
    settings = {
        part: dict(network.config.to_dict() if part.startswith("text") else network.config)
        for part, network in parts.items()
    }
    tensors: dict[str, torch.Tensor] = {"alphas_cumprod": torch.ones(1000)}
    settings["pipeline"] = {"prefix": prefix}
    thirds: dict[str, dict[int, torch.Tensor]] = {}
    for part, network in parts.items():
        where = single.sources(settings, part)
        for own, tensor in network.state_dict().items():
            source = where(own)
            if source.third is not None:
                thirds.setdefault(source.name, {})[source.third] = tensor
            elif source.rows is not None:
                thirds.setdefault(source.name, {})[source.rows[0]] = tensor
            elif source.swapped:
                tensors[source.name] = torch.cat(tensor.chunk(2)[::-1])
            else:
                tensors[source.name] = (tensor.T if source.transposed else tensor).contiguous().clone()
    for name_, of_three in thirds.items():
        tensors[name_] = torch.cat([of_three[n] for n in sorted(of_three)])
    for text in single.texts.values() if isinstance(single, Single) else ():
        if text.left_out:  # layers that nobody looks at, and what belongs to CLIP's other half
            layers = [key for key in tensors if key.startswith(f"{text.prefix}transformer.resblocks.1.")]
            tensors |= {key.replace("resblocks.1.", "resblocks.2."): tensors[key].clone() for key in layers}
            tensors[f"{text.prefix}logit_scale"] = torch.ones(())
    save_file(tensors, path, metadata or None)
    return path
