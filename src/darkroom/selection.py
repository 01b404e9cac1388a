"""The picture a judge lets pass: verified, the best of several, or another seed until it holds."""

from __future__ import annotations

from functools import cache
from hashlib import blake2b

import torch

from darkroom.contracts.recipe import CHOSEN_SEEDS, Recipe
from darkroom.contracts.verdict import Answered, Verdict
from darkroom.engine import Engine
from darkroom.generate import picture, styled
from darkroom.judge.asked import asked
from darkroom.judge.judge import Judge, load_judge
from darkroom.judge.verdict import Fact, all_right, judged
from darkroom.model import EMBEDDED, Model
from darkroom.picture.image import Image
from darkroom.wording.parse import parse


@cache
def embedded_judge() -> Judge:
    """The judge in the package."""
    return load_judge(EMBEDDED)


def candidate_seed(seed: int, number: int) -> int:
    """The seed of a picture's candidate ``number``; the first is its own."""
    if number == 0:
        return seed
    return int.from_bytes(blake2b(f"{seed}/{number}".encode(), digest_size=8).digest(), "big") % CHOSEN_SEEDS


def selected(model: Model, judge: Judge, recipe: Recipe, *, best_of: int = 1, retry: int = 0) -> Image:
    """Draws ``best_of`` candidates, and up to ``retry`` more until one has every fact right; returns the best.

    Its recipe carries the candidate's own seed, so it draws the same picture again, and the verdict. Where a prompt
    asks for nothing the judge can check, no more than ``best_of`` are drawn. Candidates that hold equally many facts
    are ranked by how well the sentence fits them. An error is raised only if all failed.
    """
    sentence = styled(parse(recipe.prompt.text).text, recipe.style)
    expected = asked(sentence)
    best: tuple[tuple[bool, int, float], Image, tuple[Fact, ...]] | None = None
    failure: Exception | None = None
    tried = 0
    while tried < best_of + retry:
        lot = range(tried, min(best_of + retry, tried + best_of))
        recipes = [recipe.model_copy(update={"seed": candidate_seed(recipe.seed, number)}) for number in lot]
        tried = lot.stop
        for image in Engine[Image](model.evaluate).ended(picture(candidate, model) for candidate in recipes):
            if isinstance(image, Exception):
                failure = image
                continue
            sight = judge.look(_pixels(image))[0]
            facts = judged(sight, expected)
            fit = judge.fit([sight], [sentence]).item()
            rank = (all_right(facts), sum(fact.answer == "yes" for fact in facts), fit)
            if best is None or rank > best[0]:
                best = rank, image, facts
        if best is not None and (best[0][0] or not best[2]):
            break
    if best is None:
        assert failure is not None
        raise failure
    _, image, facts = best
    answers = tuple(Answered(kind=fact.kind, text=fact.text, answer=fact.answer) for fact in facts)
    verdict = Verdict(judge=judge.sha256, facts=answers, tried=tried)
    return Image(image.pixels, image.recipe.model_copy(update={"verdict": verdict}))


def _pixels(image: Image) -> torch.Tensor:
    return torch.from_numpy(image.pixels.copy()).permute(2, 0, 1)[None].float() / 255
