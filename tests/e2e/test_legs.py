"""A toy run of every leg, each from the hand-over of the one before, to a model that draws."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from toys import sprite_table

import darkroom
from darkroom.cards import read_card
from darkroom.contracts.card import DataSource
from darkroom.contracts.errors import BadInput, CannotWrite
from darkroom.data import ahead
from darkroom.data.imported import import_folder
from darkroom.data.scenes.spec import FULL, ComposerConfig, Photo
from darkroom.data.stock import tables
from darkroom.data.stock.built import DRAWINGS, PHOTOS
from darkroom.evaluation.command import pack_judge
from darkroom.judge.judge import load_judge
from darkroom.judge.truth import WHOLE
from darkroom.nn import autoencoder, detector, text
from darkroom.nn.config import read_config
from darkroom.nn.dit import Denoiser, DenoiserConfig
from darkroom.nn.text import TextConfig, TextEncoder
from darkroom.picture.read import read
from darkroom.training import handover
from darkroom.training.handover import HANDOVER, fingerprint, hand_over, leg_of, opened_autoencoder, weights_of
from darkroom.training.legs.autoencoder import autoencoder_leg
from darkroom.training.legs.begin import LONG
from darkroom.training.legs.diffusion import KNOWN_THEN, diffusion_leg
from darkroom.training.legs.judge import judge_leg
from darkroom.training.legs.lessons import SHORT
from darkroom.training.legs.place import Place
from darkroom.training.legs.text import text_leg
from darkroom.training.loop import TrainConfig, Trainer, TrainingError
from darkroom.training.objectives.autoencoder import AutoencoderObjectiveConfig
from darkroom.training.packing import learnt, pack
from darkroom.wording.tokenizer import Tokenizer
from darkroom.wording.vocabulary import core, everyday

CPU = torch.device("cpu")
STEPS = 6
WORDS = replace(text.nano(), width=48)
WARDROBE = ("woman", "lion", "top hat", "crown")  # scenes of everything show somebody with a hat on


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawings of forty everyday concepts in every style, and photos. Sixty concepts have no drawing."""
    folder = tmp_path_factory.mktemp("data")
    words = (*(concept.word for concept in everyday()[:40]), *WARDROBE)
    drawings = sprite_table(tuple(FULL.styles), words=words)
    tables.save(drawings.sprites, drawings.pixels, folder, DRAWINGS)
    pixels = torch.randint(0, 256, (110, 3, 128, 128), generator=torch.Generator().manual_seed(0)).byte()
    shown = tuple(Photo(i, f"photo {i}", (f"a shirt, number {i}",), f"p{i}") for i in range(110))
    tables.save(shown, pixels, folder, PHOTOS)
    return folder


def config(batch: int, **changes: object) -> TrainConfig:
    return replace(TrainConfig(STEPS * batch, batch, log_steps=2), **changes)  # type: ignore[arg-type]


def trained(trainer: Trainer) -> Path:
    reports = []
    trainer.resume(pytest.fail)
    trainer.run(reports.append, pytest.fail)
    assert trainer.step == STEPS and trainer.skipped == 0
    assert len(reports) == STEPS // 2
    assert all(value == value for report in reports for value in report.metrics.values())
    return hand_over(trainer)


def autoencoder_trainer(data: Path, out: Path, start: Path | None = None) -> Trainer:
    settings = AutoencoderObjectiveConfig(network=autoencoder.nano(), crop=32)
    return autoencoder_leg(Place(data, out, CPU), config(4), settings, start)


def text_trainer(data: Path, out: Path, start: Path | None = None) -> Trainer:
    out.mkdir(exist_ok=True)
    if start is None:  # the real one reads a hundred thousand captions
        captions = [f"a {c.word} on a white background, {style}" for c in everyday() for style in FULL.styles]
        (out / "tokenizer.json").write_text(Tokenizer.train(captions, 512).to_json(), encoding="utf-8")
    return text_leg(Place(data, out, CPU), config(8), start, network=WORDS)


