"""ControlNets as data in the calls: networks stay as they were, no picture sees another's map, bad ones are told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from safetensors.torch import load_file, save_file

from darkroom.contracts.errors import BadFile, BadInput
from darkroom.contracts.request import Request
from darkroom.engine import Engine
from darkroom.generate import picture, run
from darkroom.importing import import_model
from darkroom.model import Model, load
from darkroom.nn.public.features import cells_of, pixels_of, ridden, unridden
from darkroom.picture.image import Image
from darkroom.picture.inputs import Inputs
from tests.public import (
    control_net,
    flux,
    needs_public,
    saved,
    stable_diffusion,
    stable_diffusion_3,
    stable_diffusion_xl,
)
from tests.single_files import as_trained
from tests.tiny import tiny_model

pytestmark = needs_public
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    """A model, and a folder with ControlNets of it (canny, depth) and maps."""
    root = tmp_path_factory.mktemp("controls")
    pipeline = stable_diffusion()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DARKROOM_MODELS", str(root / "store"))
        import_model(saved(pipeline, root / "painter"))
        model = load("painter")
    for seed, name in ((7, "canny"), (8, "depth")):
        control_net(pipeline, seed).save_pretrained(root / name)
    for n, size in enumerate(((64, 64), (64, 64), (100, 64))):
        pixels = np.random.default_rng(n).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Pillow.fromarray(pixels).save(root / f"{n}.png")
    Pillow.new("RGB", (64, 64)).save(root / "black.png")
    (root / "text.png").write_text("no picture")
    return model, root


def recipe_of(model: Model, *controls: str, inputs: Inputs, **asked: Any) -> Any:
    fields = {"prompt": "a red fox", "seed": 1, "steps": 4, "width": 64, "height": 64, **asked}
    return model.resolve(Request.checked({**fields, "control": list(controls) or None}), inputs)


def drawn(model: Model, *controls: str, **asked: Any) -> np.ndarray:
    inputs = Inputs()
    recipe = recipe_of(model, *controls, inputs=inputs, **asked)
    return run(picture(recipe, model, inputs=inputs), model.evaluate).pixels


def test_at_nought_and_out_of_its_time_it_is_not_there_bit_for_bit(painter: tuple[Model, Path]) -> None:
    model, root = painter
    plain, use = drawn(model), f"{root}/canny={root}/0.png"
    assert np.array_equal(plain, drawn(model, f"{use}:0"))
    assert np.array_equal(plain, drawn(model, f"{use}:1:0.3-0.4")), "no step of four begins and ends in it"
    assert not np.array_equal(plain, drawn(model, use))
    early, late = drawn(model, f"{use}:1:0-0.5"), drawn(model, f"{use}:1:0.5-1")
    assert not np.array_equal(early, late) and not np.array_equal(early, drawn(model, use))


def test_the_networks_are_as_they_were(painter: tuple[Model, Path]) -> None:
    model, root = painter
    synthesizer: Any = model.synthesizer
    drawn(model, f"{root}/canny={root}/0.png")
    networks = [synthesizer.network, *synthesizer.controls.values()]
    before = [{name: tensor.clone() for name, tensor in one.state_dict().items()} for one in networks]
    plain = drawn(model)
    drawn(model, f"{root}/canny={root}/0.png:0.7", f"{root}/canny={root}/1.png:0.2")
    assert np.array_equal(plain, drawn(model))
    for network, was in zip(networks, before, strict=True):
        assert all(torch.equal(tensor, was[name]) for name, tensor in network.state_dict().items())


def test_alone_is_in_company_bit_for_bit(painter: tuple[Model, Path]) -> None:
    model, root = painter
    canny, depth = f"{root}/canny={root}", f"{root}/depth={root}"
    asked: list[tuple[list[str], dict[str, Any]]] = [
        ([], {}),
        ([f"{canny}/0.png"], {}),
        ([f"{canny}/0.png:0.5"], {"guidance": 1.0}),
        ([f"{canny}/1.png"], {"prompt": {"text": "snow", "negative": "a cat"}}),
        ([f"{depth}/2.png:2:0-0.5"], {"width": 96}),
        ([f"{canny}/0.png", f"{depth}/1.png:0.3"], {"sampler": "heun"}),
        ([f"{canny}/0.png", f"{canny}/1.png"], {"regions": ["left half: a cat"], "tile": "both"}),
        ([f"{canny}/0.png"], {"init_image": f"{root}/1.png", "strength": 0.5, "guidance_method": "projected"}),
        ([], {}),
    ]
    inputs = Inputs()
    recipes = [recipe_of(model, *use, inputs=inputs, **{"seed": n, **more}) for n, (use, more) in enumerate(asked)]
    alone = [run(picture(recipe, model, inputs=inputs), model.evaluate).pixels for recipe in recipes]
    tasks = (picture(recipe, model, inputs=inputs) for recipe in recipes)
    for outcome in Engine[Image](model.evaluate).run(tasks):
        assert outcome.result is not None, outcome.error
        assert np.array_equal(outcome.result.pixels, alone[outcome.index])


def test_what_moves_x_moves_its_maps() -> None:
    x, maps = torch.randn(4, 8, 6), [torch.rand(3, 64, 48) for _ in range(2)]
    both = ridden(x, [cells_of(one, 8) for one in maps])
    moved_x, moved = unridden(both.roll((3, -2), (1, 2))[None], 4, 2)
    assert torch.equal(moved_x[0], x.roll((3, -2), (1, 2)))
    for one, was in zip(moved, maps, strict=True):
        assert torch.equal(pixels_of(one, 8)[0], was.roll((24, -16), (1, 2)))


def test_a_recipe_holds_hashes_and_a_picture_is_as_large_as_its_map(painter: tuple[Model, Path]) -> None:
    model, root = painter
    inputs = Inputs()
    asked = {"width": None, "height": None}
    recipe = recipe_of(model, f"{root}/canny={root}/2.png:0.5:0-0.5", inputs=inputs, **asked)
    [use] = recipe.controls
    assert (use.name, use.map.name, use.scale, use.start, use.end) == ("canny", "2.png", 0.5, 0.0, 0.5)
    assert (recipe.width, recipe.height) == (96, 64) and use.sha256 != use.map.sha256
    again = recipe.request().control[0]
    assert (again.network, again.map, again.scale, again.end) == ("canny", "2.png", 0.5, 0.5)
    assert type(recipe).from_json(recipe.to_json()) == recipe


# --- one file ---------------------------------------------------------------------------------------------------------


def trained(network: Any, prefix: str) -> dict[str, torch.Tensor]:
    """A ControlNet's tensors under the names it was trained with."""
    from darkroom.synthesis.external.single import control_name

    return {f"{prefix}{control_name(name, network.config)}": tensor for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_file_is_its_folder(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import ControlNetModel

    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path / "store"))
    pipeline = as_trained(family)
    import_model(saved(pipeline, tmp_path / "painter"))
    model, network = load("painter"), control_net(pipeline)
    network.save_pretrained(tmp_path / "folder")
    save_file({name: t.contiguous() for name, t in network.state_dict().items()}, tmp_path / "today.safetensors")
    for prefix in ("", "control_model."):
        save_file(trained(network, prefix), tmp_path / f"trained{prefix}safetensors")
    (tmp_path / "trainedsafetensors").rename(tmp_path / "trained.safetensors")
    (tmp_path / "trainedcontrol_model.safetensors").rename(tmp_path / "prefixed.safetensors")
    Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "map.png")
    names = ("folder", "today.safetensors", "trained.safetensors", "prefixed.safetensors")
    pictures = [drawn(model, f"{tmp_path / name}={tmp_path}/map.png", steps=2) for name in names]
    assert all(np.array_equal(pictures[0], one) for one in pictures[1:])
    assert not np.array_equal(pictures[0], drawn(model, steps=2))
    if family == "sdxl":
        return  # whose tensors of sizes diffusers 0.42 does not find in such a file
    theirs = ControlNetModel.from_single_file(
        str(tmp_path / "prefixed.safetensors"), config=str(tmp_path / "folder"), local_files_only=True
    )
    own = network.state_dict()
    assert theirs.state_dict().keys() == own.keys()
    assert all(torch.equal(tensor, own[name]) for name, tensor in theirs.state_dict().items())


