"""Captions: sentences that say what a scene spec holds, and nothing it does not."""

from __future__ import annotations

from random import Random

from darkroom.data.spec import Ground, Scene, SpecObject
from darkroom.data.split import template_held_out
from darkroom.wording.vocabulary import BARE, Concept, article, core

NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}

# {x} is the subject with its article; templates whose hash says so are kept for testing paraphrases. The hash is of the
# template's text: reword one, and it may change sides.
STYLE_TEMPLATES: dict[str, tuple[str, ...]] = {
    "3d": (
        "{x}, 3d",
        "a 3d render of {x}",
        "{x}, 3d style",
        "a 3d picture of {x}",
        "{x} in 3d",
        "{x} rendered in 3d",
        "{x}, a 3d image",
    ),
    "cartoon": (
        "{x}, cartoon",
        "a cartoon of {x}",
        "{x}, cartoon style",
        "a cartoon drawing of {x}",
        "{x}, a cartoon picture",
        "a cartoon-style rendering of {x}",
    ),
    "flat": ("{x}, flat", "a flat illustration of {x}", "{x}, flat style", "a flat drawing of {x}"),
    "black and white": ("{x}, black and white", "a black and white drawing of {x}", "{x} in black and white"),
    "simple": (
        "{x}, simple",
        "a simple drawing of {x}",
        "{x}, simple style",
        "{x} as a simple picture",
        "a simple rendering of {x}",
    ),
    "bright": ("{x}, bright", "a bright drawing of {x}", "{x}, bright style", "{x}, in a bright style"),
}
PLAIN_TEMPLATES = (
    "{x}",
    "{x}",
    "{x}",
    "a picture of {x}",
    "an image of {x}",
    "a drawing of {x}",
    "an illustration of {x}",
    "a rendering of {x}",
)
GROUND_TEMPLATES = (
    "{x} on a {g} background",
    "{x}, {g} background",
    "{x} with a {g} background",
    "{x} against a {g} background",
    "{x} on {g}",
)
RELATION_PHRASES: dict[str, tuple[str, ...]] = {
    "left of": ("{a} to the left of {b}", "{a} left of {b}", "{a} on the left and {b} on the right"),
    "right of": ("{a} to the right of {b}", "{a} right of {b}", "{a} on the right and {b} on the left"),
    "above": ("{a} above {b}", "{a} over {b}"),
    "below": ("{a} below {b}", "{a} under {b}", "{a} beneath {b}"),
    "on": ("{a} on {b}", "{a} on top of {b}"),
    "in front of": ("{a} in front of {b}",),
    "behind": ("{a} behind {b}",),
    "next to": ("{a} next to {b}", "{a} and {b}", "{a} beside {b}"),
}


def caption(scene: Scene, *, paraphrase: bool = False) -> str:
    """One sentence for the scene: about 60 % long, 25 % medium, 15 % short; ``paraphrase`` uses held-out templates."""
    random = Random(scene.seed ^ 0x5EED_CAFE)  # apart from the spec's own draws
    draw = random.random()
    with_style, with_ground = draw < 0.85, draw < 0.6
    text = _subject(random, scene)
    if with_ground:
        text = _with_ground(_pick(random, GROUND_TEMPLATES, paraphrase), text, scene)
    elif draw < 0.72 and scene.ground == Ground("white"):
        text = f"{text}, plain"
    templates = STYLE_TEMPLATES[scene.style] if with_style else PLAIN_TEMPLATES
    return _pick(random, templates, paraphrase).format(x=text)


def _pick(random: Random, templates: tuple[str, ...], paraphrase: bool) -> str:
    allowed = [t for t in templates if template_held_out(t) == paraphrase]
    return random.choice(allowed or list(templates))


def _with_ground(template: str, text: str, scene: Scene) -> str:
    """The text set on its ground: "a cat on an orange background", "a cat on a red to blue gradient"."""
    ground = scene.ground
    name = ground.name if ground.name_to is None else f"{ground.name} to {ground.name_to} gradient"
    if ground.name_to is not None:  # "on red", but "on a red to blue gradient"
        template = template.replace("on {g}", "on a {g}")
    return template.replace("a {g}", f"{article(name)} {{g}}").format(x=text, g=name)


def _subject(random: Random, scene: Scene) -> str:
    things = [scene.objects[i] for i in scene.named]
    if scene.kind == "single":
        return _one(random, things[0], _size_word(random, things[0]))
    if scene.kind == "count":
        first = things[0]
        colour = f"{first.colour} " if first.colour else ""
        return f"{NUMBERS[len(things)]} {colour}{core()[first.concept].plural}"
    assert scene.relation is not None
    phrase = random.choice(RELATION_PHRASES[scene.relation])
    return phrase.format(a=_one(random, things[0]), b=_one(random, things[1]))


def _size_word(random: Random, thing: SpecObject) -> str:
    if random.random() < 0.8:
        return ""
    return random.choice(("small ", "little ")) if thing.size < 0.6 else random.choice(("large ", "big "))


def _one(random: Random, thing: SpecObject, size: str = "") -> str:
    """One object with its article, if it takes one: "a large purple cat", "red grapes"."""
    name = _name(random, core()[thing.concept])
    words = f"{size}{thing.colour + ' ' if thing.colour else ''}{name}"
    return words if name in BARE else f"{article(words)} {words}"


def _name(random: Random, concept: Concept) -> str:
    """Mostly the concept's own word, sometimes a synonym."""
    if concept.synonyms and random.random() < 0.15:
        return random.choice(concept.synonyms)
    return concept.word