def diffusion_trainer(
    data: Path, out: Path, codec: Path, words: Path | None, start: Path | None = None, run: int = 0, workers: int = 0
) -> Trainer:
    return diffusion_leg(
        Place(data, out, CPU, workers),
        config(4),
        autoencoder=codec,
        text=words,
        start=start,
        size="nano",
        scenes=ComposerConfig(),
        run=run,
        compiled=False,
    )


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trainer]:
    """The three legs, trained and handed over."""
    out = tmp_path_factory.mktemp("runs")
    found = {"autoencoder": autoencoder_trainer(data, out / "autoencoder"), "text": text_trainer(data, out / "text")}
    codec, words = trained(found["autoencoder"]), trained(found["text"])
    found["diffusion"] = diffusion_trainer(data, out / "base", codec, words)
    trained(found["diffusion"])
    return found


def handed_over(trainer: Trainer) -> Path:
    return trainer.folder / HANDOVER


def test_the_autoencoder_is_handed_over_with_its_statistics(runs: dict[str, Trainer]) -> None:
    trainer = runs["autoencoder"]
    folder = handed_over(trainer)
    assert {p.name for p in folder.iterdir()} == {"autoencoder.safetensors", "leg.json"}
    module = opened_autoencoder(folder)
    for name, parameter in module.named_parameters():
        assert torch.equal(parameter, trainer.ema.average[name].bfloat16().float()), name
    with torch.no_grad():
        latent = module.encode(trainer.objective.held_out)  # type: ignore[attr-defined]
    # Measured with bf16 compute and stored in bf16: 2**-8 of the raw latents' size.
    assert latent.mean((0, 2, 3)).abs().max() < 0.05
    assert (latent.std((0, 2, 3)) - 1).abs().max() < 0.05
    assert (trainer.folder / "previews" / "000000024.png").stat().st_size > 10_000


def test_the_text_encoder_is_handed_over_without_the_heads_of_its_training(runs: dict[str, Trainer]) -> None:
    folder = handed_over(runs["text"])
    assert {p.name for p in folder.iterdir()} == {"text.safetensors", "tokenizer.json", "leg.json"}
    module = TextEncoder(read_config(TextConfig, leg_of(folder)["networks"]["text"]))
    module.load_state_dict(load_file(folder / "text.safetensors"))
    average = runs["text"].ema.average
    for name, parameter in module.named_parameters():
        assert torch.equal(parameter, average[f"encoder.{name}"].bfloat16().float()), name
    assert (folder / "tokenizer.json").read_text() == (runs["text"].folder / "tokenizer.json").read_text()


def test_the_denoiser_is_handed_over_with_its_text_encoder(runs: dict[str, Trainer]) -> None:
    trainer, folder = runs["diffusion"], handed_over(runs["diffusion"])
    names = {"denoiser.safetensors", "text.safetensors", "oracle.safetensors", "tokenizer.json", "leg.json"}
    assert {p.name for p in folder.iterdir()} == names
    leg = leg_of(folder)
    assert (leg["name"], leg["step"], leg["samples"]) == ("diffusion", STEPS, STEPS * 4)
    denoiser = Denoiser(read_config(DenoiserConfig, leg["networks"]["denoiser"]))
    denoiser.load_state_dict(load_file(folder / "denoiser.safetensors"))
    for name, parameter in denoiser.named_parameters():
        assert torch.equal(parameter, trainer.ema.average[f"denoiser.{name}"].bfloat16().float()), name
    assert leg["config"]["composer"]["vocabulary"] == "everyday"
    assert leg["networks"]["denoiser"]["text_width"] == WORDS.width  # and not what the size has by itself
    lines = [json.loads(line) for line in (trainer.folder / "log.jsonl").read_text().splitlines()]
    assert all(any(name.startswith("t 0") for name in line) for line in lines)
    assert ["oracle" in line for line in lines] == [True, True, False]  # off in the last third
    # It trained the text encoder on, from the one it was given.
    before = load_file(handed_over(runs["text"]) / "text.safetensors")
    after = load_file(folder / "text.safetensors")
    assert before.keys() == after.keys() and any(not torch.equal(before[name], after[name]) for name in before)
    preview = read(trainer.folder / "previews" / "000000024.png")
    assert preview.shape[1] > 4 * 128 and preview.std() > 10


