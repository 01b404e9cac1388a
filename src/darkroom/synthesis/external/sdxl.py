"""Stable Diffusion XL (arXiv:2307.01952): a UNet that looks at two CLIPs' tokens side by side, and is told sizes.

Its turbo kind (arXiv:2311.17042) is drawn in few steps without guidance. Its refiner (section 2.5) is a network of its
own for where little noise is left: it reads with the second CLIP alone, and is told how well a picture is to look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from darkroom.nn.public.features import Features, pixels_of
from darkroom.prompt.public import ClipReader, PublicEncoder, Read
from darkroom.protocols import Conditioning
from darkroom.synthesis.external.family import (
    CLIP,
    KL,
    PIPELINE,
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
from darkroom.synthesis.external.sd import CONTROL_NET, with_features
from darkroom.synthesis.external.single import Single, Text

PENULTIMATE = -2  # the hidden states it was trained on
WELL, BADLY = 6.0, 2.5  # how the refiner's pictures are to look, and not to: scores that its pipeline has, of 1 to 10
SIZES, SIZES_AND_SCORE = 6, 5  # numbers a UNet is told: three sizes; two, and a score


def ask(
    network: Any,
    x: Tensor,
    time: float,
    tokens: Tensor,
    pooled: Tensor,
    guidance: float | None,
    added: Sequence[Features] = (),
    factor: int = 8,
) -> Tensor:
    """Asks the UNet; ``added`` is what each ControlNet adds to its features."""
    told = sizes_told(x, pooled, factor)
    answer: Tensor = network(x, time, tokens, added_cond_kwargs=told, **with_features(added)).sample
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
    told = sizes_told(x, pooled, factor)
    picture = pixels_of(cells, factor)
    down, mid = network(x, time, tokens, picture, scale, added_cond_kwargs=told, return_dict=False)
    return Features(down, [mid])


def sizes_told(x: Tensor, pooled: Tensor, factor: int) -> dict[str, Tensor]:
    """What is told besides tokens: the text's vector; the picture's size, where it was cut from (nowhere), and the size
    it is for."""
    height, width = (float(factor * cells) for cells in x.shape[2:])
    sizes = x.new_tensor([[height, width, 0.0, 0.0, height, width]]).expand(len(x), -1)
    return {"text_embeds": pooled, "time_ids": sizes}


def joined(text: str, reads: Sequence[Read], empty_is_zero: bool) -> Read:
    """Both CLIPs' vectors of each token, one after the other; the second's vector for the whole text.

    ``empty_is_zero``: the empty sentence is vectors of zeros, as the checkpoint was trained without words.
    """
    tokens, pooled = torch.cat([read.tokens for read in reads], 1), reads[-1].pooled
    if empty_is_zero and not text:
        return Read(torch.zeros_like(tokens), torch.zeros_like(pooled))
    return Read(tokens, pooled)


def ask_refiner(
    network: Any,
    x: Tensor,
    time: float,
    tokens: Tensor,
    pooled: Tensor,
    guidance: float | None,
    factor: int = 8,
) -> Tensor:
    """Asks the refiner's UNet: it is told the picture's size, where it was cut from, and the score, which is the last
    number of ``pooled``."""
    told = sizes_told(x, pooled[:, :-1], factor)
    told["time_ids"] = torch.cat([told["time_ids"][:, :4], pooled[:, -1:].to(x)], 1)
    answer: Tensor = network(x, time, tokens, added_cond_kwargs=told).sample
    return answer


def scored(read: Read, score: float) -> Read:
    """What was read, with a score after the vector for the whole text."""
    return Read(read.tokens, torch.cat([read.pooled, read.pooled.new_tensor([score])]))


def unwanted(said: Conditioning) -> Conditioning:
    """A negative prompt: what it says is of a picture that looks bad."""
    return replace(said, pooled=torch.cat([said.pooled[:-1], said.pooled.new_tensor([BADLY])]))


def assembled_refiner(opened: Opened) -> Assembled:
    """The model of a refiner."""
    reader = ClipReader(opened.tokenizers["tokenizer_2"], opened.networks["text_encoder_2"], "text_2", PENULTIMATE)
    zero = bool(opened.configs[PIPELINE].get("force_zeros_for_empty_prompt", True))
    schedule, codec = beta_schedule(opened.configs), codec_of(opened)
    asks = partial(ask_refiner, factor=codec.factor)
    asking = Asking(asks, prediction(opened.configs), schedule, table_time(schedule), unwanted=unwanted)

    def join(text: str, reads: Sequence[Read]) -> Read:
        return scored(joined(text, reads, zero), WELL)

    encoder = PublicEncoder([reader], join, chunked=True)
    return Assembled(encoder, codec, PublicSynthesizer(opened.networks["unet"], asking))


def told_numbers(configs: Configs) -> float:
    """How many numbers a UNet is told beside the text's vector; 0 where it is told none so."""
    said = configs["unet"]
    if said.get("addition_embed_type") != "text_time" or said.get("in_channels") != 4:
        return 0
    width = said.get("projection_class_embeddings_input_dim", 0) - configs["text_encoder_2"].get("projection_dim", 512)
    return float(width / (said.get("addition_time_embed_dim") or 1))


