"""A public checkpoint's network, asked by its own pipeline and by us: seconds of a guided step and of a decoding.

    python benchmarks/public.py [--side 512] [--rounds 3] [--dtype bfloat16] [--compiled] [--small] [--json]

Stable Diffusion 1.5's UNet and autoencoder at full size with random weights (``--small``: a quarter of the channels, to
try the script). A step is a prompt and a negative prompt at one level. The ways take turns, round by round, so that
what else the machine does falls on all of them alike; the fastest round of each counts. "pair" is the pipeline's own:
both in one pass, channels last. Ours is what ``darkroom generate`` does. Needs the extra ``public``.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from typing import Any

import torch

from darkroom.latent.kl import KlCodec
from darkroom.protocols import Call
from darkroom.synthesis.external.family import table_time
from darkroom.synthesis.external.networks import library
from darkroom.synthesis.external.public import Asking, PublicSynthesizer
from darkroom.synthesis.external.sd import ask
from darkroom.synthesis.noise import LinearBetaVP

TOKENS, TIME = 77, 500.0


def networks(small: bool, dtype: torch.dtype) -> tuple[Any, Any, int]:
    """The UNet, the autoencoder, and the width of the tokens that the first looks at."""
    diffusers = library("diffusers")
    share, width = (4, 192) if small else (1, 768)
    channels = tuple(n // share for n in (320, 640, 1280, 1280))
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=channels, cross_attention_dim=width, attention_head_dim=8, norm_num_groups=16
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=tuple(n // share for n in (128, 256, 512, 512)),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        norm_num_groups=16,
    )
    return unet.to(dtype).eval(), vae.to(dtype).eval(), width


def ways_of(side: int, small: bool, dtype: torch.dtype, compiled: bool) -> dict[str, dict[str, Callable[[], Any]]]:
    """What is timed: ways to take a step, and ways to decode."""
    unet, vae, width = networks(small, dtype)
    cells = side // 8
    x, tokens = torch.randn(2, 4, cells, cells), torch.randn(2, TOKENS, width)
    schedule = LinearBetaVP()
    ours = PublicSynthesizer(unet, Asking(ask, "eps", schedule, table_time(schedule)))  # channels last from here on
    codec = KlCodec(vae, 0.18215)
    pooled = torch.zeros(2, 1)
    calls = [Call(ours.NETWORK, {"x": x, "time": TIME, "tokens": tokens, "pooled": pooled})]
    decoding = [Call(codec.DECODER, {"x": x[0]})]
    pair, said = x.to(dtype).contiguous(memory_format=torch.channels_last), tokens.to(dtype)
    one = pair[:1] / 0.18215
    steps: dict[str, Callable[[], Any]] = {
        "pair": lambda: unet(pair, TIME, said).sample,
        "ours": lambda: ours.evaluate(calls),
    }
    if compiled:
        quick = torch.compile(unet)
        steps["pair, compiled"] = lambda: quick(pair, TIME, said).sample
    decodings = {"theirs": lambda: vae.decode(one).sample, "ours": lambda: codec.evaluate(decoding)}
    return {"step": steps, "decode": decodings}


def timed(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Seconds of the fastest round of each way; one before does not count."""
    best = dict.fromkeys(ways, float("inf"))
    with torch.inference_mode():
        for n in range(rounds + 1):
            for name, way in ways.items():
                begun = time.perf_counter()
                way()
                if n:
                    best[name] = min(best[name], time.perf_counter() - begun)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    torch.manual_seed(0)
    found = {
        what: timed(ways, asked.rounds)
        for what, ways in ways_of(asked.side, asked.small, getattr(torch, asked.dtype), asked.compiled).items()
    }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # GB, where the system counts in kB
    if asked.json:
        print(json.dumps({**found, "peak_gb": peak, "threads": torch.get_num_threads()}))
        return
    for what, seconds in found.items():
        for name, time_ in seconds.items():
            print(f"{what:<8}{name:<16}{time_:7.2f} s")
    print(f"peak memory {peak:.1f} GB, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