def test_every_leg_goes_on_from_a_hand_over(runs: dict[str, Trainer], data: Path, tmp_path: Path) -> None:
    codec, words, base = (handed_over(runs[name]) for name in ("autoencoder", "text", "diffusion"))
    fresh = autoencoder_trainer(data, tmp_path / "autoencoder", codec)
    weights = load_file(codec / "autoencoder.safetensors")
    assert all(torch.equal(m, weights[n].float()) for n, m in fresh.masters.masters.items())
    fresh = text_trainer(data, tmp_path / "text", words)
    weights = load_file(words / "text.safetensors")
    assert all(torch.equal(fresh.masters.masters[f"encoder.{n}"], w.float()) for n, w in weights.items())
    fresh = diffusion_trainer(data, tmp_path / "base", codec, base, base, run=1)
    for part in ("denoiser", "text", "oracle"):
        weights = load_file(base / f"{part}.safetensors")
        assert all(torch.equal(fresh.masters.masters[f"{part}.{n}"], w.float()) for n, w in weights.items()), part
    assert fresh.step == 0 and fresh.masters.state() == {}
    assert torch.equal(fresh.ema.average["denoiser.out.weight"], fresh.masters.masters["denoiser.out.weight"])
    trained(fresh)


def test_a_denoiser_goes_on_with_the_text_encoder_it_was_trained_with(
    runs: dict[str, Trainer], data: Path, tmp_path: Path
) -> None:
    codec, base = handed_over(runs["autoencoder"]), handed_over(runs["diffusion"])
    fresh = diffusion_trainer(data, tmp_path / "base", codec, None, base, run=1)
    weights = load_file(base / "text.safetensors")
    assert all(torch.equal(fresh.masters.masters[f"text.{n}"], w.float()) for n, w in weights.items())
    with pytest.raises(BadInput, match="a denoiser from zero has no text encoder to learn with; give --text"):
        diffusion_trainer(data, tmp_path / "zero", codec, None)


