"""The same request gives the same pixels: twice, alone or with others, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
import torch

from darkroom.contracts.errors import BadInput
from darkroom.contracts.recipe import Recipe
from darkroom.contracts.request import Request, expand, parse_seeds
from darkroom.door import DrawingModel
from darkroom.engine import Engine
from darkroom.generate import picture, run
from darkroom.model import Model, load
from darkroom.picture.image import Image
from darkroom.picture.metadata import read_recipe
from darkroom.protocols import Call, Task
from darkroom.synthesis.samplers import FLOW_MAP, SAMPLERS
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


def alone(model: Model, recipe: Recipe) -> np.ndarray:
    return run(picture(recipe, model), model.evaluate).pixels


def together(model: Model, recipes: list[Recipe], width: int = 32) -> list[np.ndarray]:
    found: dict[int, np.ndarray] = {}
    tasks = (picture(recipe, model) for recipe in recipes)
    for outcome in Engine[Image](model.evaluate, width).run(tasks):
        assert outcome.result is not None, outcome.error
        found[outcome.index] = outcome.result.pixels
    return [found[i] for i in range(len(recipes))]


def mixed(count: int) -> list[Request]:
    """Requests that differ in everything a request can differ in."""
    random = Random(1)
    words = ["a red fox", "two blue cats in the snow", "a green tree", "one fox and a cat on a white background"]
    words += [
        "a (red:1.4) fox in [the snow]",
        "[fox:two blue cats:0.5] in the snow",
        "a red fox BREAK two {blue|red} cats",
    ]
    return [
        Request(
            prompt={"text": random.choice(words), "negative": random.choice(["", "snow", "a blue tree in the snow"])},
            seed=random.randrange(1000),
            steps=random.randint(1, 7),
            sampler=random.choice([name for name in SAMPLERS if name != FLOW_MAP]),
            guidance=random.choice([0.0, 1.0, 2.5, 7.0]),
            guidance_method=random.choice([None, "classifier-free", "zero-star", "projected"]),
            guidance_rescale=random.choice([None, 0.5]),
            guidance_interval=random.choice([None, (0.0, 1.0), (0.3, 0.6)]),
            guidance_threshold=random.choice([None, 0.99]),
            spacing=random.choice([None, "karras", "exponential", "beta"]),
            shift=random.choice([None, 3.0]),
            width=random.choice([64, 96]) * (upscale := random.choice([1, 2, 4])),
            height=random.choice([64, 80]) * upscale,
            style=random.choice([None, "3d", "cartoon"]),
            upscale=upscale,
        )
        for _ in range(count)
    ]


def test_the_same_request_twice_gives_the_same_pixels(model: Model) -> None:
    recipe = model.resolve(Request(prompt="a red fox", seed=3))
    assert np.array_equal(alone(model, recipe), alone(model, recipe))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_model_in_the_package_draws_the_same_in_any_company(threads: int, dtype: torch.dtype) -> None:
    """Its layers are as wide as those people draw with: a toy's are too narrow for products to be cut another way."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        model = load("default", dtype)
        kinds = [("a red fox", "dpmpp-2m", 3.5), ("two blue cats and a tree", "euler", 5.0), ("a house", "heun", 1.0)]
        recipes = [
            model.resolve(Request(prompt=text, seed=seed, steps=2 + seed, sampler=sampler, guidance=guidance))
            for seed, (text, sampler, guidance) in enumerate(kinds)
        ]
        for recipe, pixels in zip(recipes, together(model, recipes), strict=True):
            assert np.array_equal(pixels, alone(model, recipe))
    finally:
        torch.set_num_threads(before)


def test_another_seed_or_word_gives_other_pixels(model: Model) -> None:
    base = alone(model, model.resolve(Request(prompt="a red fox", seed=3)))
    for other in (Request(prompt="a red fox", seed=4), Request(prompt="a blue fox", seed=3)):
        assert not np.array_equal(base, alone(model, model.resolve(other)))


def test_weight_one_is_none_and_another_is_not(model: Model) -> None:
    plain, one, half, nothing = (
        alone(model, model.resolve(Request(prompt=text, seed=3)))
        for text in ("a red fox", "a (red:1) (fox:1.0)", "a (red:0.5) fox", "a red fox BREAK")
    )
    assert np.array_equal(plain, one) and np.array_equal(plain, nothing) and not np.array_equal(plain, half)


def test_a_switch_at_the_ends_is_none_and_in_the_middle_is_neither(model: Model) -> None:
    def drawn(text: str) -> np.ndarray:
        return alone(model, model.resolve(Request(prompt=text, seed=3, steps=6)))

    assert np.array_equal(drawn("a [fox:cat:0]"), drawn("a cat"))
    assert np.array_equal(drawn("a [fox:cat:6]"), drawn("a fox"))
    half = drawn("a [fox:cat:0.5]")
    assert not np.array_equal(half, drawn("a cat")) and not np.array_equal(half, drawn("a fox"))


def test_long_prompts_are_read_to_the_end(model: Model) -> None:
    long = "a red fox in the snow, " * 12
    pictures = [alone(model, model.resolve(Request(prompt=long + end, seed=3))) for end in ("two cats", "a tree")]
    assert not np.array_equal(*pictures)


def test_seed_seven_is_picture_seven_of_a_range(model: Model) -> None:
    request = Request(prompt="two blue cats")
    many = [model.resolve(r) for r in expand(request, parse_seeds("0-7"))]
    [one] = [model.resolve(r) for r in expand(request, parse_seeds("7"))]
    assert np.array_equal(together(model, many)[7], alone(model, one))


