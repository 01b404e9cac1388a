"""A public checkpoint's network, asked by its own pipeline and by us: seconds of a guided step and of a decoding.

    python benchmarks/public.py [--side 512] [--rounds 3] [--dtype bfloat16] [--compiled] [--small] [--json]

Stable Diffusion 1.5's UNet and autoencoder at full size with random weights (``--small``: a quarter of the channels, to
try the script). A step is a prompt and a negative prompt at one level, in one pass, channels last: the pipeline's
quickest eager way. Ours is what ``darkroom generate`` does. Each way is a process of its own, so that each has its own
memory and its own allocator: "theirs" as Python comes, "theirs, pages kept" with the settings for the allocator that
our programs give themselves. The processes take turns, round by round, so that what else the machine does falls on all
of them alike; the fastest round of each counts. Needs the extra ``public``.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import PIPE
from typing import Any

import torch

from darkroom.latent.kl import KlCodec
from darkroom.machine.heap import give_back, keep_pages
from darkroom.nn.public.quick import quickened
from darkroom.protocols import Call
from darkroom.synthesis.external.family import table_time
from darkroom.synthesis.external.networks import library
from darkroom.synthesis.external.public import Asking, PublicSynthesizer
from darkroom.synthesis.external.sd import ask
from darkroom.synthesis.noise import LinearBetaVP

TOKENS, TIME = 77, 500.0
WAYS = ("theirs", "theirs, pages kept", "theirs, compiled", "ours")


def networks(small: bool) -> tuple[Any, Any, int]:
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
    return unet.eval(), vae.eval(), width


def calls_of(way: str, side: int, small: bool, dtype: torch.dtype) -> dict[str, Callable[[], Any]]:
    """What one way is timed at: a step, and a decoding."""
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)  # what networks are made in, so that they never need more memory than that
    unet, vae, width = networks(small)
    torch.set_default_dtype(torch.float32)
    cells = side // 8
    x, tokens = torch.randn(2, 4, cells, cells), torch.randn(2, TOKENS, width)
    if way == "ours":
        schedule = LinearBetaVP()
        ours = PublicSynthesizer(quickened(unet), Asking(ask, "eps", schedule, table_time(schedule)))
        codec = KlCodec(quickened(vae), 0.18215)
        calls = [Call(ours.NETWORK, {"x": x, "time": TIME, "tokens": tokens, "pooled": torch.zeros(2, 1)})]
        decoding = [Call(codec.DECODER, {"x": x[0]})]
        return {"step": lambda: ours.evaluate(calls), "decode": lambda: codec.evaluate(decoding)}
    unet, vae = (network.to(memory_format=torch.channels_last) for network in (unet, vae))
    step, decode = unet, vae.decode
    if way == "theirs, compiled":
        step, decode = torch.compile(unet), torch.compile(vae.decode)
    pair, said = x.to(dtype).contiguous(memory_format=torch.channels_last), tokens.to(dtype)
    one = (pair[:1] / 0.18215).contiguous(memory_format=torch.channels_last)
    return {"step": lambda: step(pair, TIME, said).sample, "decode": lambda: decode(one).sample}


def serve(way: str, side: int, small: bool, dtype: torch.dtype) -> None:
    """A process of one way: times what each line of its input names, and says so; at the end its peak of memory."""
    if way != "theirs":
        keep_pages()
    calls = calls_of(way, side, small, dtype)
    give_back()
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here: not how networks are made
    with torch.inference_mode():
        for line in sys.stdin:
            begun = time.perf_counter()
            calls[line.strip()]()
            print(time.perf_counter() - begun, flush=True)
    [peak] = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
    print(int(peak) / 2**20, flush=True)  # kB


def measured(ways: Sequence[str], rounds: int, arguments: Sequence[str]) -> dict[str, dict[str, float]]:
    """Seconds of the fastest round of each way, and its peak of memory; a round before does not count."""
    begin = [sys.executable, __file__, *arguments, "--way"]
    running = {way: subprocess.Popen([*begin, way], stdin=PIPE, stdout=PIPE, text=True) for way in ways}
    best = {way: {"step": math.inf, "decode": math.inf} for way in ways}
    for n in range(rounds + 1):
        for way, process in running.items():
            for what in best[way]:
                assert process.stdin is not None and process.stdout is not None
                print(what, file=process.stdin, flush=True)
                seconds = float(process.stdout.readline())
                if n:
                    best[way][what] = min(best[way][what], seconds)
    return {way: {**best[way], "peak, GB": float(process.communicate()[0])} for way, process in running.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        return serve(asked.way, asked.side, asked.small, getattr(torch, asked.dtype))
    ways = [way for way in WAYS if asked.compiled or "compiled" not in way]
    given = ["--side", str(asked.side), "--dtype", asked.dtype, *["--small"] * asked.small]
    found = measured(ways, asked.rounds, given)
    if asked.json:
        print(json.dumps({**found, "threads": torch.get_num_threads()}))
        return
    print(f"{asked.side}x{asked.side}, {asked.dtype}, {torch.get_num_threads()} threads, fastest of {asked.rounds}")
    print("in brackets: times as much as ours")
    for way, figures in found.items():
        told = (f"{what} {value:.3f} ({value / found['ours'][what]:.2f})" for what, value in figures.items())
        print(f"{way:<20}" + "  ".join(told))


if __name__ == "__main__":
    main()
