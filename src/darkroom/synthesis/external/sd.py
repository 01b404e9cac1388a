"""Stable Diffusion 1.x and 2.x (arXiv:2112.10752): a UNet that looks at one CLIP's tokens, trained on a table of betas.

Both are of the same classes. 1.x looks at CLIP ViT-L, 768 wide; 2.x at OpenCLIP ViT-H, 1024 wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor

from darkroom.nn.public.features import Features, pixels_of, summed
from darkroom.prompt.public import ClipReader, PublicEncoder
from darkroom.synthesis.external.family import (
    CLIP,
    KL,
    UNET,
    Assembled,
    Configs,
    ControlKind,
    Family,
    Opened,
    Part,
    beta_schedule,
    codec_of,
    prediction,
    sampling,
    side,
    table_time,
)
from darkroom.synthesis.external.public import Asking, Controlling, PublicSynthesizer
from darkroom.synthesis.external.single import Shapes, Single, Text, control_name

COLOURS = 3  # of a control map
WIDTH_2 = 1024  # of the tokens that 2.x looks at


def ask(
    network: Any,
    x: Tensor,
    time: float,
    tokens: Tensor,
    pooled: Tensor,
    guidance: float | None,
    added: Sequence[Features] = (),
) -> Tensor:
    """Asks the UNet; ``added`` is what each ControlNet adds to its features."""
    answer: Tensor = network(x, time, tokens, **with_features(added)).sample
    return answer


def control(
    network: Any,
    x: Tensor,
    time: float,
    tokens: Tensor,
    pooled: Tensor,
    guidance: float | None,
    cells: Tensor,
    scale: float,
    factor: int = 8,
) -> Features:
    """Asks a ControlNet, which is told what the UNet is told, and shown its map."""
    down, mid = network(x, time, tokens, pixels_of(cells, factor), scale, return_dict=False)
    return Features(down, [mid])


def with_features(added: Sequence[Features]) -> dict[str, Any]:
    """What ControlNets add, by a UNet's names for it."""
    if not added:
        return {}
    down, [mid] = (summed(features) for features in zip(*added, strict=True))
    return {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}


# Settings of a UNet that its ControlNets have, too: they are copies of its first half.
_SHARED = (
    *("in_channels", "flip_sin_to_cos", "freq_shift", "down_block_types", "only_cross_attention", "mid_block_type"),
    *("block_out_channels", "layers_per_block", "downsample_padding", "mid_block_scale_factor", "act_fn"),
    *("norm_num_groups", "norm_eps", "cross_attention_dim", "transformer_layers_per_block", "attention_head_dim"),
    *("num_attention_heads", "use_linear_projection", "class_embed_type", "addition_embed_type", "upcast_attention"),
    *("addition_time_embed_dim", "num_class_embeds", "resnet_time_scale_shift", "encoder_hid_dim"),
    *("encoder_hid_dim_type", "projection_class_embeddings_input_dim"),
)


def control_asks(network: Any, its: Shapes, factor: int) -> dict[str, tuple[int, ...] | None]:
    """Where a ControlNet touches a UNet: x, the sizes it is told, the width of tokens, and each feature's channels; and
    that its maps have three colours, and as many pixels as cells have."""
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    asked = {name: own.get(name) for name in ("conv_in.weight", "add_embedding.linear_1.weight")}
    width = next(shape[1] for name, shape in own.items() if name.endswith("attn2.to_k.weight"))
    asked |= {name: (s[0], width) for name, s in its.items() if name.endswith("attn2.to_k.weight")}
    wide = _handed_over(network.config)
    asked |= {f"controlnet_down_blocks.{n}.weight": (w, w, 1, 1) for n, w in enumerate(wide)}
    asked |= {f"controlnet_down_blocks.{len(wide)}.weight": None}
    reads, layers = "controlnet_cond_embedding", 2 * (factor.bit_length() - 1)  # of which every second one halves
    asked[f"{reads}.conv_in.weight"] = (its[f"{reads}.conv_in.weight"][0], COLOURS, 3, 3)
    asked[f"{reads}.blocks.{layers - 1}.bias"] = (its[f"{reads}.conv_out.weight"][1],)
    asked[f"{reads}.blocks.{layers}.bias"] = None
    return asked


