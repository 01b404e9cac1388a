"""Public checkpoints where memory is short: weights in int8, networks in their files, pictures in tiles."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from safetensors.torch import save_file
from torch import nn

from darkroom.cards import read_card
from darkroom.checkpoints.estimate import Keeping, NoRoom, check_fits, estimated, needed
from darkroom.contracts.contract import Dtypes, role_of
from darkroom.contracts.errors import BadFile, BadInput
from darkroom.contracts.request import Request
from darkroom.control.public.brought import Brought
from darkroom.engine import Engine
from darkroom.generate import picture, run
from darkroom.importing import import_model
from darkroom.model import Model, load
from darkroom.picture.image import Image
from darkroom.picture.inputs import Inputs
from darkroom.picture.metadata import read_recipe
from darkroom.synthesis.external.networks import dtypes_of
from tests.program import ran
from tests.public import (
    autoencoder,
    control_net,
    flux,
    needs_public,
    saved,
    stable_diffusion,
    stable_diffusion_3,
    stable_diffusion_xl,
    z_image,
)
from tests.single_files import as_trained, in_one_file

pytestmark = needs_public
MAKERS: dict[str, Callable[..., Any]] = {
    "sd1": stable_diffusion,
    "sdxl": stable_diffusion_xl,
    "sd3": stable_diffusion_3,
    "flux": flux,
    "z-image": z_image,
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A store with a model of each family, and one in a single file."""
    root = tmp_path_factory.mktemp("memory")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DARKROOM_MODELS", str(root / "store"))
        for name, maker in MAKERS.items():
            import_model(saved(maker(), root / name))
        words = saved(as_trained("sd1"), root / "wide")
        import_model(words)
        import_model(in_one_file(as_trained("sd1"), "sd1", root / "single.safetensors"), words=words)
        yield root / "store"


def recipe_of(model: Model, **asked: Any) -> Any:
    fields = {"prompt": "a red fox", "seed": 1, "steps": 2, "width": 64, "height": 64, **asked}
    return model.resolve(Request.checked(fields), Inputs())


def pixels(model: Model, **asked: Any) -> np.ndarray:
    inputs = Inputs()
    fields = {"prompt": "a red fox", "seed": 1, "steps": 2, "width": 64, "height": 64, **asked}
    return run(picture(model.resolve(Request.checked(fields), inputs), model, inputs=inputs), model.evaluate).pixels


def parts(model: Model) -> dict[str, nn.Module]:
    assert isinstance(model.brought, Brought)
    return dict(model.brought.public.opened.networks)


def in_memory(network: nn.Module) -> int:
    """Bytes of its weights; a table that stands under two names is one."""
    return sum({t.data_ptr(): t.nbytes for t in network.state_dict().values() if not t.is_meta}.values())


def kinds(network: nn.Module) -> set[torch.dtype]:
    return {t.dtype for t in network.state_dict().values() if t.is_floating_point()}


# --- number formats ---------------------------------------------------------------------------------------------------


def test_each_network_has_the_format_it_was_asked_in(store: Path) -> None:
    model = load("sd3", "bf16,vae=fp32,text=fp32")
    for part, network in parts(model).items():
        assert kinds(network) == {torch.bfloat16 if part == "transformer" else torch.float32}, part
    assert model.environment().dtype == "bfloat16" and pixels(model).shape == (64, 64, 3)
    recipe = recipe_of(model)
    assert recipe.dtype == Dtypes(text="fp32", vae="fp32") and recipe_of(load("sd3")).dtype is None
    assert str(recipe.dtype) == "fp32,denoiser=bf16" and dtypes_of(str(recipe.dtype)) == recipe.dtype
    with pytest.raises(BadInput, match="dtype int8 is not how this model was opened, which is fp32,denoiser=bf16"):
        recipe_of(model, dtype="int8")
    with pytest.raises(BadInput, match="offload is not how this model was opened"):
        recipe_of(model, offload=True)
    assert recipe_of(model, dtype="bf16,vae=fp32,text=fp32").dtype == recipe.dtype


