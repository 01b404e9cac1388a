"""``darkroom models export`` of a model of ours: others read it, and taken back in it draws the same pixels."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from darkroom.cards import read_card
from darkroom.contracts.request import Request
from darkroom.contracts.steering import Lora
from darkroom.control.adapters import layers_of
from darkroom.exporting import export_model
from darkroom.exporting.own import networks_of
from darkroom.generate import picture, run
from darkroom.importing import import_model
from darkroom.model import load
from darkroom.nn.storage import packed, unpacked
from tests.program import ran
from tests.tiny import saved, tiny_model

SRC = Path(__file__).parents[2] / "src"
FILES = {
    **{"text_encoder": "model", "transformer": "diffusion_pytorch_model"},
    **{"vae": "diffusion_pytorch_model", "upscaler": "diffusion_pytorch_model"},
}
COMPONENTS = {"text_encoder": "text", "transformer": "denoiser", "vae": "autoencoder", "upscaler": "upscaler"}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "store"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A model folder of ours, whose weights lie packed as those of a release."""
    folder = saved(tiny_model(), tmp_path / "own")
    card = read_card(folder)
    files = {}
    for component, entry in card.files.items():
        path = folder / entry.path
        if path.suffix == ".safetensors":
            save_file(packed(load_file(path)), path)
        files[component] = entry.model_copy(update={"sha256": sha256_of(path), "bytes": path.stat().st_size})
    told = {"date": "2026-11-21", "what": "pictures", "samples": 9}
    source = {"name": "drawings", "licence": "CC-BY-4.0", "attribution": "Drawings by Somebody"}
    card = type(card).checked(
        {**dict(card), "files": files, "vocabulary": ("fox",), "training": ({**told, "sources": (source,)},)}
    )
    (folder / "card.json").write_text(card.to_json())
    (folder / "LICENSE-WEIGHTS.md").write_text("Thanks.\n")
    return folder


def sha256_of(path: Path) -> str:
    from darkroom.contracts.files import file_sha256

    return file_sha256(path)


def drawn(name: str, dtype: torch.dtype, **more: Any) -> np.ndarray:
    """The pixels that a model draws of one request."""
    model = load(name, dtype)
    recipe = model.resolve(Request.checked({"prompt": "a red fox", "seed": 4, "steps": 3, **more}))
    return run(picture(recipe, model), model.evaluate).pixels


# --- there and back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "computed"), [("bf16", torch.bfloat16), ("fp32", torch.bfloat16), ("fp32", None)])
def test_taken_back_in_it_draws_the_same_pixels(dtype: str, computed: torch.dtype | None, own: Path) -> None:
    """Bit for bit: bf16 is what it computes in, and fp32 holds what is packed as it is."""
    assert ran("models", "export", own, "--out", "mine", "--dtype", dtype) == 0
    assert ran("models", "import", "mine") == 0
    computed = computed or torch.float32
    assert (drawn("mine", computed) == drawn(str(own), computed)).all()
    before, after = read_card(own), load("mine").card
    kept = ("licence", "description", "defaults", "styles", "limits", "training", "scores", "vocabulary", "words")
    assert all(getattr(after, name) == getattr(before, name) for name in kept)
    assert after.configs == before.configs and after.name == "mine"


