"""Where a picture begins, and what of it stays: identities on pixels, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from darkroom.contracts.errors import BadInput
from darkroom.contracts.recipe import Recipe
from darkroom.contracts.request import Request
from darkroom.control.passes import evaluations_of
from darkroom.engine import Engine
from darkroom.generate import picture, run
from darkroom.model import Model
from darkroom.picture.image import Image
from darkroom.picture.inputs import Inputs
from darkroom.picture.metadata import read_recipe
from darkroom.protocols import Call
from darkroom.synthesis.samplers import FLOW_MAP, SAMPLERS
from tests.tiny import tiny_model

SIZE = (96, 64)
EVERY = [name for name in SAMPLERS if name != FLOW_MAP]


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


def noisy(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A picture with edges, and no two parts alike."""
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)


def half(width: int, height: int) -> np.ndarray:
    """A mask whose right half is drawn."""
    mask = np.zeros((height, width, 3), np.uint8)
    mask[:, width // 2 :] = 255
    return mask


def resolved(model: Model, inputs: Inputs, **asked: Any) -> Recipe:
    told = {"prompt": "a red fox", "seed": 5, "width": SIZE[0], "height": SIZE[1], **asked}
    return model.resolve(Request.checked(told), inputs)


def pixels(model: Model, inputs: Inputs, **asked: Any) -> np.ndarray:
    return run(picture(resolved(model, inputs, **asked), model, inputs=inputs), model.evaluate).pixels


@pytest.mark.parametrize("sampler", EVERY)
def test_full_strength_is_text_to_image(model: Model, sampler: str) -> None:
    inputs = Inputs()
    start = inputs.put(noisy(*SIZE))
    plain = pixels(model, inputs, sampler=sampler)
    assert np.array_equal(plain, pixels(model, inputs, sampler=sampler, init_image=start, strength=1.0))
    ones = inputs.put(np.full((SIZE[1], SIZE[0], 3), 255, np.uint8), "ones")
    assert np.array_equal(plain, pixels(model, inputs, sampler=sampler, init_image=start, mask=ones))


def test_full_strength_is_text_to_image_where_steps_stand_still(model: Model) -> None:
    inputs = Inputs()
    start, method = inputs.put(noisy(*SIZE)), {"guidance_method": "zero-star", "steps": 7, "guidance": 4.0}
    plain = pixels(model, inputs, **method)
    assert np.array_equal(plain, pixels(model, inputs, init_image=start, strength=1.0, **method))


def test_no_strength_is_the_picture_as_the_autoencoder_has_it(model: Model) -> None:
    inputs = Inputs()
    brought = noisy(*SIZE)
    start = inputs.put(brought)
    found = pixels(model, inputs, init_image=start, strength=0.0)
    scaled = torch.from_numpy(brought.copy()).permute(2, 0, 1).float() / 255

    def coded() -> Any:
        latent = yield from model.codec.encode(scaled)
        return (yield from model.codec.decode(latent))

    expected = (run(coded(), model.evaluate) * 255).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(found, expected)
    assert evaluations_of(resolved(model, inputs, init_image=start, strength=0.0)) == 0


def test_every_strength_is_another_and_further_from_the_picture(model: Model) -> None:
    inputs = Inputs()
    start = inputs.put(noisy(*SIZE))
    shares = [0.0, 0.1, 0.2, 0.5, 0.8]  # of four steps: some of them begin between two
    found = [pixels(model, inputs, init_image=start, strength=share).astype(int) for share in shares]
    far = [float(np.abs(other - found[0]).mean()) for other in found]
    assert far == sorted(far) and len(set(far)) == len(far)


@pytest.mark.parametrize("sampler", EVERY)
def test_a_little_more_strength_is_a_little_other_picture(model: Model, sampler: str) -> None:
    inputs = Inputs()
    start, steps = inputs.put(noisy(*SIZE)), 8

    def drawn(strength: float) -> np.ndarray:
        found = pixels(model, inputs, init_image=start, strength=strength, steps=steps, sampler=sampler, guidance=1.0)
        return found.astype(int)

    a_step = np.abs(drawn(4 / steps) - drawn(5 / steps)).mean()
    for strength in (4.001 / steps, 4.02 / steps):  # a first step of a thousandth, a fiftieth: none is taken
        assert np.abs(drawn(strength) - drawn(4 / steps)).mean() < 0.5 * a_step


@pytest.mark.parametrize("sampler", EVERY)
@pytest.mark.parametrize("strength", [0.4, 1.0])
def test_what_is_outside_the_mask_stays(model: Model, sampler: str, strength: float) -> None:
    inputs = Inputs()
    brought = noisy(*SIZE)
    start, mask = inputs.put(brought), inputs.put(half(*SIZE), "mask")
    found = pixels(model, inputs, sampler=sampler, init_image=start, mask=mask, strength=strength)
    assert np.array_equal(found[:, : SIZE[0] // 2], brought[:, : SIZE[0] // 2])
    inner = slice(SIZE[0] // 2 + 8, None)
    assert np.abs(found[:, inner].astype(int) - brought[:, inner]).mean() > 5


def test_the_kept_half_is_known_to_the_network(model: Model) -> None:
    def last(seed: int) -> torch.Tensor:
        inputs, seen = Inputs(), []
        start, mask = inputs.put(noisy(*SIZE, seed)), inputs.put(half(*SIZE), "mask")
        recipe = resolved(model, inputs, init_image=start, mask=mask)
        run(picture(recipe, model, lambda moment: seen.append(moment.x0), inputs=inputs), model.evaluate)
        [*_, estimate] = [x0 for x0 in seen if x0 is not None]
        return estimate[..., estimate.shape[-1] // 2 :]  # of what is drawn

    assert torch.equal(last(1), last(1)) and not torch.equal(last(1), last(2))


def test_margins_are_drawn_and_the_picture_stays(model: Model) -> None:
    inputs = Inputs()
    brought = noisy(64, 64)
    start, margins = inputs.put(brought), {"left": 32, "bottom": 16}
    found = pixels(model, inputs, init_image=start, outpaint=margins, width=None, height=None)
    assert found.shape[:2] == (64 + 16, 64 + 32)
    assert np.array_equal(found[:64, 32:], brought)


def test_margins_and_a_mask_are_drawn_together(model: Model) -> None:
    inputs = Inputs()
    brought = noisy(*SIZE)
    start, mask = inputs.put(brought), inputs.put(half(*SIZE), "mask")
    asked = {"init_image": start, "mask": mask, "outpaint": {"top": 16}, "width": None, "height": None}
    found = pixels(model, inputs, **asked)
    assert np.array_equal(found[16:, : SIZE[0] // 2], brought[:, : SIZE[0] // 2])
    assert not np.array_equal(found[16:, SIZE[0] // 2 + 8 :], brought[:, SIZE[0] // 2 + 8 :])


def test_a_variation_of_nothing_is_the_picture_and_a_whole_one_the_other(model: Model) -> None:
    inputs = Inputs()
    one, other = pixels(model, inputs), pixels(model, inputs, seed=9)
    assert np.array_equal(one, pixels(model, inputs, variation_seed=9, variation=0.0))
    assert np.array_equal(other, pixels(model, inputs, variation_seed=9, variation=1.0))
    near, far = (pixels(model, inputs, variation_seed=9, variation=share).astype(int) for share in (0.1, 0.6))
    assert 0 < np.abs(near - one).mean() < np.abs(far - one).mean()


def test_a_variation_that_names_no_seed_is_drawn_again_from_its_recipe(model: Model) -> None:
    inputs = Inputs()
    recipe = resolved(model, inputs, variation=0.3)
    assert recipe.variation_seed is not None
    one, again = (run(picture(recipe, model), model.evaluate).pixels for _ in range(2))
    assert np.array_equal(one, again)


def test_all_of_them_together_equal_each_alone(model: Model) -> None:
    inputs = Inputs()
    start, mask = inputs.put(noisy(*SIZE)), inputs.put(half(*SIZE), "mask")
    ways: list[dict[str, Any]] = [
        {},
        {"init_image": start},
        {"init_image": start, "strength": 0.0},
        {"init_image": start, "strength": 0.37, "sampler": "dpmpp-2m-sde"},
        {"init_image": start, "mask": mask},
        {"init_image": start, "mask": mask, "strength": 0.5, "sampler": "euler-a", "guidance": 1.0},
        {"init_image": start, "outpaint": {"right": 32}, "width": None, "height": None},
        {"variation": 0.4, "variation_seed": 2},
        {"variation": 0.4, "init_image": start, "prompt": "[fox:two cats:0.5] in the (snow:1.2)"},
    ]
    recipes = [resolved(model, inputs, **way) for way in ways]
    tasks = (picture(recipe, model, inputs=inputs) for recipe in recipes)
    mixed = {outcome.index: outcome.result for outcome in Engine[Image](model.evaluate).run(tasks)}
    for i, recipe in enumerate(recipes):
        found = mixed[i]
        assert found is not None
        assert np.array_equal(found.pixels, run(picture(recipe, model, inputs=inputs), model.evaluate).pixels)


def test_a_start_costs_what_its_evaluations_do(model: Model) -> None:
    inputs = Inputs()
    start = inputs.put(noisy(*SIZE))

    def asked(**told: Any) -> int:
        count = 0

        def counted(calls: list[Call]) -> Any:
            nonlocal count
            count += sum(call.network == "denoiser" for call in calls)
            return model.evaluate(calls)

        recipe = resolved(model, inputs, steps=10, guidance=1.0, **told)
        run(picture(recipe, model, inputs=inputs), counted)  # type: ignore[arg-type]
        assert count == evaluations_of(recipe)
        return count

    assert asked() == 10
    assert asked(init_image=start, strength=0.5) == 5
    assert asked(init_image=start, strength=0.36) == 4  # the first of them is a shorter step
    assert asked(init_image=start, strength=0.31) == 3  # the first of them is a longer one
    assert asked(init_image=start, strength=0.3) == 3
    assert asked(init_image=start, strength=0.01) == 1


def test_a_recipe_finds_its_pictures_beside_it(model: Model, tmp_path: Path) -> None:
    Pillow.fromarray(noisy(*SIZE)).save(tmp_path / "start.png")
    Pillow.fromarray(half(*SIZE)).save(tmp_path / "mask.png")
    inputs, brought = Inputs(), {"init_image": str(tmp_path / "start.png"), "mask": str(tmp_path / "mask.png")}
    image = run(picture(resolved(model, inputs, **brought), model, inputs=inputs), model.evaluate)
    recipe = read_recipe(image.save(tmp_path / "drawn.png"))
    assert recipe.init_image is not None and recipe.init_image.name == "start.png"

    later = Inputs()
    with pytest.raises(BadInput, match="is part of this recipe and was not given"):
        run(picture(recipe, model, inputs=later), model.evaluate)
    later.looked_for(recipe, tmp_path, {})
    assert np.array_equal(run(picture(recipe, model, inputs=later), model.evaluate).pixels, image.pixels)

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with pytest.raises(BadInput, match=r"the init image 'start.png' of this recipe, 96x64, is not in .*--init-image"):
        Inputs().looked_for(recipe, elsewhere, {})
    Inputs().looked_for(recipe, elsewhere, brought)
    with pytest.raises(BadInput, match=r"mask.png is not the init image of this recipe"):
        Inputs().looked_for(recipe, tmp_path, {"init_image": brought["mask"]})
    plain = resolved(model, Inputs())
    with pytest.raises(BadInput, match=r"--mask .* is no part of this recipe"):
        Inputs().looked_for(plain, tmp_path, {"mask": brought["mask"]})


def test_a_picture_that_changes_under_way_is_not_drawn_from(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "start.png"
    Pillow.fromarray(noisy(*SIZE)).save(path)
    inputs = Inputs()
    recipe = resolved(model, inputs, init_image=str(path))
    Pillow.fromarray(noisy(*SIZE, 4)).save(path)
    with pytest.raises(BadInput, match="has changed since it was named"):
        run(picture(recipe, model, inputs=inputs), model.evaluate)
