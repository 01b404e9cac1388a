"""The whole training plan at toy scale: every leg, each from the hand-over of the one before, to a model that draws.

    python tests/train_mini.py [FOLDER] [DATA_PACK]

Every leg is the command of docs/training-plan.md with `--size nano` and few samples. Without a data pack the drawings
are made up (discs, squares and crosses). Nothing that comes out is good; everything that comes out works.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from toys import sprite_table

import darkroom
from darkroom.cards import EMBEDDED
from darkroom.data.scenes.spec import FULL, Photo
from darkroom.data.stock import tables
from darkroom.data.stock.built import DRAWINGS, PHOTOS
from darkroom.data.stock.drawings import LARGE_TABLE, SpriteTable
from darkroom.wording.vocabulary import everyday

HATS = ("woman", "lion", "top hat", "crown")
LEGS = {
    "autoencoder": "train autoencoder --samples 6400 --crop 32",
    "text": "train text --samples 3200",
    "judge": "train judge --samples 1600 --no-compiled --words {words}",
    "base": "train diffusion --samples 19200 --no-compiled --autoencoder autoencoder/handover --text text/handover "
    "--kinds single:1 --styles 3d:1",
    "full": "train diffusion --samples 1600 --no-compiled --autoencoder autoencoder/handover --from base/handover "
    "--scenes full --vocabulary core --run 1",
    "flow-map": "train flow-map --samples 1600 --batch 16 --no-compiled --autoencoder autoencoder/handover "
    "--from base/handover --kinds single:1 --styles 3d:1",
    "upscaler": "train upscaler --samples 60 --autoencoder autoencoder/handover --crop 32",
}
AFTER = (
    "models judge --from judge/handover --data data --out judge/model --count 60",
    "models pack --autoencoder autoencoder/handover --base full/handover --upscaler upscaler/handover --out model",
    "models pack --autoencoder autoencoder/handover --base flow-map/handover --out quick",
    "models sheet model --out sheet.png --steps 4",
    'generate "a cat, 3d" --model model --seed 1 --upscale 2 --steps 4 --out drawn/model',
    'generate "a cat, 3d" --model quick --seed 1 --out drawn/quick',
    "evaluate --model model --judge judge/model --data data --out scores --limit 12 --report",
)


def replay(folder: Path, pack: Path | None = None) -> dict[str, float]:
    """Trains, packs, draws and measures in ``folder``; the seconds each part took. Raises where a command fails."""
    folder.mkdir(parents=True, exist_ok=True)
    took = {}
    if pack is None:
        made_up(folder / "data")
    else:
        took["data"] = done(f"data build --source {shlex.quote(str(pack))} --out data", folder)
    (folder / "text").mkdir(exist_ok=True)
    shutil.copy(EMBEDDED / "tokenizer.json", folder / "text")  # learning one takes minutes
    for name, command in LEGS.items():
        if name != "flow-map":  # which is as large as what it is made of
            command += " --size nano"
        words = shlex.quote(str(EMBEDDED / "tokenizer.json"))
        took[name] = done(f"{command.format(words=words)} --data data --out {name}", folder)
    for command in AFTER:
        took[command] = done(command, folder)
    return took


def done(command: str, folder: Path) -> float:
    """Runs one command of the program; its seconds."""
    print(f"darkroom {command}", flush=True)
    environment = {**os.environ, "PYTHONPATH": str(Path(darkroom.__file__).parents[1]), "NO_COLOR": "1"}
    started = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "darkroom.cli", *shlex.split(command)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if ended.returncode:
        raise RuntimeError(f"darkroom {command}\n{ended.stderr}")
    return time.monotonic() - started


def made_up(folder: Path) -> None:
    """Drawings of forty everyday things and of somebody with a hat on, some of them large as well, and photos."""
    words = (*(concept.word for concept in everyday()[:40]), *HATS)
    small = sprite_table(tuple(FULL.styles), words=words)
    tables.save(small.sprites, small.pixels, folder, DRAWINGS)
    both = [sprite for sprite in small.sprites if sprite.style in ("3d", "cartoon")]
    pixels = small.pixels[[sprite.row for sprite in both]].repeat_interleave(2, 2).repeat_interleave(2, 3)
    large = SpriteTable(tuple(replace(s, row=i, box=(28, 28, 228, 228)) for i, s in enumerate(both)), pixels)
    tables.save(large.sprites, large.pixels, folder, LARGE_TABLE)
    shots = torch.randint(0, 256, (40, 3, 128, 128), generator=torch.Generator().manual_seed(0)).byte()
    photos = [Photo(i, f"photo {i}", (f"a photo of a shirt, number {i}",), f"clothing/{i}") for i in range(40)]
    tables.save(photos, shots, folder, PHOTOS)


if __name__ == "__main__":
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/train-mini")
    seconds = replay(out, Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else None)
    for what, took in seconds.items():
        print(f"{took:7.1f} s  {what}")
    print(f"{sum(seconds.values()):7.1f} s in all; the model is {out / 'model'}, its sheet {out / 'sheet.png'}")
