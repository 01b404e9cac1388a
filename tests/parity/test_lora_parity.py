"""LoRAs in both spellings: the picture that diffusers draws with them, and a network that is as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from darkroom.contracts.errors import BadFile, BadInput
from darkroom.contracts.request import Request
from darkroom.control.adapters import carried
from darkroom.engine import Engine
from darkroom.generate import interpret, picture, run
from darkroom.importing import import_model
from darkroom.model import Model, load
from darkroom.picture.image import Image
from darkroom.protocols import Guidance, SynthesisSpec
from darkroom.synthesis.noise import SeededNoise
from darkroom.synthesis.samplers import SAMPLERS
from darkroom.synthesis.spacing import SPACINGS, spaced
from tests.public import close, needs_public, saved, stable_diffusion, stable_diffusion_3, steps_of
from tests.single_files import as_trained

pytestmark = needs_public
SEED, STEPS, ALPHA, RANK = 5, 3, 6.0, 4
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "conv1", "proj_in"]
OF_TEXT = ["q_proj", "v_proj", "fc1"]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path / "store"))


def config_of(targets: list[str]) -> dict[str, Any]:
    """peft's settings, as they stand in a file's metadata."""
    from peft import LoraConfig

    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets, init_lora_weights=False).to_dict()
    plain = {name: sorted(value) if isinstance(value, set) else value for name, value in config.items()}
    return {name: value for name, value in plain.items() if isinstance(value, (str, int, float, list, type(None)))}


def branched(network: Any, targets: list[str], seed: int) -> dict[str, torch.Tensor]:
    """Random branches for some of a network's layers, by peft's names, made by peft; the network is left as it was."""
    from copy import deepcopy

    from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model

    torch.manual_seed(seed)
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets, init_lora_weights=False)
    worn = inject_adapter_in_model(config, deepcopy(network))
    return {name: tensor.float().contiguous() for name, tensor in get_peft_model_state_dict(worn).items()}


def as_peft(parts: dict[str, dict[str, torch.Tensor]], path: Path) -> Path:
    """As diffusers saves it, with alpha in the metadata."""
    tensors = {f"{part}.{name}": tensor for part, found in parts.items() for name, tensor in found.items()}
    layers = {part: sorted({name.rsplit(".", 2)[0] for name in found}) for part, found in parts.items()}
    told = {f"{part}.{key}": value for part in parts for key, value in config_of(layers[part]).items()}
    save_file(tensors, path, {"lora_adapter_metadata": json.dumps(told), "format": "pt"})
    return path


def as_kohya(parts: dict[str, dict[str, torch.Tensor]], path: Path) -> Path:
    """As it is found on model sites, with an alpha beside each layer."""
    prefixes = {"unet": "lora_unet", "text_encoder": "lora_te"}
    tensors: dict[str, torch.Tensor] = {}
    for part, found in parts.items():
        for name, tensor in found.items():
            layer, half, _ = name.rsplit(".", 2)
            if part == "text_encoder":
                layer = f"text_model.{layer.removeprefix('text_model.')}"
            spelt = f"{prefixes[part]}_{layer.replace('.', '_')}"
            tensors[f"{spelt}.{'lora_down' if half == 'lora_A' else 'lora_up'}.weight"] = tensor
            tensors[f"{spelt}.alpha"] = torch.tensor(ALPHA)
    save_file(tensors, path)
    return path


SPELLINGS = {"peft": as_peft, "kohya": as_kohya}


def latents(model: Model, loras: list[str], guidance: float) -> torch.Tensor:
    """The latent the program comes to with LoRAs."""
    recipe = model.resolve(Request.checked({"prompt": "a red fox", "seed": SEED, "lora": loras or None}))
    riders = model.riders(recipe.adapters)
    words = run(carried(interpret(recipe, model), riders), model.evaluate)
    spec = SynthesisSpec(
        model.codec.shape(64, 64), STEPS, SAMPLERS["euler"], Guidance(guidance), SPACINGS[recipe.spacing]
    )
    drawn = model.synthesizer.task(words.wanted, words.negative, spec, SEED)
    return run(carried(drawn, riders), model.evaluate)


def start(model: Model) -> torch.Tensor:
    shape, spacing = model.codec.shape(64, 64), SPACINGS[model.card.defaults.spacing]
    first = spaced(model.synthesizer.schedule, STEPS, model.synthesizer.shift(shape), spacing)[0]  # type: ignore[attr-defined]
    return first.sigma * SeededNoise(SEED, "start").draw(shape)


@pytest.mark.parametrize("guidance", [1.0, 5.0], ids=["plain", "guided"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_lora_draws_as_in_the_pipeline(spelling: str, guidance: float, tmp_path: Path) -> None:
    pipeline = stable_diffusion()
    import_model(saved(pipeline, tmp_path / "painter"))
    model = load("painter", torch.float32)
    parts = {
        "unet": branched(pipeline.unet, TARGETS, 1),
        "text_encoder": branched(pipeline.text_encoder, OF_TEXT, 2),
    }
    if (
        spelling == "kohya"
    ):  # whose text encoder diffusers 0.42 loads in part, and says so; below, both spellings are one
        del parts["text_encoder"]
    file = SPELLINGS[spelling](parts, tmp_path / f"{spelling}.safetensors")
    mine, plain = latents(model, [f"{file}:0.7"], guidance), latents(model, [], guidance)
    pipeline.load_lora_weights(str(file), adapter_name="one")
    pipeline.set_adapters(["one"], [0.7])
    said = {"prompt": "a red fox", "negative_prompt": "", "guidance_scale": guidance, "num_inference_steps": STEPS}
    theirs, _ = steps_of(pipeline, **said, latents=start(model)[None], height=64, width=64, output_type="latent")
    close([mine], [theirs[-1][0]], 1e-3)
    assert (mine - plain).abs().max() > 0.05, "it would be seen if it did nothing"


def test_two_loras_draw_as_in_the_pipeline(tmp_path: Path) -> None:
    pipeline = stable_diffusion()
    import_model(saved(pipeline, tmp_path / "painter"))
    model = load("painter", torch.float32)
    files = [as_peft({"unet": branched(pipeline.unet, TARGETS, n)}, tmp_path / f"{n}.safetensors") for n in (3, 4)]
    mine = latents(model, [f"{files[0]}:0.5", f"{files[1]}:-1.2"], 1.0)
    for n, file in enumerate(files):
        pipeline.load_lora_weights(str(file), adapter_name=f"n{n}")
    pipeline.set_adapters(["n0", "n1"], [0.5, -1.2])
    said = {"prompt": "a red fox", "guidance_scale": 1.0, "num_inference_steps": STEPS}
    theirs, _ = steps_of(pipeline, **said, latents=start(model)[None], height=64, width=64, output_type="latent")
    close([mine], [theirs[-1][0]], 1e-3)


def test_a_transformers_lora_draws_as_in_the_pipeline(tmp_path: Path) -> None:
    pipeline = stable_diffusion_3()
    import_model(saved(pipeline, tmp_path / "painter"))
    model = load("painter", torch.float32)
    targets = ["to_q", "to_k", "add_q_proj", "to_out.0"]
    file = as_peft({"transformer": branched(pipeline.transformer, targets, 1)}, tmp_path / "one.safetensors")
    mine, plain = latents(model, [f"{file}:0.7"], 1.0), latents(model, [], 1.0)
    pipeline.load_lora_weights(str(file), adapter_name="one")
    pipeline.set_adapters(["one"], [0.7])
    said = {"prompt": "a red fox", "guidance_scale": 1.0, "num_inference_steps": STEPS}
    theirs, _ = steps_of(pipeline, **said, latents=start(model)[None], height=64, width=64, output_type="latent")
    close([mine], [theirs[-1][0]], 1e-3)
    assert (mine - plain).abs().max() > 0.01


# --- what holds without a pipeline to compare with --------------------------------------------------------------------


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    """A model, and a folder with a LoRA of it in both spellings."""
    root = tmp_path_factory.mktemp("lora")
    pipeline = stable_diffusion()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DARKROOM_MODELS", str(root / "store"))
        import_model(saved(pipeline, root / "painter"))
        model = load("painter")
    parts = {"unet": branched(pipeline.unet, TARGETS, 1), "text_encoder": branched(pipeline.text_encoder, OF_TEXT, 2)}
    as_peft(parts, root / "peft.safetensors")
    as_kohya(parts, root / "kohya.safetensors")
    return model, root


def drawn(model: Model, *loras: str, **asked: Any) -> np.ndarray:
    request = Request.checked({"prompt": "a red fox", "seed": 1, "steps": 2, "lora": list(loras) or None, **asked})
    return run(picture(model.resolve(request), model), model.evaluate).pixels


def test_both_spellings_are_one_and_the_network_is_as_it_was(painter: tuple[Model, Path]) -> None:
    model, root = painter
    network = model.synthesizer.network  # type: ignore[attr-defined]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    plain = drawn(model)
    worn = drawn(model, f"{root}/peft.safetensors")
    assert np.array_equal(worn, drawn(model, f"{root}/kohya.safetensors")) and not np.array_equal(worn, plain)
    assert np.array_equal(plain, drawn(model)) and np.array_equal(plain, drawn(model, f"{root}/peft.safetensors:0"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_requests_with_other_loras_share_an_engine(painter: tuple[Model, Path]) -> None:
    model, root = painter
    file = f"{root}/peft.safetensors"
    asked = [[], [file], [f"{file}:0.5"], [f"{root}/kohya.safetensors:0.5"], []]
    recipes = [
        model.resolve(Request.checked({"prompt": "a red fox", "seed": n, "steps": 2 + n % 2, "lora": loras or None}))
        for n, loras in enumerate(asked)
    ]
    alone = [run(picture(recipe, model), model.evaluate).pixels for recipe in recipes]
    for outcome in Engine[Image](model.evaluate).run(picture(recipe, model) for recipe in recipes):
        assert outcome.result is not None, outcome.error
        assert np.array_equal(outcome.result.pixels, alone[outcome.index])
    assert [use.scale for use in recipes[2].adapters] == [0.5] and recipes[2].request().lora


def test_names_of_layers_as_they_were_trained_are_known(tmp_path: Path) -> None:
    from darkroom.synthesis.external.single import unet_name

    pipeline = as_trained("sdxl")
    import_model(saved(pipeline, tmp_path / "painter"))
    model = load("painter")
    found = branched(pipeline.unet, ["to_q", "conv1"], 1)
    layers = {name.rsplit(".", 2)[0] for name in found}
    trained = {
        layer: unet_name(f"{layer}.weight", pipeline.unet.config).removesuffix(".weight").replace(".", "_")
        for layer in layers
    }
    assert any(name.startswith("input_blocks_") for name in trained.values())
    tensors = {}
    for layer in layers:
        for half, word in (("lora_A", "lora_down"), ("lora_B", "lora_up")):
            tensors[f"lora_unet_{trained[layer]}.{word}.weight"] = found[f"{layer}.{half}.weight"]
        tensors[f"lora_unet_{trained[layer]}.alpha"] = torch.tensor(ALPHA)
    save_file(tensors, tmp_path / "trained.safetensors")
    as_peft({"unet": found}, tmp_path / "peft.safetensors")
    small = {"width": 64, "height": 64}
    one, other = (drawn(model, f"{tmp_path}/{name}.safetensors", **small) for name in ("trained", "peft"))
    assert np.array_equal(one, other) and not np.array_equal(one, drawn(model, **small))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda t: {**t, "lora_unet_nowhere.lora_down.weight": torch.ones(4, 4)},
            "'lora_unet_nowhere.lora_down.weight'",
        ),
        (lambda t: {k.replace("unet", "transformer"): v for k, v in t.items()}, "belongs to no layer of a Stable Diff"),
        (lambda t: {k: v for k, v in t.items() if "lora_B" not in k}, "has half of a branch"),
        (lambda t: {k: torch.ones(4, 9) if "lora_A" in k else v for k, v in t.items()}, "which is of another shape"),
        (lambda t: {**t, "unet.conv_in.dora_scale": torch.ones(3)}, "is no plain LoRA's"),
        (lambda t: {k: v * float("nan") for k, v in t.items()}, "holds numbers that are not finite"),
    ],
)
def test_a_lora_that_does_not_fit_is_refused(
    change: Any, said: str, painter: tuple[Model, Path], tmp_path: Path
) -> None:
    model, root = painter
    save_file(change(load_file(root / "peft.safetensors")), tmp_path / "bad.safetensors")
    with pytest.raises((BadInput, BadFile), match=said):
        drawn(model, str(tmp_path / "bad.safetensors"))
    assert drawn(model) is not None


def test_our_own_models_take_none_of_theirs(painter: tuple[Model, Path]) -> None:
    from tests.tiny import tiny_model

    with pytest.raises(BadFile, match="which this model has no layers for; take a LoRA"):
        drawn(tiny_model(), f"{painter[1]}/peft.safetensors")
    with pytest.raises(BadInput, match="is not there"):
        drawn(painter[0], "nowhere.safetensors")


def test_a_file_given_twice_acts_twice(painter: tuple[Model, Path]) -> None:
    model, root = painter
    file = f"{root}/peft.safetensors"
    assert np.array_equal(drawn(model, f"{file}:0.25", f"{file}:0.5"), drawn(model, f"{file}:0.75"))