def test_a_denoiser_goes_on_when_the_vocabulary_has_grown(
    runs: dict[str, Trainer], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec, words = handed_over(runs["autoencoder"]), handed_over(runs["text"])
    with monkeypatch.context() as then:
        then.setattr("darkroom.training.legs.diffusion.core", lambda: core()[:KNOWN_THEN])
        before = diffusion_trainer(data, tmp_path / "base", codec, words)
    trained(before)
    path = tmp_path / "base" / "config.json"
    saved = json.loads(path.read_text())
    assert saved["objective"].pop("concepts") == 357
    path.write_text(json.dumps(saved))  # as it was written then
    after = diffusion_trainer(data, tmp_path / "base", codec, words)
    assert after.resume(pytest.fail) and after.step == STEPS
    assert torch.equal(after.masters.masters["oracle.layers.2.bias"], before.masters.masters["oracle.layers.2.bias"])
    assert len(core()) > 357
    fresh = diffusion_trainer(data, tmp_path / "next", codec, None, handed_over(before))
    assert len(fresh.masters.masters["oracle.layers.2.bias"]) == len(core()) + 2


def test_a_start_that_lacks_weights_is_refused(runs: dict[str, Trainer], data: Path, tmp_path: Path) -> None:
    for name, part in (("autoencoder", "autoencoder"), ("text", "text"), ("diffusion", "denoiser")):
        shutil.copytree(handed_over(runs[name]), tmp_path / name)
        path = tmp_path / name / f"{part}.safetensors"
        save_file({f"other.{k}": v for k, v in load_file(path).items()}, path)
    with pytest.raises(TrainingError, match=r"the starting weights lack (en|de)coder\."):
        autoencoder_trainer(data, tmp_path / "a", tmp_path / "autoencoder")
    with pytest.raises(TrainingError, match=r"the starting weights lack encoder\."):
        text_trainer(data, tmp_path / "t", tmp_path / "text")
    with pytest.raises(TrainingError, match=r"the denoiser of .*diffusion is of another network"):
        codec = handed_over(runs["autoencoder"])
        diffusion_trainer(data, tmp_path / "d", codec, None, tmp_path / "diffusion")


def test_large_weights_are_handed_over_in_several_files(
    runs: dict[str, Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "LARGEST", 100_000)
    folder = hand_over(runs["diffusion"], tmp_path / "split")
    parts = sorted(folder.glob("denoiser*"))
    assert len(parts) > 2 and all(p.name.endswith(f"-of-{len(parts)}.safetensors") for p in parts)
    assert all(p.stat().st_size < 120_000 for p in parts)
    whole = load_file(handed_over(runs["diffusion"]) / "denoiser.safetensors")
    read_back = weights_of(folder, "denoiser")
    assert read_back.keys() == whole.keys() and all(torch.equal(read_back[n], whole[n].float()) for n in whole)
    parts[1].unlink()
    with pytest.raises(TrainingError, match="lacks files of the denoiser; give a whole hand-over"):
        weights_of(folder, "denoiser")


def test_a_leg_says_what_it_began_with_and_packing_asks(runs: dict[str, Trainer], data: Path, tmp_path: Path) -> None:
    codec, words, base = (handed_over(runs[name]) for name in ("autoencoder", "text", "diffusion"))
    assert leg_of(base)["origin"] == {
        "autoencoder": fingerprint(weights_of(codec, "autoencoder")),
        "text": fingerprint(weights_of(words, "text")),
    }
    other = shutil.copytree(codec, tmp_path / "other")
    weights = load_file(other / "autoencoder.safetensors")
    name = next(n for n in weights if n.startswith("decoder"))
    save_file({**weights, name: weights[name] + 1}, other / "autoencoder.safetensors")
    with pytest.raises(BadInput, match=r"other is not the autoencoder that .* was trained with; give the folder"):
        pack(other, base, tmp_path / "model", "toy", None)
    assert not (tmp_path / "model").exists()
    model = pack(codec, base, tmp_path / "model", "toy", None)
    again = pack(model, base, tmp_path / "again", "toy", None)  # a model's autoencoder is the same one
    assert read_card(again).configs == read_card(model).configs
    assert read_card(again).configs["denoiser"]["text_width"] == WORDS.width
    with pytest.raises(BadInput, match="is a model already; give the hand-over"):
        pack(model, model, tmp_path / "third", "toy", None)


def test_nothing_of_a_model_is_written_before_all_of_it_is_there(runs: dict[str, Trainer], tmp_path: Path) -> None:
    codec, words, base = (handed_over(runs[name]) for name in ("autoencoder", "text", "diffusion"))
    out = tmp_path / "model"
    with pytest.raises(
        BadInput, match="holds no denoiser but text; give the handover folder of a `darkroom train diff"
    ):
        pack(codec, words, out, "toy", None)
    with pytest.raises(BadInput, match="holds no autoencoder but text"):
        pack(words, base, out, "toy", None)
    broken = shutil.copytree(base, tmp_path / "broken")
    (broken / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError):
        pack(codec, broken, out, "toy", None)
    with pytest.raises(BadInput, match="name '' is too short"):
        pack(codec, base, out, "", pack(codec, base, tmp_path / "words", "toy", None) / "card.json")
    assert not out.exists()


def test_the_words_of_a_model_are_those_of_its_captions() -> None:
    plain, full = (
        {f.name: getattr(config, f.name) for f in fields(config) if f.name != "stock"}
        for config in (ComposerConfig(), FULL)
    )
    everyday_words = set(learnt(plain)["words"])
    words = set(learnt({**full, "stream": "train", "run": 0, "side": 128, "gone_since": 0.5})["words"])
    assert {"fox", "foxes", "3d", "gradient", "purple"} <= everyday_words & words
    told = {"snow", "night", "neon", "close-up", "blurry", "mannequin", "box", "letters", "watercolour", "wearing"}
    assert told <= words and not told & everyday_words


def test_a_folder_of_pictures_trains_an_autoencoder_and_a_denoiser(runs: dict[str, Trainer], tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for i in range(12):
        pixels = torch.randint(0, 256, (8, 8, 3), generator=torch.Generator().manual_seed(i)).byte().numpy()
        Image.fromarray(pixels).resize((160, 130), Image.Resampling.BICUBIC).save(mine / f"{i}.png")
        (mine / f"{i}.txt").write_text(f"a blot, number {i}")
    row = {"file_name": "0.png", "licence": "CC-BY-4.0", "attribution": "Ann"}
    (mine / "metadata.jsonl").write_text(json.dumps(row))
    import_folder(mine, tmp_path / "data")
    codec = trained(autoencoder_trainer(tmp_path / "data", tmp_path / "codec"))
    trainer = diffusion_trainer(tmp_path / "data", tmp_path / "base", codec, handed_over(runs["text"]))
    base = trained(trainer)
    lines = [json.loads(line) for line in (trainer.folder / "log.jsonl").read_text().splitlines()]
    assert not any("oracle" in line for line in lines)  # nobody says what is where
    card = read_card(pack(codec, base, tmp_path / "model", "mine", None))
    assert set(card.words) == {"a", "blot", "number", *map(str, range(12))} and card.styles == ()
    assert [(leg.what, leg.samples) for leg in card.training] == [("autoencoder", 24), ("diffusion", 24)]
    thanks = (
        DataSource(name="mine", licence="CC-BY-4.0", attribution="Ann"),
        DataSource(name="mine", licence="unknown"),
    )
    assert [leg.sources for leg in card.training] == [thanks, thanks]
    assert darkroom.load(str(tmp_path / "model")).generate("a blot", steps=1, width=64, height=64).pixels.std() > 0
    with pytest.raises(BadInput, match="nobody says what is where in them; train autoencoder and diffusion"):
        text_trainer(tmp_path / "data", tmp_path / "words")
    (mine / "0.txt").write_text("another blot")
    import_folder(mine, tmp_path / "data")
    with pytest.raises(TrainingError, match="another configuration"):
        diffusion_trainer(tmp_path / "data", tmp_path / "base", codec, handed_over(runs["text"]))


def test_a_leg_of_all_the_composer_can_do_trains(runs: dict[str, Trainer], data: Path, tmp_path: Path) -> None:
    codec, words = handed_over(runs["autoencoder"]), handed_over(runs["text"])
    place = Place(data, tmp_path / "full", CPU)
    trainer = diffusion_leg(
        place, config(4), autoencoder=codec, text=words, start=None, size="nano", scenes=FULL, run=2, compiled=False
    )
    trained(trainer)
    saved = leg_of(trainer.folder / HANDOVER)["config"]
    assert saved["length"] == LONG > SHORT
    assert saved["composer"]["place_share"] == FULL.place_share and "stock" not in saved["composer"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forks")
@pytest.mark.parametrize("kind", ["diffusion", "judge"])
def test_what_workers_make_trains_to_the_same_bits(
    kind: str, runs: dict[str, Trainer], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "CHUNK", 3)  # batches are joined from several
    codec, words = handed_over(runs["autoencoder"]), handed_over(runs["text"])
    weights = []
    for workers in (0, 2):
        if kind == "judge":
            trainer = judge_trainer(data, tmp_path / f"{workers}", workers=workers)
        else:
            trainer = diffusion_trainer(data, tmp_path / f"{workers}", codec, words, workers=workers)
        for _ in range(2):
            assert trainer.advance()[0] is not None
        trainer.objective.close()
        weights.append(trainer.masters.masters)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_what_was_trained_draws(runs: dict[str, Trainer], tmp_path: Path) -> None:
    folder = pack(handed_over(runs["autoencoder"]), handed_over(runs["diffusion"]), tmp_path / "model", "toy", None)
    model = darkroom.load(str(folder))
    image = model.generate("a red fox, 3d", seed=7, steps=2, width=64, height=64)
    assert image.pixels.shape == (64, 64, 3)
    again = model.generate("a red fox, 3d", seed=7, steps=2, width=64, height=64)
    assert (image.pixels == again.pixels).all() and image.pixels.std() > 0


def test_a_hand_over_is_all_or_nothing(
    runs: dict[str, Trainer], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = autoencoder_trainer(data, tmp_path / "run")
    trainer.run(lambda report: None, pytest.fail)
    folder = hand_over(trainer)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    trainer.ema.average["decoder.layers.0.bias"] += 1
    left = [1]

    def full(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CannotWrite, match=r"no space left on device.*the same command writes it again"):
            hand_over(trainer)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    hand_over(trainer)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} != before
    assert not list((tmp_path / "run").glob(".*"))


def test_what_is_no_hand_over_is_refused_in_a_sentence(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"is no hand-over of a leg .*; give a run's handover folder"):
        opened_autoencoder(tmp_path)
    with pytest.raises(TrainingError, match="is no hand-over"):
        diffusion_trainer(data, tmp_path / "out", tmp_path, tmp_path)


# --- the judge ---------------------------------------------------------------------------------------------------


def judge_trainer(
    data: Path, out: Path, start: Path | None = None, without: str | None = None, workers: int = 0
) -> Trainer:
    out.mkdir(exist_ok=True)
    captions = [f"a {c.word} on a white background" for c in everyday()]
    (out / "judge-tokenizer.json").write_text(Tokenizer.train(captions, 512).to_json(), encoding="utf-8")
    network = detector.nano({name: len(values) for name, values in WHOLE.items()})
    reader = replace(text.nano(), width=32)
    place = Place(data, out, CPU, workers)
    return judge_leg(place, config(8), start, network=network, reader=reader, without=without, compiled=False)


def test_a_judge_is_trained_handed_over_packed_and_trained_on(data: Path, tmp_path: Path) -> None:
    folder = trained(judge_trainer(data, tmp_path / "judge"))
    assert {p.name for p in folder.iterdir()} == {"judge.safetensors", "judge-tokenizer.json", "leg.json"}
    packed = pack_judge(folder, data, tmp_path / "packed", 26)
    judge = load_judge(packed)
    assert judge.calibration["presence"].ceiling < 0.2 and 0.2 < judge.calibration["ranking"].floor < 0.8  # untaught
    average = load_file(folder / "judge.safetensors")
    weight = judge.matching.reader.embed.weight
    assert torch.allclose(weight, average["matching.reader.embed.weight"].float(), atol=0.01)
    for start in (folder, packed):  # both open the next leg
        after = judge_trainer(data, tmp_path / f"from-{start.name}", start)
        name = "detector.what.weight"
        assert torch.allclose(after.masters.masters[name].flatten(1), average[name].float().flatten(1), atol=0.02)


@pytest.mark.parametrize("style", ["flat", "3d"])  # media are drawn in 3d, unless it is left out
def test_a_judge_can_be_kept_from_a_style(data: Path, tmp_path: Path, style: str) -> None:
    source = judge_trainer(data, tmp_path / "blind", without=style).objective.teaching.source  # type: ignore[attr-defined]
    specs = source.scenes.specs(0, 300)
    assert {spec.drawings for spec in specs if spec.objects} == set(FULL.styles) - {style}
    assert all(sprite.style != style for sprite in source.scenes.composer.table.sprites)
    with pytest.raises(BadInput, match="unknown style 'oils'; known: 3d, "):
        judge_trainer(data, tmp_path / "oils", without="oils")
