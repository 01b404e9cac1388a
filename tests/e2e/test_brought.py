"""What is brought to a public checkpoint on the command line, and found again by a recipe."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from safetensors.torch import save_file

from darkroom.picture.metadata import read_recipe
from darkroom.picture.read import read
from tests.program import ran
from tests.public import autoencoder, control_net, needs_public, saved, stable_diffusion

pytestmark = needs_public
ASKED = ("a fox", "--model", "painter", "--seed", 1, "--steps", 2, "--size", 64)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a model in its store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path / "store"))
    assert ran("models", "import", saved(stable_diffusion(), tmp_path / "painter")) == 0
    return tmp_path


def only(folder: Path) -> Path:
    """The one picture in a folder."""
    [found] = folder.glob("*.png")
    return found


def same(one: Path, other: Path) -> bool:
    return bool(np.array_equal(read(str(one)), read(str(other))))


def test_a_control_is_part_of_the_recipe(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "nets").mkdir()
    for seed, name in ((7, "canny"), (8, "other")):
        control_net(stable_diffusion(), seed).save_pretrained(here / "nets" / name)
    pixels = np.random.default_rng(0).integers(0, 256, (80, 64, 3), dtype=np.uint8)
    Pillow.fromarray(pixels).save(here / "nets" / "edges.png")
    use = "nets/canny=nets/edges.png"
    capsys.readouterr()
    assert ran("generate", *ASKED, "--control", f"{use}:0.5:0-0.5", "--out", "one") == 0
    assert "edges.png, 64x80, is scaled to 64x64, and cut to it" in capsys.readouterr().err
    assert ran("generate", *ASKED, "--out", "plain") == 0
    one = only(here / "one")
    [told] = read_recipe(one).controls
    assert (told.name, told.map.name, told.scale, told.end) == ("canny", "edges.png", 0.5, 0.5)
    assert not same(one, only(here / "plain"))

    again = ("generate", "--recipe", one, "--model", "painter", "--out", "two")
    assert ran(*again) == 2
    assert "was not opened; give its file (control), or the folder it lies in (files)" in capsys.readouterr().err
    assert ran(*again, "--files", "nets") == 0 and same(one, only(here / "two"))
    assert ran("recipe", "run", one, "--model", "painter", "--out", "three", "--control", use) == 0
    assert same(one, only(here / "three"))
    assert ran(*again, "--control", "nets/other=nets/edges.png") == 2
    assert "is no part of this recipe; leave it out" in capsys.readouterr().err
    Pillow.fromarray(255 - pixels).save(here / "nets" / "edges.png")
    assert ran(*again, "--files", "nets") == 2 and "is not the control map of this recipe" in capsys.readouterr().err


def test_a_learnt_word_is_part_of_the_recipe(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "words").mkdir()
    for seed, name in ((1, "inky"), (2, "other")):
        learnt = torch.randn(2, 16, generator=torch.Generator().manual_seed(seed))
        save_file({"emb_params": learnt}, here / "words" / f"{name}.safetensors")
    asked = ("an inky fox", *ASKED[1:])
    assert ran("generate", *asked, "--embedding", "words/inky.safetensors", "--out", "one") == 0
    assert ran("generate", *asked, "--out", "plain") == 0
    one = only(here / "one")
    assert [use.name for use in read_recipe(one).embeddings] == ["inky.safetensors"]
    assert not same(one, only(here / "plain"))
    again = ("generate", "--recipe", one, "--model", "painter", "--out", "two")
    capsys.readouterr()
    assert ran(*again) == 2 and "give its file (embedding), or the folder" in capsys.readouterr().err
    assert ran(*again, "--embedding", "words/other.safetensors") == 2
    assert "is no part of this recipe; leave it out" in capsys.readouterr().err
    (here / "words" / "inky.safetensors").rename(here / "words" / "renamed.safetensors")
    assert ran(*again, "--embedding", "words/renamed.safetensors") == 0, "its word is the recipe's"
    assert same(one, only(here / "two"))


def test_another_autoencoder_is_part_of_the_recipe(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(9)
    for name in ("brighter", "other"):
        autoencoder().save_pretrained(here / "vaes" / name)
    assert ran("generate", *ASKED, "--vae", "vaes/brighter", "--out", "one") == 0
    assert ran("generate", *ASKED, "--out", "plain") == 0
    one = only(here / "one")
    vae = read_recipe(one).vae
    assert vae is not None and vae.name == "brighter" and not same(one, only(here / "plain"))
    again = ("generate", "--recipe", one, "--model", "painter", "--out", "two")
    capsys.readouterr()
    assert ran(*again) == 2 and "give its file (vae), or the folder" in capsys.readouterr().err
    assert ran(*again, "--vae", "vaes/other") == 2
    assert "is no part of this recipe; leave it out" in capsys.readouterr().err
    assert ran(*again, "--files", "vaes") == 0 and same(one, only(here / "two"))


def test_a_batch_and_a_grid_take_controls(here: Path) -> None:
    (here / "in").mkdir()
    control_net(stable_diffusion()).save_pretrained(here / "in" / "canny")
    Pillow.new("L", (64, 64), 200).save(here / "in" / "edges.png")
    rows = [
        {"prompt": "a fox", "seed": 1, "control": use} for use in (["canny=edges.png:0.5"], None, "canny=edges.png")
    ]
    (here / "in" / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    more = ("--model", "painter", "--steps", 2, "--size", 64)
    assert ran("generate", "--batch", "in/rows.jsonl", *more, "--out", "many") == 0
    drawn = [read(str(one)).tobytes() for one in sorted((here / "many").glob("*.png"))]
    assert len(set(drawn)) == 3
    shutil.copytree(here / "in" / "canny", here / "canny")
    grid = ("--x", "control=canny=in/edges.png,canny=in/edges.png:0.3", "--out", "grid")
    assert ran("generate", "a fox", "--seed", 1, *more, *grid) == 0
