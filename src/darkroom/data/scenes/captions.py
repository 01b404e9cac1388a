"""Captions: sentences that say what a scene spec holds, and nothing it does not."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from darkroom.data.scenes.spec import MEDIA, BoxRoom, Ground, Lettering, Scene, SpecObject
from darkroom.data.split import template_held_out
from darkroom.wording.vocabulary import BARE, Concept, article, core

NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}

# {x} is the subject with its article; templates whose hash says so are kept for testing paraphrases. The hash is of the
# template's text: reword one, and it may change sides. Those that begin with "{x}," or "{x}." are said at the end.
STYLE_TEMPLATES: dict[str, tuple[str, ...]] = {
    "3d": (
        "{x}, 3d",
        "a 3d render of {x}",
        "{x}, 3d style",
        "a 3d picture of {x}",
        "{x} in 3d",
        "{x} rendered in 3d",
        "{x}, a 3d image",
        "{x}. the style is 3d",
    ),
    "cartoon": (
        "{x}, cartoon",
        "a cartoon of {x}",
        "{x}, cartoon style",
        "a cartoon drawing of {x}",
        "{x}, a cartoon picture",
        "a cartoon-style rendering of {x}",
        "{x}. the style is cartoon",
    ),
    "flat": (
        "{x}, flat",
        "a flat illustration of {x}",
        "{x}, flat style",
        "a flat drawing of {x}",
        "{x}. the style is flat",
    ),
    "black and white": ("{x}, black and white", "a black and white drawing of {x}", "{x} in black and white"),
    "simple": (
        "{x}, simple",
        "a simple drawing of {x}",
        "{x}, simple style",
        "{x} as a simple picture",
        "a simple rendering of {x}",
    ),
    "bright": ("{x}, bright", "a bright drawing of {x}", "{x}, bright style", "{x}, in a bright style"),
    "pencil sketch": (
        "a pencil sketch of {x}",
        "{x}, pencil sketch",
        "{x} sketched in pencil",
        "{x}, drawn in pencil",
        "{x}. it is a pencil sketch",
    ),
    "oil painting": (
        "an oil painting of {x}",
        "{x}, oil painting",
        "{x} painted in oil",
        "{x}, an oil painting",
        "{x}. it is an oil painting",
    ),
    "halftone": ("a halftone print of {x}", "{x}, halftone", "{x} as a halftone print", "{x}, halftone style"),
    "watercolour": (
        "a watercolour of {x}",
        "{x}, watercolour",
        "a watercolor painting of {x}",
        "{x} in watercolour",
        "{x}. it is a watercolour",
    ),
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
    "a picture that shows {x}",
    "draw {x}",
    "show me {x}",
)
GROUND_TEMPLATES = (
    "{x} on a {g} background",
    "{x}, {g} background",
    "{x} with a {g} background",
    "{x} against a {g} background",
    "{x}. the picture has a {g} background",
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
    "holding": ("{a} and holding {b}", "{a} with {b} in its hand"),
}
PLACE_TEMPLATES: dict[str, tuple[str, ...]] = {
    "snow": ("{x} in the snow", "{x} in a snowy landscape", "{x} outside in the snow"),
    "night sky": ("{x} under a night sky", "{x} in front of a starry night sky", "{x} against the night sky"),
    "sunset": ("{x} in front of a sunset", "{x} against a sunset sky", "{x} with a sunset in the background"),
    "city": ("{x} in a city", "{x} in the city", "{x} in front of a city skyline", "{x} with a city in the background"),
    "forest": ("{x} in a forest", "{x} in the forest", "{x} in the woods", "{x} in front of a forest"),
    "sea": ("{x} by the sea", "{x} at the sea", "{x} in front of the ocean"),
    "room": ("{x} in a room", "{x} indoors", "{x} inside a room"),
}
LIGHT_TEMPLATES: dict[str, tuple[str, ...]] = {
    "day": ("{x} by day", "{x} in daylight", "{x}. it is a bright day"),
    "night": ("{x} at night", "{x}, night", "{x} in the dark of the night", "{x}. it is night"),
    "sunset": (
        "{x} at sunset",
        "{x} in the light of the setting sun",
        "{x} in warm evening light",
        "{x}. the sun is setting",
    ),
    "neon": ("{x} in neon light", "{x} lit by neon lights", "{x}, neon light"),
    "moonlight": ("{x} in moonlight", "{x} by moonlight", "{x} lit by the moon", "{x}. the moon is shining"),
}
CAMERA_TEMPLATES: dict[str, tuple[str, ...]] = {
    "close-up": ("a close-up of {x}", "{x}, close-up", "{x} seen up close", "{x}. it is a close-up"),
    "wide": ("a wide shot of {x}", "{x}, wide shot", "{x} far away", "{x} seen from far away"),
    "from above": ("{x} seen from above", "{x} from above", "a top view of {x}"),
    "blurred background": (
        "{x} with a blurred background",
        "{x}, blurred background",
        "{x}. the background is blurred",
    ),
}
MOTION_TEMPLATES: dict[str, tuple[str, ...]] = {
    "fast": ("{x} moving fast", "{x} speeding along", "{x} in fast motion"),
    "slow": ("{x} moving slowly", "{x} in slow motion", "{x} moving slow"),
}
QUALITY_TEMPLATES: dict[str, tuple[str, ...]] = {
    "blurry": ("{x}, blurry", "{x}, blurred", "{x}. the picture is blurry"),
    "noisy": ("{x}, noisy", "{x}, grainy", "{x}. the picture is noisy"),
    "low quality": ("{x}, low quality", "{x}, bad quality", "{x}. the quality is low"),
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


def tell(
    scene: Scene, *, paraphrase: bool = False, called: str | None = None, unsaid: frozenset[str] = frozenset()
) -> Told:
    """What the scene's caption says: about 60 % long, 25 % medium, 15 % short.

    ``called`` stands for the words of what is named first, where nobody is to know by them what it is; None: they are
    said. Facts that are ``unsaid`` ("style") are left out.
    """
    random = Random(scene.seed ^ 0x5EED_CAFE)  # apart from the spec's own draws
    if scene.photo is not None:
        return Told(random.choice(scene.photo.captions), frozenset())
    looks = Random(f"{scene.seed}/said")
    draw = random.random()
    told = _Telling(_subject(random, scene, called), paraphrase)
    view = CAMERA_TEMPLATES[scene.camera] if scene.camera is not None and looks.random() < SAID else None
    behind = scene.camera == "blurred background"  # said after what is there
    if scene.motion is not None and looks.random() < SAID:
        told.say("motion", MOTION_TEMPLATES[scene.motion], looks)
    if view is not None and not behind:
        told.say("camera", view, looks)
    if draw < 0.6 and scene.room is None and (scene.light is None or scene.ground.place):
        templates = PLACE_TEMPLATES[scene.ground.name] if scene.ground.place else GROUND_TEMPLATES
        told.say("ground", templates, random, _ground_name(scene.ground))
    elif 0.6 <= draw < 0.72 and scene.ground == Ground("white") and scene.camera != "from above":
        told.tags.append(", plain")
    if scene.light is not None and looks.random() < SAID:
        told.say("light", LIGHT_TEMPLATES[scene.light], looks)
    if view is not None and behind:
        told.say("camera", view, looks)
    drawn = bool(scene.objects or scene.figure or scene.room) or scene.style in MEDIA
    if draw < 0.85 and drawn and "style" not in unsaid:
        told.say("style", STYLE_TEMPLATES[scene.style], random)
    else:
        told.say(None, PLAIN_TEMPLATES, random)
    if scene.quality is not None:
        told.say("quality", QUALITY_TEMPLATES[scene.quality], looks)
    return Told(told.text + "".join(sorted(told.tags, key=_ends)), frozenset(told.facts))


class _Telling:
    """A caption in the making: the sentence so far, and what is said after it."""

    def __init__(self, text: str, paraphrase: bool) -> None:
        self.text, self.paraphrase = text, paraphrase
        self.tags: list[str] = []  # ", night", ". the style is flat"
        self.facts: set[str] = set()
        self.framed = False  # "a close-up of ..." stands before it: no "a cartoon of a close-up of ..."

    def say(self, fact: str | None, templates: tuple[str, ...], random: Random, ground: str = "") -> None:
        """Says a fact (None: nothing that is one) in one of the templates that training, or a paraphrase, may use."""
        allowed = [t for t in templates if template_held_out(t) == self.paraphrase] or list(templates)
        unframed = [t for t in allowed if not t.startswith("a")] if self.framed else []
        template = random.choice(unframed or allowed)
        if ground:  # "an orange background"
            template = template.replace("a {g}", f"{article(ground)} {{g}}").replace("{g}", ground)
        if template.startswith(("{x},", "{x}.")):
            self.tags.append(template.removeprefix("{x}"))
        else:
            self.framed = self.framed or template.startswith("a")
            self.text = template.format(x=self.text)
        if fact is not None:
            self.facts.add(fact)


def _ends(tag: str) -> bool:
    """Whether a tag is a sentence of its own, which stands after the others."""
    return tag.startswith(".")


def _ground_name(ground: Ground) -> str:
    return ground.name if ground.name_to is None else f"{ground.name} to {ground.name_to} gradient"


def _subject(random: Random, scene: Scene, called: str | None = None) -> str:
    things = [scene.objects[i] for i in scene.named]
    if scene.room is not None:
        return _boxes(random, scene.room)
    if scene.figure is not None:
        return _mannequin(random, scene, things)
    if scene.lettering is not None:
        return _word(random, scene.lettering, things)
    if scene.kind == "single":
        return called or _one(random, things[0], _size_word(random, things[0]))
    if scene.kind == "count":
        return f"{NUMBERS[len(things)]} {_painted(things[0], _name(random, core()[things[0].concept], several=True))}"
    assert scene.relation is not None
    phrase = random.choice(RELATION_PHRASES[scene.relation])
    return phrase.format(a=called or _one(random, things[0]), b=_one(random, things[1]))


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
    """One object with its article, if it takes one: "a large purple cat", "red grapes", "a female doctor"."""
    return phrased(thing, _name(random, core()[thing.concept]), size)


def phrased(thing: SpecObject, name: str, size: str = "") -> str:
    """A thing by this name, with its article, its colour and whom it shows."""
    person = thing.person
    if name in BARE:  # stuff has a colour, but no size
        return _painted(thing, name)
    words = f"{size}{person.gender + ' ' if person.gender else ''}{_painted(thing, name)}"
    return f"{article(words)} {words}" + (f" with {person.tone} skin" if person.tone else "")


def _painted(thing: SpecObject, name: str) -> str:
    """The name with its colour, which is that of the glasses, not of the pair."""
    if thing.colour is None:
        return name
    pair, of, rest = name.partition(" of ")
    return f"{pair}{of}{thing.colour} {rest}" if pair in ("pair", "pairs") else f"{thing.colour} {name}"


def _name(random: Random, concept: Concept, *, several: bool = False) -> str:
    """Mostly the concept's own word, sometimes a synonym."""
    synonyms = concept.synonyms_plural if several else concept.synonyms
    if synonyms and random.random() < 0.15:
        return random.choice(synonyms)
    return concept.plural if several else concept.word
