"""Whether a LoRA of forty drawings teaches a style: the one that is held out of all training.

    python benchmarks/lora_style.py --source PACK --data BUILT [--out runs/lora-style] [--minutes 20] [--samples N]
        [--variant dora] [--prior N] [--prompts 100] [--lora FILE] [--scale 1] [--judge FOLDER] [--json]

Forty of its drawings, on white, become a folder with captions, and `darkroom train lora` learns from it (--lora takes a
file that is there already). Then pictures of other things are drawn, each with the adapter and without: a linear rule
on what the judge sees, fitted to the style's remaining drawings and to those of the styles that training showed, says
which of them are in the style; and the judge says how many show what was asked for. Two sheets are written to look at.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from darkroom.contracts.request import Request
from darkroom.data.split import HELD_OUT_STYLE
from darkroom.data.stock import built
from darkroom.data.stock.pack import Pack
from darkroom.engine import Engine
from darkroom.evaluation.likeness.distances import pixels_of, seen_features
from darkroom.evaluation.likeness.naming import fitted
from darkroom.generate import asked
from darkroom.judge.expect import Expectation
from darkroom.judge.judge import Judge, load_judge
from darkroom.model import Model, load
from darkroom.picture.sheet import contact_sheet
from darkroom.picture.write import write
from darkroom.wording.vocabulary import article, concept_of, everyday

TRIGGER = "line art style"
TAUGHT, SEED = 40, 0
SIDE = 128


def on_white(rgba: np.ndarray) -> np.ndarray:
    """A drawing on white, (128, 128, 3)."""
    image = Image.fromarray(rgba).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image).convert("RGB"))


def drawings(pack: Pack) -> list[tuple[str, np.ndarray]]:
    """The style's drawings of concepts that there are words for, with the word, in a fixed order by chance."""
    rows = [row for row in pack.rows("sprites") if row["style"] == HELD_OUT_STYLE and concept_of(row["name"])]
    Random(SEED).shuffle(rows)
    found = {concept_of(row["name"]).word: row for row in reversed(rows)}  # type: ignore[union-attr]
    return [(word, on_white(pack.picture(row))) for word, row in found.items()]


def taught(some: Sequence[tuple[str, np.ndarray]], folder: Path) -> Path:
    """A folder of pictures with captions."""
    folder.mkdir(parents=True, exist_ok=True)
    for word, pixels in some:
        name = word.replace(" ", "-")
        Image.fromarray(pixels).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(f"{article(word)} {word} on a white background", encoding="utf-8")
    return folder


def tensors(pictures: Sequence[np.ndarray]) -> Tensor:
    """Pictures as the judge sees them, (n, 3, 128, 128)."""
    return torch.stack([pixels_of(np.ascontiguousarray(picture), SIDE) for picture in pictures])


def drawn(model: Model, prompts: Sequence[str], lora: str | None) -> list[np.ndarray]:
    """A picture of each prompt, 128 px, seeds by their places."""
    requests = [
        Request.checked({"prompt": text, "seed": seed, "upscale": 1, "lora": lora}) for seed, text in enumerate(prompts)
    ]
    return [image.pixels for image in Engine[Any](model.evaluate).ended(asked(one, model) for one in requests)]


def known(judge: Judge, words: Sequence[str], pictures: Sequence[np.ndarray]) -> float:
    """Share of the pictures in which the judge sees what was asked for."""
    sights = judge.look(tensors(pictures))
    facts = [judge.says(s, Expectation.of({"objects": [{"concept": w}]})) for s, w in zip(sights, words, strict=True)]
    return sum(all(fact.answer == "yes" for fact in one) for one in facts) / len(facts)


def report(options: argparse.Namespace) -> dict[str, Any]:
    """Everything measured, ready for JSON."""
    judge, model = load_judge(options.judge), load("default")
    own = drawings(Pack(options.source))
    out: Path = options.out
    if options.lora is None:
        folder = taught(own[:TAUGHT], out / "pictures")
        command = [
            sys.executable,
            "-m",
            "darkroom.cli",
            "train",
            "lora",
            "--data",
            str(folder),
            "--out",
            str(out / "run"),
        ]
        command += ["--trigger", TRIGGER, "--minutes", str(options.minutes), "--variant", options.variant]
        subprocess.run([*command, "--prior", str(options.prior), "--samples", str(options.samples)], check=True)
        options.lora = out / "run" / "lora.safetensors"
    table = built.load(options.data).composer().table
    others = [sprite for sprite in table.sprites if sprite.style in ("3d", "cartoon", "flat")]
    others = Random(SEED).sample(others, min(len(others), 3 * len(own)))
    rgba = [np.ascontiguousarray(table.pixels[one.row].permute(1, 2, 0).numpy()) for one in others]
    theirs = [
        np.clip(p[..., :3].astype(int) + 255 - p[..., 3:], 0, 255).astype(np.uint8) for p in rgba
    ]  # premultiplied
    real = [pixels for _, pixels in own[TAUGHT:]]
    features = seen_features(judge.detector, tensors([*theirs, *real]))
    kinds = torch.tensor([0] * len(theirs) + [1] * len(real))
    half = torch.arange(len(kinds)) % 2 == 0
    rule = fitted(features[half], kinds[half], 2)
    unseen = (rule(features[~half]) == kinds[~half]).float().mean().item()
    shown = {word for word, _ in own[:TAUGHT]}
    words = [concept.word for concept in everyday() if concept.word not in shown]
    words = (words * options.prompts)[: options.prompts]
    found: dict[str, Any] = {"real pictures told right": unseen, "prompts": len(words), "drawings": len(own)}
    lora = f"{options.lora}:{options.scale}"
    for name, said, adapter in (
        ("before", f", {TRIGGER}", None),
        ("after", f", {TRIGGER}", lora),
        ("without the trigger", "", lora),
        ("plain", "", None),
    ):
        prompts = [f"{article(word)} {word} on a white background{said}" for word in words]
        pictures = drawn(model, prompts, adapter)
        write(contact_sheet(pictures[:48], words[:48], columns=8), out / f"{name.replace(' ', '-')}.png")
        style = (rule(seen_features(judge.detector, tensors(pictures))) == 1).float().mean().item()
        found[name] = {"in the style": style, "shows what was asked for": known(judge, words, pictures)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/lora-style"))
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--variant", choices=("lora", "dora"), default="lora")
    parser.add_argument("--prior", type=int, default=0)
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--lora", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--judge", type=Path, default=Path(__file__).parents[1] / "src" / "darkroom" / "weights")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    found = report(options)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for name, value in found.items():
        said = ", ".join(f"{k} {v:.2f}" for k, v in value.items()) if isinstance(value, dict) else f"{value:.3g}"
        print(f"{name:<26} {said}")


if __name__ == "__main__":
    main()
