"""The picture a judge lets pass: verified, the best of several, or another seed until it holds."""

from __future__ import annotations

from functools import cache
from hashlib import blake2b

import torch
from jaxtyping import Float
from torch import Tensor

from darkroom.cards import EMBEDDED
from darkroom.contracts.recipe import Answered, Recipe, Verdict
from darkroom.contracts.request import CHOSEN_SEEDS
from darkroom.engine import Engine
from darkroom.generate import picture, styled
from darkroom.judge.asked import asked
from darkroom.judge.expect import Expectation
from darkroom.judge.judge import Judge, load_judge
from darkroom.judge.sight import Box
from darkroom.judge.verdict import SURE
from darkroom.model import Model
from darkroom.picture.image import Image
from darkroom.picture.inputs import Inputs
from darkroom.wording.parse import parse
from darkroom.wording.syntax import wordings

MOST_FACTS = 1000  # that a recipe holds


@cache
def embedded_judge() -> Judge:
    """The judge in the package."""
    return load_judge(EMBEDDED)


def candidate_seed(seed: int, number: int) -> int:
    """The seed of a picture's candidate ``number``; the first is its own."""
    if number == 0:
        return seed
    return int.from_bytes(blake2b(f"{seed}/{number}".encode(), digest_size=8).digest(), "big") % CHOSEN_SEEDS


def selected(
    model: Model,
    judge: Judge,
    recipe: Recipe,
    *,
    best_of: int = 1,
    retry: int = 0,
    inputs: Inputs | None = None,
) -> Image:
    """Draws ``best_of`` candidates together, then one by one up to ``retry`` more until one holds; returns the best.

    One holds when no fact is missing of those the judge can tell. Its recipe carries the candidate's own seed, so it
    draws the same picture again, and the verdict, with how it was chosen. Where the judge can tell nothing, no more
    than ``best_of`` are drawn. Candidates that hold equally many facts are ranked by how well the sentence fits them.
    An error is raised only if all failed.
    """
    sentence = styled(wordings(parse(recipe.prompt.text).text, recipe.steps)[-1].text, recipe.style)
    expected = asked(sentence)
    best: tuple[_Rank, Image, Verdict] | None = None
    failure: Exception | None = None
    tried = 0
    for lot in (best_of, *[1] * retry):
        seeds = [candidate_seed(recipe.seed, number) for number in range(tried, tried + lot)]
        tried += lot
        tasks = (picture(recipe.model_copy(update={"seed": seed}), model, inputs=inputs) for seed in seeds)
        for image in Engine[Image](model.evaluate, stays=model.offload).ended(tasks):
            if isinstance(image, Exception):
                failure = image
                continue
            rank, verdict = _examined(judge, image, sentence, expected)
            if best is None or rank > best[0]:
                best = rank, image, verdict
        if best is not None and (best[2].holds or not any(fact.kind in judge.calibration for fact in best[2].facts)):
            break
    if best is None:
        assert failure is not None
        raise failure
    _, image, verdict = best
    how = {"seed": recipe.seed, "best_of": best_of, "retry": retry, "tried": tried}
    return Image(image.pixels, image.recipe.model_copy(update={"verdict": verdict.model_copy(update=how)}))


def things_in(pixels: Float[Tensor, "3 h w"]) -> list[tuple[str, Box]]:
    """What the judge in the package surely sees in a picture in [0, 1]: words, boxes; what is behind others first."""
    high, wide = pixels.shape[1:]
    sight = embedded_judge().look(pixels[None])[0]
    longer = max(high, wide)  # the judge sees a square around it

    def within(box: Box) -> Box:
        x0, x1 = (0.5 + (x - 0.5) * longer / wide for x in (box[0], box[2]))
        y0, y1 = (0.5 + (y - 0.5) * longer / high for y in (box[1], box[3]))
        return x0, y0, x1, y1

    sure = sorted((thing for thing in sight.things if thing.sure >= SURE), key=lambda thing: -thing.covered)
    return [(max(thing.words, key=thing.words.__getitem__), within(thing.box)) for thing in sure]


_Rank = tuple[bool, int, float]


def _examined(judge: Judge, image: Image, sentence: str, expected: Expectation) -> tuple[_Rank, Verdict]:
    """The verdict on a picture, and its rank among others: whether it holds, facts that do, fit of the sentence."""
    sight = judge.look(torch.from_numpy(image.pixels.copy()).permute(2, 0, 1)[None].float() / 255)[0]
    facts = judge.says(sight, expected)[:MOST_FACTS]
    answers = tuple(Answered(kind=fact.kind, text=fact.text, answer=fact.answer) for fact in facts)
    verdict = Verdict(judge=judge.sha256, facts=answers)
    held = sum(fact.answer == "yes" for fact in facts)
    return (verdict.holds, held, judge.fit([sight], [sentence]).item()), verdict
