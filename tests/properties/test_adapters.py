"""Adapters ride along in the calls: nothing of a network changes, and nobody's neighbours in a batch matter."""

from __future__ import annotations

import json
import re
from pathlib import Path
from threading import Thread

import pytest
import torch
from safetensors.torch import save_file

from darkroom.contracts.errors import BadFile, BadInput
from darkroom.contracts.recipe import AdapterUse
from darkroom.contracts.request import Request
from darkroom.contracts.steering import lora
from darkroom.control.adapters import Branch, bound, layers_of
from darkroom.control.lora import read_lora, write_lora
from darkroom.engine import Engine
from darkroom.generate import asked, picture, run
from darkroom.model import Model
from darkroom.picture.image import Image
from darkroom.protocols import Call
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
            name: Branch(drawn(rank, weight.shape[1]), drawn(weight.shape[0], rank))
            for name, weight in layers_of(networks[part]).items()
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
        "text": lora_for(model, folder / "text.safetensors", 3, parts=("text",)),
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
    both, denoiser, text = files["both"], files["denoiser"], files["text"]
    asked_for: list[dict[str, object]] = [
        {},
        {"lora": f"{both}:0.8"},
        {"lora": f"{both}:0.3", "sampler": "heun"},
        {"lora": f"{denoiser}:-1", "guidance": 1.0},
        {"lora": [f"{both}:0.5", f"{denoiser}:0.5"], "sampler": "euler-a"},
        {"lora": f"{text}", "prompt": {"text": PROMPT, "negative": "a cat"}},
        {"lora": f"{both}", "swap": "fox->cat"},
        {"lora": f"{both}:0.8", "regions": "left: two blue cats"},
        {
            "lora": f"{denoiser}:0.8",
            "toward": "one green tree:0.4",
            "hires": 0.5,
            "upscale": 2,
            "width": 128,
            "height": 128,
        },
    ]
    requests = [request(seed, steps=3 + seed % 2, **fields) for seed, fields in enumerate(asked_for)]
    together = Engine[Image](model.evaluate).ended(asked(one, model) for one in requests)
    for one, made in zip(requests, together, strict=True):
        assert isinstance(made, Image)
        assert (made.pixels == alone(model, one).pixels).all(), one.lora


def test_calls_of_other_strengths_share_a_pass(model: Model, files: dict[str, Path]) -> None:
    passes: list[set[object]] = []

    def evaluate(calls: list[Call]) -> list[torch.Tensor]:
        scales = {value for call in calls for name, value in call.inputs.items() if name.startswith("scale of")}
        passes.append(scales)
        return model.evaluate(calls)

    tasks = [asked(request(seed, lora=f"{files['both']}:{scale}"), model) for seed, scale in enumerate((0.2, 0.9))]
    Engine[Image](evaluate).ended(iter(tasks))  # type: ignore[arg-type]
    assert {0.2, 0.9} in passes


