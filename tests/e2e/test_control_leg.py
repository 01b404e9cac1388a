"""One command from composed scenes to a control that draws; what was learned beside a network is what is bound."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from program import ran
from safetensors import safe_open
from tiny import saved, tiny_model
from toys import sprite_table

from darkroom.cli import main
from darkroom.contracts.errors import BadInput, DarkroomError
from darkroom.contracts.ledger import LedgerRow, write_ledger
from darkroom.contracts.request import Request
from darkroom.data.scenes.conditions import CONTROLS
from darkroom.data.scenes.spec import ComposerConfig
from darkroom.data.stock import tables
from darkroom.data.stock.built import DRAWINGS, LEDGER
from darkroom.engine import Engine
from darkroom.generate import asked, picture, run
from darkroom.model import Model, load
from darkroom.nn.public.features import ridden, use_named
from darkroom.picture.image import Image
from darkroom.picture.inputs import Inputs
from darkroom.protocols import Call
from darkroom.synthesis.diffusion import DiffusionSynthesizer
from darkroom.training.handover import hand_over
from darkroom.training.legs.beside.control import control_leg, written_control
from darkroom.training.legs.own import prepared
from darkroom.training.legs.place import Place
from darkroom.training.loop import TrainConfig
from darkroom.training.objectives.control import ControlObjective
from darkroom.training.optim import OptimConfig
from darkroom.wording.vocabulary import everyday

SCENES = ComposerConfig(styles={"3d": 1.0})


def trained(data: Path, out: Path, start: Path, kind: str = "edges", samples: int = 40, rate: float = 1e-2) -> Path:
    """A control's file after a short run, which has learned something of everything it can learn."""
    config = TrainConfig(samples, 4, dtype="float32", ema_gamma=1.0, optim=OptimConfig(rate=rate, warmup_steps=1))
    place = Place(data, out, torch.device("cpu"))
    trainer = control_leg(place, config, start, kind=kind, rank=4, scenes=SCENES, run=0, compiled=False)
    trainer.run(lambda report: None, pytest.fail)
    assert all(tensor.any() for tensor in trainer.finished().values())
    hand_over(trainer)
    return written_control(out, start, kind, kind)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built data with made-up drawings of forty things, and of somebody who can wear a hat."""
    folder = tmp_path_factory.mktemp("data")
    table = sprite_table(("3d",), words=(*(concept.word for concept in everyday()[:40]), "woman", "top hat"))
    tables.save(table.sprites, table.pixels, folder, DRAWINGS)
    row = LedgerRow(
        id="a", name="all of them", source="drawings", licence="CC BY-SA 4.0", attribution="somebody", sha256="0" * 64
    )
    write_ledger([row], folder / LEDGER)
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny_model(dtype=torch.float32), tmp_path_factory.mktemp("start"))


@pytest.fixture(scope="module")
def control(built: Path, start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(built, tmp_path_factory.mktemp("run"), start)


@pytest.fixture(scope="module")
def map_(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[16:48, 10], pixels[30:48, 40], pixels[16, 10:40] = 255, 255, 255
    path = tmp_path_factory.mktemp("maps") / "map.png"
    PillowImage.fromarray(pixels).save(path)
    return path


def drawn_by(model: Model, inputs: Inputs, **fields: object) -> Image:
    request = Request.checked({"prompt": "a red fox", "seed": 3, "steps": 3, "upscale": 1, **fields})
    return run(asked(request, model, inputs), model.evaluate)


def test_a_control_follows_its_map_from_the_command_line(
    built: Path,
    start: Path,
    map_: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["train", "control", "--kind", "edges", "--model", str(start), "--data", str(built), "--rank", "2"]
    command += ["--samples", "200", "--batch", "4", "--rate", "0.3", "--styles", "3d:1", "--no-compiled"]
    for minutes, said in (("0.001", r"stopped at step \d+ with"), ("5", "done after 200 samples")):
        with pytest.raises(SystemExit) as ended:
            main([*command, "--minutes", minutes])
        captured = capfd.readouterr()
        assert not ended.value.code and re.search(said, captured.err), captured.err
    out = captured.out.strip()
    assert out == "runs/control/edges.safetensors" and list(Path("runs/control/previews").glob("*.png"))
    with safe_open(out, "pt") as opened:
        metadata = opened.metadata()
    assert metadata["modelspec.architecture"] == "darkroom/control" and "follows edges maps" in str(metadata)
    assert metadata["modelspec.license"] == "CC BY-SA 4.0"  # of the drawings it learned from

    draw = ["generate", "--model", str(start), "--json", "--upscale", "1", "a red fox", "--seed", "3", "--size", "64"]
    assert ran(*draw, "--control", f"{out}={map_}:0.8:0-0.6", "--out", "drawn") == 0
    [made] = json.loads(capfd.readouterr().out)["pictures"]
    [use] = made["recipe"]["controls"]
    assert (use["name"], use["scale"], use["start"], use["end"]) == ("edges.safetensors", 0.8, 0.0, 0.6)
    assert ran("generate", "--recipe", made["path"], "--model", str(start), "--out", "again", "--json") != 0
    assert "was not opened; give its file (control)" in capfd.readouterr().err
    again = ("generate", "--recipe", made["path"], "--model", str(start), "--out", "again", "--json")
    assert ran(*again, "--files", "runs/control") != 0  # the map lies elsewhere
    capfd.readouterr()
    for how in (":0.5", ":0.8:0-1", ":80%:0.1-0.6"):
        assert ran(*again, "--control", f"{out}={map_}{how}") != 0, how
        assert "acted with 0.8 from 0 to 0.6 in" in capfd.readouterr().err
    assert ran(*again, "--control", f"{out}={map_}") == 0  # as it was
    capfd.readouterr()
    assert ran(*again, "--control", f"{out}={map_}:0.8:0-0.6", "--files", str(map_.parent)) == 0
    [second] = json.loads(capfd.readouterr().out)["pictures"]
    pixels = [np.asarray(PillowImage.open(one["path"])) for one in (made, second)]
    assert (pixels[0] == pixels[1]).all()


def test_what_was_learned_is_what_is_bound(built: Path, start: Path, tmp_path: Path) -> None:
    config = TrainConfig(40, 4, dtype="float32", ema_gamma=1.0, optim=OptimConfig(rate=1e-2, warmup_steps=1))
    place = Place(built, tmp_path / "run", torch.device("cpu"))
    trainer = control_leg(place, config, start, kind="scribble", rank=4, scenes=SCENES, run=0, compiled=False)
    trainer.run(lambda report: None, pytest.fail)
    objective = trainer.objective
    assert isinstance(objective, ControlObjective)
    names = set(trainer.masters.masters)
    assert "sight" in names and all(name == "sight" or name.startswith("denoiser.blocks.") for name in names)
    assert not any(".text_kv" in name or ".into" in name for name in names)
    hand_over(trainer)
    learned = {name: tensor.bfloat16().float() for name, tensor in trainer.finished().items()}  # as they are written
    objective.module.load_state_dict(learned, strict=False)
    model = load(str(start), torch.float32)
    sha256 = model.brought.control(written_control(tmp_path / "run", start, "scribble", "scribble"))
    synthesizer = model.synthesizer
    assert isinstance(synthesizer, DiffusionSynthesizer)
    denoiser, channels = objective.module.denoiser, synthesizer.network.config.channels
    draw = torch.Generator().manual_seed(0)
    text = torch.randn(2, 8, denoiser.config.text_width, generator=draw)
    x, cells = (torch.randn(2, channels, 8, 8, generator=draw) for _ in range(2))
    pooled, mask, t = text.mean(1), torch.ones(2, 8, dtype=torch.bool), torch.tensor([0.3, 0.8])
    name = use_named(sha256, 0)
    with torch.no_grad():
        keys = denoiser.text_keys(text)
        seen = objective.module.seen(cells)
        expected, _ = denoiser(x, denoiser.condition(t, pooled), keys, mask, seen=seen)
        rows = [{"x": x[i], "t": t[i].item(), "keys": keys[i], "mask": mask[i], "pooled": pooled[i]} for i in range(2)]
        both = [{**row, "x": ridden(row["x"], [cells[i]]), f"scale of {name}": 1.0} for i, row in enumerate(rows)]
        got = model.evaluate([Call(synthesizer.NETWORK, row, (name,)) for row in both])
        plain = model.evaluate([Call(synthesizer.NETWORK, row) for row in rows])
    assert torch.allclose(torch.stack(got), expected, atol=1e-4)
    assert (torch.stack(plain) - expected).abs().max() > 1e-3


def test_maps_weights_and_times_count_and_weight_nought_is_none(start: Path, control: Path, map_: Path) -> None:
    model, inputs = load(str(start)), Inputs()
    flipped = inputs.put(np.ascontiguousarray(np.asarray(PillowImage.open(map_))[:, ::-1]), "flipped.png")
    plain = drawn_by(model, inputs, width=64, height=64).pixels
    said = {f"{control}={map_}:{how}": None for how in ("0", "0.5", "1", "1:0-0.5")} | {f"{control}={flipped}": None}
    found = {how: drawn_by(model, inputs, control=how).pixels for how in said}
    nought, *others = found.values()
    assert (nought == plain).all()
    for i, one in enumerate(others):
        assert (one != plain).any() and not any((one == other).all() for other in others[:i])


def test_a_mixed_batch_is_each_alone_and_nothing_of_the_model_changes(
    start: Path, control: Path, map_: Path, built: Path, tmp_path: Path
) -> None:
    model = load(str(start), torch.bfloat16)
    other = trained(built, tmp_path / "palette", start, "palette")
    synthesizer = model.synthesizer
    assert isinstance(synthesizer, DiffusionSynthesizer)
    before = {name: tensor.clone() for name, tensor in synthesizer.network.state_dict().items()}
    inputs = Inputs()
    fields: list[dict[str, object]] = [
        {},
        {"control": f"{control}={map_}:0.8"},
        {"control": f"{control}={map_}:0.3", "guidance": 1.0},
        {"control": [f"{control}={map_}", f"{other}={map_}:0.5:0.3-1"], "tile": "both"},
        {"control": f"{other}={map_}", "regions": "left: two blue cats"},
        {"control": f"{other}={map_}", "sampler": "euler-a"},
    ]
    requests = [
        Request.checked({"prompt": "a red fox", "seed": i, "steps": 3, "upscale": 1, "width": 64, "height": 64, **one})
        for i, one in enumerate(fields)
    ]
    together = Engine[Image](model.evaluate).ended(asked(one, model, inputs) for one in requests)
    for request, made in zip(requests, together, strict=True):
        assert isinstance(made, Image), made
        alone = run(picture(model.resolve(request, inputs), model, inputs=inputs), model.evaluate)
        assert (made.pixels == alone.pixels).all(), request.control
    now = synthesizer.network.state_dict()
    assert now.keys() == before.keys() and all(torch.equal(now[name], before[name]) for name in before)


def test_a_guide_sees_no_map(start: Path, control: Path, map_: Path, tmp_path: Path) -> None:
    """What is led away from knows nothing of controls, alone and in company."""
    weaker = tiny_model(dtype=torch.float32)
    assert isinstance(weaker.synthesizer, DiffusionSynthesizer)
    with torch.no_grad():
        for parameter in weaker.synthesizer.network.parameters():
            parameter.mul_(0.9)
    guide, model, inputs = str(saved(weaker, tmp_path / "weaker")), load(str(start)), Inputs()
    fields: list[dict[str, object]] = [
        {"guide": guide},
        {"guide": guide, "control": f"{control}={map_}"},
        {"guide": guide, "control": f"{control}={map_}", "regions": "left: two blue cats", "tile": "across"},
        {"control": f"{control}={map_}"},
    ]
    requests = [
        Request.checked({"prompt": "a red fox", "seed": 3, "steps": 3, "upscale": 1, "width": 96, "height": 64, **one})
        for one in fields
    ]
    together = Engine[Image](model.evaluate).ended(asked(one, model, inputs) for one in requests)
    alone = [run(asked(one, model, inputs), model.evaluate).pixels for one in requests]
    for made, pixels in zip(together, alone, strict=True):
        assert isinstance(made, Image) and (made.pixels == pixels).all()
    assert all((one != other).any() for i, one in enumerate(alone) for other in alone[:i])


def test_a_batch_and_a_grid_take_controls(
    start: Path,
    control: Path,
    map_: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for file in (control, map_):
        shutil.copy(file, Path("in"))
    acting = {"network": "edges.safetensors", "map": "map.png", "scale": 0.5}
    uses = [None, "edges.safetensors=map.png", ["edges.safetensors=map.png:0.25:0-0.5"], acting]
    rows = [{"prompt": "a red fox", "seed": i, "control": use} for i, use in enumerate(uses)]
    Path("in/rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    draw = ("generate", "--model", str(start), "--steps", 3, "--size", 64, "--upscale", 1)
    assert ran(*draw, "--batch", "in/rows.jsonl", "--out", "many") == 0, capfd.readouterr().err
    drawn = [np.asarray(PillowImage.open(one)) for one in sorted(Path("many").glob("*.png"))]
    inputs, model = Inputs(), load(str(start))
    for seed, (use, pixels) in enumerate(zip((None, "1", "0.25:0-0.5", "0.5"), drawn, strict=True)):
        told = None if use is None else f"{control}={map_}:{use}"
        assert (drawn_by(model, inputs, seed=seed, control=told, width=64, height=64).pixels == pixels).all(), use
    axis = "control=in/edges.safetensors=in/map.png,in/edges.safetensors=in/map.png:0.25:0-0.5"
    assert ran(*draw, "a red fox", "--seed", 2, "--x", axis, "--out", "grid") == 0, capfd.readouterr().err
    capfd.readouterr()
    never = f"in/edges.safetensors={map_}:1:0.8-1"
    assert ran(*draw, "a red fox", "--control", never, "--out", "never") == 0
    assert "edges.safetensors acts in none of 3 steps: 0.8-1 holds no whole one" in capfd.readouterr().err
    found = [np.asarray(PillowImage.open(one)) for one in Path("grid").glob("*fox*.png")]
    assert sorted((one == drawn[2]).all() for one in found) == [False, True]


@pytest.mark.parametrize("kind", CONTROLS)
def test_every_kind_of_map_can_be_learned(built: Path, start: Path, tmp_path: Path, kind: str) -> None:
    place, config = Place(built, tmp_path, torch.device("cpu")), TrainConfig(4, 4)
    scenes = replace(SCENES, kinds={"figure": 1.0}) if kind == "pose" else SCENES
    trainer = control_leg(place, config, start, kind=kind, rank=2, scenes=scenes, run=0, compiled=False)
    trainer.run(lambda report: None, pytest.fail)
    assert trainer.finished()["sight"].any()
    objective = trainer.objective
    assert isinstance(objective, ControlObjective) and objective.maps(0, 4).maps.amax((1, 2, 3)).gt(0.2).all()


def test_what_no_control_can_be_is_refused(built: Path, start: Path, control: Path, map_: Path, tmp_path: Path) -> None:
    place = Place(built, tmp_path / "run", torch.device("cpu"))
    with pytest.raises(BadInput, match="unknown kind 'edgse'; did you mean 'edges'"):
        control_leg(place, TrainConfig(4, 4), start, kind="edgse", rank=2, scenes=SCENES, run=0)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    noisy = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    PillowImage.fromarray(noisy).save(pictures / "a.png")
    (pictures / "a.txt").write_text("a red fox", encoding="utf-8")
    own = Place(prepared(pictures, tmp_path / "own", lambda line: None), tmp_path / "own", torch.device("cpu"))
    with pytest.raises(BadInput, match="--kind pose is not to be seen in a picture; of pictures there are edges"):
        control_leg(own, TrainConfig(4, 4), start, kind="pose", rank=2, scenes=SCENES, run=0)
    control_leg(own, TrainConfig(4, 4), start, kind="edges", rank=2, scenes=SCENES, run=0, compiled=False).run(
        lambda report: None, pytest.fail
    )

    model, inputs = load(str(start)), Inputs()
    with pytest.raises(DarkroomError, match=r"is a control, which sees a map; give it with --control"):
        drawn_by(model, inputs, lora=str(control))
    lora = tmp_path / "lora.safetensors"
    from safetensors.torch import load_file, save_file

    tensors = load_file(control)
    save_file({name: one for name, one in tensors.items() if "control" not in name}, lora)
    with pytest.raises(DarkroomError, match="sees no map: it is no control of a model of ours"):
        drawn_by(model, inputs, control=f"{lora}={map_}")
    save_file({**tensors, "transformer.control.weight": torch.zeros(3, 3)}, lora)
    with pytest.raises(DarkroomError, match=r"holds transformer.control.weight as \(3, 3\), and this"):
        drawn_by(model, inputs, control=f"{lora}={map_}")
    half = {name: one for name, one in tensors.items() if ".0.qkv." in name}  # of layers that no map can act on:
    for part in ("text_encoder.blocks.0.qkv", "transformer.blocks.0.text_kv"):
        more = {name.replace("transformer.blocks.0.qkv", part): one.clone() for name, one in half.items()}
        save_file({**tensors, **more}, lora)
        with pytest.raises(DarkroomError, match=rf"holds {part}\.lora_A.* take a control that was trained for this"):
            drawn_by(model, inputs, control=f"{lora}={map_}")
    with pytest.raises(DarkroomError, match=r"absent cannot be read .* name a control's safetensors file"):
        drawn_by(model, inputs, control=f"{tmp_path / 'absent'}={map_}")
    black = inputs.put(np.zeros((64, 64, 3), np.uint8), "black.png")
    with pytest.raises(DarkroomError, match="is black all over, and says nothing"):
        drawn_by(model, inputs, control=f"{control}={black}")
    for flag in ("embedding", "vae"):
        with pytest.raises(DarkroomError, match=f"--{flag} is for public checkpoints, and tiny is a model of ours"):
            drawn_by(model, inputs, **{flag: str(control)})
