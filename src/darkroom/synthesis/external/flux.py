"""FLUX.1, dev and schnell: a transformer on a rectified flow over patches of 2x2 cells, which reads a T5 and a CLIP.

The dev kind has guidance within (it was distilled from a guided one) and is told how strong it is to be; the schnell
kind was made for few steps and knows no guidance. Neither is led away from a negative prompt.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from darkroom.nn.public.features import Features, summed
from darkroom.prompt.public import ClipReader, PublicEncoder, Read, Reader, T5Reader
from darkroom.synthesis.external.family import (
    CLIP,
    KL,
    T5,
    Assembled,
    Configs,
    ControlKind,
    Family,
    Opened,
    Part,
    codec_of,
)
from darkroom.synthesis.external.public import Asking, Controlling, PublicSynthesizer
from darkroom.synthesis.external.single import FLUX_FILE, Shapes
from darkroom.synthesis.noise import RectifiedFlow

PATCH = 2  # cells a side of what the transformer takes for one token
DEV_TOKENS, SCHNELL_TOKENS = 512, 256  # of T5, as each was trained
SIDE = 1024


def ask(
    network: Any,
    x: Tensor,
    time: float,
    tokens: Tensor,
    pooled: Tensor,
    guidance: float | None,
    added: Sequence[Features] = (),
) -> Tensor:
    """Asks the transformer about patches, and puts its answer together again; ``added`` is what each ControlNet adds to
    its features."""
    told = _told(x, time, tokens, pooled, guidance)
    if added:
        first, then = len(network.transformer_blocks), len(network.single_transformer_blocks)
        told["controlnet_block_samples"] = spread([one.first for one in added], first)
        told["controlnet_single_block_samples"] = spread([one.then for one in added], then)
    answer: Tensor = network(**told).sample
    return unpacked(answer, x.shape[2] // PATCH, x.shape[3] // PATCH)


def control(
    network: Any,
    x: Tensor,
    time: float,
    tokens: Tensor,
    pooled: Tensor,
    guidance: float | None,
    cells: Tensor,
    scale: float,
) -> Features:
    """Asks a ControlNet, which is told what the transformer is told, and shown the latent of its map."""
    told = _told(x, time, tokens, pooled, guidance if network.config.guidance_embeds else None)
    first, then = network(controlnet_cond=packed(cells), conditioning_scale=scale, **told, return_dict=False)
    return Features(first or (), then or ())


def _told(x: Tensor, time: float, tokens: Tensor, pooled: Tensor, guidance: float | None) -> dict[str, Any]:
    """What both are told: x in patches, and where each lies."""
    rows, columns = x.shape[2] // PATCH, x.shape[3] // PATCH
    places = torch.cartesian_prod(torch.zeros(1), torch.arange(float(rows)), torch.arange(float(columns)))
    return {
        "hidden_states": packed(x),
        "timestep": x.new_full((len(x),), time),
        "guidance": None if guidance is None else x.new_full((len(x),), guidance, dtype=torch.float32),
        "pooled_projections": pooled,
        "encoder_hidden_states": tokens,
        "txt_ids": x.new_zeros(tokens.shape[1], 3),
        "img_ids": places.to(x),
    }


# Settings of a transformer that its ControlNets have, too, and those that are counted: they have copies of its blocks.
_SHARED = (
    *("patch_size", "in_channels", "attention_head_dim", "num_attention_heads", "joint_attention_dim"),
    *("pooled_projection_dim", "guidance_embeds", "axes_dims_rope"),
)
_COUNTED = {"num_layers": "transformer_blocks", "num_single_layers": "single_transformer_blocks"}


def control_settings(transformer: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """The settings of a ControlNet in a file: its transformer's, and as many blocks as there are."""
    blocks = {name: {at.split(".")[1] for at in shapes if at.startswith(f"{name}.")} for name in _COUNTED.values()}
    counted = {count: len(blocks[name]) for count, name in _COUNTED.items()}
    return {name: transformer[name] for name in _SHARED if name in transformer} | counted


def control_asks(network: Any, its: Shapes, factor: int) -> dict[str, tuple[int, ...] | None]:
    """Where a ControlNet touches a transformer: patches, tokens, and the vector for the whole text."""
    own = network.state_dict()
    alike = ("x_embedder", "context_embedder", "time_text_embed.text_embedder.linear_1")
    return {f"{name}.weight": tuple(own[f"{name}.weight"].shape) for name in alike}


