"""How much nearer to the sharp picture the upscaler comes than a bicubic enlargement, and how long it takes.

    python benchmarks/upscaler.py --upscaler RUN/handover --data BUILT [--pack PACK] [--scenes 100] [--crops FOLDER]

On drawings of held-out pairs of concept and style, on scenes of the other kinds, and with --pack on its ten
backgrounds; each halved evenly, halved by a cubic, and halved evenly and passed through the model's autoencoder. PSNR
in dB of the bytes that would be written, the mean over pictures. The bicubic beside it is the better one of a = -1/2
and a = -3/4, picture by picture. --crops writes enlarged crops to look at: sharp, bicubic, ours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from darkroom.cards import EMBEDDED
from darkroom.contracts.errors import DarkroomError
from darkroom.data.halved import KEPT, SharpPictures, area, cubic
from darkroom.data.stock import built
from darkroom.data.stock.pack import Pack
from darkroom.nn.autoencoder import Autoencoder
from darkroom.nn.upscaler import Upscaler, UpscalerConfig, bicubic
from darkroom.refine.upscale import NetworkUpscaler
from darkroom.training.handover import load_into, network_of, opened_autoencoder

SIDES = (256, 128)  # of the pictures that are enlarged in the timing
SHOWN = 64  # pixels a side of a crop of the sharp picture, and how often each is repeated
MAGNIFIED = 4
Way = Callable[[Tensor], Tensor]  # one picture (3, H, W) to another


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upscaler", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--autoencoder", type=Path, default=EMBEDDED)
    parser.add_argument("--pack", type=Path)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--crops", type=Path)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)

    upscaler = opened(asked.upscaler)
    codec = opened_autoencoder(asked.autoencoder).to(torch.bfloat16).eval()
    found: dict[str, dict[str, float]] = {}
    with torch.inference_mode():
        for name, pictures in sources(asked.data, asked.pack, asked.scenes):
            for how, small in ways(codec).items():
                rows = [measured(picture, small(picture), upscaler) for picture in pictures]
                means = {column: statistics.fmean(row[column] for row in rows) for column in rows[0]}
                worse = sum(row["gain"] < 0 for row in rows) / len(rows)
                found[f"{name}, {how}"] = {**means, "worse": worse, "pictures": len(rows)}
                if asked.crops:
                    write_crops(asked.crops / f"{name} {how}.png".replace(" ", "-"), pictures[:6], small, upscaler)
        seconds = {f"{side} -> {2 * side}": timed(upscaler, side, asked.runs) for side in SIDES}
    if asked.json:
        print(json.dumps({"psnr": found, "seconds": seconds, "threads": torch.get_num_threads()}))
        return
    print(f"{'':<46}{'bicubic':>9}{'ours':>9}{'gain':>8}{'worse':>8}{'pictures':>10}")
    for name, row in found.items():
        share = f"{row['worse']:.0%}"
        print(f"{name:<46}{row['bicubic']:>9.2f}{row['ours']:>9.2f}{row['gain']:>+8.2f}{share:>8}{row['pictures']:>10}")
    for name, times in seconds.items():
        wall, busy = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{name}: {wall:.3f} s warm, {busy:.3f} s of processor time, {torch.get_num_threads()} threads")


def opened(folder: Path) -> NetworkUpscaler:
    """The upscaler of a hand-over or a model folder, as models run it."""
    network = Upscaler(network_of(folder, "upscaler", UpscalerConfig))
    load_into(network, folder, "upscaler")
    return NetworkUpscaler(network.to(torch.bfloat16).eval())


def sources(data: Path, pack: Path | None, scenes: int) -> Iterator[tuple[str, list[Tensor]]]:
    """Names and sharp pictures; none of them was trained on."""
    stock, large = built.load(data), built.load_large(data)

    def held_out(**changes: object) -> list[Tensor]:
        return SharpPictures(stock, large, stream="held-out", run=1, **changes)(0, scenes)  # type: ignore[arg-type]

    single = {"single": 1.0}
    yield "held-out drawings", held_out(kinds=single, held_out="only", medium_share=0.0, shares={"large": 1.0})
    yield (
        "held-out drawings of 128 px",
        held_out(kinds=single, held_out="only", medium_share=0.0, shares={"small": 1.0}),
    )
    yield "scenes of all kinds", held_out(shares={"large": 0.65, "small": 0.35})
    if pack is not None:
        opened_pack = Pack(pack)
        rows = [row for row in opened_pack.rows("photos") if row["id"].startswith(KEPT)]
        photos = [torch.from_numpy(opened_pack.picture(row, "RGB").copy()).permute(2, 0, 1) for row in rows]
        yield "backgrounds", [p[:, : p.shape[1] // 16 * 16, : p.shape[2] // 16 * 16].float() / 255 for p in photos]


def ways(codec: Autoencoder) -> dict[str, Way]:
    """How pictures come to be of half their size."""

    def decoded(picture: Tensor) -> Tensor:
        small = area(picture)[None].to(torch.bfloat16, memory_format=torch.channels_last)
        return codec.decode(codec.encode(small)).float().clamp(0, 1)[0]

    return {"halved evenly": area, "halved by a cubic": cubic, "decoded": decoded}


def measured(sharp: Tensor, small: Tensor, upscaler: NetworkUpscaler) -> dict[str, float]:
    """PSNR of the enlargements of one picture."""
    plain = max(psnr(made, sharp) for made in (bicubic(small[None])[0], _steeper(small)))
    ours = psnr(enlarged(small, upscaler), sharp)
    return {"bicubic": plain, "ours": ours, "gain": ours - plain}


def enlarged(small: Tensor, upscaler: NetworkUpscaler) -> Tensor:
    """By the same way as a picture of a model."""
    task = upscaler.refine(small)
    try:
        calls = next(task)
        task.send(upscaler.evaluate(calls))
    except StopIteration as done:
        made: Tensor = done.value
        return made
    raise RuntimeError("the upscaler asked for more than one pass")


def _steeper(small: Tensor) -> Tensor:
    return F.interpolate(small[None], scale_factor=2, mode="bicubic")[0]  # a = -3/4


def psnr(made: Tensor, sharp: Tensor) -> float:
    """Between bytes, in dB."""
    error = (_bytes(made).float() - _bytes(sharp).float()).square().mean() / 255**2
    return float(-10 * error.clamp_min(1e-7).log10())


def _bytes(pixels: Tensor) -> Tensor:
    return (pixels.clamp(0, 1) * 255).round().byte()


def timed(upscaler: NetworkUpscaler, side: int, runs: int) -> list[tuple[float, float]]:
    """Seconds of one picture, alone and warm: on the clock, and of the processor (on a busy machine they differ)."""
    small, found = torch.rand(3, side, side), []
    for _ in range(runs + 2):
        started, busy = time.perf_counter(), time.process_time()
        enlarged(small, upscaler)
        found.append((time.perf_counter() - started, time.process_time() - busy))
    return found[2:]


def write_crops(path: Path, pictures: Sequence[Tensor], small: Way, upscaler: NetworkUpscaler) -> None:
    """A sheet to look at: for each picture its most detailed crop sharp, bicubic and ours, every pixel repeated."""
    rows = []
    for sharp in pictures:
        shrunk = small(sharp)
        shown = (sharp, bicubic(shrunk[None])[0], enlarged(shrunk, upscaler))
        detail = F.avg_pool2d(sharp.diff(dim=-1).abs().mean(0)[None, None], SHOWN, SHOWN // 2)[0, 0]
        top, left = (int(n) * (SHOWN // 2) for n in divmod(int(detail.argmax()), detail.shape[1]))
        crops = [one[:, top : top + SHOWN, left : left + SHOWN] for one in shown]
        rows.append(torch.cat([F.pad(crop, (0, 2), value=1.0) for crop in crops], 2))
    sheet = _bytes(torch.cat([F.pad(row, (0, 0, 0, 2), value=1.0) for row in rows], 1))
    sheet = sheet.repeat_interleave(MAGNIFIED, 1).repeat_interleave(MAGNIFIED, 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(sheet.permute(1, 2, 0).numpy())).save(path)


if __name__ == "__main__":
    try:
        main()
    except DarkroomError as error:
        sys.exit(f"error: {error}")
