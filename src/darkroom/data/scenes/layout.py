"""A scene drawn from a seed: what is shown, where it stands, how it is lit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random

from darkroom.data.scenes.backdrops import brightness
from darkroom.data.scenes.spec import (
    CAMERAS,
    GROUNDS,
    LIGHTS,
    MEDIA,
    MOTIONS,
    OPEN_AIR,
    PLACES,
    QUALITIES,
    ComposerConfig,
    Ground,
    Scene,
    SpecObject,
)
from darkroom.data.scenes.subjects import KINDS, can_show
from darkroom.data.stock.pack import COLOURLESS
from darkroom.wording.vocabulary import core

GREY = frozenset({"pencil sketch"})  # media that leave no colour
MOVING = frozenset({"vehicle", "animal"})  # groups whose things go fast or slowly
TABLE = frozenset({"food", "thing"})  # groups whose drawings can be seen from above, lying on a floor
PLACE_COLOURS = {"snow": "white", "night sky": "black", "forest": "green", "sea": "blue", "sunset": "orange"}
UNTOLD = Ground("light grey")  # under a coloured light
LIGHT_ENOUGH = 0.6  # brightness of a ground on which black lines show


def draw_scene(seed: int, config: ComposerConfig) -> Scene:
    """Draws one scene; equal seeds and configs give equal scenes."""
    random = Random(seed)
    kind = _choice(random, config.kinds)
    style = _choice(random, config.styles)
    ground = _ground(random, config)
    subject = KINDS[kind if can_show(kind, style, config) else "single"]
    scene = subject(random, config, style, ground, seed)
    if scene.photo is not None:
        return scene
    return _told_apart(config, _looked_at(Random(f"{seed}/looks"), config, scene))


def _choice(random: Random, weights: Mapping[str, float]) -> str:
    names = list(weights)
    return random.choices(names, [weights[name] for name in names])[0]


def _told_apart(config: ComposerConfig, scene: Scene) -> Scene:
    """The scene on another ground, where something in it has the ground's colour and would be lost.

    In a place only what is told in its colour: a tree stands well in a forest.
    """
    lit = scene.light is not None and not scene.ground.place  # nothing is told in a colour, and the ground has none
    if lit or scene.lettering is not None or scene.room is not None:  # a word chose its ground
        return scene
    has = {thing.colour for thing in scene.objects} | {scene.figure.colour if scene.figure is not None else None}
    if not scene.ground.place:
        has |= {_own_colour(config, scene, thing) for thing in scene.objects if thing.colour is None}

    def lost(ground: Ground) -> bool:
        ends = (PLACE_COLOURS.get(ground.name, ground.name), ground.name_to)
        return any(colour is not None and end is not None and end.endswith(colour) for colour in has for end in ends)

    if not lost(scene.ground):
        return scene
    names = (PLACES if scene.light is None else sorted(OPEN_AIR)) if scene.ground.place else GROUNDS
    grounds = [ground for ground in map(Ground, names) if not lost(ground)]
    return replace(scene, ground=Random(f"{scene.seed}/ground").choice(grounds))


def _own_colour(config: ComposerConfig, scene: Scene, thing: SpecObject) -> str | None:
    """The word for a drawing's own colour, but for white ones: they have outlines and shades that tell them apart."""
    own = config.stock.shape(thing.concept, scene.drawings, scene.seed).colour
    return None if own == "white" else own


# --- the ground, the light, the camera ---------------------------------------------------------------------------


def _ground(random: Random, config: ComposerConfig) -> Ground:
    if random.random() < 0.35:
        return Ground("white")
    names = list(GROUNDS)
    name = random.choice(names)
    if random.random() >= config.gradient_share:
        return Ground(name)
    other = random.choice([n for n in names if n != name])
    return Ground(name, other, radial=random.random() < 0.3)


def _looked_at(random: Random, config: ComposerConfig, scene: Scene) -> Scene:
    """The scene with its place, medium, light, camera, motion and flaws; each is drawn whether or not it is used."""
    place, medium, light, camera, motion, quality = (
        random.random() < share
        for share in (
            config.place_share,
            config.medium_share,
            config.light_share,
            config.camera_share,
            config.motion_share,
            config.quality_share,
        )
    )
    if place and scene.kind not in ("boxes", "word") and "place" not in _groups(scene):  # no palace in a room
        scene = replace(scene, ground=Ground(random.choice(PLACES)))
    dark = brightness(scene.ground) < LIGHT_ENOUGH
    if dark and scene.objects and scene.style in COLOURLESS:  # black lines on a dark ground: nothing
        scene = replace(scene, ground=Ground(random.choice(("white", "light grey", "beige", "light blue", "yellow"))))
    if medium and scene.style not in COLOURLESS and scene.kind != "boxes":
        scene = _in_medium(scene, random.choice(MEDIA))
    if light and (lights := _lights(scene)):
        scene = _lit(scene, random.choice(lights))
    if camera and (cameras := _cameras(scene)):
        scene = _seen_from(random, scene, random.choice(cameras))
    if motion and scene.camera is None and _may_move(scene):
        scene = _moving(random, scene, random.choice(MOTIONS))
    if quality:
        scene = _flawed(random, scene, random.choice(QUALITIES))
    return scene


