"""Whether pictures follow their control maps: held-out scenes' maps, drawn with a control and without.

    python benchmarks/control.py CONTROL.safetensors --kind edges --data BUILT [--model default] [--scenes 200]
        [--scale 1] [--kinds single:.7,pair:.3] [--styles 3d:1] [--out runs/control-edges] [--json]

For each scene its caption is drawn twice from the same seed. The distance to the map, 0 where it is met:
edges, scribble: 1 - F1 of the drawn picture's map, lines two pixels apart being the same; palette: mean difference of
the patches, of 1; silhouette: 1 - intersection over union with what stands out of its ground; layout: 1 - the same of
boxes, the judge's against the map's, of things with the right word. Depth and pose are not measured yet. And how many
pictures show what was asked for, by the judge. A sheet is written to look at.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from darkroom.cli.train.scenes import composed
from darkroom.contracts.request import Request
from darkroom.control.maps import foreground
from darkroom.data.loader import Scenes
from darkroom.data.scenes.compose import Composer
from darkroom.data.scenes.conditions import OF_PIXELS, control_map, seen_map
from darkroom.data.scenes.spec import Scene
from darkroom.data.stock import built
from darkroom.engine import Engine
from darkroom.generate import asked
from darkroom.judge.expect import expected_of
from darkroom.judge.judge import Judge, load_judge
from darkroom.judge.sight import Sight
from darkroom.judge.truth import one_area
from darkroom.judge.verdict import all_right
from darkroom.model import Model, load
from darkroom.picture.image import Image
from darkroom.picture.inputs import Inputs
from darkroom.picture.sheet import contact_sheet
from darkroom.picture.write import write
from darkroom.training.legs.beside.control import shown_by
from darkroom.wording.vocabulary import core

NEAR = 2  # pixels apart that two lines may be and be one


def f1(one: Tensor, other: Tensor) -> float:
    """Of two maps of lines: share of either that has the other near, harmonic mean."""
    a, b = one[0] > 0.5, other[0] > 0.5
    near_a, near_b = (F.max_pool2d(lines[None, None].float(), 2 * NEAR + 1, 1, NEAR)[0, 0] > 0 for lines in (a, b))
    precision, recall = (a & near_b).sum() / a.sum().clamp_min(1), (b & near_a).sum() / b.sum().clamp_min(1)
    return (2 * precision * recall / (precision + recall).clamp_min(1e-9)).item()


def boxes_met(sight: Sight, scene: Scene, composer: Composer) -> float:
    """Intersection over union of each thing's box with the best that is seen of its word, mean."""
    found = []
    for thing in scene.objects:
        box, word = composer.visible_box(scene, thing), core()[thing.concept].word
        found.append(max((one_area(box, t.box) for t in sight.things if t.words.get(word, 0) > 0.15), default=0.0))
    return sum(found) / max(1, len(found))


def distance(kind: str, drawn: Tensor, wanted: Tensor, scene: Scene, sight: Sight, composer: Composer) -> float:
    """How far a picture is from its map."""
    if kind in ("edges", "scribble"):
        return 1 - f1(seen_map(kind, drawn, scene.seed), wanted)
    if kind == "palette":
        return (seen_map(kind, drawn) - wanted).abs().mean().item()
    if kind == "silhouette":
        shape, its = foreground(drawn), wanted[0] > 0.5
        return 1 - ((shape & its).sum() / (shape | its).sum().clamp_min(1)).item()
    if kind == "layout":
        return 1 - boxes_met(sight, scene, composer)
    raise SystemExit(f"how far a picture is from a {kind} map is not measured yet")


def pictures(model: Model, requests: Sequence[Request], inputs: Inputs) -> list[Tensor]:
    """Drawn together, (3, h, w) in [0, 1]."""
    ended = Engine[Image](model.evaluate).ended(asked(one, model, inputs) for one in requests)
    found = []
    for one in ended:
        if not isinstance(one, Image):
            raise one
        found.append(torch.from_numpy(one.pixels.copy()).permute(2, 0, 1).float() / 255)
    return found


def shown(judge: Judge, scenes: Sequence[Scene], sights: Sequence[Sight]) -> float:
    """Share of pictures that show what was asked for."""
    facts = [judge.says(sight, expected_of(scene)) for scene, sight in zip(scenes, sights, strict=True)]
    return sum(all_right(one) for one in facts) / len(facts)


def report(options: argparse.Namespace, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Everything measured, ready for JSON."""
    judge, model = load_judge(options.judge), load(options.model)
    described = composed("plain", "everyday", options.styles, options.kinds)
    described = described if options.kinds else shown_by(described, options.kind)
    data = built.load(options.data).restricted(described)
    source = Scenes(data.composer(), replace(described, stock=data.stock), 9, "held-out")
    batch, composer = source(0, options.scenes), source.composer
    pixels = batch.composed.pixels
    maps = [control_map(options.kind, s, one, composer) for s, one in zip(batch.scenes, pixels, strict=True)]
    inputs = Inputs()
    files = [
        inputs.put((one * 255).round().byte().permute(1, 2, 0).contiguous().numpy(), f"map{i}.png")
        for i, one in enumerate(maps)
    ]
    found: dict[str, Any] = {"kind": options.kind, "scenes": len(maps), "scale": options.scale}
    rows = []
    for name, control in (("without", None), ("with", options.control)):
        requests = [
            Request.checked(
                {"prompt": said, "seed": i, "upscale": 1, "width": 128, "height": 128}
                | ({} if control is None else {"control": f"{control}={file}:{options.scale}"})
            )
            for i, (said, file) in enumerate(zip(batch.captions, files, strict=True))
        ]
        drawn = pictures(model, requests, inputs)
        sights = judge.look(torch.stack(drawn))
        far = [
            distance(options.kind, one, map_, scene, sight, composer)
            for one, map_, scene, sight in zip(drawn, maps, batch.scenes, sights, strict=True)
        ]
        found[name] = {"distance": sum(far) / len(far), "shows what was asked for": shown(judge, batch.scenes, sights)}
        rows.append(drawn)
    some = [one for i in range(min(12, len(maps))) for one in (maps[i], rows[0][i], rows[1][i], pixels[i])]
    told = ["map", "without", "with", "scene"] * (len(some) // 4)
    tiles = [(one.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy() for one in some]
    options.out.mkdir(parents=True, exist_ok=True)
    write(contact_sheet(tiles, told, columns=8), options.out / f"{options.kind}.png")
    found["ratio"] = found["with"]["distance"] / max(1e-9, found["without"]["distance"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("control", type=Path)
    parser.add_argument("--kind", choices=(*OF_PIXELS, "silhouette", "layout"), required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="default")
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--kinds")
    parser.add_argument("--styles")
    parser.add_argument("--out", type=Path, default=Path("runs/control"))
    parser.add_argument("--judge", type=Path, default=Path(__file__).parents[1] / "src" / "darkroom" / "weights")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    found = report(options)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for name in ("without", "with"):
        print(f"{name:<8} " + ", ".join(f"{k} {v:.3f}" for k, v in found[name].items()))
    print(f"distance with over without {found['ratio']:.2f} ({found['scenes']} scenes)")


if __name__ == "__main__":
    main()
