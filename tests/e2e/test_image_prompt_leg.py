"""One command from composed scenes to a model that reads reference pictures; what was learned is what draws."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from program import ran
from tiny import saved, tiny_model
from toys import sprite_table

from darkroom.cards import read_card
from darkroom.cli import main
from darkroom.contracts.errors import BadInput
from darkroom.contracts.ledger import LedgerRow, write_ledger
from darkroom.data.scenes.spec import ComposerConfig
from darkroom.data.stock import tables
from darkroom.data.stock.built import DRAWINGS, LEDGER
from darkroom.model import load
from darkroom.nn.beside.tower import SEEN, nano
from darkroom.protocols import Call
from darkroom.training.handover import hand_over
from darkroom.training.legs.beside.image_prompt import image_prompt_leg, packed_with_tower
from darkroom.training.legs.place import Place
from darkroom.training.loop import TrainConfig, Trainer
from darkroom.training.objectives.image_prompt import ImagePromptObjective, spread_over
from darkroom.training.optim import OptimConfig
from darkroom.wording.vocabulary import everyday

SCENES = ComposerConfig(styles={"3d": 0.5, "flat": 0.5})


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built data with made-up drawings of twenty things in two styles."""
    folder = tmp_path_factory.mktemp("data")
    table = sprite_table(("3d", "flat"), words=tuple(concept.word for concept in everyday()[:20]))
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
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("references") / "fox.png"
    PillowImage.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)).save(path)
    return path


def leg(data: Path, out: Path, start: Path, samples: int, alone: float, rate: float = 3e-3) -> Trainer:
    config = TrainConfig(
        samples, 8, dtype="float32", ema_gamma=1.0, log_steps=5, optim=OptimConfig(rate=rate, warmup_steps=1)
    )
    place = Place(data, out, torch.device("cpu"))
    return image_prompt_leg(
        place, config, start, scenes=SCENES, run=0, alone=alone, tower=nano(), compiled=False, force=False
    )


def test_a_model_reads_references_from_the_command_line(
    built: Path,
    start: Path,
    reference: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["train", "image-prompt", "--model", str(start), "--data", str(built), "--samples", "48", "--batch", "4"]
    command += ["--rate", "0.003", "--styles", "3d:1,flat:1", "--no-compiled"]
    for minutes, said in (("0.001", r"stopped at step \d+ with"), ("5", "done after 48 samples")):
        with pytest.raises(SystemExit) as ended:
            main([*command, "--minutes", minutes])
        captured = capfd.readouterr()
        assert not ended.value.code and re.search(said, captured.err), captured.err
    out = captured.out.strip()
    assert out == "runs/image-prompt/model" and list(Path("runs/image-prompt/previews").glob("*.png"))
    card, before = read_card(Path(out)), read_card(start)
    assert card.name == "with-references" and card.model_hash != before.model_hash
    assert [source.licence for source in card.training[-1].sources] == ["CC BY-SA 4.0"]
    assert all(card.files[part] == entry for part, entry in before.files.items())

    draw = ["generate", "something red", "--model", out, "--json", "--upscale", "1", "--seed", "3", "--size", "64"]
    assert ran(*draw, "--image-prompt", f"{reference}:0.6", "--image-prompt", f"{reference}:style", "--out", "a") == 0
    [made] = json.loads(capfd.readouterr().out)["pictures"]
    uses = made["recipe"]["image_prompts"]
    assert [(use["picture"]["name"], use["scale"], use["keep"]) for use in uses] == [
        ("fox.png", 0.6, "subject"),
        ("fox.png", 1.0, "style"),
    ]
    again = ("generate", "--recipe", made["path"], "--model", out, "--out", "again", "--json")
    assert ran(*again) != 0 and "the reference picture 'fox.png' of this recipe" in capfd.readouterr().err
    assert ran(*again, "--image-prompt", f"{reference}:0.7") != 0
    assert "acted with 0.6 for its subject in" in capfd.readouterr().err
    for how in (("--image-prompt", f"{reference}:0.6"), ("--files", str(reference.parent))):
        assert ran(*again, *how) == 0
        [second] = json.loads(capfd.readouterr().out)["pictures"]
        pixels = [np.asarray(PillowImage.open(one["path"])) for one in (made, second)]
        assert (pixels[0] == pixels[1]).all()
    assert ran(*[*draw[:3], str(start), *draw[4:]], "--image-prompt", str(reference)) != 0
    assert "tiny has no image tower" in capfd.readouterr().err

    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path / "store"))
    assert ran("models", "export", out, "--out", "given", "--dtype", "fp32") == 0
    assert ran("models", "import", "given", "--name", "back") == 0
    capfd.readouterr()
    assert ran(*[*draw[:3], "back", *draw[4:]], "--image-prompt", f"{reference}:0.6", "--out", "b") == 0


def test_it_learns_what_words_come_to_and_what_was_learned_is_what_reads(
    built: Path, start: Path, tmp_path: Path
) -> None:
    trainer = leg(built, tmp_path / "run", start, 480, 0.75)
    lines: list[dict[str, float]] = []
    trainer.run(lambda report: lines.append(dict(report.metrics)), pytest.fail)
    assert lines[-1]["style words"] < 0.8 * lines[0]["style words"]
    assert "flow" not in lines[0] and "flow" in lines[-1]
    objective = trainer.objective
    assert isinstance(objective, ImagePromptObjective)
    assert all(name.startswith("tower.") for name in trainer.masters.masters)
    hand_over(trainer)
    model = load(str(packed_with_tower(tmp_path / "run", start, "mine")), torch.float32)
    assert model.image is not None and trainer.finished().keys() == {
        f"tower.{name}" for name in model.image.network.state_dict()
    }
    pixels = torch.rand(3, SEEN, SEEN, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        objective.module.load_state_dict(trainer.finished(), strict=False)
        expected = objective.module.tower(pixels[None], torch.tensor([1]))[0]
        [found] = model.evaluate([Call("image", {"pixels": pixels, "keep": 1.0})])
    assert torch.allclose(found, expected, atol=0.05 * float(expected.abs().max()))  # weights are packed in 8 bits


def test_what_cannot_be_learned_from_or_put_together_is_refused(built: Path, start: Path, tmp_path: Path) -> None:
    trainer = leg(built, tmp_path / "run", start, 8, 1.0)
    trainer.run(lambda report: None, pytest.fail)
    hand_over(trainer)
    other = saved(tiny_model(seed=1, dtype=torch.float32), tmp_path / "other")
    with pytest.raises(BadInput, match=r"was trained beside another text than .*other's; give the model it is for"):
        packed_with_tower(tmp_path / "run", other, "mine")
    assert not (tmp_path / "run" / "model").exists()
    with pytest.raises(BadInput, match="alone"):
        leg(built, tmp_path / "more", start, 8, 1.5)


def test_a_sentence_is_spread_over_the_places_in_its_order() -> None:
    words = torch.arange(6.0)[None, :, None].repeat(3, 1, 1)
    mask = torch.arange(6)[None] < torch.tensor([[2], [3], [6]])
    assert spread_over(words, mask, 4)[..., 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 2], [0, 1, 2, 3]]
