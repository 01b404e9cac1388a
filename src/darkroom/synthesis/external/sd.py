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
    CONTROL,
    KL,
    UNET,
    Assembled,
    Configs,
    Family,
    Opened,
    beta_schedule,
    codec_of,
    prediction,
    sampling,
    side,
    table_time,
)
from darkroom.synthesis.external.public import Asking, Controlling, PublicSynthesizer
from darkroom.synthesis.external.single import Single, Text

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
    control=CONTROL,
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
    control=CONTROL,
    single=Single(
        mark="cond_stage_model.model.",
        texts={"text_encoder": Text("cond_stage_model.model.", open_clip=True, left_out=1)},
        heads=None,
        scale=0.18215,
        side=96,
        prediction="v_prediction",
    ),
)