def spread(added: Sequence[Sequence[Tensor]], blocks: int) -> list[Tensor] | None:
    """What ControlNets add after each of so many blocks, in all; None: nothing. They have fewer blocks, of which each
    serves several in a row."""
    some = [[one[int(n // (blocks / len(one)))] for n in range(blocks)] for one in added if one]
    return summed(some) or None


def packed(x: Tensor) -> Tensor:
    """(b, c, h, w) cells to (b, h/2 * w/2, c * 4): a patch's four cells of each channel, row by row."""
    b, c, h, w = x.shape
    patches = x.reshape(b, c, h // PATCH, PATCH, w // PATCH, PATCH)
    return patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpacked(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """The inverse of :func:`packed`."""
    b, _, width = tokens.shape
    patches = tokens.reshape(b, rows, columns, width // PATCH**2, PATCH, PATCH)
    return patches.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def joined(text: str, reads: Sequence[Read]) -> Read:
    """T5's tokens, and CLIP's vector for the whole text, of which it reads the first 77 tokens."""
    clip, t5 = reads
    return Read(t5.tokens, clip.pooled)


def shift_of(configs: Configs, shape: tuple[int, int, int]) -> float:
    """How far steps move towards the noise: exp(mu), mu linear in the number of patches, where the scheduler asks."""
    said = configs["scheduler"]
    if not said.get("use_dynamic_shifting"):
        return float(said.get("shift", 1.0))
    few, many = said.get("base_image_seq_len", 256), said.get("max_image_seq_len", 4096)
    low, high = said.get("base_shift", 0.5), said.get("max_shift", 1.15)
    patches = shape[1] * shape[2] / PATCH**2
    return math.exp(low + (high - low) * (patches - few) / (many - few))


def _is_dev(configs: Configs) -> bool:
    return bool(configs["transformer"].get("guidance_embeds"))


def _is_plain(configs: Configs) -> bool:
    """Whether it is shown the latent alone: those that fill, or follow a picture, are shown more."""
    cells = configs["vae"].get("latent_channels", 16) * PATCH**2
    return bool(configs["transformer"].get("in_channels", 64) == cells)


def assembled(opened: Opened) -> Assembled:
    """The model of a checkpoint."""
    words, networks, configs = opened.tokenizers, opened.networks, opened.configs
    limit, codec = DEV_TOKENS if _is_dev(configs) else SCHNELL_TOKENS, codec_of(opened)
    readers: list[Reader] = [
        ClipReader(words["tokenizer"], networks["text_encoder"], "text"),
        T5Reader(words["tokenizer_2"], networks["text_encoder_2"], "text_2", limit),
    ]
    asking = Asking(
        ask,
        "flow",
        RectifiedFlow(),
        lambda level: level.t,
        lambda shape: shift_of(configs, shape),
        guides_itself=_is_dev(configs),
        guidable=_is_dev(configs),
        control=Controlling(control, codec.channels, latent=True),
    )
    encoder = PublicEncoder(readers, joined, leading=1, chunked=False)
    return Assembled(encoder, codec, PublicSynthesizer(networks["transformer"], asking))


def template(configs: Configs) -> dict[str, Any]:
    """The card's defaults: what its pipeline draws with."""
    steps, guidance = (28, 3.5) if _is_dev(configs) else (4, 1.0)
    told = {"steps": steps, "sampler": "euler", "guidance": guidance, "spacing": "even"}
    return {"width": SIDE, "height": SIDE, **told, "guidance_interval": (0.0, 1.0)}


FLUX = Family(
    name="flux",
    title="FLUX.1",
    pipelines=("FluxPipeline",),
    denoiser="transformer",
    parts={
        "transformer": Part("diffusers", ("FluxTransformer2DModel",)),
        "vae": KL,
        "text_encoder": CLIP,
        "text_encoder_2": T5,
    },
    tokenizers=("tokenizer", "tokenizer_2"),
    suits=lambda configs: configs["transformer"].get("patch_size", 1) == 1 and _is_plain(configs),
    template=template,
    assembled=assembled,
    single=FLUX_FILE,
    control=ControlKind(
        part=Part("diffusers", ("FluxControlNetModel",)),
        settings=control_settings,
        asks=control_asks,
        others={
            "num_mode": "which makes it several in one, and those are not here",
            "conditioning_embedding_channels": "by which it reads pixels in a way that is not here",
        },
    ),
)