def test_the_model_in_the_package_goes_there_and_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran("models", "export", "default", "--out", "mine", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == "mine" and told["family"] == "diffusion"
    assert told["bytes"] == sum(path.stat().st_size for path in Path("mine").rglob("*") if path.is_file())
    assert "Twemoji" in Path("mine/README.md").read_text(), "whose pictures it learnt from"
    assert ran("models", "import", "mine") == 0
    assert (drawn("mine", torch.bfloat16) == drawn("default", torch.bfloat16)).all()
    assert list(Path("store/mine").glob("LICENSE*")), "it goes with the weights"


# --- what others read -------------------------------------------------------------------------------------------------


def test_anybody_can_read_the_weights(own: Path) -> None:
    assert ran("models", "export", own, "--out", "mine", "--dtype", "fp32") == 0
    index = json.loads(Path("mine/model_index.json").read_text())
    assert index["_class_name"] == "DarkroomPipeline"
    for part, stem in FILES.items():
        path = Path("mine") / part / f"{stem}.safetensors"
        expected = unpacked(load_file(own / f"{COMPONENTS[part]}.safetensors"))
        found = load_file(path)
        assert found.keys() == expected.keys()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
        with safe_open(path, "pt") as file:
            said = file.metadata()
        assert said["modelspec.sai_model_spec"] == "1.0.1" and said["modelspec.license"] == "CC0-1.0"
        assert said["modelspec.architecture"] == f"darkroom/{COMPONENTS[part]}" and said["format"] == "pt"
        assert said["darkroom.attribution"] == "Drawings by Somebody" and said["modelspec.date"] == "2026-11-21"
        assert json.loads((path.parent / "config.json").read_text())["_class_name"] == index[part][1]
    scheduler = json.loads(Path("mine/scheduler/scheduler_config.json").read_text())
    assert (scheduler["steps"], scheduler["sampler"], scheduler["prediction_type"]) == (4, "euler", "flow")
    assert "license: cc0-1.0\n" in Path("mine/README.md").read_text()


# --- what is within ---------------------------------------------------------------------------------------------------


def lora_of(folder: Path, path: Path, *, magnitudes: bool) -> Path:
    """A LoRA of every layer of the denoiser that can have one; a DoRA with magnitudes."""
    generator = torch.Generator().manual_seed(3)
    tensors = {}
    for layer, weight in layers_of(networks_of(load(str(folder)))["denoiser"]).items():
        outer, inner = weight.shape
        tensors[f"transformer.{layer}.lora_A.weight"] = torch.randn(2, inner, generator=generator)
        tensors[f"transformer.{layer}.lora_B.weight"] = 0.5 * torch.randn(outer, 2, generator=generator)
        if magnitudes:
            tensors[f"transformer.{layer}.lora_magnitude_vector"] = 3 * weight.float().norm(dim=1)
    save_file(tensors, path)
    return path


@pytest.mark.parametrize("magnitudes", [False, True], ids=["LoRA", "DoRA"])
def test_what_is_merged_draws_as_it_did_beside(magnitudes: bool, own: Path, tmp_path: Path) -> None:
    """Within 1 of 255: (W + BA) x is W x + B (A x) rounded in another order, over three steps."""
    bold = lora_of(own, tmp_path / "bold.safetensors", magnitudes=magnitudes)
    plain = lora_of(own, tmp_path / "plain.safetensors", magnitudes=False)
    loras = [Lora(file=str(bold), scale=0.8), Lora(file=str(plain), scale=-0.3)]
    export_model(str(own), tmp_path / "mine", dtype="fp32", loras=loras)
    import_model(tmp_path / "mine")
    model = load(str(own), torch.float32)
    recipe = model.resolve(Request.checked({"prompt": "a red fox", "seed": 4, "steps": 3, "lora": loras}))
    beside = run(picture(recipe, model), model.evaluate).pixels.astype(int)
    within, bare = drawn("mine", torch.float32).astype(int), drawn(str(own), torch.float32).astype(int)
    assert abs(within - beside).max() <= 1 and abs(bare - beside).max() > 8
    assert "bold.safetensors at 0.8, plain.safetensors at -0.3" in load("mine").card.description


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("ownn", "--out", "new"), "unknown model 'ownn'; did you mean 'own'?"),
        (("own", "--out", "full"), "--out 'full' is not an empty folder; name one that is not there"),
        (("own", "--out", "file"), "--out 'file' is a file"),
        (("own", "--out", "new", "--dtype", "bf61"), "unknown number format 'bf61'; did you mean 'bf16'?"),
        (("own", "--out", "new", "--lora", "none.safetensors"), "none.safetensors is not there"),
    ],
)
def test_what_cannot_be_is_refused(
    asked: tuple[str, ...], said: str, own: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.mkdir()
    own.rename(store / "own")
    Path("full").mkdir()
    Path("full/mine.txt").write_text("mine")
    Path("file").write_text("mine")
    assert ran("models", "export", *asked) == 2
    assert said in capsys.readouterr().err
    assert not Path("new").exists() and Path("full/mine.txt").read_text() == "mine"
    assert sorted(path.name for path in Path().iterdir()) == ["file", "full", "store"], "nothing is left"


def test_an_empty_folder_is_filled(own: Path) -> None:
    Path("mine").mkdir()
    assert ran("models", "export", own, "--out", "mine") == 0
    assert Path("mine/model_index.json").is_file()


def test_a_number_too_large_for_the_format_is_named(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = own / "autoencoder.safetensors"
    tensors = load_file(path)
    name = next(name for name, tensor in tensors.items() if tensor.dtype == torch.bfloat16)
    tensors[name] = torch.full_like(tensors[name], 1e6)
    save_file(tensors, path)
    card = json.loads((own / "card.json").read_text())
    card["files"]["autoencoder"] |= {"sha256": sha256_of(path), "bytes": path.stat().st_size}
    (own / "card.json").write_text(json.dumps(card))
    assert ran("models", "export", own, "--out", "mine", "--dtype", "fp16") == 2
    assert f"holds numbers in {name} that are too large for fp16; export it as bf16" in capsys.readouterr().err
    assert not Path("mine").exists()


def test_a_disk_that_takes_no_more_leaves_nothing(own: Path, tmp_path: Path) -> None:
    """In a process of its own that may write no larger file than half of the largest there is."""
    most = max(path.stat().st_size for path in own.glob("*.safetensors")) // 2
    command = [sys.executable, "-m", "darkroom.cli", "models", "export", str(own), "--out", "mine", "--dtype", "fp32"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SRC), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )
    assert done.returncode == 1 and done.stdout == ""
    sentence = done.stderr.strip().splitlines()[-1]
    assert sentence.startswith("error: ") and "could not be written (file too large); choose another folder" in sentence
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own"], "nothing of it is left"


# --- what is taken back -----------------------------------------------------------------------------------------------


def test_what_was_changed_is_taken_as_it_is_and_said(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran("models", "export", own, "--out", "mine") == 0
    path = Path("mine/transformer/diffusion_pytorch_model.safetensors")
    save_file({name: 0.5 * tensor for name, tensor in load_file(path).items()}, path)
    settings = Path("mine/scheduler/scheduler_config.json")
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "steps": 7}))
    capsys.readouterr()
    assert ran("models", "import", "mine") == 0
    said = capsys.readouterr().err
    assert "not as exported, and taken as it is: transformer/diffusion" in said
    assert load("mine").card.defaults.steps == 7
    assert (drawn("mine", torch.bfloat16) != drawn(str(own), torch.bfloat16)).any()


