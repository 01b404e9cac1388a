"""Learnt words as data in the calls: they are words where they were brought along, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from darkroom.contracts.errors import BadFile, BadInput
from darkroom.contracts.request import Request
from darkroom.drawing.reading import read_prompt
from darkroom.engine import Engine
from darkroom.generate import picture, run
from darkroom.importing import import_model
from darkroom.model import Model, load
from darkroom.picture.image import Image
from tests.public import flux, needs_public, saved, stable_diffusion, stable_diffusion_xl
from tests.tiny import tiny_model

pytestmark = needs_public


def vectors(count: int, width: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    """A model, and a folder with words that it can learn."""
    root = tmp_path_factory.mktemp("words")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DARKROOM_MODELS", str(root / "store"))
        import_model(saved(stable_diffusion(), root / "painter"))
        model = load("painter")
    save_file({"emb_params": vectors(3)}, root / "inky.safetensors")
    save_file({"<toy>": vectors(2, seed=1)}, root / "learned-toy.safetensors")
    save_file({"emb_params": vectors(75, seed=2)}, root / "ng_v1_75t.safetensors")
    return model, root


def recipe_of(model: Model, text: str, *files: Path, negative: str = "", **asked: Any) -> Any:
    fields = {"prompt": {"text": text, "negative": negative}, "seed": 1, "steps": 2, "width": 64, "height": 64, **asked}
    return model.resolve(Request.checked({**fields, "embedding": [str(file) for file in files] or None}))


def drawn(model: Model, text: str, *files: Path, **asked: Any) -> np.ndarray:
    return run(picture(recipe_of(model, text, *files, **asked), model), model.evaluate).pixels


def test_a_word_that_is_not_said_changes_nothing_and_is_noted(painter: tuple[Model, Path]) -> None:
    model, root = painter
    file = root / "inky.safetensors"
    assert np.array_equal(drawn(model, "a red fox"), drawn(model, "a red fox", file))
    [note] = read_prompt(model, recipe_of(model, "a thinky fox", file)).notes
    assert note == "inky stands nowhere in the prompt, and does nothing"
    assert not read_prompt(model, recipe_of(model, "a fox", file, negative="INKY")).notes


def test_it_is_a_word_only_where_it_was_brought(painter: tuple[Model, Path]) -> None:
    model, root = painter
    plain = drawn(model, "an inky fox")
    assert not np.array_equal(plain, drawn(model, "an inky fox", root / "inky.safetensors"))
    assert np.array_equal(plain, drawn(model, "an inky fox")), "it is forgotten"
    assert np.array_equal(plain, drawn(model, "an inky fox", root / "learned-toy.safetensors"))


def test_file_and_tensor_name_one_word_in_any_case_and_weight(painter: tuple[Model, Path]) -> None:
    model, root = painter
    file = root / "learned-toy.safetensors"
    one = drawn(model, "a <toy>, red", file)
    assert np.array_equal(one, drawn(model, "a LEARNED-toy, red", file))
    assert np.array_equal(one, drawn(model, "a (<toy>:1), red", file))
    assert not np.array_equal(one, drawn(model, "a (<toy>:0.4), red", file))
    assert not np.array_equal(one, drawn(model, "a <toys>, red", file))


def test_the_networks_are_as_they_were(painter: tuple[Model, Path]) -> None:
    model, root = painter
    [reader] = model.encoder.readers  # type: ignore[attr-defined]
    before = {name: tensor.clone() for name, tensor in reader.network.state_dict().items()}
    length = len(reader.tokenizer)
    drawn(model, "an inky fox", root / "inky.safetensors")
    assert all(torch.equal(tensor, before[name]) for name, tensor in reader.network.state_dict().items())
    assert len(reader.tokenizer) == length


def test_alone_is_in_company_bit_for_bit(painter: tuple[Model, Path]) -> None:
    model, root = painter
    inky, toy, long = (root / f"{name}.safetensors" for name in ("inky", "learned-toy", "ng_v1_75t"))
    asked: list[tuple[str, list[Path], dict[str, Any]]] = [
        ("an inky fox", [], {}),
        ("an inky fox", [inky], {}),
        ("an inky <toy>", [inky, toy], {"guidance": 1.0}),
        ("an inky <toy>", [toy, inky], {"steps": 3}),
        ("a fox", [long], {"negative": "ng_v1_75t, (inky:1.2)"}),
        ("an [inky:red:0.5] fox", [inky], {"regions": ["left half: <toy>"]}),
        ("an inky fox", [], {}),
    ]
    recipes = [recipe_of(model, text, *files, **{"seed": n, **more}) for n, (text, files, more) in enumerate(asked)]
    alone = [run(picture(recipe, model), model.evaluate).pixels for recipe in recipes]
    for outcome in Engine[Image](model.evaluate).run(picture(recipe, model) for recipe in recipes):
        assert outcome.result is not None, outcome.error
        assert np.array_equal(outcome.result.pixels, alone[outcome.index])


def test_a_word_of_many_tokens_is_not_torn_apart(painter: tuple[Model, Path]) -> None:
    model, root = painter
    recipe = recipe_of(model, "a fox", root / "ng_v1_75t.safetensors", negative="bad, ng_v1_75t, blurry")
    encoder = model.fitted(recipe).encoder
    from darkroom.wording.syntax import wordings

    [wording] = wordings(recipe.prompt.negative, 2)
    parts, left = encoder.parts(wording.chunks)
    assert [part.text for part in parts] == ["bad,", "ng_v1_75t", ", blurry"] and not left
    assert encoder.length("ng_v1_75t") == 77
    assert any("read in 3 parts" in note for note in read_prompt(model, recipe).notes)


# --- what is refused --------------------------------------------------------------------------------------------------


def refused(model: Model, file: Path) -> str:
    with pytest.raises((BadInput, BadFile)) as caught:
        drawn(model, "an inky fox", file)
    return str(caught.value)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        (
            {"emb_params": vectors(2, 24)},
            "holds 'emb_params' of shape (2, 24), and vectors of Stable Diffusion 1.x are 16",
        ),
        (
            {"clip_l": vectors(2), "clip_g": vectors(2)},
            "holds 'clip_l', which Stable Diffusion 1.x has no text encoder for",
        ),
        ({"a": vectors(2), "b": vectors(2)}, "holds 'a', 'b', and Stable Diffusion 1.x takes one tensor"),
        ({"emb_params": vectors(76)}, "stands for 76 tokens, and Stable Diffusion 1.x reads 75 at once"),
        ({"emb_params": vectors(2) * float("nan")}, "holds numbers that are not finite in 'emb_params'"),
        ({"emb_params": torch.ones(2, 16, dtype=torch.int32)}, "of shape (2, 16), and vectors of"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    tensors: dict[str, torch.Tensor], said: str, painter: tuple[Model, Path], tmp_path: Path
) -> None:
    save_file(tensors, tmp_path / "bad.safetensors")
    assert said in refused(painter[0], tmp_path / "bad.safetensors")


def test_no_file_a_pickle_and_models_that_learn_no_words(
    painter: tuple[Model, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, root = painter
    assert "nowhere.safetensors is not there" in refused(model, tmp_path / "nowhere.safetensors")
    (tmp_path / "inky.pt").write_bytes(b"PK")
    assert "is a pickle or something else, and no safetensors file" in refused(model, tmp_path / "inky.pt")
    file = root / "inky.safetensors"
    assert "--embedding is for public checkpoints, and tiny is a model of ours" in refused(tiny_model(), file)
    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path / "store"))
    import_model(saved(flux(), tmp_path / "flux"))
    assert "has no meaning to FLUX.1, which reads sentences as a whole" in refused(load("flux"), file)
    import_model(saved(stable_diffusion_xl(), tmp_path / "xl"))
    xl = load("xl")
    assert "holds 'emb_params', which Stable Diffusion XL has no text encoder for" in refused(xl, file)
    save_file({"clip_l": vectors(2), "clip_g": vectors(3)}, tmp_path / "uneven.safetensors")
    assert "stands for 2 and 3 tokens, and they have to be as many" in refused(xl, tmp_path / "uneven.safetensors")
    save_file({"clip_l": vectors(2)}, tmp_path / "half.safetensors")
    assert "holds 'clip_l', and Stable Diffusion XL takes clip_l and clip_g" in refused(
        xl, tmp_path / "half.safetensors"
    )