# --- what is refused --------------------------------------------------------------------------------------------------


def refused(model: Model, control: str) -> str:
    with pytest.raises((BadInput, BadFile)) as caught:
        drawn(model, control)
    return str(caught.value)


@pytest.mark.parametrize(
    ("control", "said"),
    [
        ("{0}/canny={0}/black.png", "the control map 'black.png' is black all over, and says nothing; give one with"),
        ("{0}/canny={0}/text.png", "text.png"),
        ("{0}/canny={0}/nowhere.png", "nowhere.png"),
        ("{0}/nowhere={0}/0.png", "nowhere is not there; give a safetensors file, or a folder"),
        ("{0}/canny={0}/0.png:7", "control.0.scale 7.0 is above 2; try 2"),
        ("{0}/canny={0}/0.png:-1", "control.0.scale -1.0 is below 0; try 0"),
        ("{0}/canny={0}/0.png:1:0.5-0.2", "the control's 0.5-0.2 runs backwards; write 0-0.5 for the first half"),
        ("{0}/canny={0}/0.png:1:0.5-0.5", "the control's 0.5-0.5 is no time to act in"),
        ("{0}/canny", "does not say which network reads which picture; write "),
        (
            "{0}/0.png={0}/0.png",
            "the ControlNet '0.png' is no safetensors file; give a safetensors file, or the folder",
        ),
        ("{0}/painter={0}/0.png", "holds no config.json; give the folder of one network, or its safetensors file"),
        ("{0}/painter/unet={0}/0.png", "is a 'UNet2DConditionModel', and Stable Diffusion 1.x takes ControlNetModel"),
    ],
)
def test_what_cannot_be_used_is_told_in_words(control: str, said: str, painter: tuple[Model, Path]) -> None:
    model, root = painter
    assert said in refused(model, control.format(root))
    assert drawn(model) is not None