def test_another_thread_draws_without_what_is_bound_in_this_one(model: Model, files: dict[str, Path]) -> None:
    wanted = {None: alone(model, request(4)).pixels, "both": alone(model, request(4, lora=str(files["both"]))).pixels}
    wrong: list[object] = []

    def draw(name: str | None) -> None:
        for _ in range(8):
            made = alone(model, request(4, lora=None if name is None else str(files[name])))
            if (made.pixels != wanted[name]).any():
                wrong.append(name)

    threads = [Thread(target=draw, args=(name,)) for name in (None, "both")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_error_of_a_pass_is_the_tasks_that_rode_in_it(model: Model, files: dict[str, Path]) -> None:
    def evaluate(calls: list[Call]) -> list[torch.Tensor]:
        if any(call.adapters and call.network == "denoiser" for call in calls):
            raise RuntimeError("no memory")
        return model.evaluate(calls)

    ended = Engine[Image](evaluate).ended(
        asked(one, model) for one in (request(1, lora=str(files["both"])), request(2))
    )  # type: ignore[arg-type]
    assert isinstance(ended[0], RuntimeError) and isinstance(ended[1], Image)


def test_the_recipe_draws_it_again_where_its_adapter_is_at_hand(model: Model, files: dict[str, Path]) -> None:
    made = alone(model, request(lora=f"{files['both']}:0.7"))
    [use] = made.recipe.adapters
    assert (use.name, use.scale) == ("both.safetensors", 0.7)
    assert (run(picture(made.recipe, model), model.evaluate).pixels == made.pixels).all()
    with pytest.raises(BadInput, match=r"both.safetensors .* was not opened; give its file"):
        run(picture(made.recipe, tiny_model()), model.evaluate)


@pytest.mark.parametrize("keys", ["peft", "kohya"])
def test_both_kinds_of_keys_are_read_as_written(tmp_path: Path, keys: str) -> None:
    """Of any rank, each as strong as it was."""
    draw = torch.Generator().manual_seed(0)
    ranks = {"blocks.0.qkv": 3, "blocks.0.out": 8, "blocks.1.qkv": 3}
    told = {
        "denoiser": {
            name: Branch(
                torch.randn(rank, 7, generator=draw).bfloat16(), torch.randn(9, rank, generator=draw).bfloat16()
            )
            for name, rank in ranks.items()
        }
    }
    path = write_lora(told, tmp_path / "a.safetensors", title="x", about={}, keys=keys)  # type: ignore[arg-type]
    again = read_lora(path, {"denoiser": dict.fromkeys(ranks, torch.zeros(9, 7)), "text": {}}, torch.bfloat16)
    for name, branch in told["denoiser"].items():
        down, up, gain = again.branches["denoiser"][name]
        assert torch.equal(down, branch.down) and torch.equal(up, branch.up) and gain is None


@pytest.mark.parametrize("keys", ["peft", "kohya"])
def test_a_decomposed_one_is_the_paper_s_weight(tmp_path: Path, keys: str) -> None:
    """Bound with scale s, a layer answers with W + s (W' - W), W' = m (W + BA) / |W + BA| (arXiv:2402.09353, eq. 5)."""
    draw = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(7, 9, bias=False)
    network = torch.nn.ModuleDict({"blocks": torch.nn.ModuleList([torch.nn.ModuleDict({"qkv": layer})])})
    halves = torch.randn(3, 7, generator=draw).bfloat16().float(), torch.randn(9, 3, generator=draw).bfloat16().float()
    magnitude = torch.rand(9, generator=draw) + 0.5
    path = write_lora(
        {"denoiser": {"blocks.0.qkv": Branch(*halves)}},
        tmp_path / "a.safetensors",
        title="x",
        about={},
        keys=keys,  # type: ignore[arg-type]
        magnitudes={"denoiser": {"blocks.0.qkv": magnitude}},
    )
    found = read_lora(path, {"denoiser": layers_of(network)})
    whole = layer.weight + halves[1] @ halves[0]
    other = magnitude[:, None] * whole / whole.norm(dim=1, keepdim=True)
    x = torch.randn(2, 5, 7, generator=draw)
    scales = (0.3, -2.0)
    calls = [Call("denoiser", {f"scale of {found.sha256}": scale}, (found.sha256,)) for scale in scales]
    with torch.no_grad(), bound(network, calls, {found.sha256: found.branches["denoiser"]}):
        answer = layer(x)
    for row, scale in enumerate(scales):
        assert torch.allclose(answer[row], x[row] @ (layer.weight + scale * (other - layer.weight)).T, atol=1e-5)


def test_one_acts_beside_another_and_not_upon_it(tmp_path: Path) -> None:
    """Two at once add up, whichever comes first, also where one is decomposed."""
    draw = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(7, 9, bias=False)
    network = torch.nn.ModuleDict({"qkv": layer})
    some = {
        "a": {"qkv": Branch(torch.randn(3, 7, generator=draw), torch.randn(9, 3, generator=draw))},
        "b": {
            "qkv": Branch(torch.randn(2, 7, generator=draw), torch.randn(9, 2, generator=draw), torch.rand(9)),
        },
    }
    x = torch.randn(1, 5, 7, generator=draw)

    def answer(*names: str) -> torch.Tensor:
        call = Call("denoiser", {f"scale of {name}": 1.0 for name in names}, names)
        with torch.no_grad(), bound(network, [call], some):
            return layer(x)

    plain = layer(x).detach()
    added = answer("a") + answer("b") - plain
    for names in ("ab", "ba"):
        assert torch.allclose(answer(*names), added, atol=1e-5)


HALVES = {"lora_A.weight": torch.ones(4, 7), "lora_B.weight": torch.ones(9, 4)}
LAYERS = {part: {"blocks.0.qkv": torch.zeros(9, 7)} for part in ("denoiser", "text")}


def peft(path: Path, settings: object, prefix: str = "transformer.blocks.0.qkv.") -> Path:
    metadata = None if settings is None else {"lora_adapter_metadata": json.dumps(settings)}
    save_file({f"{prefix}{name}": tensor for name, tensor in HALVES.items()}, path, metadata)
    return path


@pytest.mark.parametrize(
    ("settings", "strength"),
    [
        (None, 1.0),
        ({"transformer.lora_alpha": 8, "transformer.r": 4}, 2.0),
        ({"lora_alpha": 2}, 0.5),
        ({"lora_alpha": 8, "use_rslora": True}, 4.0),
        ({"lora_alpha": 8, "alpha_pattern": {"qkv": 4}}, 1.0),
        ({"text_encoder.lora_alpha": 8}, 1.0),
    ],
)
def test_a_branch_is_as_strong_as_its_settings_say(tmp_path: Path, settings: object, strength: float) -> None:
    found = read_lora(peft(tmp_path / "a.safetensors", settings), LAYERS)
    assert (found.branches["denoiser"]["blocks.0.qkv"].up == strength).all()


def test_a_kohya_alpha_counts(tmp_path: Path) -> None:
    stem = "lora_te_blocks_0_qkv"
    tensors = {f"{stem}.lora_down.weight": HALVES["lora_A.weight"], f"{stem}.lora_up.weight": HALVES["lora_B.weight"]}
    save_file({**tensors, f"{stem}.alpha": torch.tensor(1.0)}, tmp_path / "a.safetensors")
    assert (read_lora(tmp_path / "a.safetensors", LAYERS).branches["text"]["blocks.0.qkv"].up == 0.25).all()


def test_a_folder_of_pefts_own_is_read(tmp_path: Path) -> None:
    """A path from the network itself, and the settings beside the file."""
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 8, "r": 4}), encoding="utf-8")
    path = peft(tmp_path / "adapter_model.safetensors", None, "base_model.model.blocks.0.qkv.")
    assert (read_lora(path, LAYERS).branches["denoiser"]["blocks.0.qkv"].up == 2.0).all()


