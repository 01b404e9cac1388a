"""Z-Image (arXiv:2511.22699): text and picture as one stream through a transformer on a rectified flow; a Qwen3 reads.

Its time runs the other way, from 0 (noise) to 1 (clean), and so does its velocity. Its pipeline counts guidance from 0;
here 1 is plain, as everywhere. The turbo kind is drawn in few steps without any.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from darkroom.prompt.public import PublicEncoder, TalkReader
from darkroom.synthesis.external.family import KL, Assembled, Configs, Family, Opened, Part, codec_of
from darkroom.synthesis.external.flux import shift_of
from darkroom.synthesis.external.public import Asking, PublicSynthesizer
from darkroom.synthesis.noise import RectifiedFlow

TOKENS = 512  # what its pipeline reads
SIDE = 1024


def ask(network: Any, x: Tensor, time: float, tokens: Tensor, pooled: Tensor, guidance: float | None) -> Tensor:
    """Asks the transformer, which takes pictures as films of one frame, and lists of them for batches."""
    frames = list(x[:, :, None].unbind())
    answers = network(frames, x.new_full((len(x),), time), list(tokens.unbind()), return_dict=False)[0]
    return -torch.stack(answers)[:, :, 0]


def assembled(opened: Opened) -> Assembled:
    """The model of a checkpoint."""
    configs = opened.configs
    reader = TalkReader(opened.tokenizers["tokenizer"], opened.networks["text_encoder"], "text", TOKENS, layer=-2)
    asking = Asking(ask, "flow", RectifiedFlow(), lambda level: 1.0 - level.t, lambda shape: shift_of(configs, shape))
    encoder = PublicEncoder([reader], lambda text, reads: reads[0], chunked=False)
    return Assembled(encoder, codec_of(opened), PublicSynthesizer(opened.networks["transformer"], asking))


def template(configs: Configs) -> dict[str, Any]:
    """The card's defaults: what its pipeline draws the turbo kind with, which is the one that is published."""
    told = {"steps": 9, "sampler": "euler", "guidance": 1.0, "spacing": "even", "guidance_interval": (0.0, 1.0)}
    return {"width": SIDE, "height": SIDE, **told}


Z_IMAGE = Family(
    name="z-image",
    title="Z-Image",
    pipelines=("ZImagePipeline",),
    denoiser="transformer",
    parts={
        "transformer": Part("diffusers", ("ZImageTransformer2DModel",)),
        "vae": KL,
        "text_encoder": Part("transformers", ("Qwen3Model",), "Qwen3Config"),
    },
    tokenizers=("tokenizer",),
    suits=lambda configs: configs["transformer"].get("siglip_feat_dim") is None,
    template=template,
    assembled=assembled,
)