CHANGES: list[tuple[Callable[[dict[str, Any], dict[str, Any]], Any], str]] = [
    (
        lambda c, t: t.update(over=torch.ones(3)),
        "holds 'over', which its settings know nothing of; take another Control",
    ),
    (
        lambda c, t: t.pop("controlnet_mid_block.bias"),
        "lacks the tensor 'controlnet_mid_block.bias', which its settings",
    ),
    (
        lambda c, t: t.update({"conv_in.bias": t["conv_in.bias"] * float("nan")}),
        "numbers that are not finite in 'conv_in",
    ),
    (
        lambda c, t: c.update(global_pool_conditions=True),
        "has global_pool_conditions, which acts on one of two sentences",
    ),
    (
        lambda c, t: c.update(_class_name="FluxControlNetModel"),
        "is a 'FluxControlNetModel', and Stable Diffusion 1.x takes",
    ),
]


@pytest.mark.parametrize(("change", "said"), CHANGES)
def test_a_folder_that_is_not_sound_is_refused(
    change: Callable[[dict[str, Any], dict[str, Any]], Any], said: str, painter: tuple[Model, Path], tmp_path: Path
) -> None:
    model, root = painter
    shutil.copytree(root / "canny", folder := tmp_path / "canny")
    config, tensors = json.loads((folder / "config.json").read_text()), load_file(folder / WEIGHTS)
    change(config, tensors)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / WEIGHTS)
    assert said in refused(model, f"{folder}={root}/0.png")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"conditioning_embedding_out_channels": (8, 16, 32)}, "has 'controlnet_cond_embedding.blocks.5.bias' nowhere"),
        (
            {"conditioning_embedding_out_channels": (8,) * 5},
            "blocks.6.bias' of shape (8,), and Stable Diffusion 1.x",
        ),
        (
            {"conditioning_channels": 4},
            "conv_in.weight' of shape (16, 4, 3, 3), and Stable Diffusion 1.x asks",
        ),
    ],
)
def test_one_that_reads_other_maps_is_refused(
    settings: dict[str, Any], said: str, painter: tuple[Model, Path], tmp_path: Path
) -> None:
    from diffusers import ControlNetModel

    model, root = painter
    ControlNetModel.from_unet(stable_diffusion().unet, **settings).save_pretrained(tmp_path / "odd")
    assert said in refused(model, f"{tmp_path}/odd={root}/0.png")


def test_a_smaller_one_draws_where_its_settings_say_so(painter: tuple[Model, Path], tmp_path: Path) -> None:
    from diffusers import ControlNetModel

    model, root = painter
    torch.manual_seed(0)
    small = {"block_out_channels": (16, 32), "norm_num_groups": 8, "layers_per_block": 1, "cross_attention_dim": 16}
    network = ControlNetModel(down_block_types=("DownBlock2D",) * 2, attention_head_dim=2, **small)
    for parameter in network.controlnet_down_blocks.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    network.save_pretrained(tmp_path / "small")
    assert not np.array_equal(drawn(model), drawn(model, f"{tmp_path}/small={root}/0.png"))
    shutil.copy(tmp_path / "small" / WEIGHTS, tmp_path / "small.safetensors")
    assert "lacks the tensor 'down_blocks.1.att" in refused(model, f"{tmp_path}/small.safetensors={root}/0.png")


def test_a_program_in_its_folder_is_refused(painter: tuple[Model, Path], tmp_path: Path) -> None:
    model, root = painter
    shutil.copytree(root / "canny", folder := tmp_path / "canny")
    (folder / "control.py").write_text("raise SystemExit(3)")
    assert "is a program, and no model folder may bring one" in refused(model, f"{folder}={root}/0.png")