def test_twenty_mixed_requests_together_equal_each_alone(model: Model) -> None:
    recipes = [model.resolve(request) for request in mixed(20)]
    single = [alone(model, recipe) for recipe in recipes]
    for a, b in zip(single, together(model, recipes), strict=True):
        assert np.array_equal(a, b)
    backwards = together(model, recipes[::-1], width=5)[::-1]
    for a, b in zip(single, backwards, strict=True):
        assert np.array_equal(a, b)


def test_the_engine_really_shares_passes(model: Model) -> None:
    sizes: list[int] = []

    def counted(calls: list[Call]) -> list[torch.Tensor]:
        sizes.append(len(calls))
        return model.evaluate(calls)

    tasks = [picture(model.resolve(r), model) for r in expand(Request(prompt="a red fox"), range(4))]
    list(Engine[Image](counted).run(tasks))
    assert max(sizes) == 8  # four requests, each asking for its guidance pair
    assert len(sizes) <= 4 + 2 + 2  # steps, text, decode; alone it would be four times that


def test_guidance_one_is_plain(model: Model) -> None:
    plain = model.resolve(Request(prompt="a red fox", seed=1, guidance=1.0))
    negated = model.resolve(Request(prompt={"text": "a red fox", "negative": "snow"}, seed=1, guidance=1.0))
    assert np.array_equal(alone(model, plain), alone(model, negated))
    strong = model.resolve(Request(prompt="a red fox", seed=1, guidance=4.0))
    assert not np.array_equal(alone(model, plain), alone(model, strong))


def test_one_failing_request_leaves_the_others_alone(model: Model) -> None:
    recipes = [model.resolve(r) for r in expand(Request(prompt="a red fox"), range(3))]

    def evaluate(calls: list[Call]) -> list[torch.Tensor]:
        spoiled = [c.network == "denoiser" and seeds.get(id(c)) == recipes[1].seed for c in calls]
        return [a * float("nan") if bad else a for a, bad in zip(model.evaluate(calls), spoiled, strict=True)]

    seeds: dict[int, int] = {}

    def tagged(recipe: Recipe):
        task = picture(recipe, model)
        calls = next(task)
        while True:
            for call in calls:
                seeds[id(call)] = recipe.seed
            answers = yield calls
            try:
                calls = task.send(answers)
            except StopIteration as done:
                return done.value

    outcomes = {o.index: o for o in Engine[Image](evaluate).run(tagged(r) for r in recipes)}
    assert outcomes[1].error is not None and "not finite" in str(outcomes[1].error)
    for i in (0, 2):
        assert outcomes[i].result is not None
        assert np.array_equal(outcomes[i].result.pixels, alone(model, recipes[i]))


def test_a_task_that_has_an_answer_to_an_error_gets_no_answers_of_before() -> None:
    def call(network: str, value: float) -> Call:
        return Call(network, {"x": torch.tensor(value)})

    def stubborn() -> Task[list[float]]:
        """Asks for two things at once and, where that fails, for two others."""
        try:
            answers = yield [call("bad", 1.0), call("bad", 2.0)]
        except ValueError:
            answers = yield [call("good", 3.0), call("good", 4.0)]
        return [float(answer) for answer in answers]

    def evaluate(calls: Sequence[Call]) -> list[torch.Tensor]:
        if any(float(c.inputs["x"]) == 1.0 for c in calls):
            raise ValueError("one")
        return [torch.as_tensor(c.inputs["x"]) for c in calls]

    assert Engine[list[float]](evaluate).ended([stubborn()]) == [[3.0, 4.0]]
    assert run(stubborn(), evaluate) == [3.0, 4.0]  # alone as among others
    assert isinstance(Engine[list[float]](lambda calls: evaluate([call("x", 1.0)])).ended([stubborn()])[0], ValueError)


def test_a_request_that_cannot_be_met_leaves_the_others_alone(model: Model) -> None:
    requests = [Request(prompt="a fox", seed=1), Request(prompt="a fox", style="oils"), Request(prompt="a fox", seed=2)]
    drawn = dict(DrawingModel(model).generate_many(requests))
    assert isinstance(drawn[1], BadInput) and "oils" in str(drawn[1])
    assert all(isinstance(drawn[i], Image) for i in (0, 2))


def test_out_of_memory_splits_the_batch(model: Model) -> None:
    recipes = [model.resolve(r) for r in expand(Request(prompt="a red fox"), range(4))]

    def small(calls: list[Call]) -> list[torch.Tensor]:
        if len(calls) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return model.evaluate(calls)

    outcomes = {o.index: o for o in Engine[Image](small).run(picture(r, model) for r in recipes)}
    for i, recipe in enumerate(recipes):
        assert outcomes[i].result is not None
        assert np.array_equal(outcomes[i].result.pixels, alone(model, recipe))


def test_a_recipe_read_back_draws_the_same_pixels(model: Model, tmp_path) -> None:
    image = run(picture(model.resolve(Request(prompt='a "red" fox', seed=11, steps=3)), model), model.evaluate)
    path = image.save(tmp_path / "fox.png")
    assert np.array_equal(alone(model, read_recipe(path)), image.pixels)


def test_a_sampler_may_be_a_function(model: Model) -> None:
    def halfway(denoise, x, levels, noise):
        return (yield from denoise(x, levels[0]))

    recipe = model.resolve(Request(prompt="a red fox", seed=1, steps=1, sampler="euler", guidance=1.0))
    by_function = run(picture(recipe, model, sampler=halfway), model.evaluate).pixels
    assert np.array_equal(by_function, alone(model, recipe))  # one Euler step to sigma 0 is the clean estimate
