"""One command from a few pictures to an adapter that draws; what was learned beside a network is what is bound."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from program import ran
from safetensors import safe_open
from tiny import saved, tiny_model

import darkroom
from darkroom.cards import read_card
from darkroom.cli import main
from darkroom.contracts.errors import BadInput
from darkroom.contracts.steering import Lora
from darkroom.data.imported import Imported, ImportedPictures, Preserved, imported, square
from darkroom.model import load
from darkroom.picture.read import read
from darkroom.protocols import Call
from darkroom.synthesis.diffusion import DiffusionSynthesizer
from darkroom.training.handover import hand_over, weights_of
from darkroom.training.legs.beside.lora import drawn_before, lora_leg, parted, triggered, written_lora
from darkroom.training.legs.own import prepared
from darkroom.training.legs.place import Place
from darkroom.training.loop import TrainConfig, TrainingError
from darkroom.training.objectives.lora import Look, LoraObjective, Variant, copying
from darkroom.training.optim import OptimConfig


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four captioned pictures of stripes."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(4):
        pixels = np.zeros((128, 128, 3), np.uint8)
        pixels[:, i * 8 :: 32] = (255, 60 * i, 0)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text("a red fox", encoding="utf-8")
    return folder


@pytest.fixture
def train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[str, str]]:
    """Calls ``darkroom train lora`` in an empty folder: what it printed, and said."""
    monkeypatch.chdir(tmp_path)

    def train(*arguments: str, refused: bool = False) -> tuple[str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["train", "lora", *arguments])
        captured = capfd.readouterr()
        assert bool(ended.value.code) == refused, captured.err
        return captured.out.strip(), captured.err

    return train


def test_a_few_pictures_become_an_adapter(
    pictures: Path, tmp_path: Path, train: Callable[..., tuple[str, str]]
) -> None:
    start = saved(tiny_model(), tmp_path / "start")
    before = {part: weights_of(start, part) for part in ("denoiser", "text")}
    command = ("--data", "pictures", "--model", "start", "--name", "stripes", "--trigger", "in stripes")
    options = ("--samples", "24", "--batch", "4", "--rank", "3", "--no-compiled")
    out, said = train(*command, *options, "--minutes", "0.001")  # it is stopped
    assert "warning: 4 pictures are few" in said and re.search(r"stopped at step \d with", said)
    out, said = train(*command, *options)  # it goes on
    assert out == "runs/lora/stripes.safetensors" and "done after 24 samples" in said
    for part, weights in before.items():
        after = weights_of(start, part)
        assert all(torch.equal(after[name], weight) for name, weight in weights.items())
    with safe_open(tmp_path / out, "pt") as opened:
        metadata = opened.metadata()
        assert all(3 in opened.get_tensor(key).shape for key in opened.keys())  # noqa: SIM118
    assert metadata["modelspec.title"] == "stripes" and metadata["modelspec.trigger_phrase"] == "in stripes"

    model = darkroom.load(str(start))
    plain, with_it = (model.generate("a red fox", seed=1, steps=2, upscale=1, lora=lora) for lora in (None, f"{out}:4"))
    assert (plain.pixels != with_it.pixels).any()


def test_a_picture_with_an_adapter_is_drawn_again_from_its_recipe(
    pictures: Path, tmp_path: Path, train: Callable[..., tuple[str, str]], capfd: pytest.CaptureFixture[str]
) -> None:
    saved(tiny_model(), tmp_path / "start")
    options = ("--samples", "8", "--batch", "4", "--rank", "2", "--rate", "0.5", "--no-compiled")
    out, _ = train("--data", "pictures", "--model", "start", *options)
    draw = ("generate", "--model", "start", "--json")
    assert ran(*draw, "a red fox", "--seed", "3", "--lora", f"{out}:2", "--lora", f"{out}:0.5", "--out", "drawn") == 0
    [made] = json.loads(capfd.readouterr().out)["pictures"]
    assert [use["scale"] for use in made["recipe"]["adapters"]] == [2, 0.5]
    again = (*draw, "--recipe", made["path"], "--out", "again")
    assert ran(*again) != 0 and "was not opened; give its file (lora)" in capfd.readouterr().err
    beside = Path(made["path"]).with_name("lora.safetensors")
    beside.write_bytes(b"another file of that name")
    assert ran(*again) != 0 and "was not opened; give its file (lora)" in capfd.readouterr().err
    assert ran(*again, "--lora", f"{out}:3") != 0 and "acted with 2 in" in capfd.readouterr().err
    assert ran(*again, "--lora", f"{out}:2") == 0  # as it was drawn
    [second] = json.loads(capfd.readouterr().out)["pictures"]
    assert (read(Path(made["path"])) == read(Path(second["path"]))).all()
    beside.write_bytes(Path(out).read_bytes())
    assert ran(*again) == 0  # it lies beside the picture
    assert ran(*draw, "a red fox", "--lora", "absent.safetensors") != 0
    assert "absent.safetensors cannot be read" in capfd.readouterr().err


@pytest.mark.parametrize("variant", ["lora", "dora"])
def test_what_was_learned_is_what_is_bound(pictures: Path, tmp_path: Path, variant: Variant) -> None:
    start = saved(tiny_model(dtype=torch.float32), tmp_path / "start")
    data = prepared(pictures, tmp_path / "run", lambda line: None)
    config = TrainConfig(40, 4, dtype="float32", ema_gamma=1.0, optim=OptimConfig(rate=1e-2, warmup_steps=1))
    place = Place(data, tmp_path / "run", torch.device("cpu"))
    trainer = lora_leg(place, config, start, rank=4, variant=variant, compiled=False)
    begun = {name: tensor.clone() for name, tensor in trainer.masters.masters.items()}
    trainer.run(lambda report: None, pytest.fail)
    objective = trainer.objective
    assert isinstance(objective, LoraObjective)
    learned = {name: tensor.bfloat16().float() for name, tensor in trainer.finished().items()}  # as they are written
    assert all((tensor != begun[name]).any() for name, tensor in learned.items())  # every part has learned
    assert any(name.endswith("stretch") for name in learned) == (variant == "dora")
    hand_over(trainer)
    objective.module.load_state_dict(learned, strict=False)
    model = load(str(start), torch.float32)
    use = model.open_adapter(Lora(file=str(written_lora(tmp_path / "run", start, "stripes", None)), scale=1.0))
    synthesizer = model.synthesizer
    assert isinstance(synthesizer, DiffusionSynthesizer)
    denoiser = objective.module.denoiser
    draw = torch.Generator().manual_seed(0)
    text = torch.randn(2, 8, denoiser.config.text_width, generator=draw)
    x = torch.randn(2, denoiser.config.channels, 8, 8, generator=draw)
    pooled, mask, t = text.mean(1), torch.ones(2, 8, dtype=torch.bool), torch.tensor([0.3, 0.8])
    riders = model.riders([use])
    with torch.no_grad():
        keys = denoiser.text_keys(text)
        expected, _ = denoiser(x, denoiser.condition(t, pooled), keys, mask)

        def calls(network: str, *rows: dict) -> list[Call]:
            said = {f"scale of {use.sha256}": riders[network][use.sha256]}
            return [Call(network, {**row, **said}, (use.sha256,)) for row in rows]

        found = model.evaluate(calls(synthesizer.TEXT, *({"tokens": row} for row in text)))
        assert torch.allclose(torch.stack(found), keys, atol=1e-5)
        rows = [{"x": x[i], "t": t[i].item(), "keys": keys[i], "mask": mask[i], "pooled": pooled[i]} for i in range(2)]
        got = model.evaluate(calls(synthesizer.NETWORK, *rows))
        plain = model.evaluate([Call(synthesizer.NETWORK, row) for row in rows])
    assert torch.allclose(torch.stack(got), expected, atol=1e-4)
    assert (torch.stack(plain) - expected).abs().max() > 1e-3


def test_the_trigger_is_never_cut_off() -> None:
    tokenizer = tiny_model().encoder.tokenizer
    short, long = triggered(("a red fox", "two blue cats " * 30), "in stripes", tokenizer)
    assert short == "a red fox, in stripes" and long.startswith("two blue cats") and long.endswith(", in stripes")
    assert tokenizer.tokens(long, buckets=(48,)).length <= 48 and len(tokenizer.encode(long)) + 2 > 40
    with pytest.raises(BadInput, match="leaves no room in the 48 tokens"):
        triggered(("a fox",), "in stripes " * 40, tokenizer)


def test_what_the_model_drew_before_is_every_other_picture(
    pictures: Path, tmp_path: Path, train: Callable[..., tuple[str, str]]
) -> None:
    start = saved(tiny_model(), tmp_path / "start")
    data = prepared(pictures, tmp_path / "run", lambda line: None)
    before = drawn_before(("a red fox", "two cats"), start, 3, tmp_path / "run")
    drawn = imported(before)
    assert drawn.captions == ("a red fox", "two cats", "a red fox")
    model = darkroom.load(str(start))
    wide, high = read_card(start).defaults.drawn
    wanted = model.generate("a red fox", seed=2, width=wide, height=high, upscale=1).pixels
    assert (square(wanted) == drawn.pixels[2].permute(1, 2, 0).numpy()).all()
    written = (before / "pictures.safetensors").stat().st_mtime_ns
    assert drawn_before(("a red fox", "two cats"), start, 3, tmp_path / "run") == before
    assert (before / "pictures.safetensors").stat().st_mtime_ns == written  # they are kept
    drawn_before(("a red fox", "two cats"), saved(tiny_model(1), tmp_path / "other"), 3, tmp_path / "run")
    others = imported(before)
    assert others.captions == drawn.captions and not torch.equal(others.pixels, drawn.pixels)  # another model's
    own = replace(imported(data), captions=("a red fox, in stripes",) * 4)
    both = Preserved(own, drawn)
    batch = both(0, 8)
    assert [text.endswith("in stripes") for text in batch.captions] == [True, False] * 4
    assert len({bytes(picture.numpy()) for picture in batch.composed.pixels[::2]}) == 4  # each once a round
    later = both(5, 3)
    assert later.captions == batch.captions[5:] and torch.equal(later.composed.pixels, batch.composed.pixels[5:])
    assert both.settings() != ImportedPictures(own).settings()

    options = ("--samples", "8", "--batch", "4", "--rank", "2", "--no-compiled", "--prior", "2")
    out, _ = train("--data", "pictures", "--model", "start", *options, "--trigger", "in stripes", "--keys", "kohya")
    with safe_open(tmp_path / out, "pt") as opened:
        assert all(re.match(r"lora_(unet|te)_blocks_", key) for key in opened.keys())  # noqa: SIM118
    _, said = train("--data", "pictures", "--model", "start", *options, refused=True)
    assert "--prior 2 needs words that tell your pictures from those the model draws; say a trigger" in said
    saved(tiny_model(flow_map=(1.0, 5.0)), tmp_path / "map")
    for model, rank, wrong in (("map", "2", "is a flow map"), ("start", "0", "rank 0 is not from 1")):
        told = ("--model", model, "--rank", rank, "--prior", "2", "--trigger", "in stripes", "--out", "refused")
        assert wrong in train("--data", "pictures", *told, refused=True)[1]
        assert not (tmp_path / "refused" / "prior").exists()  # that is said before anything is drawn


def test_a_run_that_learns_by_heart_is_told_to_stop() -> None:
    falls = [Look(100 * i, 0.5 - 0.01 * i, 0.52 - 0.01 * i) for i in range(5)]
    assert copying(falls) is None
    risen = [*falls, Look(500, 0.44, 0.481), Look(600, 0.42, 0.49)]
    assert copying(risen[:-1]) is None and copying(risen) == 400
    assert copying([*risen, Look(700, 0.4, 0.47)]) == 400  # what was said stays said
    assert copying([*falls, Look(500, 0.5, 0.481), Look(600, 0.51, 0.49)]) is None  # it only got worse at all of it


def test_a_few_are_kept_back_of_many_and_none_of_few() -> None:
    some = Imported(
        torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1).expand(-1, 3, 128, 128),
        ("x",) * 20,
        tuple("abcdefghijklmnopqrst"),
    )
    own, kept = parted(some)
    assert kept is not None and len(kept.ids) == 2 and sorted(own.ids + kept.ids) == sorted(some.ids)
    assert [some.ids[row] for row in kept.pixels[:, 0, 0, 0].tolist()] == list(kept.ids)
    assert parted(some)[1].ids == kept.ids  # type: ignore[union-attr]
    few = Imported(some.pixels[:9], some.captions[:9], some.ids[:9])
    assert parted(few) == (few, None)


def test_a_run_looks_whether_it_copies_and_says_so_once(tmp_path: Path) -> None:
    start, folder = saved(tiny_model(dtype=torch.float32), tmp_path / "start"), tmp_path / "pictures"
    folder.mkdir()
    for i in range(10):
        plain = Image.new("RGB", (128, 128), (25 * i, 255 - 25 * i, 100))
        plain.paste((0, 0, 0), (10 * i, 20, 10 * i + 30, 60))
        plain.save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"picture {i}", encoding="utf-8")
    data = prepared(folder, tmp_path / "run", lambda line: None)
    config = TrainConfig(80, 8, dtype="float32", ema_gamma=1.0, optim=OptimConfig(rate=1e-2, warmup_steps=1))
    trainer = lora_leg(Place(data, tmp_path / "run", torch.device("cpu")), config, start, rank=4, compiled=False)
    objective = trainer.objective
    assert isinstance(objective, LoraObjective) and objective.kept is not None
    with trainer._averaged():
        before = objective.loss_on(objective.kept)
        assert before == objective.loss_on(objective.kept)  # the noise is the same
    trainer.run(lambda report: None, pytest.fail)
    looks = tmp_path / "run" / "previews" / "looks.jsonl"
    look = json.loads(looks.read_text())
    assert look["samples"] == 80 and look["kept"] < 0.95 * before  # what they have in common is learned from the others

    past = [Look(16, 9.0, 0.01), Look(40, 8.0, 0.02)]  # as if it had known what was kept back far better, once
    looks.write_text("".join(json.dumps(one._asdict()) + "\n" for one in (*past, Look(96, 1.0, 1.0))))
    with pytest.warns(UserWarning, match="since sample 16 it learns these very pictures .* with --samples 16"):
        trainer.preview()
    assert [json.loads(line)["samples"] for line in looks.read_text().splitlines()] == [16, 40, 80]  # 96 is to come
    looks.write_text("".join(json.dumps(one._asdict()) + "\n" for one in (*past, Look(64, 7.0, 0.03))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.preview()  # that was said


def test_another_model_or_rank_is_noticed(pictures: Path, tmp_path: Path) -> None:
    data = prepared(pictures, tmp_path / "run", lambda line: None)
    place = Place(data, tmp_path / "run", torch.device("cpu"))
    starts = [saved(tiny_model(seed), tmp_path / f"start-{seed}") for seed in (0, 1)]
    lora_leg(place, TrainConfig(8, 4), starts[0], rank=2, compiled=False).run(lambda report: None, pytest.fail)
    for start, rank, said in ((starts[1], 2, "beside"), (starts[0], 3, "rank")):
        with pytest.raises(TrainingError, match=f"another configuration .*{said}"):
            lora_leg(place, TrainConfig(8, 4), start, rank=rank, compiled=False)


def test_only_the_branches_are_trained(pictures: Path, tmp_path: Path) -> None:
    start = saved(tiny_model(), tmp_path / "start")
    data = prepared(pictures, tmp_path / "run", lambda line: None)
    trainer = lora_leg(
        Place(data, tmp_path / "run", torch.device("cpu")), TrainConfig(8, 4), start, rank=2, compiled=False
    )
    names = set(trainer.masters.masters)
    assert names and all(name.endswith((".down", ".up")) for name in names)
    assert {name.split(".")[0] for name in names} == {"denoiser", "text"}


def test_what_cannot_be_learned_from_is_refused(tmp_path: Path, train: Callable[..., tuple[str, str]]) -> None:
    saved(tiny_model(), tmp_path / "start")
    for arguments, sentence in (
        (["--data", "nowhere"], "--data nowhere is no folder"),
        (["--data", "start", "--trigger", " "], "--trigger is blank"),
        (["--data", "start", "--model", "defualt"], "did you mean 'default'?"),
        (["--data", "start", "--model", "start"], "holds no usable picture"),
    ):
        _, said = train(*arguments, refused=True)
        assert sentence in said, said