def test_one_of_another_family_is_refused_by_its_tensor(painter: tuple[Model, Path], tmp_path: Path) -> None:
    model, root = painter
    other = control_net(stable_diffusion_xl())
    other.save_pretrained(tmp_path / "xl")
    shutil.copy(tmp_path / "xl" / WEIGHTS, tmp_path / "xl.safetensors")
    said = refused(model, f"{tmp_path}/xl={root}/0.png")
    assert "the ControlNet 'xl' has 'add_embedding.linear_1.weight' of shape (64, 40)" in said
    assert "and Stable Diffusion 1.x asks for it nowhere; take one that was made for this family" in said
    said = refused(model, f"{tmp_path}/xl.safetensors={root}/0.png")
    assert "attn2.to_k… of shape (32, 32), and the settings of Stable Diffusion 1.x ask for (32, 16)" in said


def test_models_without_them_say_so(
    painter: tuple[Model, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, root = painter
    use = f"{root}/canny={root}/0.png"
    said = refused(tiny_model(), f"{root}/canny/{WEIGHTS}={root}/0.png")
    assert "it is no control of a model of ours; give a control of `darkroom train control`" in said
    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path / "store"))
    import_model(saved(stable_diffusion_3(), tmp_path / "sd3"))
    said = "cannot be drawn with by Stable Diffusion 3: its ControlNets are not known here"
    assert said in refused(load("sd3"), use)


# --- a transformer's --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flux_painter(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    """A transformer, and a folder with ControlNets of it and maps."""
    root = tmp_path_factory.mktemp("flux")
    pipeline = flux(blocks=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DARKROOM_MODELS", str(root / "store"))
        import_model(saved(pipeline, root / "painter"))
        model = load("painter")
    for seed, name in ((7, "canny"), (8, "depth")):
        control_net(pipeline, seed).save_pretrained(root / name)
    shutil.copy(root / "canny" / WEIGHTS, root / "canny.safetensors")
    for n in range(2):
        pixels = np.random.default_rng(n).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Pillow.fromarray(pixels).save(root / f"{n}.png")
    return model, root


def test_a_transformers_are_data_in_the_calls_too(flux_painter: tuple[Model, Path]) -> None:
    model, root = flux_painter
    canny, depth = f"{root}/canny={root}", f"{root}/depth={root}"
    plain = drawn(model)
    assert np.array_equal(plain, drawn(model, f"{canny}/0.png:0"))
    assert np.array_equal(drawn(model, f"{canny}/0.png"), drawn(model, f"{root}/canny.safetensors={root}/0.png"))
    asked = [[], [f"{canny}/0.png"], [f"{canny}/1.png:0.5:0-0.5"], [f"{canny}/0.png", f"{depth}/1.png:0.4"], []]
    inputs = Inputs()
    recipes = [recipe_of(model, *use, inputs=inputs, seed=n) for n, use in enumerate(asked)]
    alone = [run(picture(recipe, model, inputs=inputs), model.evaluate).pixels for recipe in recipes]
    assert len({one.tobytes() for one in alone}) == len(alone)
    for outcome in Engine[Image](model.evaluate).run(picture(recipe, model, inputs=inputs) for recipe in recipes):
        assert outcome.result is not None, outcome.error
        assert np.array_equal(outcome.result.pixels, alone[outcome.index])


def test_few_blocks_serve_many_in_their_order() -> None:
    from darkroom.synthesis.external.flux import spread

    one, other = ([torch.tensor(float(n)) for n in some] for some in ((1, 2), (10, 20, 30)))
    assert spread([one, other], 6) == [11.0, 11.0, 21.0, 22.0, 32.0, 32.0]
    assert spread([one, []], 3) == [1.0, 1.0, 2.0] and spread([[], []], 3) is None


def test_what_is_not_made_for_a_transformer_is_refused(
    flux_painter: tuple[Model, Path], painter: tuple[Model, Path], tmp_path: Path
) -> None:
    model, root = flux_painter
    _, others = painter
    said = refused(model, f"{others}/canny={root}/0.png")
    assert "is a 'ControlNetModel', and FLUX.1 takes FluxControlNetModel; take a ControlNet that was made for" in said
    shutil.copy(others / "canny" / WEIGHTS, tmp_path / "canny.safetensors")
    assert "which the settings of FLUX.1 ask for; take a ControlNet" in refused(
        model, f"{tmp_path}/canny.safetensors={root}/0.png"
    )
    config, tensors = json.loads((root / "canny" / "config.json").read_text()), load_file(root / "canny" / WEIGHTS)
    for name, more, text in (
        ("num_mode", {"controlnet_mode_embedder.weight": torch.ones(3, 32)}, "has num_mode, which makes it several in"),
        (
            "joint_attention_dim",
            {"context_embedder.weight": torch.ones(32, 3)},
            "'context_embedder.weight' of shape (32",
        ),
    ):
        (folder := tmp_path / name).mkdir()
        (folder / "config.json").write_text(json.dumps({**config, name: 3}))
        save_file({**tensors, **more}, folder / WEIGHTS)
        assert text in refused(model, f"{folder}={root}/0.png")
