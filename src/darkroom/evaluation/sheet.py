"""The fixed sheet: 64 prompts, one seed, uncurated, drawn for every checkpoint and looked at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from darkroom.contracts.request import Request
from darkroom.engine import Engine
from darkroom.generate import picture
from darkroom.model import Model
from darkroom.picture.image import Image
from darkroom.picture.sheet import contact_sheet
from darkroom.picture.write import write

SINGLES = (
    "a cat", "a dog", "an elephant", "a rabbit", "a lion", "a panda", "a fox", "a frog",
    "a turtle", "a fish", "a penguin", "an owl", "a butterfly", "a dinosaur", "an apple", "a banana",
    "a pineapple", "a strawberry", "a mushroom", "a hamburger", "a doughnut", "a car", "a bus", "a rocket",
    "a sailboat", "a castle", "a tree", "a cactus", "a rose", "a guitar", "a crown", "a robot",
)  # fmt: skip
COLOURS = (
    "a purple cat", "a blue apple", "a green car", "a red penguin", "a yellow rose", "a pink elephant",
    "an orange fish", "a black umbrella",
)  # fmt: skip
COUNTS = (
    "two cats", "three strawberries", "four stars", "five mushrooms", "six lemons", "two rockets", "three owls",
    "four tulips",
)  # fmt: skip
RELATIONS = (
    "a cat to the left of a dog", "a fox to the right of a tree", "a star above a house", "a drum below a guitar",
    "a crown on a book", "a penguin in front of a bus", "a lion behind a cactus", "an apple next to a banana",
)  # fmt: skip
STYLES = (
    "a bear, 3d", "a bear, cartoon", "a bear, flat", "a bicycle, cartoon", "a tiger, flat", "a duck, 3d",
    "a pumpkin, cartoon on a purple background", "a helicopter, flat on a light blue background",
)  # fmt: skip
PROMPTS = (*SINGLES, *COLOURS, *COUNTS, *RELATIONS, *STYLES)
SEED = 7
STYLE = "3d"  # for the prompts that name no style


def draw_sheet(
    model: Model,
    path: Path,
    *,
    captions: bool = True,
    told: Callable[[int], None] = lambda _: None,
    steps: int | None = None,
) -> Path:
    """Draws the sheet into a PNG, 8 pictures a row. ``captions`` False numbers them instead, for blind naming."""
    requests = [
        Request(prompt=text, seed=SEED, steps=steps, style=None if text in STYLES else STYLE) for text in PROMPTS
    ]
    images: dict[int, Image] = {}
    tasks = (picture(model.resolve(request), model) for request in requests)
    for outcome in Engine[Image](model.evaluate, lanes=model.lanes).run(tasks):
        if outcome.result is None:
            assert outcome.error is not None
            raise outcome.error
        images[outcome.index] = outcome.result
        told(len(images))
    labels = list(PROMPTS) if captions else [str(i + 1) for i in range(len(PROMPTS))]
    return write(contact_sheet([images[i].pixels for i in range(len(PROMPTS))], labels, columns=8), path)
