"""Adapters ride along in the calls: nothing of a network changes, and nobody's neighbours in a batch matter."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from darkroom.contracts.errors import BadFile, BadInput
from darkroom.contracts.request import Request
from darkroom.control.adapters import Branch, layers_of
from darkroom.control.lora import read_lora, write_lora
from darkroom.engine import Engine
from darkroom.generate import asked, picture, run
from darkroom.model import Model
from darkroom.picture.image import Image
from darkroom.synthesis.diffusion import DiffusionSynthesizer
from tests.tiny import tiny_model

PROMPT = "a red fox in the snow"


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


def lora_for(
    model: Model, path: Path, seed: int, *, parts: tuple[str, ...] = ("denoiser", "text"), rank: int = 4
) -> Path:
    """A file of random branches beside every layer of these parts."""
    assert isinstance(model.synthesizer, DiffusionSynthesizer)
    networks = {"denoiser": model.synthesizer.network, "text": model.encoder.network}
    draw = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw) * 0.2

    branches = {
        part: {
            name: Branch(drawn(rank, inner), drawn(outer, rank))
            for name, (outer, inner) in layers_of(networks[part]).items()
        }
        for part in parts
    }
    return write_lora(branches, path, title=path.stem, about={"license": "CC0-1.0"})


@pytest.fixture(scope="module")
def files(model: Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("loras")
    return {
        "both": lora_for(model, folder / "both.safetensors", 1),
        "denoiser": lora_for(model, folder / "denoiser.safetensors", 2, parts=("denoiser",)),
    }


def alone(model: Model, request: Request) -> Image:
    return run(picture(model.resolve(request), model), model.evaluate)


def request(seed: int = 0, **fields: object) -> Request:
    return Request.checked({"prompt": PROMPT, "seed": seed, "upscale": 1, **fields})


def test_an_adapter_changes_the_picture_and_its_weight_says_how_much(model: Model, files: dict[str, Path]) -> None:
    plain = alone(model, request()).pixels.astype(int)
    far = [abs(alone(model, request(lora=f"{files['denoiser']}:{scale}")).pixels - plain).mean() for scale in (0.1, 1)]
    assert 0 < far[0] < far[1]


def test_weight_nought_is_none_bit_for_bit(model: Model, files: dict[str, Path]) -> None:
    plain = alone(model, request())
    nought = alone(model, request(lora=[f"{files['both']}:0", f"{files['denoiser']}:0.0"]))
    assert (plain.pixels == nought.pixels).all()
    assert [use.scale for use in nought.recipe.adapters] == [0.0, 0.0]


def test_no_weight_of_a_network_changes(model: Model, files: dict[str, Path]) -> None:
    assert isinstance(model.synthesizer, DiffusionSynthesizer)
    networks = (model.synthesizer.network, model.encoder.network)
    before = [{name: tensor.clone() for name, tensor in network.state_dict().items()} for network in networks]
    alone(model, request(lora=str(files["both"])))
    for network, state in zip(networks, before, strict=True):
        now = network.state_dict()
        assert now.keys() == state.keys() and all(torch.equal(now[name], state[name]) for name in state)
        assert not any(layer._forward_hooks for layer in network.modules())
    assert (alone(model, request(seed=5)).pixels == alone(tiny_model(), request(seed=5)).pixels).all()


def test_a_mixed_batch_is_each_alone_bit_for_bit(model: Model, files: dict[str, Path]) -> None:
    both, denoiser = files["both"], files["denoiser"]
    loras = (
        None,
        f"{both}:0.8",
        f"{both}:0.3",
        f"{denoiser}:-1",
        [f"{both}:0.5", f"{denoiser}:0.5"],
        f"{denoiser}",
        None,
    )
    requests = [
        request(seed, lora=lora, steps=3 + seed % 2, sampler="heun" if seed % 3 else "euler-a")
        for seed, lora in enumerate(loras)
    ]
    together = Engine[Image](model.evaluate).ended(asked(one, model) for one in requests)
    for one, made in zip(requests, together, strict=True):
        assert isinstance(made, Image)
        assert (made.pixels == alone(model, one).pixels).all(), one.lora


def test_calls_of_other_strengths_share_a_pass(model: Model, files: dict[str, Path]) -> None:
    passes: list[int] = []

    def evaluate(calls: list) -> list[torch.Tensor]:
        passes.append(len({call.batch_key for call in calls if call.network == "denoiser"}))
        return model.evaluate(calls)

    tasks = [asked(request(seed, lora=f"{files['both']}:{scale}"), model) for seed, scale in enumerate((0.2, 0.9))]
    Engine[Image](evaluate).ended(iter(tasks))
    assert max(passes) == 1


def test_the_recipe_draws_it_again_where_its_adapter_is_at_hand(model: Model, files: dict[str, Path]) -> None:
    made = alone(model, request(lora=f"{files['both']}:0.7"))
    [use] = made.recipe.adapters
    assert (use.name, use.scale) == ("both.safetensors", 0.7)
    assert (run(picture(made.recipe, model), model.evaluate).pixels == made.pixels).all()
    with pytest.raises(BadInput, match=r"both.safetensors .* was not opened; give its file"):
        run(picture(made.recipe, tiny_model()), model.evaluate)


@pytest.mark.parametrize("keys", ["peft", "kohya"])
def test_both_kinds_of_keys_are_read_as_written(
    model: Model, files: dict[str, Path], tmp_path: Path, keys: str
) -> None:
    assert isinstance(model.synthesizer, DiffusionSynthesizer)
    layers = {"denoiser": layers_of(model.synthesizer.network), "text": layers_of(model.encoder.network)}
    told = read_lora(files["both"], layers)
    again = read_lora(write_lora(told.branches, tmp_path / "again.safetensors", title="x", about={}, keys=keys), layers)  # type: ignore[arg-type]
    assert {part: set(found) for part, found in again.branches.items()} == {
        part: set(found) for part, found in told.branches.items()
    }
    for part, found in told.branches.items():
        for name, branch in found.items():
            assert torch.equal(again.branches[part][name].down, branch.down) and torch.equal(
                again.branches[part][name].up, branch.up
            )


def test_one_for_another_network_names_what_does_not_fit(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(
        BadFile,
        match=r"both.safetensors holds text_encoder\.blocks\.0\.\S+, .* and \d+ more, which this model has no layers",
    ):
        read_lora(files["both"], {"denoiser": {}, "text": {}})
    with pytest.raises(
        BadFile, match=r"holds denoiser\.blocks\.0\.\S+ as .*, and this model has it as \(rank, 7\) and \(9, rank\)"
    ):
        read_lora(files["denoiser"], {"denoiser": dict.fromkeys(read_layers(files["denoiser"]), (9, 7))})
    (tmp_path / "no.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(BadFile, match="is no sound safetensors file"):
        read_lora(tmp_path / "no.safetensors", {})
    with pytest.raises(BadFile, match="cannot be read"):
        read_lora(tmp_path / "absent.safetensors", {})


def read_layers(path: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(path, "pt") as opened:
        return sorted({key.removeprefix("transformer.").rsplit(".lora_", 1)[0] for key in opened.keys()})  # noqa: SIM118