def _in_medium(scene: Scene, medium: str) -> Scene:
    """The scene made with a medium out of its drawings; what leaves no colour is given none to show."""
    if medium in GREY:
        ground = scene.ground if scene.ground.place else Ground("white")
        objects = tuple(replace(thing, colour=None, person=replace(thing.person, tone="")) for thing in scene.objects)
        figure = scene.figure and replace(scene.figure, colour=None)
        lettering = scene.lettering and replace(scene.lettering, colour="black")
        scene = replace(scene, ground=ground, objects=objects, figure=figure, lettering=lettering)
    return replace(scene, style=medium, drawn=scene.style)


def _lights(scene: Scene) -> list[str]:
    """The lights that can be told from none over this scene."""
    if scene.style in COLOURLESS or scene.style in MEDIA or scene.ground.name in ("night sky", "sunset"):
        return []
    if any(thing.colour or thing.person.tone for thing in scene.objects) or scene.kind in ("figure", "boxes", "word"):
        return []  # a coloured light would make the colour word a lie
    return [light for light in LIGHTS if light != "day" or scene.ground.name in OPEN_AIR]


def _lit(scene: Scene, light: str) -> Scene:
    """The scene in a light; a plain ground takes the light's colour, so it has none of its own to tell."""
    return replace(scene, light=light, ground=scene.ground if scene.ground.place else UNTOLD)


def _cameras(scene: Scene) -> list[str]:
    """The views this scene can be seen in."""
    place, single = scene.ground.place and scene.kind != "boxes", scene.kind == "single"
    lies = single and not place and _groups(scene) <= TABLE
    allowed = {"close-up": single, "wide": single, "from above": lies, "blurred background": place}
    return [camera for camera in CAMERAS if allowed[camera]]


def _seen_from(random: Random, scene: Scene, camera: str) -> Scene:
    if camera == "blurred background":  # of any kind of scene, a mannequin without a thing among them
        return replace(scene, camera=camera)
    thing = scene.objects[0]
    if camera == "close-up":
        x, y = (0.5 + random.uniform(-0.08, 0.08) for _ in "xy")
        thing = replace(thing, size=random.uniform(1.1, 1.3), x=x, y=y, angle=0.0)
    elif camera == "wide":
        low = 0.62 if scene.ground.place else 0.5
        thing = replace(thing, size=random.uniform(0.22, 0.3), x=random.uniform(0.3, 0.7), y=low, angle=0.0)
    elif camera == "from above":
        x, y = (0.5 + random.uniform(-0.06, 0.06) for _ in "xy")
        thing = replace(thing, size=random.uniform(0.5, 0.65), x=x, y=y, angle=random.uniform(-40, 40))
    return replace(scene, camera=camera, objects=(thing, *scene.objects[1:]))


def _may_move(scene: Scene) -> bool:
    return scene.kind == "single" and _groups(scene) <= MOVING


def _groups(scene: Scene) -> set[str]:
    return {core()[thing.concept].group for thing in scene.objects}


def _moving(random: Random, scene: Scene, motion: str) -> Scene:
    thing = scene.objects[0]
    lean = random.choice((-1, 1)) * (random.uniform(7, 11) if motion == "fast" else random.uniform(0, 2))
    size = min(thing.size, 0.72)
    return replace(scene, motion=motion, objects=(replace(thing, angle=lean, size=size, x=0.5, y=0.5),))


def _flawed(random: Random, scene: Scene, quality: str) -> Scene:
    if quality != "cropped":
        return replace(scene, quality=quality)
    if scene.kind != "single" or scene.camera is not None or scene.motion is not None:
        return scene
    thing = scene.objects[0]
    edge = random.choice((random.uniform(0.0, 0.08), random.uniform(0.92, 1.0)))
    across = random.random() < 0.7
    thing = replace(thing, x=edge if across else thing.x, y=thing.y if across else edge)
    return replace(scene, quality=quality, objects=(thing,))
