"""Reference pictures stand beside the words: nothing of a network changes, and nobody's neighbours matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from darkroom.contracts.errors import BadFile, BadInput
from darkroom.contracts.recipe import Recipe
from darkroom.contracts.request import Request
from darkroom.contracts.steering import image_prompt
from darkroom.control.image_prompt import Reference, with_references
from darkroom.engine import Engine
from darkroom.exporting.own import networks_of
from darkroom.generate import asked, picture, run
from darkroom.model import Model
from darkroom.nn.attention import attend
from darkroom.picture.image import Image
from darkroom.picture.inputs import Inputs
from darkroom.protocols import Call, Conditioning
from darkroom.synthesis.diffusion import attention_to
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model(with_tower=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two pictures of other shapes."""
    folder = tmp_path_factory.mktemp("references")
    paths = []
    for n, shape in enumerate(((50, 70, 3), (96, 64, 4))):
        pixels = np.random.default_rng(n).integers(0, 256, shape, dtype=np.uint8)
        Pillow.fromarray(pixels).save(path := folder / f"{n}.png")
        paths.append(str(path))
    return paths


def request_of(**fields: object) -> Request:
    return Request.checked({"prompt": "a red fox in the snow", "seed": 3, "steps": 3, "upscale": 1, **fields})


def drawn(model: Model, inputs: Inputs | None = None, **fields: object) -> np.ndarray:
    return run(asked(request_of(**fields), model, inputs or Inputs()), model.evaluate).pixels


def test_pictures_weights_and_what_is_kept_count_and_weight_nought_is_none(model: Model, files: list[str]) -> None:
    one, other = files
    plain = drawn(model)
    assert (drawn(model, image_prompt=f"{one}:0") == plain).all()
    assert (drawn(model, image_prompt=[f"{one}:0", f"{other}:0:style"]) == plain).all()
    found = [
        drawn(model, image_prompt=how)
        for how in (one, f"{one}:0.5", f"{one}:style", other, [one, other], [one, f"{one}:style"])
    ]
    assert len({pixels.tobytes() for pixels in (plain, *found)}) == 7


def test_a_mixed_batch_is_each_alone_and_nothing_of_the_model_changes(model: Model, files: list[str]) -> None:
    one, other = files
    networks = networks_of(model)
    before = {part: {n: t.clone() for n, t in network.state_dict().items()} for part, network in networks.items()}
    assert "image" in before
    inputs = Inputs()
    fields: list[dict[str, object]] = [
        {},
        {"image_prompt": f"{one}:0.6"},
        {"image_prompt": f"{other}:1.5:style", "guidance": 1.0},
        {"image_prompt": [one, f"{other}:0.4:style"], "tile": "both"},
        {"image_prompt": f"{one}:0.6", "regions": "left: two blue cats", "toward": "a green tree:0.3"},
        {"image_prompt": one, "swap": "red->blue", "prompt": "a (red:1.4) fox"},
        {"image_prompt": f"{one}:0.6", "sampler": "euler-a", "prompt": {"text": "a fox", "negative": "snow"}},
    ]
    requests = [request_of(**{"seed": i, **one_of}) for i, one_of in enumerate(fields)]
    together = Engine[Image](model.evaluate).ended(asked(each, model, inputs) for each in requests)
    for request, made in zip(requests, together, strict=True):
        assert isinstance(made, Image), made
        alone = run(picture(model.resolve(request, inputs), model, inputs=inputs), model.evaluate)
        assert (made.pixels == alone.pixels).all(), request.image_prompt
    for part, network in networks.items():
        now = network.state_dict()
        assert now.keys() == before[part].keys() and all(torch.equal(now[n], t) for n, t in before[part].items())


def test_a_recipe_says_which_picture_and_draws_it_again(model: Model, files: list[str], tmp_path: Path) -> None:
    inputs = Inputs()
    recipe = model.resolve(request_of(image_prompt=f"{files[0]}:0.6:style"), inputs)
    [use] = recipe.image_prompts
    assert (use.picture.name, use.picture.size, use.scale, use.keep) == ("0.png", (70, 50), 0.6, "style")
    assert use.picture.sha256 == inputs.found(files[0]).sha256
    again = Recipe.from_json(recipe.to_json())
    assert again == recipe and again.request().image_prompt == (use.asked(),)
    image = run(picture(recipe, model, inputs=inputs), model.evaluate)
    with pytest.raises(BadInput, match=r"picture '0\.png' of 70x50 pixels is part of this recipe and was not given"):
        run(picture(again, model, inputs=Inputs()), model.evaluate)
    brought = Inputs()
    brought.looked_for(again, Path(files[0]).parent, {})
    assert (run(picture(again, model, inputs=brought), model.evaluate).pixels == image.pixels).all()
    with pytest.raises(BadInput, match=r"the reference picture '0\.png' of this recipe, 70x50, is not in"):
        Inputs().looked_for(again, tmp_path, {})
    with pytest.raises(BadInput, match=r"is no part of this recipe; leave it out"):
        Inputs().looked_for(again, Path(files[0]).parent, {"image_prompt": [files[1]]})
    Pillow.open(files[1]).save(tmp_path / "0.png")
    with pytest.raises(BadInput, match="is not the reference picture of this recipe"):
        Inputs().looked_for(again, tmp_path, {})


