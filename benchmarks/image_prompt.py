"""Whether pictures take the subject or the style of a reference: held-out scenes, drawn with one and without.

    python benchmarks/image_prompt.py --model runs/image-prompt/model --data BUILT [--scenes 200] [--scale 1]
        [--styles 3d:.5,flat:.5] [--out runs/image-prompt-sheets] [--json]

Each scene's prompt leaves out what its reference shows, which is another scene of the same subject, or in the same
style. It is drawn from one seed without the reference; with it; with what a perfect tower would read of it, the vectors
that the words come to; and with a prompt that says it.
Told by the judge: how often the subject, or the style, is in the picture; how often the ground that the prompt asks for
still is; and how often the reference's own ground came along, where it is another. A sheet of each is written.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from darkroom.cli.train.scenes import composed
from darkroom.contracts.request import Request
from darkroom.contracts.steering import KEEPS, Keep
from darkroom.control.image_prompt import ImageReader, as_seen
from darkroom.data.loader import Scenes
from darkroom.data.references import References, in_words, named_first, untold
from darkroom.data.scenes.captions import caption
from darkroom.data.scenes.spec import Scene
from darkroom.data.stock import built
from darkroom.engine import Engine
from darkroom.generate import asked
from darkroom.judge.expect import Expectation
from darkroom.judge.judge import Judge, load_judge
from darkroom.judge.sight import Sight
from darkroom.model import Model, load
from darkroom.picture.image import Image
from darkroom.picture.inputs import Inputs
from darkroom.picture.sheet import contact_sheet
from darkroom.picture.write import write
from darkroom.prompt.encoders import SentenceEncoder, tokenised
from darkroom.protocols import Call
from darkroom.training.objectives.image_prompt import FEW, spread_over
from darkroom.wording.parse import styled
from darkroom.wording.vocabulary import core

RUN = 11  # of the held-out scenes, and of their references
SHOWN = 12  # scenes of a sheet


class PerfectReader:
    """In the place of an image tower: of each picture the vectors that the words for what is kept of it come to."""

    def __init__(self, model: Model, inputs: Inputs, names: Sequence[str], said: Sequence[str]) -> None:
        encoder, tower = model.encoder, model.image
        assert isinstance(encoder, SentenceEncoder) and tower is not None
        tokens = tokenised(encoder.tokenizer, said, FEW)
        with torch.no_grad():
            read = spread_over(encoder.network(*tokens), tokens.mask, tower.network.config.tokens)
        self.read = {as_seen(inputs.found(n), inputs).numpy().tobytes(): r for n, r in zip(names, read, strict=True)}

    def evaluate(self, calls: Sequence[Call]) -> list[Tensor]:
        """Who is asked for a picture's vectors looks them up."""
        return [self.read[call.inputs["pixels"].numpy().tobytes()] for call in calls]  # type: ignore[union-attr]


def drawn(model: Model, inputs: Inputs, prompts: Sequence[str], files: Sequence[str | None]) -> list[Tensor]:
    """A picture of each prompt, seeds by their places, (3, 128, 128) in [0, 1]."""
    width, height = model.card.defaults.drawn
    requests = [
        Request.checked(
            {"prompt": said, "seed": seed, "upscale": 1, "width": width, "height": height, "image_prompt": file}
        )
        for seed, (said, file) in enumerate(zip(prompts, files, strict=True))
    ]
    found = []
    for one in Engine[Image](model.evaluate).ended(asked(request, model, inputs) for request in requests):
        if not isinstance(one, Image):
            raise one
        found.append(torch.from_numpy(one.pixels.copy()).permute(2, 0, 1).float() / 255)
    return found


def wanted(scene: Scene, keep: str) -> Expectation:
    """What a reference is to bring into the picture."""
    told = (
        {"style": scene.style}
        if keep == "style"
        else {"objects": [{"concept": core()[named_first(scene).concept].word}]}
    )
    return Expectation.of(told)


def said_too(scene: Scene, unsaid: str, keep: str) -> str:
    """A prompt that says what the reference shows, too."""
    return styled(unsaid, scene.style) if keep == "style" else caption(scene)


