"""Captions: sentences that say what a scene spec holds, and nothing it does not."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from darkroom.data.scenes.spec import MEDIA, BoxRoom, Ground, Lettering, Scene, SpecObject
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
    "pencil sketch": ("a pencil sketch of {x}", "{x}, pencil sketch", "{x} sketched in pencil", "{x}, drawn in pencil"),
    "oil painting": ("an oil painting of {x}", "{x}, oil painting", "{x} painted in oil", "{x}, an oil painting"),
    "halftone": ("a halftone print of {x}", "{x}, halftone", "{x} as a halftone print", "{x}, halftone style"),
    "watercolour": ("a watercolour of {x}", "{x}, watercolour", "a watercolor painting of {x}", "{x} in watercolour"),
    "pixel art": ("pixel art of {x}", "{x}, pixel art", "{x} as pixel art", "{x} in pixel art style"),
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
    "wearing": ("{a} wearing {b}", "{a} that wears {b}", "{a} in {b}"),
    "holding": ("{a} holding {b}", "{a} that holds {b}", "{a} with {b} in its hand"),
}
PLACE_TEMPLATES: dict[str, tuple[str, ...]] = {
    "snow": ("{x} in the snow", "{x} in a snowy landscape", "{x} on a snowy day"),
    "night sky": ("{x} under a night sky", "{x} in front of a starry night sky", "{x} against the night sky"),
    "sunset": ("{x} in front of a sunset", "{x} against a sunset sky", "{x} with a sunset behind it"),
    "city": ("{x} in a city", "{x} in the city", "{x} in front of a city skyline"),
    "forest": ("{x} in a forest", "{x} in the forest", "{x} in the woods", "{x} in front of a forest"),
    "sea": ("{x} by the sea", "{x} at the sea", "{x} in front of the ocean"),
    "room": ("{x} in a room", "{x} indoors", "{x} inside a room"),
}
LIGHT_TEMPLATES: dict[str, tuple[str, ...]] = {
    "day": ("{x} by day", "{x} in daylight", "{x} on a bright day"),
    "night": ("{x} at night", "{x}, night", "{x} in the dark of the night"),
    "sunset": ("{x} at sunset", "{x} in the light of the setting sun", "{x} in warm evening light"),
    "neon": ("{x} in neon light", "{x} lit by neon lights", "{x}, neon light"),
    "moonlight": ("{x} in moonlight", "{x} by moonlight", "{x} lit by the moon"),
}
CAMERA_TEMPLATES: dict[str, tuple[str, ...]] = {
    "close-up": ("a close-up of {x}", "{x}, close-up", "{x} seen up close"),
    "wide": ("a wide shot of {x}", "{x}, wide shot", "{x} far away"),
    "from above": ("{x} seen from above", "{x} from above", "a top view of {x}"),
    "blurred background": ("{x} with a blurred background", "{x}, blurred background", "{x}, background out of focus"),
}
MOTION_TEMPLATES: dict[str, tuple[str, ...]] = {
    "fast": ("{x} moving fast", "{x} speeding along", "{x} in fast motion"),
    "slow": ("{x} moving slowly", "{x} in slow motion", "{x} moving slow"),
}
QUALITY_TEMPLATES: dict[str, tuple[str, ...]] = {
    "blurry": ("{x}, blurry", "{x}, out of focus"),
    "noisy": ("{x}, noisy", "{x}, grainy"),
    "low quality": ("{x}, low quality", "{x}, bad quality"),
    "cropped": ("{x}, cropped", "{x}, cut off at the edge"),
}
SAID = 0.9  # share of the captions that say a light, a view or a motion; a flaw is always said


class Told(NamedTuple):
    """A caption and which facts, beside what is shown, it says: "style", "ground", "light", "camera", "motion"."""

    text: str
    facts: frozenset[str]


def caption(scene: Scene, *, paraphrase: bool = False) -> str:
    """One sentence for the scene; ``paraphrase`` uses held-out templates."""
    return tell(scene, paraphrase=paraphrase).text


def tell(scene: Scene, *, paraphrase: bool = False) -> Told:
    """One sentence for the scene: about 60 % long, 25 % medium, 15 % short."""
    random = Random(scene.seed ^ 0x5EED_CAFE)  # apart from the spec's own draws
    if scene.photo is not None:
        return Told(random.choice(scene.photo.captions), frozenset())
    looks = Random(f"{scene.seed}/said")
    facts = set()

    def say(fact: str, templates: tuple[str, ...], source: Random, text: str) -> str:
        facts.add(fact)
        return _pick(source, templates, paraphrase).format(x=text)

    draw = random.random()
    text = _subject(random, scene)
    if scene.motion is not None and looks.random() < SAID:
        text = say("motion", MOTION_TEMPLATES[scene.motion], looks, text)
    tells_ground = scene.room is None and (scene.light is None or scene.ground.place)
    if draw < 0.6 and tells_ground:
        text = _with_ground(_pick(random, _ground_templates(scene), paraphrase), text, scene)
        facts.add("ground")
    elif 0.6 <= draw < 0.72 and scene.ground == Ground("white") and scene.camera != "from above":
        text = f"{text}, plain"
    if scene.light is not None and looks.random() < SAID:
        text = say("light", LIGHT_TEMPLATES[scene.light], looks, text)
    if scene.camera is not None and looks.random() < SAID:
        text = say("camera", CAMERA_TEMPLATES[scene.camera], looks, text)
    drawn = bool(scene.objects or scene.figure or scene.room) or scene.style in MEDIA
    if draw < 0.85 and drawn:
        text = say("style", STYLE_TEMPLATES[scene.style], random, text)
    else:
        text = _pick(random, PLAIN_TEMPLATES, paraphrase).format(x=text)
    if scene.quality is not None:
        text = say("quality", QUALITY_TEMPLATES[scene.quality], looks, text)
    return Told(text, frozenset(facts))


def _ground_templates(scene: Scene) -> tuple[str, ...]:
    return PLACE_TEMPLATES[scene.ground.name] if scene.ground.place else GROUND_TEMPLATES


def _pick(random: Random, templates: tuple[str, ...], paraphrase: bool) -> str:
    allowed = [t for t in templates if template_held_out(t) == paraphrase]
    return random.choice(allowed or list(templates))


def _with_ground(template: str, text: str, scene: Scene) -> str:
    """The text set on its ground: "a cat on an orange background", "a cat on a red to blue gradient"."""
    ground = scene.ground
    if ground.place:
        return template.format(x=text)
    name = ground.name if ground.name_to is None else f"{ground.name} to {ground.name_to} gradient"
    if ground.name_to is not None:  # "on red", but "on a red to blue gradient"
        template = template.replace("on {g}", "on a {g}")
    return template.replace("a {g}", f"{article(name)} {{g}}").format(x=text, g=name)


def _subject(random: Random, scene: Scene) -> str:
    things = [scene.objects[i] for i in scene.named]
    if scene.room is not None:
        return _boxes(random, scene.room)
    if scene.figure is not None:
        return _mannequin(random, scene, things)
    if scene.lettering is not None:
        return _word(random, scene.lettering, things)
    if scene.kind == "single":
        return _one(random, things[0], _size_word(random, things[0]))
    if scene.kind == "count":
        first = things[0]
        colour = f"{first.colour} " if first.colour else ""
        return f"{NUMBERS[len(things)]} {colour}{core()[first.concept].plural}"
    assert scene.relation is not None
    phrase = random.choice(RELATION_PHRASES[scene.relation])
    return phrase.format(a=_one(random, things[0]), b=_one(random, things[1]))


def _mannequin(random: Random, scene: Scene, things: list[SpecObject]) -> str:
    """ "a wooden mannequin walking, holding an apple"."""
    assert scene.figure is not None
    figure = scene.figure
    words = f"{figure.colour or random.choice(('', 'wooden'))} mannequin".strip()
    text = f"{article(words)} {words} {figure.pose}"
    return random.choice(RELATION_PHRASES["holding"]).format(a=text, b=_one(random, things[0])) if things else text


def _boxes(random: Random, room: BoxRoom) -> str:
    """ "a red box to the left of a blue box in an empty room"."""
    boxes = [f"{article(box.colour)} {box.colour} box" for box in room.boxes]
    if len(boxes) == 2:
        text = random.choice(RELATION_PHRASES["left of"]).format(a=boxes[0], b=boxes[1])
    else:
        text = boxes[0] if len(boxes) == 1 else f"{', '.join(boxes[:-1])} and {boxes[-1]}"
    return f"{text} {random.choice(('in an empty room', 'in a room', 'on the floor of a room'))}"


def _word(random: Random, word: Lettering, things: list[SpecObject]) -> str:
    """'the word "HELLO" in red letters'."""
    if word.board:
        return random.choice(('a sign that says "{t}"', 'a sign with the word "{t}"')).format(t=word.text)
    if things:
        subject = _one(random, things[0])
        return random.choice(('{x} with the word "{t}"', '{x} above the word "{t}"')).format(x=subject, t=word.text)
    return random.choice(('the word "{t}" in {c} letters', '"{t}" written in {c}', 'the word "{t}"')).format(
        t=word.text, c=word.colour
    )


def _size_word(random: Random, thing: SpecObject) -> str:
    if random.random() < 0.8:
        return ""
    return random.choice(("small ", "little ")) if thing.size < 0.6 else random.choice(("large ", "big "))


def _one(random: Random, thing: SpecObject, size: str = "") -> str:
    """One object with its article, if it takes one: "a large purple cat", "red grapes"."""
    name = _name(random, core()[thing.concept])
    words = f"{size}{thing.colour + ' ' if thing.colour else ''}{name}"
    text = words if name in BARE else f"{article(words)} {words}"
    return text if thing.tone is None else f"{text} with {thing.tone} skin"


def _name(random: Random, concept: Concept) -> str:
    """Mostly the concept's own word, sometimes a synonym."""
    if concept.synonyms and random.random() < 0.15:
        return random.choice(concept.synonyms)
    return concept.word