def test_one_that_counts_twice_is_there_twice() -> None:
    """s times in the softmax's sum: at a whole number that many equal tokens, near nought none."""
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, n, 8, generator=draw) for n in (3, 4, 4))
    counts = torch.tensor([[1.0, 1.0, 2.0, 1.0]])
    twice = [torch.cat([one, one[:, :, 2:3]], 2) for one in (k, v)]
    assert torch.allclose(attend(q, k, v, counts.log()), attend(q, *twice), atol=1e-6)
    nearly = torch.tensor([[1.0, 1.0, 1e-9, 1.0]])
    without = torch.tensor([[True, True, False, True]])
    assert torch.allclose(attend(q, k, v, nearly.log()), attend(q, k, v, without), atol=1e-6)


def test_words_and_padding_stay_what_they_are_beside_a_picture() -> None:
    tokens, mask = torch.randn(5, 8), torch.tensor([True, True, True, False, False])
    said = Conditioning(tokens, mask, tokens[:3].mean(0))
    seen = torch.randn(2, 8)
    whole = with_references(said, [Reference(seen, 1.0)])
    assert torch.equal(whole.tokens, torch.cat([tokens, seen])) and whole.attended is None
    assert torch.equal(attention_to(whole), torch.tensor([True] * 3 + [False] * 2 + [True] * 2))
    assert torch.allclose(whole.pooled, torch.cat([tokens[:3], seen]).mean(0), atol=1e-6)
    half = with_references(said, [Reference(seen, 0.5)])
    assert attention_to(half).exp().tolist() == pytest.approx([1, 1, 1, 0, 0, 0.5, 0.5])
    assert torch.allclose(half.pooled, (tokens[:3].sum(0) + 0.5 * seen.sum(0)) / 4, atol=1e-6)
    assert torch.allclose(with_references(said, [Reference(seen, 1e-7)]).pooled, said.pooled, atol=1e-5)
    two = with_references(replace(said, weights=torch.full((5,), 2.0)), [Reference(seen, 1.0), Reference(seen, 0.5)])
    assert two.weights is not None and two.weights.tolist() == [2.0] * 5 + [1.0] * 4
    assert two.attended is not None and two.attended.tolist() == [1.0] * 7 + [0.5] * 2


@pytest.mark.parametrize("how", ["{0}", "{0}:0.6:style"])
def test_what_is_wanted_and_what_is_not_share_a_pass(model: Model, files: list[str], how: str) -> None:
    """The negative prompt has room where the reference stands: an evaluation is not asked in two goes."""
    keys = []

    def evaluate(calls: Sequence[Call]) -> list[torch.Tensor]:
        keys.append({call.batch_key for call in calls})
        return model.evaluate(calls)

    request = request_of(image_prompt=how.format(files[0]), regions="left: two blue cats")
    run(asked(request, model, Inputs()), evaluate)
    denoised = [found for found in keys if all(key[0] == "denoiser" for key in found)]
    assert len(denoised) >= 3 and all(len(found) == 1 for found in denoised)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("fox.png", {"file": "fox.png"}),
        ("fox.png:0.6", {"file": "fox.png", "scale": 0.6}),
        ("fox.png:60%:style", {"file": "fox.png", "scale": 0.6, "keep": "style"}),
        ("fox.png:subject", {"file": "fox.png", "keep": "subject"}),
        ("a:b.png: 1", {"file": "a:b.png", "scale": 1.0}),
    ],
)
def test_its_short_form_is_read(text: str, found: dict[str, object]) -> None:
    assert image_prompt(text) == found


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("{0}:7", "image_prompt.0.scale 7.0 is above 2; try 2"),
        ("{0}:-1", "image_prompt.0.scale -1.0 is below 0; try 0"),
        ("{0}:0.6:styl", "unknown part of a reference picture 'styl'; did you mean 'style'?"),
        ("", "the reference picture '' names no file; write \"fox.png:0.6\""),
        ("nowhere.png", "nowhere.png"),
        ("{1}", "text.png"),
    ],
)
def test_what_cannot_be_used_is_told_in_words(
    model: Model, files: list[str], how: str, said: str, tmp_path: Path
) -> None:
    (text := tmp_path / "text.png").write_text("no picture")
    with pytest.raises((BadInput, BadFile)) as caught:
        drawn(model, image_prompt=how.format(files[0], text))
    assert said in str(caught.value)


def test_a_model_without_a_tower_says_so(files: list[str], model: Model) -> None:
    plain, inputs = tiny_model(), Inputs()
    with pytest.raises(BadInput) as caught:
        drawn(plain, image_prompt=f"{files[0]}:0.6")
    assert "is for models that read reference pictures, and tiny has no image tower; leave it out, or take a" in str(
        caught.value
    )
    recipe = model.resolve(request_of(image_prompt=files[0]), inputs)
    with pytest.raises(BadInput, match="is part of this recipe, and this model has no image tower"):
        run(picture(recipe, plain, inputs=inputs), plain.evaluate)
