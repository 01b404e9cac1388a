"""Stable Diffusion 3 and 3.5 (arXiv:2403.03206): a transformer on a rectified flow, which reads two CLIPs and a T5.

A checkpoint may come without its T5, whose vectors are then zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from darkroom.prompt.public import ClipReader, PublicEncoder, Read, Reader, T5Reader
from darkroom.synthesis.external.family import CLIP, KL, T5, Assembled, Configs, Family, Opened, Part, codec_of, side
from darkroom.synthesis.external.public import Asking, PublicSynthesizer
from darkroom.synthesis.external.single import SD3_FILE
from darkroom.synthesis.noise import RectifiedFlow

T5_TOKENS = 256  # what its pipeline reads
SHIFT = 3.0  # section 5.3.2: of pictures of a megapixel
TIMES = 1000  # what the network counts time in


def ask(network: Any, x: Tensor, time: float, tokens: Tensor, pooled: Tensor, guidance: float | None) -> Tensor:
    """Asks the transformer."""
    when = x.new_full((len(x),), time)
    answer: Tensor = network(x, encoder_hidden_states=tokens, pooled_projections=pooled, timestep=when).sample
    return answer


def joined(text: str, reads: Sequence[Read], width: int) -> Read:
    """Both CLIPs' vectors of each token one after the other, filled with zeros to the ``width`` of T5's, then T5's."""
    first, second, *rest = reads
    clip = torch.cat([first.tokens, second.tokens], 1)
    t5 = rest[0].tokens if rest else clip.new_zeros(T5_TOKENS, width)
    return Read(torch.cat([F.pad(clip, (0, width - clip.shape[1])), t5]), torch.cat([first.pooled, second.pooled]))


def assembled(opened: Opened) -> Assembled:
    """The model of a checkpoint."""
    words, networks = opened.tokenizers, opened.networks
    readers: list[Reader] = [
        ClipReader(words[f"tokenizer{n}"], networks[f"text_encoder{n}"], f"text{n}", layer=-2) for n in ("", "_2")
    ]
    if "text_encoder_3" in networks:
        readers.append(T5Reader(words["tokenizer_3"], networks["text_encoder_3"], "text_3", T5_TOKENS))
    shift = float(opened.configs["scheduler"].get("shift", SHIFT))
    asking = Asking(ask, "flow", RectifiedFlow(), lambda level: TIMES * level.t, lambda shape: shift)
    width = int(opened.configs["transformer"]["joint_attention_dim"])
    encoder = PublicEncoder(readers, partial(joined, width=width), leading=len(readers) - 1, chunked=False)
    return Assembled(encoder, codec_of(opened), PublicSynthesizer(networks["transformer"], asking))


def template(configs: Configs) -> dict[str, Any]:
    """The card's defaults: what its pipeline draws with."""
    size = side(configs, "transformer")
    spacing = "sd3" if configs["scheduler"].get("shift", SHIFT) == SHIFT else "linspace"
    told = {"steps": 28, "sampler": "euler", "guidance": 7.0, "spacing": spacing, "guidance_interval": (0.0, 1.0)}
    return {"width": size, "height": size, **told}


SD3 = Family(
    name="sd3",
    title="Stable Diffusion 3",
    pipelines=("StableDiffusion3Pipeline",),
    denoiser="transformer",
    parts={
        "transformer": Part("diffusers", ("SD3Transformer2DModel",)),
        "vae": KL,
        "text_encoder": CLIP,
        "text_encoder_2": CLIP,
        "text_encoder_3": T5,
    },
    tokenizers=("tokenizer", "tokenizer_2", "tokenizer_3"),
    spare=("text_encoder_3", "tokenizer_3"),
    suits=lambda configs: not configs["scheduler"].get("use_dynamic_shifting"),
    template=template,
    assembled=assembled,
    single=SD3_FILE,
)