def test_what_no_adapter_may_hold_is_refused(tmp_path: Path) -> None:
    path, stem = tmp_path / "a.safetensors", "transformer.blocks.0.qkv"
    whole = {f"{stem}.{name}": tensor for name, tensor in HALVES.items()}
    unet = "lora_unet_blocks_0_qkv"
    kohya = {f"{unet}.lora_down.weight": HALVES["lora_A.weight"], f"{unet}.lora_up.weight": HALVES["lora_B.weight"]}
    for tensors, sentence in (
        ({**whole, f"{stem}.lokr_w1": torch.ones(9)}, "of a kind of adapter that is not read"),
        (
            {**whole, f"{stem}.lora_magnitude_vector": torch.ones(1, 7)},
            "'s magnitudes as (1, 7), and they are read as (9,)",
        ),
        (
            {**whole, f"{stem}.lora_magnitude_vector": torch.full((9,), torch.inf)},
            "not finite in denoiser.blocks.0.qkv",
        ),
        ({f"{stem}.lora_A.weight": HALVES["lora_A.weight"]}, "one half of denoiser.blocks.0.qkv only"),
        ({**whole, f"{stem}.lora_A.weight": torch.full((4, 7), float("nan"))}, "not finite in denoiser.blocks.0.qkv"),
        ({**whole, f"{stem}.lora_A.weight": torch.ones(4, 7, dtype=torch.int8)}, "in whole numbers"),
        ({**kohya, f"{unet}.alpha": torch.ones(2)}, "says of denoiser.blocks.0.qkv how strong it is in no number"),
    ):
        save_file(tensors, path)
        with pytest.raises(BadFile, match=re.escape(sentence)):
            read_lora(path, LAYERS)
    for settings, sentence in (
        ("[" * 100_000, "has settings that cannot be read"),
        ("[]", "has settings that are no table"),
        (json.dumps({"lora_alpha": 10**400}), "how strong it is in no number"),
        (json.dumps({"lora_alpha": "much"}), "how strong it is in no number"),
        (json.dumps({"alpha_pattern": [1]}), "how strong it is in no number"),
    ):
        save_file(whole, path, {"lora_adapter_metadata": settings})
        with pytest.raises(BadFile, match=re.escape(sentence)):
            read_lora(path, LAYERS)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a.safetensors", {"file": "a.safetensors"}),
        ("a.safetensors:0.8", {"file": "a.safetensors", "scale": 0.8}),
        ("a: -1.5", {"file": "a", "scale": -1.5}),
        ("a:80%", {"file": "a", "scale": 0.8}),
        (r"C:\\x.safetensors:.5", {"file": r"C:\\x.safetensors", "scale": 0.5}),
    ],
)
def test_an_adapter_is_written_with_its_strength(text: str, told: dict[str, object]) -> None:
    assert lora(text) == told


def test_a_recipe_from_elsewhere_names_no_folder() -> None:
    with pytest.raises(BadInput, match="names a folder"):
        AdapterUse.checked({"name": "../../secret", "sha256": "0" * 64})


def test_one_for_another_network_names_what_does_not_fit(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(
        BadFile,
        match=r"both.safetensors holds text_encoder\.blocks\.0\.\S+, .* and \d+ more, which this model has no layers",
    ):
        read_lora(files["both"], {"denoiser": {}, "text": {}})
    with pytest.raises(
        BadFile, match=r"holds denoiser\.blocks\.0\.\S+ as .*, and this model has it as \(rank, 7\) and \(9, rank\)"
    ):
        read_lora(files["denoiser"], {"denoiser": dict.fromkeys(read_layers(files["denoiser"]), torch.zeros(9, 7))})
    (tmp_path / "no.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(BadFile, match="is no sound safetensors file"):
        read_lora(tmp_path / "no.safetensors", {})
    with pytest.raises(BadFile, match="cannot be read"):
        read_lora(tmp_path / "absent.safetensors", {})


def read_layers(path: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(path, "pt") as opened:
        return sorted({key.removeprefix("transformer.").rsplit(".lora_", 1)[0] for key in opened.keys()})  # noqa: SIM118
