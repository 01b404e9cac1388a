"""Verified, the best of several, another seed until it holds: what the judge says decides, and the recipe keeps it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from darkroom.contracts.errors import BadInput
from darkroom.contracts.recipe import Answered, PictureFile, Recipe, Verdict
from darkroom.contracts.request import Request
from darkroom.drawing.results import Judging, Wanted, results
from darkroom.drawing.speaker import Speaker
from darkroom.generate import picture, run
from darkroom.judge.judge import Judge, Trust
from darkroom.judge.sight import Sight, Thing
from darkroom.model import Model
from darkroom.picture.inputs import Inputs
from darkroom.picture.metadata import read_recipe
from darkroom.selection import candidate_seed, selected
from tests.tiny import tiny_model


class Scripted(Judge):
    """A judge that sees a cat in the pictures of some seeds only; it knows a picture by its bytes."""

    def __init__(self, model: Model, recipe: Recipe, seen: dict[int, float]) -> None:
        object.__setattr__(self, "sha256", "a" * 64)
        object.__setattr__(self, "calibration", {kind: Trust(1.0, 0.0, 0.0) for kind in ("presence", "one")})
        scores = {}
        for number in range(12):
            seed = candidate_seed(recipe.seed, number)
            made = run(picture(recipe.model_copy(update={"seed": seed}), model), model.evaluate)
            scores[made.pixels.tobytes()] = seen.get(number, 0.0)
        object.__setattr__(self, "scores", scores)

    def look(self, pixels: object) -> list[Sight]:  # type: ignore[override]
        bytes_ = (pixels[0] * 255).round().byte().permute(1, 2, 0).numpy().tobytes()  # type: ignore[index]
        score = self.scores[bytes_]  # type: ignore[attr-defined]
        things = (Thing({"cat": score}, {"own": 1.0}, (0.2, 0.2, 0.8, 0.8), 0.0),) if score else ()
        return [Sight(things, {}, "", torch.tensor([score]))]

    def fit(self, sights: object, sentences: object) -> torch.Tensor:  # type: ignore[override]
        return torch.stack([sight.vector for sight in sights])  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


@pytest.fixture(scope="module")
def recipe(model: Model) -> Recipe:
    return model.resolve(Request.model_validate({"prompt": "a cat", "seed": 5, "width": 64, "height": 64, "steps": 2}))


def test_verifying_changes_nothing_but_the_recipe(model: Model, recipe: Recipe) -> None:
    plain = run(picture(recipe, model), model.evaluate)
    verified = run(selected(model, Scripted(model, recipe, {0: 0.9}), recipe), model.evaluate)
    assert np.array_equal(verified.pixels, plain.pixels)
    assert verified.recipe.verdict is not None and verified.recipe.verdict.holds
    assert verified.recipe.model_copy(update={"verdict": None}) == plain.recipe


def test_the_best_of_several_is_kept_and_draws_itself_again(model: Model, recipe: Recipe) -> None:
    best = run(selected(model, Scripted(model, recipe, {1: 0.5, 2: 0.9, 3: 0.6}), recipe, best_of=4), model.evaluate)
    assert best.recipe.seed == candidate_seed(5, 2)
    assert best.recipe.verdict is not None and best.recipe.verdict.tried == 4
    assert np.array_equal(run(picture(best.recipe, model), model.evaluate).pixels, best.pixels)


def test_retrying_ends_with_the_first_that_holds(model: Model, recipe: Recipe) -> None:
    found = run(selected(model, Scripted(model, recipe, {3: 0.8, 4: 0.99}), recipe, retry=8), model.evaluate)
    assert found.recipe.seed == candidate_seed(5, 3)
    assert found.recipe.verdict == Verdict(
        judge="a" * 64, facts=(Answered(kind="presence", text="cat", answer="yes"),
                               Answered(kind="one", text="1 cat", answer="yes")), seed=5, retry=8, tried=4
    )  # fmt: skip


def test_after_the_candidates_one_at_a_time_is_tried(model: Model, recipe: Recipe) -> None:
    found = run(
        selected(model, Scripted(model, recipe, {1: 0.12, 4: 0.8, 5: 0.9}), recipe, best_of=3, retry=8), model.evaluate
    )
    assert found.recipe.seed == candidate_seed(5, 4)
    verdict = found.recipe.verdict
    assert verdict is not None and verdict.holds
    assert (verdict.seed, verdict.best_of, verdict.retry, verdict.tried) == (5, 3, 8, 5)


def test_what_the_judge_was_never_tried_on_it_cannot_tell(
    model: Model, recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = Scripted(model, recipe, {0: 0.9})
    object.__setattr__(judge, "calibration", {"one": Trust(1.0, 0.0, 0.0)})
    verdict = run(selected(model, judge, recipe, retry=3), model.evaluate).recipe.verdict
    assert verdict is not None
    assert [(fact.kind, fact.answer) for fact in verdict.facts] == [("presence", "cannot tell"), ("one", "yes")]
    Speaker(quiet=False).judged(recipe.model_copy(update={"verdict": verdict}))
    assert "holds as far as the judge can tell   cat: cannot tell" in capsys.readouterr().err


def test_what_is_not_known_to_the_judge_does_not_keep_a_picture_from_holding(model: Model, recipe: Recipe) -> None:
    def about(text: str) -> Recipe:
        return recipe.model_copy(update={"prompt": recipe.prompt.model_copy(update={"text": text})})

    both, none = about("a cat and a wombat"), about("a wombat")
    seen = run(selected(model, Scripted(model, both, {2: 0.9}), both, retry=5), model.evaluate).recipe.verdict
    assert seen is not None and seen.tried == 3 and seen.holds
    assert [(fact.kind, fact.answer) for fact in seen.facts][-1] == ("unknown", "cannot tell")
    untold = run(selected(model, Scripted(model, none, {}), none, retry=5), model.evaluate).recipe.verdict
    assert untold is not None and untold.tried == 1 and not untold.holds


def test_an_error_ends_only_its_own_picture(model: Model, recipe: Recipe) -> None:
    request = Request.model_validate({"prompt": "a cat", "retry": 1})
    judge = Scripted(model, recipe, {0: 0.9})
    gone = PictureFile(name="gone.png", sha256="0" * 64, width=64, height=64)
    bad = recipe.model_copy(update={"init_image": gone, "strength": 0.5})
    wanted = [Wanted(request, asked, number) for number, asked in enumerate((bad, recipe))]
    ended = results(wanted, model, Judging(None, judge), Inputs(), Speaker(quiet=True))
    first, second = (result for _, result, _ in ended)
    assert (
        isinstance(first, BadInput)
        and "gone.png" in str(first)
        and not isinstance(second, Exception)
        and second.recipe.seed == 5
    )


def test_when_none_holds_the_budget_ends_and_the_verdict_says_so(model: Model, recipe: Recipe) -> None:
    found = run(selected(model, Scripted(model, recipe, {}), recipe, retry=3), model.evaluate)
    assert found.recipe.verdict is not None
    assert found.recipe.verdict.tried == 4 and not found.recipe.verdict.holds


def test_a_prompt_nothing_can_be_checked_of_is_drawn_once(model: Model, recipe: Recipe) -> None:
    dull = recipe.model_copy(update={"prompt": recipe.prompt.model_copy(update={"text": "something nice"})})
    found = run(selected(model, Scripted(model, dull, {}), dull, retry=5), model.evaluate)
    assert found.recipe.seed == 5 and found.recipe.verdict == Verdict(judge="a" * 64, seed=5, retry=5, tried=1)
    assert not found.recipe.verdict.holds


def test_of_pictures_nothing_can_be_checked_of_the_best_fitting_is_kept(model: Model, recipe: Recipe) -> None:
    dull = recipe.model_copy(update={"prompt": recipe.prompt.model_copy(update={"text": "something nice"})})
    found = run(
        selected(model, Scripted(model, dull, {0: 0.1, 1: 0.2, 2: 0.7, 3: 0.4}), dull, best_of=4), model.evaluate
    )
    assert found.recipe.seed == candidate_seed(5, 2)


def test_the_verdict_is_read_back_out_of_the_picture(model: Model, recipe: Recipe, tmp_path: Path) -> None:
    kept = run(selected(model, Scripted(model, recipe, {0: 0.9}), recipe), model.evaluate)
    assert read_recipe(kept.save(tmp_path / "cat.png")) == kept.recipe


def test_candidates_have_seeds_of_their_own() -> None:
    seeds = {candidate_seed(seed, number) for seed in range(50) for number in range(20)}
    assert len(seeds) == 1000 and all(0 <= seed < 2**32 for seed in seeds)
    assert candidate_seed(7, 0) == 7


@pytest.mark.parametrize(("field", "value"), [("best_of", 0), ("best_of", 65), ("retry", -1), ("retry", 65)])
def test_numbers_out_of_bounds_are_refused(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=field):
        Request.model_validate({"prompt": "a cat", field: value})


def test_a_sampler_as_a_function_cannot_be_retried(model: Model) -> None:
    from darkroom.door import DrawingModel
    from darkroom.synthesis.samplers import euler

    with pytest.raises(BadInput, match="name a sampler"):
        DrawingModel(model).generate("a cat", sampler=euler, retry=2)