def without(part: str) -> Any:
    def damage(folder: Path) -> None:
        for path in (folder / part).iterdir():
            path.unlink()

    return damage


def with_index(part: str, cls: str) -> Any:
    def damage(folder: Path) -> None:
        path = folder / part / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "_class_name": cls}))

    return damage


def with_setting(part: str, name: str, **told: Any) -> Any:
    def damage(folder: Path) -> None:
        path = folder / part / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **told}))

    return damage


def with_tensors(**told: torch.Tensor) -> Any:
    def damage(folder: Path) -> None:
        path = folder / "text_encoder" / "model.safetensors"
        save_file({**load_file(path), **told}, path)

    return damage


def cut(folder: Path) -> None:
    path = folder / "text_encoder" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (without("tokenizer"), "lacks text_encoder, the tokenizer or the scheduler"),
        (without("vae"), "lacks vae, the tokenizer or the scheduler"),
        (with_index("vae", "Evil"), "is for the class 'Evil', not Autoencoder"),
        (with_setting("transformer", "config.json", depth=9), "lacks the tensor"),
        (with_setting("transformer", "config.json", dpeth=9), "has no setting 'dpeth'; did you mean 'depth'?"),
        (with_setting("scheduler", "scheduler_config.json", steps=0), "steps 0 is below 1"),
        (with_setting(".", "darkroom.json", limits=3), "says of itself what no card can"),
        (with_tensors(more=torch.ones(2)), "holds 'more', which its settings know nothing of"),
        (cut, "text_encoder/model.safetensors has"),
        (lambda folder: (folder / "run.py").write_text(""), "is a program"),
    ],
    ids=["no words", "no part", "class", "size", "setting", "defaults", "words", "tensor", "cut", "program"],
)
def test_what_is_not_whole_is_refused(
    damage: Any, said: str, own: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran("models", "export", own, "--out", "mine") == 0
    damage(Path("mine"))
    capsys.readouterr()
    assert ran("models", "import", "mine") == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and said in error and ";" in error, error
    assert not store.exists() or not list(store.iterdir()), "nothing of it stays"