def assembled(opened: Opened) -> Assembled:
    """The model of a checkpoint."""
    readers = [
        ClipReader(opened.tokenizers[f"tokenizer{n}"], opened.networks[f"text_encoder{n}"], f"text{n}", PENULTIMATE)
        for n in ("", "_2")
    ]
    zero = bool(opened.configs[PIPELINE].get("force_zeros_for_empty_prompt", True))
    schedule, codec = beta_schedule(opened.configs), codec_of(opened)
    asks, controls = (
        partial(ask, factor=codec.factor),
        Controlling(partial(control, factor=codec.factor), codec.channels),
    )
    asking = Asking(asks, prediction(opened.configs), schedule, table_time(schedule), control=controls)
    encoder = PublicEncoder(readers, partial(joined, empty_is_zero=zero), chunked=True)
    return Assembled(encoder, codec, PublicSynthesizer(opened.networks["unet"], asking))


def template(configs: Configs) -> dict[str, Any]:
    """The card's defaults; a scheduler with fresh noise and trailing steps is that of the turbo kind."""
    size, said = side(configs, "unet"), configs["scheduler"]
    turbo = said.get("timestep_spacing") == "trailing" and "Ancestral" in str(said.get("_class_name"))
    steps, guidance = (4, 1.0) if turbo else (30, 5.0)
    return {"width": size, "height": size, **sampling(configs, steps, guidance)}


SDXL = Family(
    name="sdxl",
    title="Stable Diffusion XL",
    pipelines=("StableDiffusionXLPipeline",),
    denoiser="unet",
    parts={"unet": UNET, "vae": KL, "text_encoder": CLIP, "text_encoder_2": CLIP},
    tokenizers=("tokenizer", "tokenizer_2"),
    suits=lambda configs: told_numbers(configs) == SIZES,
    template=template,
    assembled=assembled,
    control=CONTROL_NET,
    single=Single(
        mark="conditioner.embedders.1.",
        texts={
            "text_encoder": Text("conditioner.embedders.0.transformer."),
            "text_encoder_2": Text("conditioner.embedders.1.model.", "CLIPTextModelWithProjection", open_clip=True),
        },
        heads=None,
        scale=0.13025,
        side=128,
        prediction="epsilon",
    ),
)
REFINER = Family(
    name="sdxl-refiner",
    title="Stable Diffusion XL refiner",
    pipelines=("StableDiffusionXLImg2ImgPipeline",),
    denoiser="unet",
    parts={"unet": UNET, "vae": KL, "text_encoder_2": CLIP},
    tokenizers=("tokenizer_2",),
    suits=lambda configs: told_numbers(configs) == SIZES_AND_SCORE,
    template=template,
    assembled=assembled_refiner,
    optional=("safety_checker", "feature_extractor", "image_encoder", "text_encoder", "tokenizer"),
    single=Single(
        mark="conditioner.embedders.0.model.",
        texts={
            "text_encoder_2": Text("conditioner.embedders.0.model.", "CLIPTextModelWithProjection", open_clip=True),
        },
        heads=None,
        scale=0.13025,
        side=128,
        prediction="epsilon",
        told=SIZES_AND_SCORE,
        pipeline={"requires_aesthetics_score": True, "force_zeros_for_empty_prompt": False},
    ),
)
