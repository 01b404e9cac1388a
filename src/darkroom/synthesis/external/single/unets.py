"""Checkpoints whose denoiser is a UNet, in one file: Stable Diffusion 1.x, 2.x, XL and its refiner.

One file holds the denoiser under ``model.diffusion_model.``, the autoencoder under ``first_stage_model.`` and the text
encoders under prefixes of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from darkroom.contracts.errors import BadFile
from darkroom.synthesis.external.naming import Source

UNET, VAE = "model.diffusion_model.", "first_stage_model."
PREFIX = "prefix"  # where an index says what the names of a denoiser begin with
# What besides weights stands in such files: tables that follow from the schedule, averages of the weights, marks.
ASIDE = ("model_ema.", "alphas_cumprod", "betas", "log_one_minus", "sqrt_", "posterior_", "denoiser.", "logvar")
MARKS = ("v_pred", "ztsnr", "global_step", "lr_")
GROUPS = 32  # of every norm of these networks
HINT = (16, 32, 96, 256)  # channels of the layers that read a ControlNet's map, as in published weights
HEAD = 64  # the width of a head, where heads are not counted

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Text:
    """A text encoder: its prefix, its class, whether it is in OpenCLIP's names, and how many last layers are left."""

    prefix: str
    network: str = "CLIPTextModel"
    open_clip: bool = False
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Single:
    """How a family's files are.

    ``mark`` begins names that only this family's files have. ``heads`` of the denoiser's attention; None: as many as
    are 64 wide. ``scale`` of the latents, ``side`` in cells of the pictures it was trained on, ``prediction`` where the
    file does not say. ``told`` is how many numbers a UNet is told that is told sizes, ``pipeline``
    what an index of a folder would say besides its parts.
    """

    mark: str
    texts: Mapping[str, Text]
    heads: int | None
    scale: float
    side: int
    prediction: str
    told: int = 6
    pipeline: Mapping[str, bool] = field(default_factory=dict)

    def is_of(self, names: Iterable[str]) -> bool:
        """Whether a file with such names is one of the family's."""
        return any(name.startswith(self.mark) for name in names)

    def holds(self, part: str) -> bool:
        """Whether such a file holds a part: all of them."""
        return True

    def settings(self, shapes: Shapes, prediction: str | None) -> dict[str, dict[str, Any]]:
        """The settings of every part, and what an index would say; see :func:`settings_of`."""
        return {**settings_of(self, shapes, prediction), "pipeline": dict(self.pipeline)}

    def sources(self, configs: Mapping[str, Mapping[str, Any]], part: str) -> Callable[[str], Source]:
        """Where in the file each tensor of a part's network stands, by its name in the network."""
        return sources_of(self, configs, part)


def settings_of(single: Single, shapes: Shapes, prediction: str | None) -> dict[str, dict[str, Any]]:
    """The settings of every part, from the tensors of a file. Raises BadFile where the tensors are no such networks.

    ``prediction`` is what the denoiser answers; None: as the file is marked, or as its family's do. Marks are tensors
    without meaning: ``v_pred``, and ``ztsnr`` where it was trained down to noise alone.
    """
    kind = prediction or ("v_prediction" if "v_pred" in shapes else single.prediction)
    to_the_end = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"} if "ztsnr" in shapes else {}
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    scheduler = {**betas, "prediction_type": kind}
    try:
        texts = {name: _text(text, shapes) for name, text in single.texts.items()}
        return {
            "unet": _unet(single, shapes, texts),
            "vae": _vae(single, shapes),
            **texts,
            "scheduler": {
                **scheduler,
                "timestep_spacing": "leading",
                "_class_name": "EulerDiscreteScheduler",
                **to_the_end,
            },
        }
    except (KeyError, IndexError, ValueError) as error:
        rule = f"lacks tensors that its networks are made of ({error})"
        raise BadFile("the checkpoint", rule, "fetch the file again, or take another one") from error


def sources_of(single: Single, settings: Mapping[str, Mapping[str, Any]], part: str) -> Callable[[str], Source]:
    """Where in the file each tensor of a part's network stands, by its name in the network."""
    if part == "unet":
        return lambda name: Source(UNET + unet_name(name, settings[part]))
    if part == "vae":
        return lambda name: Source(VAE + vae_name(name, len(settings[part]["block_out_channels"])))
    text = single.texts[part]
    if not text.open_clip:
        return lambda name: Source(text.prefix + "text_model." + name.removeprefix("text_model."))
    return lambda name: _open_clip_source(text.prefix, name.removeprefix("text_model."))