def share(judge: Judge, sights: Sequence[Sight], facts: Sequence[Expectation]) -> float | None:
    """How often what was expected is there, of the pictures of which the judge can tell; None: of none."""
    answers = [fact.answer for pair in zip(sights, facts, strict=True) for fact in judge.says(*pair)]
    told = [answer == "yes" for answer in answers if answer != "cannot tell"]
    return sum(told) / len(told) if told else None


def measured(
    options: argparse.Namespace, model: Model, judge: Judge, references: References, keep: Keep
) -> dict[str, Any]:
    """What was told of the scenes whose reference shows ``keep``."""
    numbered = enumerate(references.scenes.specs(0, 6 * options.scenes))
    some = [(i, scene) for i, scene in numbered if references.kept(scene) == keep][: options.scenes]
    scenes = [scene for _, scene in some]
    others = [references.reference(scene, i) for i, scene in some]
    inputs = Inputs()
    pixels = [bytes_of(one) for one in references.scenes.composer.render(others).pixels]
    names = [inputs.put(one, f"reference{i}") for i, one in enumerate(pixels)]
    unsaid = [untold(scene, keep, 0.0) for scene in scenes]
    ways = {
        "without": (unsaid, [None] * len(scenes)),
        "with": (unsaid, [f"{name}:{options.scale}:{keep}" for name in names]),
        "perfectly read": (unsaid, [f"{name}:{options.scale}:{keep}" for name in names]),
        "in words": ([said_too(*pair, keep) for pair in zip(scenes, unsaid, strict=True)], [None] * len(scenes)),
    }
    facts = [wanted(scene, keep) for scene in scenes]
    plain = [i for i, scene in enumerate(scenes) if scene.ground.name_to is None and scene.ground.name in unsaid[i]]
    apart = [i for i in plain if others[i].ground.name_to is None and others[i].ground != scenes[i].ground]
    found: dict[str, Any] = {"scenes": len(scenes)}
    rows = [pixels]
    perfect = PerfectReader(model, inputs, names, [in_words(scene, keep) for scene in scenes])
    read = replace(model, networks=model.networks | {ImageReader.NETWORK: perfect})
    for way, (prompts, files) in ways.items():
        pictures = drawn(read if way == "perfectly read" else model, inputs, prompts, files)
        sights = judge.look(torch.stack(pictures))
        own = [Expectation.of({"background": scenes[i].ground.name}) for i in plain]
        came = [Expectation.of({"background": others[i].ground.name}) for i in apart]
        found[way] = {
            keep: share(judge, sights, facts),
            "ground": share(judge, [sights[i] for i in plain], own),
            "the reference's ground": share(judge, [sights[i] for i in apart], came),
        }
        rows.append([bytes_of(one) for one in pictures])
    tiles = [row[i] for i in range(min(SHOWN, len(scenes))) for row in rows]
    told = [way or said[:60] for said in unsaid[:SHOWN] for way in ("", *ways)]
    options.out.mkdir(parents=True, exist_ok=True)
    write(contact_sheet(tiles, told, columns=10), options.out / f"{keep}.png")
    return found


def bytes_of(pixels: Tensor) -> np.ndarray:
    """(height, width, 3) uint8."""
    return (pixels.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()


def report(options: argparse.Namespace) -> dict[str, Any]:
    """Everything measured, ready for JSON."""
    judge, model = load_judge(options.judge), load(options.model)
    described = composed("plain", "everyday", options.styles, "single:1")
    data = built.load(options.data).restricted(described)
    config = replace(described, stock=data.stock)
    references = References(Scenes(data.composer(), config, RUN, "held-out"))
    return {"scale": options.scale, **{keep: measured(options, model, judge, references, keep) for keep in KEEPS}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--styles")
    parser.add_argument("--out", type=Path, default=Path("runs/image-prompt-sheets"))
    parser.add_argument("--judge", type=Path, default=Path(__file__).parents[1] / "src" / "darkroom" / "weights")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    found = report(options)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for keep in KEEPS:
        print(f"{keep}, {found[keep].pop('scenes')} scenes at {options.scale:g}")
        for way, told in found[keep].items():
            said = ", ".join(f"{what} {'?' if value is None else format(value, '.2f')}" for what, value in told.items())
            print(f"  {way:<14} {said}")


if __name__ == "__main__":
    main()