def _handed_over(config: Any) -> list[int]:
    """The channels of each feature that a UNet's first half hands over: of its first convolution, and of each level's
    layers and, but for the last, its halving."""
    wide, layers = list(config.block_out_channels), config.layers_per_block
    each = [layers] * len(wide) if isinstance(layers, int) else layers
    levels = [[w] * (n + (at < len(wide) - 1)) for at, (w, n) in enumerate(zip(wide, each, strict=True))]
    return [wide[0], *(w for level in levels for w in level)]


CONTROL_NET = ControlKind(
    part=Part("diffusers", ("ControlNetModel",)),
    settings=lambda unet, shapes: {name: unet[name] for name in _SHARED if name in unet},
    asks=control_asks,
    others={"global_pool_conditions": "which acts on one of two sentences alone and is not here"},
    named=control_name,
    prefixes=("control_model.", ""),
)


def assembled(opened: Opened) -> Assembled:
    """The model of a checkpoint."""
    reader = ClipReader(opened.tokenizers["tokenizer"], opened.networks["text_encoder"], "text")
    schedule, codec = beta_schedule(opened.configs), codec_of(opened)
    controls = Controlling(partial(control, factor=codec.factor), codec.channels)
    asking = Asking(ask, prediction(opened.configs), schedule, table_time(schedule), control=controls)
    encoder = PublicEncoder([reader], lambda text, reads: reads[0], chunked=True)
    return Assembled(encoder, codec, PublicSynthesizer(opened.networks["unet"], asking))


def template(configs: Configs) -> dict[str, Any]:
    """The card's defaults: the size it was trained at, and what its pipeline draws with."""
    size = side(configs, "unet")
    return {"width": size, "height": size, **sampling(configs, steps=25, guidance=7.5)}


def _is_second(configs: Configs) -> bool:
    return configs["unet"].get("cross_attention_dim") == WIDTH_2


def _is_plain(configs: Configs) -> bool:
    """Four channels in and none besides: inpainting and depth models have more, and are drawn otherwise."""
    return configs["unet"].get("in_channels") == 4 and configs["unet"].get("addition_embed_type") is None


_PARTS = {"unet": UNET, "vae": KL, "text_encoder": CLIP}
_PIPELINES = ("StableDiffusionPipeline",)

SD1 = Family(
    name="sd1",
    title="Stable Diffusion 1.x",
    pipelines=_PIPELINES,
    denoiser="unet",
    parts=_PARTS,
    tokenizers=("tokenizer",),
    suits=lambda configs: _is_plain(configs) and not _is_second(configs),
    template=template,
    assembled=assembled,
    control=CONTROL_NET,
    single=Single(
        mark="cond_stage_model.transformer.",
        texts={"text_encoder": Text("cond_stage_model.transformer.")},
        heads=8,
        scale=0.18215,
        side=64,
        prediction="epsilon",
    ),
)
SD2 = Family(
    name="sd2",
    title="Stable Diffusion 2.x",
    pipelines=_PIPELINES,
    denoiser="unet",
    parts=_PARTS,
    tokenizers=("tokenizer",),
    suits=lambda configs: _is_plain(configs) and _is_second(configs),
    template=template,
    assembled=assembled,
    control=CONTROL_NET,
    single=Single(
        mark="cond_stage_model.model.",
        texts={"text_encoder": Text("cond_stage_model.model.", open_clip=True, left_out=1)},
        heads=None,
        scale=0.18215,
        side=96,
        prediction="v_prediction",
    ),
)