def unused(names: Iterable[str], used: set[str]) -> list[str]:
    """Tensors of a file that no part is filled from, but for those that need not be."""
    free = (name for name in names if name not in used and not name.startswith((*ASIDE, *MARKS)))
    return sorted(name for name in free if not name.endswith(("position_ids", "logit_scale")))


# --- settings ---------------------------------------------------------------------------------------------------------


def count(shapes: Shapes, pattern: str) -> int:
    """How many numbers stand in the place of a pattern's group, from 0 on."""
    found = {int(match[1]) for name in shapes if (match := re.match(pattern, name))}
    if found != set(range(len(found))) or not found:
        raise ValueError(f"no {pattern}")
    return len(found)


def _unet(single: Single, shapes: Shapes, texts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    blocks = re.escape(UNET) + r"input_blocks\.(\d+)\."
    levels: list[list[tuple[int, int]]] = [[]]  # of each level, the channels and the transformers of its layers
    for n in range(1, count(shapes, blocks)):
        at = f"{UNET}input_blocks.{n}."
        if f"{at}0.op.weight" in shapes:
            levels.append([])
        else:
            depth = f"{re.escape(at)}1\\.transformer_blocks\\.(\\d+)\\."
            there = any(re.match(depth, name) for name in shapes)
            levels[-1].append((shapes[f"{at}0.out_layers.3.weight"][0], count(shapes, depth) if there else 0))
    channels, depths = ([level[0][n] for level in levels] for n in (0, 1))
    looks = next(name for name in shapes if name.startswith(UNET) and name.endswith("attn2.to_k.weight"))
    linear = len(shapes[looks.split("transformer_blocks")[0] + "proj_in.weight"]) == 2
    middle = count(shapes, rf"{re.escape(UNET)}middle_block\.1\.transformer_blocks\.(\d+)\.")
    heads: Any = single.heads if single.heads is not None else [max(1, wide // HEAD) for wide in channels]
    made: dict[str, Any] = {
        "sample_size": single.side,
        "in_channels": shapes[f"{UNET}input_blocks.0.0.weight"][1],
        "out_channels": shapes[f"{UNET}out.2.weight"][0],
        "block_out_channels": channels,
        "layers_per_block": len(levels[0]),
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        "transformer_layers_per_block": [*(max(1, depth) for depth in depths[:-1]), middle],  # its last is the middle's
        "cross_attention_dim": shapes[looks][1],
        "attention_head_dim": heads,
        "use_linear_projection": linear,
        "norm_num_groups": GROUPS,
    }
    if (sizes := shapes.get(f"{UNET}label_emb.0.0.weight")) is not None:
        pooled = int(list(texts.values())[-1]["projection_dim"])
        made |= {"addition_embed_type": "text_time", "addition_time_embed_dim": (sizes[1] - pooled) // single.told}
        made["projection_class_embeddings_input_dim"] = sizes[1]
    return made


def _vae(single: Single, shapes: Shapes) -> dict[str, Any]:
    levels = count(shapes, re.escape(VAE) + r"encoder\.down\.(\d+)\.")
    channels = [shapes[f"{VAE}encoder.down.{n}.block.0.conv1.weight"][0] for n in range(levels)]
    return {
        "block_out_channels": channels,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": count(shapes, re.escape(VAE) + r"encoder\.down\.0\.block\.(\d+)\."),
        "latent_channels": shapes[f"{VAE}decoder.conv_in.weight"][1],
        "norm_num_groups": GROUPS,
        "sample_size": 8 * single.side,
        "scaling_factor": single.scale,
    }


def _text(text: Text, shapes: Shapes) -> dict[str, Any]:
    """CLIP's own activation is an approximation of a GELU, OpenCLIP's is the thing itself."""
    name = "transformer.resblocks" if text.open_clip else "text_model.encoder.layers"
    tokens = "token_embedding" if text.open_clip else "text_model.embeddings.token_embedding"
    inner = "mlp.c_fc" if text.open_clip else "mlp.fc1"
    vocabulary, width = shapes[f"{text.prefix}{tokens}.weight"]
    projection = shapes.get(f"{text.prefix}text_projection")
    return {
        "architectures": [text.network],
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": shapes[f"{text.prefix}{name}.0.{inner}.weight"][0],
        "num_hidden_layers": count(shapes, re.escape(text.prefix + name) + r"\.(\d+)\.") - text.left_out,
        "num_attention_heads": max(1, width // HEAD),
        "max_position_embeddings": 77,
        "projection_dim": width if projection is None else projection[1],
        "hidden_act": "gelu" if text.open_clip else "quick_gelu",
        **{"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2},  # 2: the end is the token of the highest number
    }


# --- names ------------------------------------------------------------------------------------------------------------

_RESNET = {
    **{"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1"},
    **{"norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection"},
}
_UNET_ENDS = {
    **{"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"},
    **{"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2"},
    **{"add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2"},
}


def unet_name(name: str, settings: Mapping[str, Any]) -> str:
    """The name of a UNet's tensor in such a file, without its prefix."""
    layers = settings["layers_per_block"]
    for ours, theirs in _UNET_ENDS.items():
        if name.startswith(f"{ours}."):
            return theirs + name.removeprefix(ours)
    if match := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)", name):
        place = 2 * int(match[2]) if match[1] == "resnets" else 1
        return f"middle_block.{place}.{_layer(match[1], match[3])}"
    match = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", name)
    if match is None:
        return name
    level, layer, rest = int(match[2]), int(match[4]), match[5]
    if match[1] == "down":
        at = f"input_blocks.{level * (layers + 1) + 1 + (layers if match[3] == 'downsamplers' else layer)}"
        return f"{at}.0.op{rest.removeprefix('conv')}" if match[3] == "downsamplers" else _placed(at, match[3], rest)
    at = f"output_blocks.{level * (layers + 1) + (layers if match[3] == 'upsamplers' else layer)}"
    if match[3] == "upsamplers":
        attends = settings["up_block_types"][level].startswith("CrossAttn")
        return f"{at}.{2 if attends else 1}.{rest}"
    return _placed(at, match[3], rest)


def control_name(name: str, settings: Mapping[str, Any]) -> str:
    """The name of a ControlNet's tensor in a file as it was trained, without its prefix.

    What it shares with a UNet has a UNet's names. Layers that read the map stand one after the other with activations
    between them; after each block of the UNet's first half comes a convolution that begins as zeros.
    """
    if match := re.fullmatch(r"controlnet_cond_embedding\.(conv_in|conv_out|blocks\.(\d+))\.(\w+)", name):
        last = 2 * len(settings.get("conditioning_embedding_out_channels") or HINT) - 1
        place = {"conv_in": 0, "conv_out": last}.get(match[1])
        return f"input_hint_block.{2 * (int(match[2]) + 1 if place is None else place)}.{match[3]}"
    if match := re.fullmatch(r"controlnet_down_blocks\.(\d+)\.(\w+)", name):
        return f"zero_convs.{match[1]}.0.{match[2]}"
    if name.startswith("controlnet_mid_block."):
        return name.replace("controlnet_mid_block", "middle_block_out.0")
    return unet_name(name, settings)


def _placed(at: str, kind: str, rest: str) -> str:
    return f"{at}.{0 if kind == 'resnets' else 1}.{_layer(kind, rest)}"


def _layer(kind: str, rest: str) -> str:
    if kind != "resnets":
        return rest
    layer, _, end = rest.partition(".")
    return f"{_RESNET[layer]}.{end}"


_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def vae_name(name: str, levels: int) -> str:
    """The name of an autoencoder's tensor in such a file."""
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    if match := re.fullmatch(r"(\w+)\.mid_block\.resnets\.(\d)\.(.+)", name):
        return f"{match[1]}.mid.block_{int(match[2]) + 1}.{match[3]}"
    if match := re.fullmatch(r"(\w+)\.mid_block\.attentions\.0\.(.+)\.(\w+)", name):
        return f"{match[1]}.mid.attn_1.{_ATTENTION[match[2]]}.{match[3]}"
    match = re.fullmatch(r"(\w+)\.(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", name)
    if match is None:
        return name
    half, way, level, kind, layer, rest = match.groups()
    place = int(level) if way == "down" else levels - 1 - int(level)
    return f"{half}.{way}.{place}." + (f"block.{layer}.{rest}" if kind == "resnets" else f"{way}sample.{rest}")


_OPEN_CLIP = {
    **{"self_attn.out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2"},
    **{"mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"},
}
_OPEN_CLIP_ENDS = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}


def _open_clip_source(prefix: str, name: str) -> Source:
    """Where OpenCLIP has a text encoder's tensor: queries, keys and values stand in one, the projection on its side."""
    if name == "text_projection.weight":
        return Source(f"{prefix}text_projection", transposed=True)
    if name in _OPEN_CLIP_ENDS:
        return Source(prefix + _OPEN_CLIP_ENDS[name])
    match = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
    if match is None:
        return Source(prefix + name)
    at = f"{prefix}transformer.resblocks.{match[1]}."
    if match[2] in (of_three := ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]):
        return Source(f"{at}attn.in_proj_{match[3]}", third=of_three.index(match[2]))
    return Source(f"{at}{_OPEN_CLIP[match[2]]}.{match[3]}")