@pytest.mark.parametrize("family", MAKERS)
def test_int8_draws_nearly_the_same(family: str, store: Path) -> None:
    """Measured over the families: .2 to 1.2 of 255 in the mean, where bf16 alone is off by .6 to 1.3."""
    plain, packed = pixels(load(family, "fp32")).astype(float), pixels(load(family, "int8,vae=fp32")).astype(float)
    assert 0 < np.abs(plain - packed).mean() < 2.0 < plain.std() / 10


@pytest.mark.parametrize("family", MAKERS)
def test_int8_is_in_memory_as_int8(family: str, store: Path) -> None:
    for part, network in parts(load(family, "int8")).items():
        packed = {name for name, t in network.state_dict().items() if t.dtype == torch.int8}
        layers = {n for n, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
        assert packed and packed <= {f"{name}.weight" for name in layers}, part
        assert kinds(network) == {torch.bfloat16, torch.float32}, "scales are fp32"


def test_a_network_of_large_layers_takes_half(store: Path) -> None:
    plain, packed = (parts(load("wide", dtype))["unet"] for dtype in ("bf16", "int8"))
    assert 0.5 < in_memory(packed) / in_memory(plain) < 0.52


def test_the_formats_of_one_word_and_of_each() -> None:
    assert dtypes_of(None) == Dtypes() == dtypes_of("bf16") == dtypes_of(torch.bfloat16)
    assert dtypes_of("int8,vae=fp32") == Dtypes(text="int8", denoiser="int8", vae="fp32")
    assert dtypes_of("text=int8") == Dtypes(text="int8")
    for odd in ("int4", "vae", "vae=int4", "unet=int8", "int8,fp32", "vae=fp32,vae=bf16", "", "int8,"):
        with pytest.raises(BadInput, match=r"is no number format .* write \"int8\", or \"bf16,vae=fp32\""):
            Request.checked({"prompt": "a fox", "dtype": odd})
    with pytest.raises(BadInput, match="is for public checkpoints"):
        load("default", "int8")
    with pytest.raises(BadInput, match="--offload is for public checkpoints"):
        load("default", offload=True)


# --- what is brought along --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def brought(store: Path) -> dict[str, Any]:
    """A LoRA, a ControlNet with a map, and another autoencoder for the wide model."""
    root, pipeline = store.parent, as_trained("sd1")
    torch.manual_seed(5)
    halves = {}
    for name, layer in pipeline.unet.named_modules():
        if name.endswith(("to_q", "conv1")):
            down, up = (
                torch.randn(2, *layer.weight.shape[1:]),
                torch.randn(len(layer.weight), 2, *layer.weight.shape[2:]),
            )
            up = up[:, :, :1, :1] if up.ndim == 4 else up
            halves |= {f"unet.{name}.lora_A.weight": 0.1 * down, f"unet.{name}.lora_B.weight": 0.1 * up}
    save_file(halves, root / "bold.safetensors")
    control_net(pipeline).save_pretrained(root / "canny")
    torch.manual_seed(9)
    autoencoder(wide=32, groups=32).save_pretrained(root / "brighter")
    edges = Pillow.new("L", (64, 64))
    edges.paste(255, (20, 20, 44, 22))
    edges.save(root / "edges.png")
    return {
        "lora": {"lora": [str(root / "bold.safetensors")]},
        "control": {"control": [f"{root / 'canny'}={root / 'edges.png'}"]},
        "vae": {"vae": str(root / "brighter")},
    }


@pytest.mark.parametrize("kind", ["lora", "control", "vae"])
def test_what_is_brought_acts_on_int8_as_on_the_whole(kind: str, store: Path, brought: dict[str, Any]) -> None:
    whole, packed = load("wide", "fp32"), load("wide", "int8")
    before = {name: t.clone() for part in parts(packed).values() for name, t in part.state_dict().items()}
    found, bare = pixels(packed, **brought[kind]).astype(float), pixels(packed).astype(float)
    truth, moved = pixels(whole, **brought[kind]).astype(float), np.abs(found - bare).mean()
    assert np.abs(found - truth).mean() < moved / 3 and moved > 3
    after = {name: t for part in parts(packed).values() for name, t in part.state_dict().items()}
    assert all(torch.equal(t, before[name]) for name, t in after.items()), "no weight is touched"


# --- only the network at work -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bf16", "int8"])
@pytest.mark.parametrize("family", [*MAKERS, "single"])
def test_offloaded_it_draws_the_same_bits(family: str, dtype: str, store: Path) -> None:
    whole, low = load(family, dtype), load(family, dtype, offload=True)
    assert [in_memory(network) for network in parts(low).values()] == [0] * len(parts(low))
    assert np.array_equal(pixels(low), pixels(whole))
    held = {part for part, network in parts(low).items() if in_memory(network)}
    assert held == {"vae"}, "it was asked last"
    shapes = [
        {name: tuple(t.shape) for part in parts(model).values() for name, t in part.state_dict().items()}
        for model in (whole, low)
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("kind", ["lora", "control", "vae"])
def test_offloaded_with_what_is_brought_along(kind: str, store: Path, brought: dict[str, Any]) -> None:
    whole, low = load("wide"), load("wide", offload=True)
    for _ in range(2):
        assert np.array_equal(pixels(low, **brought[kind]), pixels(whole, **brought[kind]))
    assert np.array_equal(pixels(low), pixels(whole))


def test_offloaded_many_are_drawn_together_with_few_changes(store: Path) -> None:
    whole, low = load("sdxl"), load("sdxl", offload=True)
    asked: list[dict[str, Any]] = [{"steps": n, "seed": n, "prompt": f"{n} foxes"} for n in (1, 2, 3, 5)]
    expected = [pixels(whole, **one) for one in asked]
    changes = {}
    for stays in (False, True):
        seen: list[str] = []

        def evaluate(calls: Any, seen: list[str] = seen) -> Any:
            seen.append(calls[0].network)
            answers = low.evaluate(calls)
            held = {part for part, network in parts(low).items() if in_memory(network)}
            assert len(held) == 1, held
            return answers

        tasks = (picture(recipe_of(low, **one), low) for one in asked)
        found = Engine[Image](evaluate, stays=stays).ended(tasks)
        assert all(np.array_equal(one.pixels, other) for one, other in zip(found, expected, strict=True))  # type: ignore[union-attr]
        changes[stays] = sum(one != other for one, other in pairwise(seen))
    assert changes[True] == 3 < changes[False], "two text encoders, the denoiser, the autoencoder"


def test_a_file_that_was_changed_since_is_not_read_again(store: Path) -> None:
    low = load("flux", offload=True)
    pixels(low)
    file = store / "flux" / "transformer" / "diffusion_pytorch_model.safetensors"
    stat = file.stat()
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    with pytest.raises(BadFile, match="was changed since the model was opened; open the model again"):
        pixels(low, seed=2)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert np.array_equal(pixels(low, seed=2), pixels(load("flux"), seed=2)), "and nothing is lost"


# --- tiles ------------------------------------------------------------------------------------------------------------


def test_large_pictures_are_decoded_in_tiles_by_themselves(store: Path) -> None:
    model = load("sd1")
    sizes = {(1024, 1024): None, (1536, 1024): None, (2048, 1024): 512}
    for (width, height), tile in sizes.items():
        recipe = recipe_of(model, width=width, height=height)
        assert recipe.vae_tile == tile == recipe.request().vae_tile
    assert recipe_of(model, width=2048, height=2048, vae_tile=2048).vae_tile == 2048
    assert recipe_of(load("default"), width=2048, height=2048, upscale=1).vae_tile is None


@pytest.mark.parametrize("asked", [{}, {"tile": "both"}, {"vae": True}], ids=["plain", "seamless", "another vae"])
def test_tiles_are_those_of_the_picture_that_asks_for_them(
    asked: dict[str, Any], store: Path, brought: dict[str, Any]
) -> None:
    model = load("wide", "fp32")
    size = {"width": 192, "height": 128}
    asked = {**size, **(brought["vae"] if asked.get("vae") else asked)}
    whole, tiled = pixels(model, **asked), pixels(model, **asked, vae_tile=128)
    assert whole.shape == tiled.shape and not np.array_equal(whole, tiled)
    assert np.abs(whole.astype(float) - tiled).mean() < 12, "an untrained autoencoder's norms see each tile otherwise"
    requests = [recipe_of(model, **asked, vae_tile=tile) for tile in (128, None, 128)]
    found = Engine[Image](model.evaluate).ended(picture(recipe, model) for recipe in requests)
    for one, truth in zip(found, (tiled, whole, tiled), strict=True):
        assert isinstance(one, Image) and np.array_equal(one.pixels, truth)


# --- what it needs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bf16", "fp32", "int8", "bf16,vae=fp32,text=int8"])
@pytest.mark.parametrize("family", [*MAKERS, "single"])
def test_weights_are_foretold_to_the_byte(family: str, dtype: str, store: Path) -> None:
    told = estimated(store / family, read_card(store / family), Keeping(dtypes_of(dtype), False, 64, 64))
    found = dict.fromkeys(told, 0)
    for part, network in parts(load(family, dtype)).items():
        found[role_of(part)] += in_memory(network)
    assert {role: need.weights for role, need in told.items()} == found


def test_what_does_not_fit_is_refused_with_what_would(store: Path) -> None:
    folder, card = store / "wide", read_card(store / "wide")
    plain = Keeping(Dtypes(), False, 2048, 2048, 2048)

    def needs(**changed: Any) -> int:
        keeping = replace(plain, **changed)
        return needed(estimated(folder, card, keeping), offload=keeping.offload)

    check_fits(folder, card, plain, free=needs())
    with pytest.raises(NoRoom) as refused:
        check_fits(folder, card, plain, free=needs() - 1)
    assert str(refused.value).startswith("wide needs about ") and "at 2048x2048, and" in str(refused.value)
    assert refused.value.fix.startswith("try --offload, which needs ")
    loaded = replace(plain, offload=True)
    with pytest.raises(NoRoom, match="try --vae-tile 256, which needs"):
        check_fits(folder, card, loaded, free=needs(offload=True) - 1)
    with pytest.raises(NoRoom, match=r"draw smaller .* with all that saves memory it needs"):
        check_fits(folder, card, plain, free=1000)


def test_nothing_is_read_of_what_does_not_fit(store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("darkroom.checkpoints.estimate.free_memory", lambda: 600_000_000)  # of a small machine
    monkeypatch.chdir(tmp_path)
    damaged = store / "sd1" / "unet" / "diffusion_pytorch_model.safetensors"
    before = damaged.read_bytes()
    with damaged.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(bytes(8))
    try:
        with pytest.raises(NoRoom, match=r"needs about .* GB at 2048x2048, and 0\.6 GB are free; try --vae-tile 256"):
            load("sd1", size=(2048, 2048), vae_tile=2048)
        with pytest.raises(BadFile, match="sha256"):
            load("sd1")
    finally:
        damaged.write_bytes(before)


def test_the_program_says_and_does_it(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran("models", "show", "flux", "--dtype", "int8", "--size", "1024") == 0
    said = capsys.readouterr().out
    assert "memory      denoiser: 0.0 GB in int8, " in said and "at 1024x1024, " in said and "are free" in said
    draw = ("generate", "a fox", "--model", "wide", "--size", "192", "--steps", 1, "--seed", 1)
    kept = ("--dtype", "int8,vae=fp32", "--vae-tile", 128)
    assert ran(*draw, *kept, "--dry-run", "--out", tmp_path / "one") == 0
    out, err = capsys.readouterr()
    assert "memory      text: " in err and '"vae": "fp32"' in out and not (tmp_path / "one").exists()
    assert ran(*draw, *kept, "--out", tmp_path / "one") == 0
    [first] = (tmp_path / "one").glob("*.png")
    recipe = read_recipe(first)
    assert recipe.dtype == Dtypes(text="int8", denoiser="int8", vae="fp32") and recipe.vae_tile == 128
    assert ran("generate", "--recipe", first, "--model", "wide", "--offload", "--out", tmp_path / "two") == 0
    assert ran("recipe", "run", first, "--model", "wide", "--offload", "--out", tmp_path / "three") == 0
    for again in ("two", "three"):
        [second] = (tmp_path / again).glob("*.png")
        assert np.array_equal(np.asarray(Pillow.open(first)), np.asarray(Pillow.open(second)))
        assert read_recipe(second).dtype == recipe.dtype
    grid = ("--x", "dtype=int8,fp32", "--y", "offload=yes,no", "--out", tmp_path / "grid")
    assert ran(*draw, *grid) == 0
    assert len(list((tmp_path / "grid").glob("*.png"))) == 5
