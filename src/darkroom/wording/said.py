"""What a recipe says: its sentences with their choices made, and all it says besides its prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from darkroom.contracts.prompt import Prompt
from darkroom.contracts.recipe import Recipe
from darkroom.contracts.steering import Region, Swap, Toward
from darkroom.wording.parse import swapped
from darkroom.wording.wildcards import expanded


def said_in(recipe: Recipe, wildcards: Path | None) -> dict[str, Any]:
    """The sentences of a recipe with their choices made, each by the seed and by what it is for."""
    found: dict[str, Any] = {"prompt": chosen(recipe.prompt, recipe.seed, wildcards)}
    if recipe.regions:
        made = [expanded(region.prompt, f"{recipe.seed}/{region.box}", wildcards) for region in recipe.regions]
        pairs = zip(recipe.regions, made, strict=True)
        found["regions"] = tuple(Region.checked({**dict(region), "prompt": text}) for region, text in pairs)
    if recipe.toward is not None:
        text = expanded(recipe.toward.prompt, f"{recipe.seed}/toward", wildcards)
        found["toward"] = Toward.checked({**dict(recipe.toward), "prompt": text})
    if recipe.swap is not None:
        text = expanded(recipe.swap.new, f"{recipe.seed}/swap", wildcards)
        found["swap"] = Swap.checked({**dict(recipe.swap), "new": text})
    return found


def others_of(recipe: Recipe) -> list[str]:
    """What a recipe says besides its prompt, which a swap makes another one. Raises BadInput for words not in it."""
    found = [region.prompt for region in recipe.regions or ()]
    if recipe.toward is not None:
        found.append(recipe.toward.prompt)
    if recipe.swap is not None:
        found.append(swapped(recipe.prompt.text, recipe.swap.old, recipe.swap.new))
    return found


def chosen(prompt: Prompt, seed: int, wildcards: Path | None) -> Prompt:
    """A prompt with its choices made; those of the negative prompt are other ones."""
    text = expanded(prompt.text, f"{seed}/text", wildcards)
    return Prompt.checked({"text": text, "negative": expanded(prompt.negative, f"{seed}/negative", wildcards)})
