"""``darkroom models import`` as a user meets it: a checkpoint is taken in and drawn with, or refused in a sentence.

Nothing in a checkpoint is run (a canary would be left), and of what is refused nothing stays in the store.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from darkroom.picture.metadata import read_recipe
from tests.program import ran
from tests.public import needs_public, saved, stable_diffusion
from tests.single_files import as_trained, in_one_file

pytestmark = needs_public
README = "---\nlicense: creativeml-openrail-m\ntags: [text-to-image]\n---\n# A checkpoint\n"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(stable_diffusion(), tmp_path_factory.mktemp("sound") / "painter", README)


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    """A copy of a sound checkpoint, to be damaged."""
    return Path(shutil.copytree(sound, tmp_path / "painter"))


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "store"


def refused(path: Path, said: str, capsys: pytest.CaptureFixture[str], store: Path, *more: object) -> None:
    """Fails unless a checkpoint is refused in one sentence with a fix, and nothing of it is left."""
    assert ran("models", "import", path, *more) in (1, 2)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and said in error and ";" in error, error
    assert not store.exists() or not list(store.iterdir()), "nothing of it stays"
    assert not list(store.parent.rglob("canary*")), "nothing in it was run"


def index_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "model_index.json").read_text()))


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """A JSON file with something changed in it."""
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))


# --- what is taken ----------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_taken_in_drawn_with_shown_and_removed(
    folder: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran("models", "import", folder) == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(store / "painter") and "none of them copied" in err
    weights = "unet/diffusion_pytorch_model.safetensors"
    assert (store / "painter" / weights).samefile(folder / weights)
    shutil.rmtree(folder)  # the store has the files under names of its own

    assert ran("models", "list") == 0
    assert "painter  sd1" in capsys.readouterr().out
    assert ran("models", "show", "painter") == 0
    shown = capsys.readouterr().out
    assert "creativeml-openrail-m" in shown and "64x64, 25 steps of ddim, guidance 7.5" in shown

    draw = ("generate", "a red fox", "--model", "painter", "--seed", 3, "--steps", 3, "--out", tmp_path / "one")
    assert ran(*draw) == 0
    [first] = (tmp_path / "one").iterdir()
    assert read_recipe(first).spacing == "leading" and read_recipe(first).model == "painter"
    again = ("generate", "--recipe", first, "--model", "painter", "--out", tmp_path / "two")
    assert ran(*again) == 0
    [second] = (tmp_path / "two").iterdir()
    assert pixels(first) == pixels(second)

    capsys.readouterr()
    assert ran("models", "remove", "painter") == 0 and not (store / "painter").exists()
    assert ran("models", "remove", "painter") == 2 and "is not in the store" in capsys.readouterr().err
    assert ran("models", "remove", "default") == 2 and "is part of the package" in capsys.readouterr().err


def pixels(path: Path) -> bytes:
    from PIL import Image

    return Image.open(path).tobytes()


def test_what_a_killed_import_left_is_swept_and_never_listed(
    folder: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, young = store / ".darkroom-1.part", store / ".darkroom-2.part"
    for left in (old, young):
        left.mkdir(parents=True)
        (left / "card.json").write_text("{}")
    os.utime(old, (0, 0))
    assert ran("models", "list") == 0 and "part" not in capsys.readouterr().out
    assert ran("models", "import", folder) == 0
    assert not old.exists() and young.exists(), "the young one may be another's"


def test_copies_are_copies(folder: Path, store: Path) -> None:
    assert ran("models", "import", folder, "--copy", "--name", "mine") == 0
    weights = "vae/diffusion_pytorch_model.safetensors"
    assert not (store / "mine" / weights).samefile(folder / weights)
    assert (store / "mine" / weights).read_bytes() == (folder / weights).read_bytes()


def test_shards_and_half_precision_are_taken(tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline = stable_diffusion()
    sharded = saved(pipeline, tmp_path / "sharded", max_shard_size="300KB")
    assert len(list((sharded / "unet").glob("*.safetensors"))) > 1
    half = saved(stable_diffusion().to(torch.float16), tmp_path / "half", variant="fp16")
    assert list((half / "unet").glob("*.fp16.safetensors"))
    for folder in (sharded, half):
        assert ran("models", "import", folder) == 0
        assert ran("generate", "a fox", "--model", folder.name, "--seed", 1, "--steps", 1, "--out", tmp_path / "p") == 0


def test_a_pickle_of_weights_is_converted_and_draws_the_same(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = as_trained("sd1")
    folder = saved(pipeline, tmp_path / "folder")
    file = in_one_file(pipeline, "sd1", tmp_path / "painter.safetensors")
    torch.save({"state_dict": load_file(file), "global_step": 3}, tmp_path / "old.ckpt")
    assert ran("models", "import", file, "--words", folder) == 0
    assert ran("models", "import", tmp_path / "old.ckpt") == 0, "whose words are those of the first by now"
    drawn = []
    for name in ("painter", "old"):
        asked = ("a fox", "--model", name, "--seed", 1, "--steps", 1, "--size", 64, "--out", tmp_path / name)
        assert ran("generate", *asked) == 0
        drawn += [pixels(path) for path in (tmp_path / name).iterdir()]
    assert drawn[0] == drawn[1]


# --- what is refused --------------------------------------------------------------------------------------------------


def truncated(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def with_nan(folder: Path) -> None:
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["decoder.conv_in.weight"][0, 0, 0, 0] = float("nan")
    save_file(tensors, path)


def with_twice(folder: Path) -> None:
    path = folder / "text_encoder" / "model.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, name = data[8 : 8 + length].rstrip(), b'"final_layer_norm.bias":'
    at = header.index(name)
    header = header[:-1] + b"," + header[at : header.index(b"}", at) + 1] + b"}"
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :])


def with_pipeline(folder: Path) -> None:
    (folder / "pipeline.py").write_text("open('canary', 'w').close()\n")


def with_link_out(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    outside = path.replace(folder.parent / "elsewhere.safetensors")
    path.symlink_to(outside)


def as_pickle(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(path), folder / "unet" / "diffusion_pytorch_model.bin")
    path.unlink()


def of_another_shape(folder: Path) -> None:
    changed(folder / "unet" / "config.json", lambda table: table.update(cross_attention_dim=24))


def without_a_tensor(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: t for name, t in load_file(path).items() if name != "conv_in.bias"}, path)


def with_another_tensor(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({**load_file(path), "backdoor.weight": torch.ones(3)}, path)


def named(part: str, *cls: str) -> Callable[[Path], None]:
    return lambda folder: changed(folder / "model_index.json", lambda table: table.update({part: list(cls)}))


def of_pipeline(name: str) -> Callable[[Path], None]:
    return lambda folder: changed(folder / "model_index.json", lambda table: table.update(_class_name=name))


def with_settings(part: str, **settings: Any) -> Callable[[Path], None]:
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    return lambda folder: changed(folder / part / name, lambda table: table.update(settings))


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated": (truncated, "bytes"),
    "NaN": (with_nan, "holds numbers that are not finite in 'decoder.conv_in.weight'"),
    "a tensor twice": (with_twice, "holds the name 'final_layer_norm.bias' twice"),
    "pipeline.py": (with_pipeline, "pipeline.py is a program, and no model folder may bring one"),
    "a link out": (with_link_out, "is a link that leads out of the folder"),
    "a pickle": (as_pickle, "holds its weights as a pickle only (diffusion_pytorch_model.bin)"),
    "other settings": (of_another_shape, "and its settings ask for"),
    "a tensor missing": (without_a_tensor, "lacks the tensor 'conv_in.bias'"),
    "a tensor more": (with_another_tensor, "holds 'backdoor.weight', which its settings know nothing of"),
    "an unknown pipeline": (of_pipeline("WuerstchenPipeline"), "'WuerstchenPipeline', which is no known family"),
    "a class of its own": (named("unet", "painter_code", "EvilUNet"), "names painter_code.EvilUNet for its unet"),
    "a part of its own": (named("extra", "diffusers", "AutoencoderKL"), "names diffusers.AutoencoderKL for its extra"),
    "a part that is a path": (named("../unet", "diffusers", "UNet2DConditionModel"), "names the part '../unet'"),
    "another class in the settings": (with_settings("unet", _class_name="Popen"), "class 'Popen' is not one of"),
    "no text encoder": (lambda folder: shutil.rmtree(folder / "text_encoder"), "lacks text_encoder"),
    "no words": (lambda folder: shutil.rmtree(folder / "tokenizer"), "lacks tokenizer"),
    "no index": (lambda folder: (folder / "model_index.json").unlink(), "holds no model_index.json"),
    "inpainting": (with_settings("unet", in_channels=9), "with settings that no known family has"),
    "an odd table": (with_settings("scheduler", beta_schedule="squaredcos_cap_v2"), "table of noise that is not known"),
    "noise of which it says nothing": (
        with_settings("scheduler", rescale_betas_zero_snr=True),
        "rescale_betas_zero_snr leaves nothing but noise to begin with",
    ),
    "an odd prediction": (with_settings("scheduler", prediction_type="flow"), "is not one of epsilon, v_prediction"),
    "settings that are none": (
        lambda folder: (folder / "vae" / "config.json").write_text("[]"),
        "no table of settings",
    ),
    "settings without end": (with_settings("unet", layers_per_block=10**9), "asks for layers_per_block 1000000000"),
    "lists without end": (with_settings("unet", down_block_types=["DownBlock2D"] * 5000), "lists 5000 values for"),
    "settings that make none": (with_settings("unet", block_out_channels=[16]), "make no network"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_whole_is_refused(
    damage: str, folder: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged, said = DAMAGES[damage]
    damaged(folder)
    refused(folder, said, capsys, store)


def test_a_missing_shard_is_named(tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = saved(stable_diffusion(), tmp_path / "painter", max_shard_size="300KB")
    [*_, last] = sorted((folder / "unet").glob("*.safetensors"))
    last.unlink()
    refused(folder, f"'{last.name}' is not there; fetch the missing file", capsys, store)


@pytest.mark.parametrize("name", ["../out", "a/b", "", ".hidden", "default", "x" * 65, "a\nb", "-x"])
def test_names_that_could_be_paths_are_refused(
    name: str, folder: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(folder, "the model's name", capsys, store, f"--name={name}")


class Bomb:
    """What a pickle may be: it calls something when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch canary",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"state_dict": {"w": torch.ones(2)}, "more": Bomb()}, "holds more than weights, or is damaged"),
        ({"state_dict": {"w": 3}}, "holds no table of tensors"),
        ([torch.ones(2)], "holds no table of tensors"),
        ({"w": torch.ones(2)}, "holds no whole checkpoint: its first tensor is 'w'"),
    ],
    ids=["bomb", "no tensors", "a list", "another file"],
)
def test_a_pickle_of_anything_else_is_refused(
    content: Any, said: str, tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(content, tmp_path / "old.ckpt")
    refused(tmp_path / "old.ckpt", said, capsys, store)


def test_a_bomb_goes_off_where_nobody_looks(tmp_path: Path) -> None:
    """So that the test above can fail: read as pickles are elsewhere, this one leaves its canary."""
    import pickle

    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        pickle.loads(pickle.dumps(Bomb()))
    finally:
        os.chdir(before)
    assert (tmp_path / "canary").exists()


def test_single_files_that_are_no_checkpoint_are_refused(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lora = {"lora_unet_down_blocks_0_attentions_0.lora_down.weight": torch.ones(2, 2)}
    save_file(lora, tmp_path / "style.safetensors")
    refused(tmp_path / "style.safetensors", "is a LoRA", capsys, store)
    file = in_one_file(as_trained("sd1"), "sd1", tmp_path / "painter.safetensors")
    refused(file, "a checkpoint has no tokenizer; give a folder of any Stable Diffusion 1.x", capsys, store)
    refused(file, "holds no tokenizer", capsys, store, "--words", tmp_path)
    refused(file, "'x' is not eps or v", capsys, store, "--prediction", "x")
    (tmp_path / "painter.gguf").write_bytes(b"GGUF")
    refused(tmp_path / "painter.gguf", "is no checkpoint's file", capsys, store)
    refused(tmp_path / "nowhere", "is not there", capsys, store)


def test_a_name_that_is_taken_is_refused(folder: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran("models", "import", folder) == 0
    capsys.readouterr()
    assert ran("models", "import", folder) == 2
    assert "is taken; give another with --name, or remove that one first" in capsys.readouterr().err
    assert [path.name for path in store.iterdir()] == ["painter"]


def test_a_file_that_changed_since_is_refused(
    folder: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran("models", "import", folder) == 0
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    with path.open("r+b") as file:  # the same file under its other name
        file.seek(-3, os.SEEK_END)
        file.write(b"\x01")
    assert ran("generate", "a fox", "--model", "painter", "--out", tmp_path / "p") == 1
    assert "is damaged: its sha256 is not the card's; remove the model and import it again" in capsys.readouterr().err


def test_a_lora_is_part_of_the_recipe(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran("models", "import", folder) == 0
    torch.manual_seed(0)
    weights = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    [layer] = [
        name for name in weights if name.endswith("mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight")
    ]
    out, into = weights[layer].shape
    layer = layer.removesuffix(".weight")
    tensors = {f"unet.{layer}.lora_A.weight": torch.randn(2, into), f"unet.{layer}.lora_B.weight": torch.randn(out, 2)}
    (tmp_path / "styles").mkdir()
    save_file(tensors, tmp_path / "styles" / "bold.safetensors")
    asked = ("a fox", "--model", "painter", "--seed", 1, "--steps", 2)
    assert ran("generate", *asked, "--lora", "styles/bold.safetensors:0.5", "--out", tmp_path / "one") == 0
    assert ran("generate", *asked, "--out", tmp_path / "plain") == 0
    [one], [plain] = (tuple((tmp_path / name).iterdir()) for name in ("one", "plain"))
    [use] = read_recipe(one).adapters
    assert (use.name, use.scale) == ("bold.safetensors", 0.5) and pixels(one) != pixels(plain)

    again = ("generate", "--recipe", one, "--model", "painter", "--out", tmp_path / "two")
    capsys.readouterr()
    assert ran(*again) == 2
    assert "was not opened; give its file (lora), or the folder it lies in (files)" in capsys.readouterr().err
    assert ran(*again, "--files", tmp_path / "styles") == 0
    [two] = (tmp_path / "two").iterdir()
    assert pixels(one) == pixels(two)
    save_file({name: 2 * tensor for name, tensor in tensors.items()}, tmp_path / "styles" / "bold.safetensors")
    assert ran(*again, "--files", tmp_path / "styles") == 2
    assert "was not opened" in capsys.readouterr().err
    assert ran(*again, "--lora", "styles/bold.safetensors") == 2
    assert "took no part in it" in capsys.readouterr().err


# --- what does not apply ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--sampler", "flow-map"), "only a flow map can"),
        (("--guidance-method", "zero-star"), "is a rule for rectified flows, and this model predicts eps"),
        (("--upscale", 2), "the model has no upscaler"),
        (("--hires", 0.3), "draws anew what was enlarged"),
        (("--style", "3d"), "unknown style '3d'"),
        (("--guide", "default"), "painter is no model of ours"),
    ],
)
def test_controls_that_do_not_apply_are_refused_by_name(
    flags: tuple[Any, ...], said: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran("models", "import", folder) == 0
    capsys.readouterr()
    assert ran("generate", "a fox", "--model", "painter", "--out", tmp_path / "p", *flags) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


def test_how_it_reads_prompts_is_not_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran("models", "import", folder) == 0
    assert ran("prompt", "a fox", "--model", "painter") == 2
    assert "reads prompts as models of the family sd1 do" in capsys.readouterr().err
